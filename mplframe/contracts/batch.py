"""Batches, metrics and states."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[torch.Tensor, ...]
Metrics = dict[str, torch.Tensor]
"""0-d tensors on the device, by name: means over samples, which are averaged over micro-batches and processes. Where
`NAME_of` follows `NAME`, the metric NAME is the quotient of the two, taken when both have been averaged."""
QUOTIENT = "_of"

UNKNOWN = -1
"""The label of a sample whose class isn't known."""


@dataclass(frozen=True)
class Samples:
    """N samples in two views.

    Attributes:
        weak: [N, C, H, W], uint8 pixels (normalised inside the network) or floats that are used as they are; clips of
            videos are [N, T, C, H, W].
        strong: like `weak`, strongly augmented; None where no view of it is asked for.
        labels: [N] int64; `UNKNOWN` where there is none. For unlabeled samples it is the truth where it happens to be
            known: only diagnostics may look at it.
        targets: what an earlier stage assigned to the samples, as [N, C] float32 probabilities; None where none did.
    """

    weak: torch.Tensor
    strong: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    targets: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.weak)

    def view(self, name: str) -> torch.Tensor:
        """The view `weak` or `strong`; strong falls back on weak where there is none."""
        return self.strong if name == "strong" and self.strong is not None else self.weak

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Samples:
        """The same samples with every tensor changed."""
        return replace(
            self,
            weak=change(self.weak),
            strong=None if self.strong is None else change(self.strong),
            labels=None if self.labels is None else change(self.labels),
            targets=None if self.targets is None else change(self.targets),
        )

    def split(self, parts: int) -> list[Samples]:
        """`parts` equal runs of samples.

        Raises:
            ValueError: N isn't a multiple of `parts`.
        """
        if len(self) % parts:
            raise ValueError(f"{len(self)} samples can't be split into {parts} equal parts")
        size = len(self) // parts
        return [self.map(lambda tensor, at=i * size: tensor[at : at + size]) for i in range(parts)]  # type: ignore[misc]

    @staticmethod
    def joined(parts: Sequence[Samples]) -> Samples:
        """The samples of all parts, one after the other: what `split` took apart."""
        if len(parts) == 1:
            return parts[0]
        return Samples(
            torch.cat([part.weak for part in parts]),
            _known([part.strong for part in parts]),
            _known([part.labels for part in parts]),
            _known([part.targets for part in parts]),
        )


def _known(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


@dataclass(frozen=True)
class Batch:
    """One step's samples of both streams.

    Attributes:
        labeled: samples with their class.
        unlabeled: samples without; None for methods that use none.
    """

    labeled: Samples
    unlabeled: Samples | None = None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The same batch with every tensor changed."""
        return Batch(self.labeled.map(change), None if self.unlabeled is None else self.unlabeled.map(change))

    def split(self, parts: int) -> list[Batch]:
        """`parts` micro-batches of equal size, for gradient accumulation.

        Raises:
            ValueError: a stream's size isn't a multiple of `parts`.
        """
        if parts == 1:
            return [self]
        unlabeled: list[Samples] | list[None] = [None] * parts
        if self.unlabeled is not None:
            unlabeled = self.unlabeled.split(parts)
        return [Batch(a, b) for a, b in zip(self.labeled.split(parts), unlabeled, strict=True)]


def mapped(state: Any, change: Callable[[str, Tensor], Any], path: str = "") -> Any:
    """A nested state with every tensor replaced by `change(path, tensor)`; a path is like `state/module/weight`."""
    if isinstance(state, Tensor):
        return change(path, state)
    if isinstance(state, dict):
        # A copy, not a new one: torch keeps versions of modules in an attribute of its state dicts.
        found = copy.copy(state)
        for key, value in state.items():
            found[key] = mapped(value, change, f"{path}/{key}" if path else str(key))
        return found
    if isinstance(state, list | tuple):
        return type(state)(mapped(value, change, f"{path}/{i}" if path else str(i)) for i, value in enumerate(state))
    return state
