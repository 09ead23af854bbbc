"""What is finished of a pack, so that it goes on where it was killed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mplframe.data.output import LOCK
from mplframe.data.writer import Shard
from mplframe.errors import UserError

JOURNAL = "journal.jsonl"


@dataclass
class Finished:
    """What is finished of a split.

    Attributes:
        shards: in order.
        end: how many samples of the split's order they stand for.
        left_out: numbers of samples among those that couldn't be decoded, and why.
    """

    shards: list[Shard] = field(default_factory=list)
    end: int = 0
    left_out: dict[int, str] = field(default_factory=dict)


class Journal:
    """One line of JSON for each finished shard, behind a line that says what is being packed.

    Args:
        folder: of the unfinished work.
        identity: of what is packed and how; what another identity has left isn't gone on from.
        restart: remove what another identity has left.

    Raises:
        UserError: another identity has left something, and `restart` isn't set.
    """

    def __init__(self, folder: Path, identity: str, *, restart: bool) -> None:
        self._path, self._identity = folder / JOURNAL, {"identity": identity}
        self._splits: defaultdict[str, Finished] = defaultdict(Finished)
        lines = _whole_lines(self._path)
        if lines and lines[0] != self._identity:
            if not restart:
                raise UserError(
                    f"{folder} holds what an unfinished pack of other images, or with other options, has left; run "
                    "that command again to finish it, or start afresh with --overwrite"
                )
            self._path.unlink()
            lines = []
        self._rewrite(lines)
        for line in lines[1:]:
            self._take(line)
        _remove_others(folder, {self._path.name, LOCK, *(file for line in lines[1:] for file in line["files"])})

    def finished(self, split: str) -> Finished:
        """What is finished of a split; not to be changed."""
        return self._splits[split]

    def add(self, split: str, shard: Shard, *, end: int, left_out: Mapping[int, str], files: list[str]) -> None:
        """Note a shard whose files are where they belong.

        Args:
            split: that it belongs to.
            shard: what was written.
            end: how many samples of the split's order this shard and those before it stand for.
            left_out: numbers of samples that were left out since the shard before, and why.
            files: its files in the folder.
        """
        line: dict[str, Any] = {
            "split": split, "shard": asdict(shard), "end": end, "left_out": list(left_out.items()), "files": files,
        }  # fmt: skip
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(_text(entry) for entry in ([line] if file.tell() else [self._identity, line]))
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        finished = self._splits[line["split"]]
        finished.shards.append(Shard(**line["shard"]))
        finished.end = line["end"]
        finished.left_out.update((int(number), reason) for number, reason in line["left_out"])

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        """Drop half a line that a killed process has left."""
        if lines:
            part = self._path.with_suffix(".part")
            part.write_text("".join(map(_text, lines)), encoding="utf-8")
            part.replace(self._path)


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """What the lines of a journal say, without a last one that a killed process has left unfinished."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _remove_others(folder: Path, keep: set[str]) -> None:
    """Remove the files of shards that weren't finished."""
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink()
