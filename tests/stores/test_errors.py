"""What can be wrong with a store or with what lies there ends in one line that says so."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mplframe.errors import DataError, UserError

from .servers import Address, Store, upload
from .support import READERS, SHARDS, Reader, assert_same, epochs, training_split, write_shards

SAMPLE = 5_120
"""Bytes that a sample takes in a shard: a picture and a class, each with its header, in blocks."""

AT_ONCE = 15.0
"""Seconds within which an error that trying again can't mend has to come."""


@contextmanager
def refused(message: str, kind: type[UserError] = DataError) -> Iterator[None]:
    """The block raises one line that matches, without waiting long."""
    begun = time.monotonic()
    with pytest.raises(kind, match=message) as told:
        yield
    assert time.monotonic() - begun < AT_ONCE
    assert "\n" not in str(told.value)


@contextmanager
def strict(s3: Store) -> Iterator[None]:
    """moto checks credentials, as S3 does; it knows none."""

    def checks(after: str) -> None:
        url, plain = f"http://127.0.0.1:{s3.port}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, after.encode(), plain, method="POST"), timeout=5).close()

    checks("0")
    try:
        yield
    finally:
        checks("inf")


@pytest.mark.parametrize("store", ["s3", "http", "http_plain", "hf"], indirect=True)
def test_a_missing_shard(store: Store, cache: Path) -> None:
    address = store.direct()
    with refused(rf"{address.url}/train-003.tar doesn't exist; check the URL"):
        training_split(address, "auto", cache, labeled=f"{address.url}/train-{{000..003}}.tar")


@pytest.mark.parametrize("name", ["train-000.tar", "train-*.tar"])
def test_a_missing_bucket(s3: Store, cache: Path, name: str) -> None:
    url = f"s3://no-such-bucket/{name}"
    with refused(rf"s3://no-such-bucket/{name} (doesn't exist|matches no file)".replace("*", r"\*")):
        training_split(s3.direct(), "auto", cache, labeled=url)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["train-000.tar", "train-*.tar"])
def test_wrong_credentials(s3: Store, reader: Reader, name: str, cache: Path) -> None:
    url = f"{s3.direct().url}/{name}"
    with strict(s3), refused(rf"{url}: access refused .*check the credentials".replace("*.tar", r"\*.tar"), UserError):
        training_split(s3.direct(), reader, cache, labeled=url)


def test_no_credentials(s3: Store, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    address = s3.direct()
    options = {name: value for name, value in address.options.items() if name not in ("key", "secret")}
    with refused(r"s3://bucket/shards/train-00\d.tar.*redentials", UserError):
        training_split(Address(address.url, options), "auto", cache)


@pytest.mark.parametrize("reader", [*READERS, "auto"])
def test_without_byte_ranges_there_must_be_room_for_copies(http_plain: Store, reader: Reader, cache: Path) -> None:
    address = http_plain.direct()
    with refused(rf"{address.url}/train-00\d.tar.*ranges of bytes.*set data\.", UserError):
        epochs(training_split(address, reader, cache, cache_mb=0))


@pytest.fixture
def mutable(s3: Store, shards: Path) -> Iterator[tuple[Any, Address]]:
    """A copy of the shards on S3 that may be changed, and a filesystem to change it through."""
    address = Address("s3://bucket/mutable", s3.direct().options)
    upload(shards, address)
    fs = fsspec.filesystem("s3", **address.options)
    yield fs, address
    fs.rm("bucket/mutable", recursive=True)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("cut", [512 * 100, 512 * 100 + 200, 100])
def test_a_truncated_shard(mutable: tuple[Any, Address], shards: Path, cache: Path, reader: Reader, cut: int) -> None:
    fs, address = mutable
    fs.pipe_file("bucket/mutable/train-001.tar", (shards / "train-001.tar").read_bytes()[:cut])
    split = training_split(address, reader, cache)
    lost = split.damage[-1]
    assert (lost.key, lost.where) == ("", f"{address.url}/train-001.tar")
    assert re.search("cut short|truncated", lost.reason)
    whole = [number for number in range(sum(SHARDS)) if not SHARDS[0] <= number < SHARDS[0] + SHARDS[1]]
    found = {int(key) for key, _, _ in epochs(split)}
    assert found >= set(whole)
    assert len(found) == len(split)
    assert len(found - set(whole)) == pytest.approx(cut / SAMPLE, abs=2)


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Shards of the same names, sizes and layout with other images."""
    write_shards(tmp_path / "others", SHARDS, "train", first=1000)
    return tmp_path / "others"


def test_a_shard_rewritten_under_a_run(mutable: tuple[Any, Address], others: Path, cache: Path) -> None:
    fs, address = mutable
    split = training_split(address, "indexed", cache, cache_mb=0)
    epochs(split)
    fs.pipe_file("bucket/mutable/train-001.tar", (others / "train-001.tar").read_bytes())
    with refused(f"{address.url}/train-001.tar was changed while it was in use"):
        epochs(split)


def test_a_run_goes_on_with_its_copies(mutable: tuple[Any, Address], others: Path, cache: Path) -> None:
    fs, address = mutable
    split = training_split(address, "sequential", cache)
    before = epochs(split)
    fs.pipe_file("bucket/mutable/train-001.tar", (others / "train-001.tar").read_bytes())
    assert_same(epochs(split), before)


def test_a_shard_rewritten_between_runs(
    mutable: tuple[Any, Address], others: Path, cache: Path, tmp_path: Path
) -> None:
    fs, address = mutable
    before = epochs(training_split(address, "auto", cache))
    fs.pipe_file("bucket/mutable/train-001.tar", (others / "train-001.tar").read_bytes())
    after = epochs(training_split(address, "auto", cache))
    assert after == epochs(training_split(address, "auto", tmp_path / "fresh"))
    assert after != before
