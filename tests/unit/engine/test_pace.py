import time
from collections.abc import Iterator

import pytest

from mplframe.engine.loop import Pace


def slow(seconds: float) -> Iterator[int]:
    for number in range(3):
        time.sleep(seconds)
        yield number


def test_time_until_a_batch_is_there_is_waited() -> None:
    pace = Pace()
    pace.restart(100)
    assert list(pace.waiting(slow(0.05))) == [0, 1, 2]
    found = pace.look(130)
    assert found["waiting"] == pytest.approx(1, abs=0.1)
    assert 0 < found["images_per_second"] <= 30 / 0.15


def test_time_spent_on_a_batch_is_not() -> None:
    pace = Pace()
    for _ in pace.waiting(slow(0)):
        time.sleep(0.05)
    assert pace.look(3)["waiting"] < 0.5
    time.sleep(0.01)
    assert pace.look(3) == {"images_per_second": 0, "waiting": 0}
