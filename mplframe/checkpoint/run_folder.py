"""The run folder: what is in it, who may write to it, and where a run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mplframe.checkpoint.format import SHARDED, load, save
from mplframe.checkpoint.store import BEST, CheckpointStore
from mplframe.errors import CheckpointError, UserError, writing
from mplframe.io.files import alone, claim, json_text, make_folder, remove_parts, write_atomic


class RunFolder:
    """Paths and small files of a run.

    Args:
        path: the folder; made by `prepare`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.manifest = path / "manifest.json"
        self.summary = path / "summary.json"
        self.metrics = path / "metrics.jsonl"
        self.damaged = path / "damaged.jsonl"
        self.pruned = path / "pruned.json"
        self.curves = path / "curves.png"
        self.checkpoints = path / "checkpoints"
        self._artifacts = path / "artifacts"

    @property
    def _names(self) -> list[str]:
        """Of what a run writes in its folder."""
        files = [self.config, self.manifest, self.summary, self.metrics, self.damaged, self.pruned, self.curves]
        folders = (self.checkpoints, self._artifacts, self.path / "tensorboard")
        # A folder without files is nobody's work.
        files += [path for path in folders if path.is_symlink() or not path.is_dir() or any(path.iterdir())]
        return [path.name for path in files]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and hold it alone.

        Raises:
            UserError: it can't be written, holds files that aren't a run's, or another run holds it.
        """
        make_folder(self.path)
        with alone(self.path, "run"):
            claim(self.path, "run", self._names)
            make_folder(self.checkpoints)
            remove_parts(self.path)
            yield

    def begin(self, resume: str, store: CheckpointStore) -> dict[str, Any] | None:
        """Make the folder ready for a run, and find what it goes on from.

        Args:
            resume: `auto` takes the newest whole checkpoint in the folder, if any; `never` removes what an earlier run
                left and starts over; anything else is a checkpoint or a run folder.
            store: of this folder.

        Returns:
            A checkpoint's content, or None to start from the beginning.

        Raises:
            UserError: the folder holds a finished run.
            CheckpointError: the checkpoint that was named can't be used.
        """
        if resume == "never":
            self._clear()
            return None
        if self.summary.exists():
            raise UserError(
                f"{self.path} holds a finished run; choose another folder (--out DIR), or start over in this one with "
                "--resume never"
            )
        self.pruned.unlink(missing_ok=True)
        found = self._found(resume, store)
        if found is None:
            (self.checkpoints / BEST).unlink(missing_ok=True)
            return None
        if resume != "auto":
            self._adopt(*found, store)
        store.settle_best(found[1])
        return found[1]

    def follow(self, resume: str, store: CheckpointStore) -> dict[str, Any] | None:
        """What `begin` has given the main process, for those beside it; leaves the folder as it is."""
        found = None if resume == "never" else self._found(resume, store)
        if found is None:
            return None
        store.settle_best(found[1])
        return found[1]

    def damaged_seen_by(self, rank: int) -> Path:
        """Where a process lists damaged samples; the main one in `damaged`."""
        return self.path / f"damaged-{rank}.jsonl" if rank else self.damaged

    def join_damaged(self) -> None:
        """Move what the other processes have listed into `damaged`."""
        for part in sorted(self.path.glob("damaged-*.jsonl")):
            with writing(self.damaged), self.damaged.open("a", encoding="utf-8") as file:
                # On a line of its own, should the last one be torn.
                file.write("\n" + part.read_text(encoding="utf-8"))
            part.unlink()

    def write_text(self, path: Path, text: str) -> None:
        """Write a small file atomically."""
        write_atomic(path, lambda file: file.write(text.encode()))

    def write_json(self, path: Path, data: Mapping[str, Any]) -> None:
        """Write a JSON file atomically."""
        self.write_text(path, json_text(data, indent=2) + "\n")

    def keep_artifact(self, method: str, role: str, state: Mapping[str, Any]) -> None:
        """Store what a stage leaves for later ones of its method."""
        folder = self.artifact_folder(method, ".")
        save(folder / f"{role}.pt", {"state": dict(state)})

    def keeps(self, method: str, role: str) -> bool:
        """Whether a stage of the method has left a network of that role."""
        return (self._artifacts / method / f"{role}.pt").is_file()

    def artifact_folder(self, method: str, name: str) -> Path:
        """Where a task of the method keeps files of its own; made if it isn't there."""
        folder = self._artifacts / method / name
        if not folder.resolve().is_relative_to(self.path.resolve()):
            raise UserError(f"{folder} leads out of the run folder by a link; remove the link")
        make_folder(folder)
        return folder

    def artifact(self, method: str, role: str) -> Mapping[str, Any]:
        """What an earlier stage of the method left.

        Raises:
            CheckpointError: nothing of that role.
        """
        state: Mapping[str, Any] = load(self._artifacts / method / f"{role}.pt")["state"]
        return state

    def _found(self, resume: str, store: CheckpointStore) -> tuple[Path, dict[str, Any]] | None:
        if resume == "auto":
            return store.newest()
        path = Path(resume)
        if path.is_dir():
            found = store.newest(path / "checkpoints")
            if found is None:
                raise CheckpointError(f"--resume {path}: there is no whole checkpoint in {path / 'checkpoints'}")
            return found
        return path, store.load(path)

    def _adopt(self, path: Path, payload: Mapping[str, Any], store: CheckpointStore) -> None:
        """Take over what belongs to a checkpoint that the user named, and drop what came after it."""
        if "progress" not in payload:
            raise CheckpointError(f"--resume {path}: it holds a network, not a run; give a run folder or a checkpoint")
        total = int(payload["progress"]["total"])
        home = path.resolve().parent.parent
        if home != self.path.resolve():
            if store.paths():
                raise UserError(
                    f"{self.path} has checkpoints of its own; give an empty folder (--out DIR) to resume {path} in"
                )
            if (home / "artifacts").is_dir():
                shutil.copytree(home / "artifacts", self._artifacts, dirs_exist_ok=True, ignore=_links)
        for later in store.paths():
            if int(later.stem.partition("-")[2]) > total:
                later.unlink()

    def _clear(self) -> None:
        files = (self.config, self.manifest, self.summary, self.metrics, self.damaged, self.curves, self.pruned)
        for file in (*files, self.checkpoints / BEST, *self.path.glob("damaged-*.jsonl")):
            file.unlink(missing_ok=True)
        for checkpoint in self.checkpoints.glob("step-*.pt"):
            checkpoint.unlink()
        for folder in (self._artifacts, self.path / "tensorboard", *self.checkpoints.glob(f"*{SHARDED}")):
            shutil.rmtree(folder, ignore_errors=True)


def _links(folder: str, names: list[str]) -> list[str]:
    """What isn't copied from a folder that may be a stranger's."""
    return [name for name in names if (Path(folder) / name).is_symlink()]


def find_checkpoint(target: Path, which: str) -> Path:
    """The checkpoint that a user means.

    Args:
        target: a checkpoint, or a run folder.
        which: of a run folder: `last` (the newest whole one) or `best`.

    Raises:
        CheckpointError: there is none.
        UserError: `which` is neither.
    """
    if which not in ("last", "best"):
        raise UserError(f"--checkpoint {which!r}: give last or best, or name a file instead of the run folder")
    if target.is_file():
        return target
    if not target.is_dir():
        raise CheckpointError(f"no run folder or checkpoint at {target}")
    folder = target / "checkpoints"
    if which == "best":
        if not (folder / BEST).is_file():
            raise CheckpointError(
                f"{target} keeps no best checkpoint; use `last`, or train with checkpoint.keep_best=true"
            )
        return folder / BEST
    found = CheckpointStore(folder, keep=1).newest()
    if found is None:
        raise CheckpointError(f"there is no whole checkpoint in {folder}")
    return found[0]
