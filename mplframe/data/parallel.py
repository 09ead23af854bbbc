"""Threads for requests to stores, shared by everything in a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from queue import SimpleQueue
from typing import TypeVar

SHARDS = 16
"""Shards that are worked on at once."""

REQUESTS = 32
"""Requests for parts of shards that are under way at once."""

AHEAD = 4
"""Shards that are fetched ahead at once."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def over_shards(function: Callable[[Item], Result], shards: Iterable[Item]) -> list[Result]:
    """`function` of every shard, in order; raises the first error in that order. It may call `over_ranges`."""
    return _over(function, list(shards), "shards", SHARDS)


def over_ranges(function: Callable[[Item], Result], ranges: Iterable[Item]) -> list[Result]:
    """`function` of every range of bytes, in order; raises the first error in that order."""
    return _over(function, list(ranges), "ranges", REQUESTS)


def in_the_background(work: Callable[[], object]) -> None:
    """Do something that may as well fail: whoever needs it later will do it again, and meet the error then."""
    _ahead(os.getpid()).put(work)


def _over(function: Callable[[Item], Result], items: list[Item], name: str, threads: int) -> list[Result]:
    if len(items) < 2:
        return [function(item) for item in items]
    return list(_threads(name, threads, os.getpid()).map(function, items))


@cache
def _ahead(process: int) -> SimpleQueue[Callable[[], object]]:
    todo: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def work() -> None:
        while True:
            with suppress(Exception):
                todo.get()()

    for _ in range(AHEAD):
        # Daemons: a process that ends doesn't wait for what it won't read.
        threading.Thread(target=work, name="mplframe-ahead", daemon=True).start()
    return todo


@cache
def _threads(name: str, threads: int, process: int) -> ThreadPoolExecutor:
    # A pool's threads don't survive a fork, so each process has pools of its own.
    return ThreadPoolExecutor(threads, thread_name_prefix=f"mplframe-{name}")
