"""Work done ahead by threads, handed over in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


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
