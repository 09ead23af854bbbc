"""Threads that read ahead, in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

import torch

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


def ordered(make: Callable[[Item], Result], items: Iterable[Item], *, workers: int, prefetch: int) -> Iterator[Result]:
    """`make` of every item, in order.

    Closing the iterator drops what hasn't begun, and returns when the threads have ended.

    Args:
        make: called by `workers` threads at once, each with one torch thread; what it raises is raised here.
        items: what it is called with.
        workers: threads; 0 calls it in the thread that iterates.
        prefetch: results that may wait while `workers` more are being made.
    """
    if not workers:
        yield from map(make, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mplframe-data")
    try:
        _single_threaded(pool, workers)
        todo = iter(items)
        waiting: deque[Future[Result]] = deque(pool.submit(make, item) for item in islice(todo, workers + prefetch))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(make, item) for item in islice(todo, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _single_threaded(pool: ThreadPoolExecutor, workers: int) -> None:
    """Start all threads and give each one torch thread, so that they don't fight over the cores."""
    everyone = threading.Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # the first call in a thread takes over the number set last, so it has to come first
        torch.set_num_threads(1)
        everyone.wait()

    threads = torch.get_num_threads()
    for _ in range(workers):
        pool.submit(start)
    everyone.wait()
    # The number is each thread's own, but the last one set is what threads born later begin with.
    torch.set_num_threads(threads)
