"""What both processes do in the launch that `test_equal.py` looks at; a failed assertion ends the launch."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor

from mplframe.backends.batch_norm import global_batch_norm
from mplframe.backends.ddp import DataParallel
from mplframe.backends.fsdp import FullyShardedDataParallel
from mplframe.contracts.backend import Backend
from mplframe.errors import UserError
from mplframe.feedback.taylor import Taylor
from mplframe.inference.scoring import digest
from mplframe.methods.mpl import MPLStage
from mplframe.testing.backend import check_backend
from mplframe.testing.component import flat
from mplframe.testing.problem import Problem
from mplframe.training.student import forward_mode
from tests.distributed.runs import ON_BACKENDS, run


def same_everywhere(backend: Backend, value: str | float) -> None:
    found = backend.gather(value)
    assert found == [value] * backend.world, found


def fsdp(**settings: object) -> FullyShardedDataParallel:
    given = {"device": "cpu", "threads": 1, "unit_parameters": 0, **settings}
    return FullyShardedDataParallel(FullyShardedDataParallel.Config(**given))  # type: ignore[arg-type]


def averaged_twice() -> Backend:
    """`fully_shard` has averaged the gradients of shards in the backward already."""
    backend = fsdp()
    once = backend.reduce
    backend.reduce = lambda gradients: tuple(  # type: ignore[method-assign]
        g / backend.world if isinstance(g, DTensor) else g for g in once(gradients)
    )
    return backend


def contracts() -> None:
    for make in (DataParallel, partial(fsdp, offload=True, reshard=False, channels_last=True)):
        check_backend(make)
    with pytest.raises(AssertionError, match="averaged twice"):
        check_backend(averaged_twice)


def communication(backend: Backend) -> None:
    rank = backend.rank
    assert backend.world == 2
    mixed = (torch.full((3, 2), 1.0 + rank), torch.tensor(4.0 - rank, dtype=torch.float64), torch.ones(0))
    means = backend.reduce(mixed)
    assert [mean.dtype for mean in means] == [tensor.dtype for tensor in mixed]
    assert torch.equal(means[0], torch.full((3, 2), 1.5))
    assert [mean.tolist() for mean in means[1:]] == [3.5, []]
    assert float(mixed[0][0, 0]) == 1.0 + rank, "what is averaged stays as it was"
    assert backend.fetch([torch.tensor(float(rank)), torch.tensor(2)]) == [0.5, 2.0]


def failures(backend: Backend) -> None:
    """What goes wrong in the main process alone is every process's error."""

    def wrong() -> None:
        raise UserError(f"by {backend.rank}")

    with pytest.raises(UserError, match="by 0"):
        backend.on_main(wrong)
    backend.barrier()


def batch_norm(rank: int) -> None:
    """Values, gradients, derivatives along a direction and running statistics are those of the global batch."""
    random = torch.Generator().manual_seed(0)
    x, dx = (3.0 + torch.randn(8, 3, 2, 2, generator=random, dtype=torch.float64) for _ in range(2))
    weight, bias = (torch.randn(3, generator=random, dtype=torch.float64) for _ in range(2))
    mine = slice(4 * rank, 4 * rank + 4)

    def both(images: Tensor, rows: slice, function: object) -> tuple[Tensor, ...]:
        images = images.clone().requires_grad_()
        running = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        found = function(images, *running, weight, bias, training=True, momentum=0.2)  # type: ignore[operator]
        (found.sin() * torch.arange(8.0)[rows].view(-1, 1, 1, 1)).sum().backward()
        slope = forward_mode(
            lambda given: function(*given, None, None, weight, bias, training=True),  # type: ignore[operator]
            (images.detach(),),
            (dx[rows],),
        )
        assert images.grad is not None
        return found.detach(), images.grad, slope, *running

    *whole, mean, var = both(x, slice(0, 8), F.batch_norm)
    *own, own_mean, own_var = both(x[mine], mine, global_batch_norm)
    for expected, found in zip(whole, own, strict=True):
        torch.testing.assert_close(found, expected[mine], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close((own_mean, own_var), (mean, var), rtol=1e-12, atol=1e-12)


def state(backend: Backend) -> None:
    """With statistics and dropout of its own, a process ends up with the weights, averages and h of the other."""
    problem = Problem.on(backend)
    stage = MPLStage(problem.teacher, problem.student, Taylor())
    for step in range(2):
        metrics = stage.step(problem.batches(10 * backend.rank + step, parts=2), step)
        same_everywhere(backend, float(metrics["feedback/h"]))
    tensors = {path: leaf for path, leaf in flat(stage.state_dict()) if isinstance(leaf, Tensor)}
    assert any("running_var" in path for path in tensors)
    same_everywhere(backend, digest(tensors))


def main(out: Path, one: Path) -> None:
    warnings.simplefilter("error")
    backend = DataParallel(DataParallel.Config(device="cpu", threads=1, bucket_mb=1))
    communication(backend)
    failures(backend)
    batch_norm(backend.rank)
    state(DataParallel(DataParallel.Config(device="cpu", sync_batch_norm=False)))
    contracts()
    for name, kind in ON_BACKENDS:
        run(name, out / kind / name, backend=kind)
    for name, kind, elsewhere in (("cosine", "ddp", one), ("exact", "fsdp", one), ("exact", "ddp", out / "fsdp")):
        begun = elsewhere / name / "checkpoints" / "step-000000003.pt"
        run(name, out / "moved" / f"{elsewhere.name}-{kind}", backend=kind, resume=str(begun))
    run("exact", out / "killed", backend="fsdp")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
