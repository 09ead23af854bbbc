"""The data of every seed, stacked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mplframe.data.packing.choice import stratified
from mplframe.data.sources.two_moons import two_moons

POINTS = 2000
NOISE = 0.1
"""Standard deviation; the paper doesn't say what it is there."""


@dataclass(frozen=True)
class Labeled:
    """Points with their class: [S, 2, L] float32 and [S, L] float32, 0 or 1."""

    x: Tensor
    y: Tensor

    def repeated(self, times: int) -> Labeled:
        """`times` copies of each, one after the other."""
        return Labeled(self.x.repeat(1, 1, times), self.y.repeat(1, times))


@dataclass(frozen=True)
class Points:
    """Everything there is to learn from; S seeds.

    Attributes:
        everything: [S, 2, 2000] all points with their truth.
        labeled: those whose class the methods are told.
    """

    everything: Labeled
    labeled: Labeled

    def times(self, settings: int) -> Points:
        """The same seeds for each of `settings` settings: row `k seeds + s` is seed s of setting k."""

        def tiled(labeled: Labeled) -> Labeled:
            return Labeled(labeled.x.repeat(settings, 1, 1), labeled.y.repeat(settings, 1))

        return Points(tiled(self.everything), tiled(self.labeled))


def draw(seeds: Iterable[int], labeled_per_class: int = 3) -> Points:
    """New points and new labels for each seed."""
    xs, ys, chosen = [], [], []
    for seed in seeds:
        points, classes = two_moons(POINTS, NOISE, np.random.default_rng(seed))
        xs.append(torch.from_numpy(points.T).float())
        ys.append(torch.from_numpy(classes).float())
        chosen.append(torch.from_numpy(stratified(classes, labeled_per_class, seed)))
    everything = Labeled(torch.stack(xs), torch.stack(ys))
    return Points(everything, take(everything, torch.stack(chosen)))


def take(labeled: Labeled, indices: Tensor) -> Labeled:
    """Those of `indices` [S, N]."""
    return Labeled(labeled.x.gather(2, indices.unsqueeze(1).expand(-1, 2, -1)), labeled.y.gather(1, indices))
