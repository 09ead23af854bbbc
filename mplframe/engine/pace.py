"""How fast a run goes, and how much of that time it waits for its data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Pace:
    """Measures from one look to the next."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, images: int) -> None:
        """Begin to measure now, after so many images."""
        self._start, self._images, self._waited = time.perf_counter(), images, 0.0

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches as they are; the time until each is there counts as waited."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            batch = next(source, None)
            self._waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def look(self, images: int) -> dict[str, float]:
        """`images_per_second` and `waiting`, the share of the time in [0, 1]; the next look measures from here.

        Args:
            images: learned from since the run began.
        """
        seconds = max(time.perf_counter() - self._start, 1e-9)
        found = {"images_per_second": (images - self._images) / seconds, "waiting": self._waited / seconds}
        self.restart(images)
        return found
