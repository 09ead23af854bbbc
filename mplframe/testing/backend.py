"""The contract of backends."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mplframe.backends.single import Single
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Samples, Tensors
from mplframe.feedback.dot import Dot
from mplframe.methods.mpl import MPLStage
from mplframe.testing.component import flat, made
from mplframe.testing.problem import Problem

STEPS = 3


def check_backend(make: Callable[[], Backend], *, tolerance: float = 1e-5) -> None:
    """Hold a backend, run by one process, against its contract and against `single` on the CPU.

    Networks and batches come to its device with their names and numbers; gradients, inner products and scalars keep
    their values; three steps of MPL end at the weights and the metrics that `single` gives in float32.

    Args:
        make: makes the backend.
        tolerance: allowed difference of weights and metrics, relative to the greatest of each tensor, or to 1.

    Raises:
        AssertionError: names the broken promise.
    """
    backend = made(make, Backend)
    try:
        assert (backend.rank, backend.world) == (0, 1), (
            f"rank {backend.rank} of {backend.world}: run this suite in one process alone"
        )
        _check_prepare(backend)
        _check_place(backend)
        _check_numbers(backend, tolerance)
        _check_alone(backend)
        _check_steps(backend, tolerance)
        described = backend.describe()
        assert all(isinstance(x, str) for pair in described.items() for x in pair), f"describe gave {described}"
        json.dumps(described)
    finally:
        backend.close()


def _check_prepare(backend: Backend) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    names = list(module.state_dict())
    prepared = backend.prepare(module)
    assert isinstance(prepared, nn.Module), f"prepare gave {type(prepared).__name__}, not a module"
    assert list(prepared.state_dict()) == names, f"prepare renamed {names} to {list(prepared.state_dict())}"
    for name, tensor in prepared.state_dict().items():
        assert tensor.device == backend.device, f"after prepare {name} is on {tensor.device}, not {backend.device}"


def _check_place(backend: Backend) -> None:
    pixels = torch.arange(2 * 1 * 4 * 4, dtype=torch.uint8).view(2, 1, 4, 4)
    batch = backend.place(Batch(Samples(pixels, labels=torch.tensor([1, -1]))))
    assert batch.unlabeled is None, "place invents unlabeled samples"
    assert batch.labeled.strong is None, "place invents a strong view"
    placed = batch.labeled
    assert placed.labels is not None, "place loses the labels"
    assert placed.weak.device == placed.labels.device == backend.device, f"place leaves tensors off {backend.device}"
    assert placed.weak.dtype == torch.uint8, f"pixels became {placed.weak.dtype}; networks normalise uint8 themselves"
    assert torch.equal(placed.weak.cpu(), pixels), "place changes pixels"
    assert placed.labels.tolist() == [1, -1], f"place changes labels: {placed.labels.tolist()}"


def _check_numbers(backend: Backend, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    host = [tuple(torch.randn(*shape, generator=generator) for shape in ((5, 3), (7,))) for _ in range(2)]
    a, b = (tuple(tensor.to(backend.device) for tensor in part) for part in host)
    for mean, g in zip(backend.reduce(_copies(a)), host[0], strict=True):
        assert torch.equal(mean.cpu(), g), "reduce changes the gradients of a process that is alone"
    found, expected = (
        backend.inner(a, b),
        sum(float((x.double() * y.double()).sum()) for x, y in zip(*host, strict=True)),
    )
    assert found.shape == (), f"inner gave {list(found.shape)}, not []"
    assert abs(float(found) - expected) <= tolerance * max(1.0, abs(expected)), (
        f"inner is {float(found)}, not {expected}"
    )
    scalars = [torch.tensor(1.5, device=backend.device), torch.tensor(0.1), torch.tensor(3, device=backend.device)]
    values = backend.fetch(scalars)
    assert all(isinstance(value, float) for value in values), f"fetch gave {values}, not floats"
    assert values == [s.double().item() for s in scalars], f"fetch of 1.5, 0.1 (on the host) and 3 gave {values}"
    assert backend.fetch([]) == [], "fetch of nothing gives something"


def _check_alone(backend: Backend) -> None:
    assert backend.main, "the only process isn't the main one"
    assert backend.gather("own") == ["own"], f"gather gave {backend.gather('own')!r} of one process that gave 'own'"
    assert backend.on_main(lambda: 3) == 3, "on_main loses what was done"


def _copies(tensors: Tensors) -> Tensors:
    return tuple(tensor.clone() for tensor in tensors)


def _check_steps(backend: Backend, tolerance: float) -> None:
    expected = _learned(Single(Single.Config(device="cpu")))
    found = _learned(backend)
    assert found.keys() == expected.keys(), f"other weights or metrics: {sorted(found.keys() ^ expected.keys())[:3]}"
    for path, value in expected.items():
        error = float((found[path] - value).abs().max())
        scale = max(1.0, float(value.abs().max()))
        assert error <= tolerance * scale, f"after {STEPS} steps of MPL {path} differs from `single` by {error:.3g}"


def _learned(backend: Backend) -> dict[str, Tensor]:
    """Weights after a few steps of MPL, and the metrics of each step; one step is cut into micro-batches."""
    problem = Problem.on(backend)
    stage = MPLStage(problem.teacher, problem.student, Dot())
    metrics: dict[str, float] = {}
    for step in range(STEPS):
        for name, value in stage.step(problem.batches(step, parts=1 + step % 2), step).items():
            metrics[f"{name} of step {step}"] = backend.fetch([value])[0]
        backend.mark_step()
    weights = {path: leaf for path, leaf in flat(stage.state_dict()) if isinstance(leaf, Tensor)}
    return {path: torch.as_tensor(value).cpu().double() for path, value in {**weights, **metrics}.items()}
