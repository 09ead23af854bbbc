"""The contract of evaluators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mplframe.contracts.evaluation import Evaluator
from mplframe.testing.component import made

SAMPLES = 50
CUTS: tuple[tuple[int, ...], ...] = ((50,), (20, 20, 10), (1,) * 50)


def check_evaluator(make: Callable[[], Evaluator]) -> None:
    """Hold an evaluator against its contract.

    It gives finite numbers by name, for two classes and for ten; they don't depend on how samples are cut into batches
    nor on what was evaluated before; it reads every batch, once, and changes none.

    Args:
        make: makes the evaluator.

    Raises:
        AssertionError: names the broken promise.
    """
    evaluator = made(make, Evaluator)
    for classes in (2, 10):
        generator = torch.Generator().manual_seed(classes)
        logits = torch.randn(SAMPLES, classes, generator=generator)
        labels = torch.randint(classes, (SAMPLES,), generator=generator)
        whole = _evaluated(make(), logits, labels, CUTS[0])
        _check_values(whole)
        for cut in CUTS:
            found = _evaluated(evaluator, logits, labels, cut)
            _check_same(whole, found, f"in {len(cut)} batches")


def _evaluated(evaluator: Evaluator, logits: Tensor, labels: Tensor, cut: Sequence[int]) -> Mapping[str, float]:
    given = 0

    def outputs() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal given
        for part in zip(torch.split(logits.clone(), list(cut)), torch.split(labels.clone(), list(cut)), strict=True):
            before = [tensor.clone() for tensor in part]
            given += len(part[0])
            yield part
            assert all(map(torch.equal, part, before)), "a batch of outputs was changed in place"

    found = evaluator.evaluate(outputs(), logits.shape[1])
    assert given == SAMPLES, f"only {given} of {SAMPLES} samples were looked at"
    return found


def _check_values(metrics: Mapping[str, float]) -> None:
    assert metrics, "no metrics were given"
    for name, value in metrics.items():
        assert isinstance(name, str), f"a metric is named {name!r}, not by a string"
        assert "/" not in name, f"the metric {name!r}: the slash is put between role and metric by the engine"
        assert isinstance(value, float), f"{name} is {type(value).__name__}, not a float on the host"
        assert math.isfinite(value), f"{name} is {value} for plain noise"


def _check_same(expected: Mapping[str, float], found: Mapping[str, float], where: str) -> None:
    assert found.keys() == expected.keys(), f"other metrics {where}: {sorted(found)} and {sorted(expected)}"
    for name, value in expected.items():
        assert math.isclose(found[name], value, rel_tol=1e-5, abs_tol=1e-6), (
            f"{name} is {found[name]} {where}, and {value} in one: it must be that of the whole split"
        )
