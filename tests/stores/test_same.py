"""Whatever store shards lie in, they hold the same samples in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest

from .servers import Store
from .support import READERS, Epoch, Reader, assert_same, epochs, training_split


@pytest.mark.parametrize("store", ["s3", "http", "hf"], indirect=True)
@pytest.mark.parametrize("reader", READERS)
def test_an_epoch_is_that_of_local_files(store: Store, reader: Reader, cache: Path, expected: Epoch) -> None:
    assert_same(epochs(training_split(store.direct(), reader, cache)), expected)


@pytest.mark.parametrize("reader", ["auto", "sequential"])
def test_a_store_without_byte_ranges_will_do(http_plain: Store, reader: Reader, cache: Path, expected: Epoch) -> None:
    assert_same(epochs(training_split(http_plain.direct(), reader, cache)), expected)


@pytest.mark.parametrize("store", ["s3", "http", "http_plain", "hf"], indirect=True)
def test_globs_find_the_shards(store: Store, cache: Path, expected: Epoch) -> None:
    address = store.direct()
    split = training_split(address, "auto", cache, labeled=f"{address.url}/train-*.tar")
    assert_same(epochs(split), expected)
