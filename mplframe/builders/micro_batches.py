"""Batches put together from their micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

import torch
from torch import Tensor

from mplframe.contracts.batch import Batch, Samples


def joined(parts: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
    """Batches whose micro-batches come one from each iterator; closing it closes them."""
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(closing(part))  # type: ignore[type-var]
        for batches in zip(*parts, strict=True):
            yield batches[0] if len(batches) == 1 else _batch(batches)


def _batch(parts: Sequence[Batch]) -> Batch:
    unlabeled = [part.unlabeled for part in parts if part.unlabeled is not None]
    return Batch(_samples([part.labeled for part in parts]), _samples(unlabeled) if unlabeled else None)


def _samples(parts: Sequence[Samples]) -> Samples:
    return Samples(
        torch.cat([part.weak for part in parts]),
        _known([part.strong for part in parts]),
        _known([part.labels for part in parts]),
        _known([part.targets for part in parts]),
    )


def _known(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None
