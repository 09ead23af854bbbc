"""Links that fail and come back lose nothing and repeat nothing; one that stays down ends in one clear error.

Most of it is waiting, so the cases of a test run at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mplframe.contracts.data import Split
from mplframe.errors import UserError

from .proxy import CUTS, KINDS, Fault, FaultProxy, Kind, Schedule, always, fault_proxy, never, some
from .servers import Store
from .support import READERS, Epoch, Reader, assert_same, epochs, training_split

SHORT, LONG = 0.5, 20.0
"""Seconds after which a client gives a request up: where requests stall, and elsewhere."""

PLACES = (0, 20, 1_000, 70_000)
"""Bytes of a response that get through: none, part of its head, part of the first image, many images."""

BOUND = 60.0
"""Seconds within which a reader has to give up."""


@dataclass(frozen=True)
class Case:
    """A store behind a proxy."""

    store: Store
    reader: Reader
    kind: Kind
    schedule: Schedule

    def split(self, proxy: FaultProxy, cache: Path, **config: Any) -> Split:
        """The shards as they are seen through the proxy; the driver's time-out comes before ours."""
        patience = SHORT if self.kind == "stall" else LONG
        folder = cache / f"{self.store.name}-{proxy.port}"
        return training_split(self.store.at(proxy.port, patience), self.reader, folder, timeout=2 * patience, **config)


def at_once(check: Callable[[Case], None], cases: Iterable[Case]) -> None:
    """A check of each case, in threads; raises the first failure, with its case."""

    def noted(case: Case) -> None:
        try:
            check(case)
        except BaseException as error:
            error.add_note(str(case))
            raise

    everything = list(cases)
    with ThreadPoolExecutor(len(everything)) as pool:
        list(pool.map(noted, everything))


def every_third(kind: Kind) -> Schedule:
    """Every third response is struck, at each of the places in turn."""
    return lambda number: None if number % 3 else Fault(kind, PLACES[number // 3 % len(PLACES)])


def test_every_third_response_is_struck(
    s3: Store, http: Store, http_plain: Store, cache: Path, expected: Epoch
) -> None:
    def check(case: Case) -> None:
        with fault_proxy(case.store.port, case.schedule) as proxy:
            assert_same(epochs(case.split(proxy, cache)), expected)
        assert proxy.struck[case.kind] >= 2

    ways = [*product((s3, http), READERS), (http_plain, "auto")]
    at_once(check, (Case(*way, kind, every_third(kind)) for way, kind in product(ways, KINDS)))


def test_every_response_dies_at_the_same_byte(s3: Store, http: Store, cache: Path, expected: Epoch) -> None:
    def check(case: Case) -> None:
        with fault_proxy(case.store.port, case.schedule) as proxy:
            assert_same(epochs(case.split(proxy, cache)), expected)
        assert proxy.struck[case.kind]

    ways = product((s3, http), CUTS)
    at_once(check, (Case(store, "indexed", kind, always(kind, 80_000)) for store, kind in ways))


def test_faults_at_random(s3: Store, http: Store, cache: Path, expected: Epoch) -> None:
    def check(case: Case) -> None:
        with fault_proxy(case.store.port, case.schedule) as proxy:
            split = case.split(proxy, cache, cache_mb=0)
            assert_same(epochs(split), expected)
            assert_same(epochs(split), expected)
        assert len(proxy.struck) >= 3

    kinds: tuple[Kind, ...] = ("reset", "close", "500", "503")
    schedules = [some(seed, share=0.25, kinds=kinds, longest=100_000) for seed in range(3)]
    at_once(check, (Case(store, "indexed", "reset", schedule) for store, schedule in product((s3, http), schedules)))


def given_up(case: Case, cache: Path) -> None:
    """One clear line that names the shard, in bounded time."""
    with fault_proxy(case.store.port, case.schedule) as proxy:
        url = f"{case.store.at(proxy.port, SHORT).url}/train-000.tar"
        begun = time.monotonic()
        with pytest.raises(UserError, match=rf"^{re.escape(url)} can't be read: .+[^\n]+$"):
            case.split(proxy, cache, labeled=url)
        assert time.monotonic() - begun < BOUND


def test_a_store_that_never_answers_is_given_up(s3: Store, http: Store, cache: Path) -> None:
    ways: list[tuple[Store, Reader, Kind]] = [
        (s3, "indexed", "stall"),
        (http, "indexed", "stall"),
        (http, "sequential", "503"),
    ]
    at_once(lambda case: given_up(case, cache), (Case(*way, always(way[-1])) for way in ways))


@pytest.mark.stores
def test_whatever_a_store_never_does(s3: Store, http: Store, cache: Path) -> None:
    ways = [*product((s3, http), READERS)]
    faults = [Fault(kind) for kind in KINDS] + [Fault("stall", 1_000)]
    cases = (Case(*way, "stall", always(fault.kind, fault.after)) for way, fault in product(ways, faults))
    at_once(lambda case: given_up(case, cache), cases)


@pytest.mark.stores
def test_a_store_that_comes_back_is_gone_on_with(http: Store, cache: Path, expected: Epoch) -> None:
    with fault_proxy(http.port) as proxy:
        split = Case(http, "indexed", "503", never).split(proxy, cache, cache_mb=0)
        assert_same(epochs(split), expected)
        proxy.schedule = always("503")
        with pytest.raises(UserError, match=r"/train-00\d.tar can't be read"):
            epochs(split)
        proxy.schedule = never
        assert_same(epochs(split), expected)
