import logging
from pathlib import Path

import pytest

from mplframe.data.shards.access import TOGETHER, Access
from mplframe.data.shards.cache import ShardCache
from mplframe.data.shards.content import Files, Ranges
from mplframe.data.shards.listing import Shard
from mplframe.data.stream import Order
from mplframe.errors import UserError
from mplframe.io.stores import Stores

MIB = 1 << 20


def shards(count: int, size: int | None = MIB) -> list[Shard]:
    return [Shard(f"memory://b/{i}.tar", size, "v") for i in range(count)]


def access(found: list[Shard], mebibytes: int | None, ranges: bool | None, folder: Path) -> Access:
    stores = Stores(ranges=ranges)
    return Access(found, stores, None if mebibytes is None else ShardCache(folder, mebibytes * MIB, stores))


@pytest.mark.parametrize(
    ("count", "mebibytes", "ranges", "kind"),
    [
        (4, None, True, Ranges),
        (4, 15, True, Ranges),  # the other stream needs as much, and each is fetched ahead
        (4, 16, True, Files),
        (TOGETHER + 9, 4 * TOGETHER, True, Files),
        (TOGETHER + 9, 4 * TOGETHER - 1, True, Ranges),
        (4, 1, False, Files),
    ],
)
def test_copies_where_there_is_room_or_no_other_way(
    tmp_path: Path, count: int, mebibytes: int | None, ranges: bool, kind: type
) -> None:
    found = shards(count)
    assert isinstance(access(found, mebibytes, ranges, tmp_path).of(found[0]), kind)


def test_a_shard_of_unknown_size_is_fetched_whole(tmp_path: Path) -> None:
    found = shards(1, None)
    assert isinstance(access(found, 8, True, tmp_path).of(found[0]), Files)


def test_local_shards_are_read_in_place(tmp_path: Path) -> None:
    local = Shard(str(tmp_path / "a.tar"), MIB, "1")
    assert access([local], None, False, tmp_path).is_local(local)
    assert isinstance(access([local], None, False, tmp_path).of(local), Files)


@pytest.mark.parametrize("mebibytes", [None, 2])
def test_no_ranges_and_no_room_is_one_clear_error(tmp_path: Path, mebibytes: int | None) -> None:
    found = shards(2, 3 * MIB)
    with pytest.raises(UserError, match=r"b/0.tar comes only as a whole.*no room.*set data.cache_mb to at least 24"):
        access(found, mebibytes, False, tmp_path).of(found[0])


def test_fetching_again_and_again_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = shards(8)
    way = access(found, 8, False, tmp_path)
    with caplog.at_level(logging.WARNING):
        way.of(found[0])
        way.of(found[1])
    assert [record.getMessage() for record in caplog.records] == [
        "the local cache can't hold the shards that are read at once, which will be fetched again and again: "
        "set data.cache_mb to at least 32"
    ]


def test_as_many_are_read_at_once_as_training_order_shuffles_together() -> None:
    per_shard = 10
    order = Order([per_shard] * (3 * TOGETHER), seed=0, name="x")
    for window in range(3):
        taken = order.take(window * TOGETHER * per_shard, (window + 1) * TOGETHER * per_shard)
        assert len({number // per_shard for number in taken.tolist()}) == TOGETHER
