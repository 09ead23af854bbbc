"""Emulators of other stores, which have to be installed: see `servers`. Left out unless asked for by `-m stores`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mplframe.errors import UserError

from .proxy import always, fault_proxy, some
from .servers import Store
from .support import READERS, Epoch, Reader, assert_same, epochs, training_split

pytestmark = pytest.mark.stores

STORES = pytest.mark.parametrize("store", ["az", "gs", "hf"], indirect=True)


@STORES
@pytest.mark.parametrize("reader", READERS)
def test_an_epoch_is_that_of_local_files(store: Store, reader: Reader, cache: Path, expected: Epoch) -> None:
    assert_same(epochs(training_split(store.direct(), reader, cache)), expected)


@STORES
def test_ranges_alone_will_do(store: Store, cache: Path, expected: Epoch) -> None:
    assert_same(epochs(training_split(store.direct(), "indexed", cache, cache_mb=0)), expected)


@STORES
def test_globs_find_the_shards(store: Store, cache: Path, expected: Epoch) -> None:
    address = store.direct()
    split = training_split(address, "auto", cache, labeled=f"{address.url}/train-*.tar")
    assert_same(epochs(split), expected)


@STORES
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("seed", [1, 2])
def test_faults_at_random(store: Store, reader: Reader, seed: int, cache: Path, expected: Epoch) -> None:
    mixed = some(seed, share=0.3, kinds=("reset", "close", "500", "503"), longest=30_000)
    with fault_proxy(store.port, mixed) as proxy:
        split = training_split(store.at(proxy.port, 5.0), reader, cache, timeout=5)
        assert_same(epochs(split), expected)
    assert proxy.struck


@STORES
def test_a_missing_shard(store: Store, cache: Path) -> None:
    address = store.direct()
    with pytest.raises(UserError, match=rf"{address.url}/train-003.tar doesn't exist; check the URL"):
        training_split(address, "auto", cache, labeled=f"{address.url}/train-{{000..003}}.tar")


@STORES
@pytest.mark.parametrize("name", ["train-000.tar", "train-*.tar"])
def test_a_missing_bucket(store: Store, name: str, cache: Path) -> None:
    address = store.direct()
    elsewhere = address.url.replace("bucket", "no-such-bucket").replace("someone", "nobody")
    with pytest.raises(UserError, match=r"/shards/train-\S+ (doesn't exist|matches no file)"):
        training_split(address, "auto", cache, labeled=f"{elsewhere}/{name}")


@STORES
def test_a_store_that_never_answers_is_given_up(store: Store, cache: Path) -> None:
    with fault_proxy(store.port, always("reset")) as proxy:
        address = store.at(proxy.port, 1.0)
        with pytest.raises(UserError, match=rf"{address.url}/train-000.tar can't be read"):
            training_split(address, "auto", cache, timeout=1, labeled=f"{address.url}/train-000.tar")
