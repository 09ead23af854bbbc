"""Settings that lie in a run folder, which may be a stranger's, and the data that they name.

They are the user's own word where a run of the user's wrote them, of which the cache folder keeps a digest, or where
the user says so (`trust`) or has set them anew (`--set`). From others nothing is imported, fetched or read from outside
the run folder: what a network needs, weights and class names, lies there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, final

from mplframe.builders.maker import Maker
from mplframe.checkpoint.run_folder import RunFolder
from mplframe.config import load as config_files
from mplframe.config.resolve import resolve
from mplframe.config.run import RunConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.errors import CheckpointError, ConfigError, MplframeError, UserError
from mplframe.io.files import cache_folder, write_atomic

_OUTWARD = re.compile(r"[/\\:~*]|\.\.")
"""In a text that may lead out of the run folder: a path, a URL, a pattern of them, or a function's place."""
_DEVICE = re.compile(r"(cpu|cuda|xla|mps)(:\d+)?")
_LAZY = {"webdataset": ("labeled", "unlabeled", "test"), "pipeline": ("labeled", "unlabeled", "test")}
"""Settings of datasets of ours that are looked at only when the split of that name is opened."""
_SHOWN = 5


def vouch(text: str) -> None:
    """Keep in mind that the user has run these settings; not where the cache folder can't be written."""
    with suppress(MplframeError, OSError):
        path = _kept(text.encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: file.write(b""))


def _kept(text: bytes) -> Path:
    return cache_folder() / "own" / hashlib.sha256(text).hexdigest()


@final
class StoredConfig:
    """The settings of a run folder.

    Args:
        folder: the run's.
        make: makes components.
        overrides: of the user's, `a.b=value` each.
        trust: the user vouches for them.

    Raises:
        CheckpointError: they aren't valid with what is installed, or name a base file.
    """

    def __init__(self, folder: RunFolder, make: Maker, *, overrides: Sequence[str] = (), trust: bool = False) -> None:
        self._folder, self._make = folder, make
        self._set = [text.partition("=")[0].strip() for text in overrides]
        self._trusted = trust or _kept(folder.config.read_bytes()).is_file()
        try:
            if not self._trusted and "base" in config_files.read_plain(folder.config):
                raise CheckpointError(f"{folder.config} names a base file, which no run has written; see --trust")
            raw = config_files.read(folder.config, overrides=overrides)
            if not self._trusted and isinstance(data := raw.get("data"), dict) and isinstance(data.get("classes"), str):
                raw["data"] = {**data, "classes": self.classes}
            self.config: RunConfig = resolve(RunConfig, raw, make.components.config)
        except ConfigError as error:
            raise CheckpointError(f"{folder.config} isn't valid with what is installed here: {error}") from error

    @cached_property
    def classes(self) -> list[str]:
        """Names of the run's classes, in index order.

        Raises:
            CheckpointError: the run folder doesn't say.
        """
        path = self._folder.manifest
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["classes"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path} can't be read, so nobody knows the classes of the run: {error!r}") from error
        if not isinstance(found, list) or not found or not all(isinstance(name, str) for name in found):
            raise CheckpointError(f"{path}: `classes` isn't a list of names, so nobody knows the classes of the run")
        return found

    def check(self, *keys: str, but: Sequence[str] = ()) -> None:
        """See that settings lead nowhere where they aren't the user's own.

        Args:
            keys: of the settings, such as `method`.
            but: keys below them that won't be looked at.

        Raises:
            UserError: some do; names them and what to do.
        """
        if self._trusted:
            return
        config = self.config.dump()
        found = [
            f"{path}={text[:100]}"
            for key in keys
            for path, text in _leads(config.get(key), key)
            if not any(_covers(known, path) for known in (*self._set, *but))
        ]
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise UserError(
                f"{self._folder.config} leads out of its folder, and wasn't written by a run of yours: "
                f"{', '.join(found[:_SHOWN])}{more}. Such settings may run code and read any file: set them yourself "
                "with --set KEY=VALUE, or give --trust (in Python trust=True) if you trust whoever made the run"
            )

    def check_network(self) -> None:
        """See that nothing leads out but the data; raises as `check`."""
        self.check(*(key for key in self.config.dump() if key not in ("data", "out")))

    def source(self) -> DatasetSource:
        """The run's data, which are opened when they are needed; their classes are the run's."""
        return RunData(self, self._make)


@final
class RunData(DatasetSource):
    """The data of a run that was made before.

    Args:
        stored: its settings.
        make: makes components.
    """

    def __init__(self, stored: StoredConfig, make: Maker) -> None:
        self._stored, self._make = stored, make

    @property
    def classes(self) -> Sequence[str]:
        return self._stored.classes

    def split(self, name: SplitName) -> Split | None:
        """A split of the data.

        Raises:
            UserError: they may not be opened, see `StoredConfig.check`, or have another number of classes.
        """
        lazy = _LAZY.get(self._stored.config.data.name, ())
        self._stored.check("data", but=[f"data.{other}" for other in lazy if other != name])
        return self._opened.split(name)

    def fingerprint(self) -> Mapping[str, Any]:
        self._stored.check("data")
        return self._opened.fingerprint()

    @cached_property
    def _opened(self) -> DatasetSource:
        found: DatasetSource = self._make("dataset", self._stored.config.data)
        if len(found.classes) != len(self.classes):
            raise UserError(f"the data have {len(found.classes)} classes, and the run knows {len(self.classes)}")
        return found


def _leads(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and text of everything in some settings that may lead out of the run folder."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == "storage_options" and each:
                yield f"{path}.{key}", "..."  # may hold passwords
            else:
                yield from _leads(each, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        # Names of classes may be any text.
        for number, each in enumerate(value if path != "data.classes" else ()):
            yield from _leads(each, f"{path}.{number}")
    elif isinstance(value, str) and _OUTWARD.search(value) and not _DEVICE.fullmatch(value):
        yield path, value


def _covers(key: str, path: str) -> bool:
    return path == key or path.startswith(f"{key}.")
