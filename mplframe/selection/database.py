"""The database that selection runs in: DuckDB, with a limit on memory and a folder for what doesn't fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mplframe.errors import DataError, RunError, UserError, optional
from mplframe.io.location import Location
from mplframe.selection.config import ResourceConfig

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_SHARE = 0.7
"""The part of the memory that the database may fill: its limit counts neither readers of Parquet nor Python itself."""


class Engine:
    """An SQL database that lives as long as one selection. Made by `engine`."""

    def __init__(self, connection: DuckDBPyConnection, resources: ResourceConfig) -> None:
        self._connection, self._resources = connection, resources

    def run(self, sql: str) -> None:
        """Carry out one statement."""
        with self._explained():
            self._connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a (small) result."""
        with self._explained():
            return self._connection.execute(sql).fetchall()

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """A result of any size, `rows` at a time."""
        with self._explained():
            yield from self._connection.sql(sql).to_arrow_reader(rows)

    def view(self, name: str, files: Sequence[Location]) -> None:
        """Make the rows of Parquet files a view; its column `filename` tells which file they come from."""
        for fs in {type(file.fs): file.fs for file in files if not file.local}.values():
            self._connection.register_filesystem(fs)
        urls: Any = [file.url for file in files]
        with self._explained():
            self._connection.read_parquet(urls, hive_partitioning=False, filename=True).create_view(name)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Append rows to a table."""
        with self._explained():
            self._connection.register("incoming", rows)
            self._connection.execute(f"insert into {table} select * from incoming")
            self._connection.unregister("incoming")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except (duckdb.Error, OSError) as error:  # it is an OSError where a result is being read
            said = str(error).partition("\n")[0]
            if said.startswith("Out of Memory"):
                raise RunError(
                    f"selection has filled its memory ({self._resources.memory_gib:g} GiB) and its scratch folder "
                    f"({self._resources.scratch or 'the temporary folder of the system'}): {said}; "
                    "set scratch to a disk with more room, or allow more memory"
                ) from error
            if isinstance(error, duckdb.IOException | duckdb.InvalidInputException | OSError):
                raise DataError(f"selection can't read or write a file: {said}") from error
            raise


@contextmanager
def engine(resources: ResourceConfig) -> Iterator[Engine]:
    """A database that keeps to these resources; its scratch files are gone afterwards.

    Raises:
        UserError: DuckDB isn't installed, or the scratch folder can't be used.
        RunError: within the block, memory and scratch folder are full.
    """
    duckdb = optional("duckdb", "duckdb")
    try:
        scratch = TemporaryDirectory(prefix="mplframe-select-", dir=resources.scratch)
    except OSError as error:
        raise UserError(
            f"scratch: {resources.scratch} can't be used ({error.strerror}); name another folder"
        ) from error
    settings = {
        "threads": resources.threads,
        "memory_limit": f"{max(1, int(resources.memory_gib * _SHARE * 1024))}MiB",
        "temp_directory": scratch.name,
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
    }
    with scratch, duckdb.connect(config=settings) as connection:
        yield Engine(connection, resources)
