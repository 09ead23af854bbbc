"""Files on any store that fsspec knows, which appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from mplframe.errors import DataError, unwritable
from mplframe.io.requests import is_local, open_store
from mplframe.io.stores import explained, refused


@dataclass(frozen=True)
class Location:
    """A place on a store.

    Attributes:
        fs: the fsspec filesystem.
        path: on it, as the filesystem spells it.
    """

    fs: Any
    path: str

    @property
    def local(self) -> bool:
        """Whether the path can be opened as it is."""
        return is_local(self.fs)

    @property
    def url(self) -> str:
        """What names it everywhere: a plain path where it is local."""
        return self.path if self.local else str(self.fs.unstrip_protocol(self.path))

    def child(self, name: str) -> Location:
        """A file in this folder."""
        return Location(self.fs, f"{self.path.rstrip('/')}/{name}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A block that reads from here.

        Raises:
            DataError: nothing is here, or what is here is damaged.
            StoreError: in place of any other error of the storage driver.
        """
        with explained(self.url):
            try:
                yield
            except FileNotFoundError as error:
                raise DataError(f"{self.url} doesn't exist; check the path") from error
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise DataError(f"{self.url} can't be read: {error}; it is damaged, or something else") from error

    @contextmanager
    def replacing(self) -> Iterator[Any]:
        """A stream of bytes whose content stands here once the block has ended well; else nothing changes.

        A killed process leaves at most a hidden `*.part` behind, which no reader looks at.

        Raises:
            UserError: this can't be written.
            RunError: the disk is full.
        """
        folder, _, name = self.path.rpartition("/")
        part = f"{folder}/.{name}.{uuid4().hex}.part"
        try:
            self.fs.makedirs(folder, exist_ok=True)
            with self.fs.open(part, "wb") as stream:
                yield stream
                if self.local:
                    stream.flush()
                    os.fsync(stream.fileno())
            self.fs.mv(part, self.path)
        except BaseException as error:
            with suppress(Exception):
                self.fs.rm(part)
            if not isinstance(error, OSError):
                raise
            if self.local:
                raise unwritable(Path(self.path), error) from error
            raise refused(self.url, error) from error


def locate(url: str, storage_options: Mapping[str, Any] | None = None) -> Location:
    """Where a URL or a path lies.

    Raises:
        UserError: the protocol isn't known, its driver isn't installed, or refuses the options.
    """
    return Location(*open_store(url, storage_options, retries=True))
