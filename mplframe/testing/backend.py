"""The contract of backends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mplframe.backends.single import Single
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Samples, Tensors
from mplframe.contracts.feedback import FeedbackEstimator
from mplframe.feedback.dot import Dot
from mplframe.feedback.per_example import PerExample
from mplframe.methods.mpl import MPLStage
from mplframe.randomness import seeded
from mplframe.testing.component import copied, flat, made, same, stored
from mplframe.testing.problem import Problem

STEPS = 5
OWN = "feedback_share"
"""A ratio of norms of each process's own; its mean isn't that of the whole batch."""


def check_backend(make: Callable[[], Backend], *, tolerance: float = 1e-5) -> None:
    """Hold a backend against its contract and against `single` on the CPU. Where there are several processes, all of
    them call it.

    Networks and batches come to its device with their names and numbers; a network can be copied and takes whole
    weights; gradients are averaged once, and inner products and scalars keep their values; five steps of MPL, some of
    them cut into micro-batches, end at the weights and the metrics that `single` gives in float32.

    Args:
        make: makes the backend.
        tolerance: allowed difference of weights and metrics, relative to the greatest of each tensor, or to 1.

    Raises:
        AssertionError: names the broken promise.
    """
    backend = made(make, Backend)
    try:
        _check_prepare(backend)
        _check_place(backend)
        _check_numbers(backend, tolerance)
        _check_gradient(backend, tolerance)
        _check_processes(backend)
        _check_random_numbers(backend)
        for estimator in (Dot, PerExample):
            _check_steps(backend, estimator, tolerance)
        described = backend.describe()
        assert all(isinstance(x, str) for pair in described.items() for x in pair), f"describe gave {described}"
        json.dumps(described)
    finally:
        backend.close()


def _check_prepare(backend: Backend) -> None:
    module = _network()
    names, given = list(module.state_dict()), copied(module.state_dict())
    prepared = backend.prepare(module)
    assert isinstance(prepared, nn.Module), f"prepare gave {type(prepared).__name__}, not a module"
    for what, network in {"prepare": prepared, "a deep copy": copy.deepcopy(prepared)}.items():
        state = network.state_dict()
        assert list(state) == names, f"{what} renamed {names} to {list(state)}"
        for name, tensor in state.items():
            assert tensor.device == backend.device, f"after {what} {name} is on {tensor.device}, not {backend.device}"
        differs = same(given, _whole(backend, state, given))
        assert not differs, f"{what} changed the weights or their layout for files: {differs}"
    other = {name: tensor + 1 for name, tensor in given.items()}
    prepared.load_state_dict(other)
    differs = same(other, _whole(backend, prepared.state_dict(), other))
    assert not differs, f"a prepared network that is given whole weights doesn't hold them: {differs}"


def _network() -> nn.Module:
    with seeded("network"):
        return nn.Sequential(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 3))


def _whole(backend: Backend, state: Mapping[str, Any], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's state as files hold it, in the types of `given`: a backend may keep it in wider ones."""
    return {name: tensor.to(given[name].dtype) for name, tensor in stored(backend.host(state)).items()}


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
        assert torch.equal(mean.cpu(), g), "reduce changes the gradients that all processes agree on"
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


def _check_gradient(backend: Backend, tolerance: float) -> None:
    """Of a mean over all samples, given in shares: what a process adds or averages twice is off by a whole factor."""
    images = torch.randn(4 * backend.world, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    plain, prepared = _network().eval(), backend.prepare(_network().eval())
    parameters = tuple(prepared.parameters())
    plain(images).square().mean().backward()
    mine = backend.place(Batch(Samples(images).split(backend.world)[backend.rank])).labeled.weak
    for _ in range(2):
        # Twice, as micro-batches are; the second must not count the first one's again.
        with backend.autocast():
            loss = prepared(mine).square().mean()
        (loss / 2).backward()
    found = backend.gathered(backend.reduce(tuple(p.grad for p in parameters if p.grad is not None)))
    for parameter, mean in zip(plain.parameters(), found, strict=True):
        expected = parameter.grad
        assert expected is not None
        error = float((mean.cpu() - expected).abs().max())
        assert error <= tolerance * float(expected.abs().max()), (
            f"the gradient of a mean over all samples differs from `single`'s by {error:.3g}, of "
            f"{float(expected.abs().max()):.3g}: averaged twice, or not at all?"
        )


def _check_processes(backend: Backend) -> None:
    ranks = list(range(backend.world))
    assert backend.main == (backend.rank == 0), "the first process is the main one"
    assert backend.gather(backend.rank) == ranks, f"gather gave {backend.gather(backend.rank)} of {ranks}"
    assert backend.on_main(lambda: backend.rank) == 0, "on_main loses what was done"
    assert backend.any(backend.rank == ranks[-1]), "any doesn't see the flag of the last process"
    assert not backend.any(False), "any sees a flag that none has raised"


def _check_random_numbers(backend: Backend) -> None:
    """A block's random numbers are those of its seed, and no others are taken."""

    def drawn(seed: int) -> Tensor:
        with backend.seeded(seed):
            return torch.rand(8, device=backend.device).cpu()

    before = torch.get_rng_state()
    first = drawn(1)
    assert torch.equal(first, drawn(1)), "a block with the same seed draws other numbers the second time"
    assert not torch.equal(first, drawn(2)), "blocks with different seeds draw the same numbers"
    assert torch.equal(before, torch.get_rng_state()), "seeded leaves the host's generator elsewhere than it was"


def _check_steps(backend: Backend, estimator: Callable[[], FeedbackEstimator], tolerance: float) -> None:
    expected = _learned(Single(Single.Config(device="cpu")), estimator, backend.world)
    found = _learned(backend, estimator, backend.world)
    assert found.keys() == expected.keys(), f"other weights or metrics: {sorted(found.keys() ^ expected.keys())[:3]}"
    for path, value in expected.items():
        error = float((found[path] - value).abs().max())
        scale = max(1.0, float(value.abs().max()))
        assert error <= tolerance * scale, f"after {STEPS} steps of MPL {path} differs from `single` by {error:.3g}"


def _learned(backend: Backend, estimator: Callable[[], FeedbackEstimator], world: int) -> dict[str, Tensor]:
    """Weights after a few steps of MPL, and the metrics of each step; every other step is cut into micro-batches.

    Args:
        backend: where.
        estimator: of the feedback.
        world: processes that the batches have to be large enough for.
    """
    # What is drawn for dropout differs between kinds of devices, and each process draws its own.
    problem = Problem.on(backend, dropout=0.0)
    stage = MPLStage(problem.teacher, problem.student, estimator())
    metrics: dict[str, float] = {}
    for step in range(STEPS):
        batches = problem.shares(step, parts=1 + step % 2, processes=world)
        found = {name: value for name, value in stage.step(batches, step).items() if not name.endswith(OWN)}
        backend.mark_step()
        values = backend.fetch(list(found.values()))
        metrics |= {f"{name} of step {step}": value for name, value in zip(found, values, strict=True)}
    weights = {path: leaf for path, leaf in flat(stored(backend.host(stage.state_dict()))) if isinstance(leaf, Tensor)}
    return {path: torch.as_tensor(value).cpu().double() for path, value in {**weights, **metrics}.items()}


def _copies(tensors: Tensors) -> Tensors:
    return tuple(tensor.clone() for tensor in tensors)
