"""A stage's real step, built and run on torch's meta device: what it allocates, without memory, data or weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from mplframe.backends.recomputed import recompute_blocks
from mplframe.backends.sharding import blocks
from mplframe.backends.single import inner
from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import ImageSpec
from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Samples, Tensors
from mplframe.contracts.method import StageContext, StagePlan
from mplframe.planning.meta import Allocations, Results, Timeline, kind_of
from mplframe.planning.probe import total_bytes
from mplframe.training.network import enough_values

Precision = Literal["fp32", "bf16"]
UNIT = 211
"""Rehearsed batches are so many times as large: a prime, so that their tensors are known by their size."""
LOW = {
    torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
    F.linear, F.scaled_dot_product_attention, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, torch.bmm,
    torch.addmm, torch.baddbmm,
}  # fmt: skip
"""What autocast computes in the low precision."""


@dataclass(frozen=True)
class Variant:
    """How a stage is rehearsed.

    Attributes:
        precision: of forwards.
        recompute: blocks keep what goes into them alone.
        gpu: optimizers step all weights at once, as torch does on GPUs.
        parts: micro-batches of the step.
    """

    precision: Precision = "fp32"
    recompute: bool = False
    gpu: bool = False
    parts: int = 1


@dataclass(frozen=True)
class Footprint:
    """Bytes of a stage's second step: the first one that finds the optimizer's state there.

    Attributes:
        timeline: of a micro-batch, all else included.
        input: of the images and labels of a whole step.
        unit: of weights that a fully sharded network gathers at once.
    """

    timeline: Timeline
    input: int
    unit: int

    def peak(self, *, micro: float = 1.0, world: int = 1, sharded: bool = False) -> int:
        """The most bytes on one device.

        Args:
            micro: size of the micro-batch of all devices, in units of the one rehearsed.
            world: devices that share it.
            sharded: they share what is shaped like weights too, and gather it unit by unit.
        """
        held = self.timeline.peak(batch=micro / world / UNIT, shards=world if sharded else 1)
        return held + self.input // world + (self.unit if sharded and world > 1 else 0)


@final
class Rehearsal(Backend):
    """A device without memory. Not a backend to train on: it isn't registered, and nothing can be fetched from it.

    Args:
        variant: how it computes.
    """

    Config = ComponentConfig

    def __init__(self, variant: Variant) -> None:
        self.device = torch.device("meta")
        self.variant = variant
        self.shapes: set[torch.Size] = set()
        self.unit = 0

    def prepare(self, module: nn.Module) -> nn.Module:
        self.shapes |= {parameter.shape for parameter in module.parameters() if parameter.ndim > 1}
        sizes = [total_bytes(block.parameters()) for block in blocks(module)]
        # The next block is gathered while one runs; what is in no block stays.
        self.unit = max(self.unit, total_bytes(module.parameters()) - sum(sizes) + 2 * max(sizes, default=0))
        if self.variant.recompute:
            # Second forwards leave running statistics alone; here there are none in the first ones either.
            for norm in module.modules():
                if isinstance(norm, _NormBase):
                    norm.track_running_stats = False
                    norm.running_mean = norm.running_var = None
            recompute_blocks(module, self.autocast)
        return module

    def settle(self, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            if self.variant.gpu and group.get("foreach", False) is None:
                group["foreach"] = True

    def place(self, batch: Batch) -> Batch:
        return batch

    def autocast(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.variant.precision == "fp32" else Autocast()

    def reduce(self, gradients: Tensors) -> Tensors:
        return gradients

    def inner(self, a: Tensors, b: Tensors) -> Tensor:
        return inner(a, b)

    def fetch(self, scalars: Sequence[Tensor]) -> list[float]:
        raise NotImplementedError("meta tensors have no values")

    def mark_step(self) -> None:
        return None


class Autocast(TorchFunctionMode):
    """What `torch.autocast` to bfloat16 does, for meta tensors, which it doesn't know."""

    def __init__(self) -> None:
        super().__init__()
        self._cast: dict[Tensor, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in LOW:
            return func(*args, **kwargs)
        return func(*map(self._low, args), **{name: self._low(value) for name, value in kwargs.items()})

    def _low(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        # Weights are cast once a block.
        if not (value.is_leaf and value.requires_grad and torch.is_grad_enabled()):
            return value.to(torch.bfloat16)
        if value not in self._cast:
            self._cast[value] = value.to(torch.bfloat16)
        return self._cast[value]


def rehearse(
    plan: StagePlan,
    context: Callable[[Backend], StageContext],
    spec: ImageSpec,
    variant: Variant,
    results: Results | None = None,
) -> Footprint:
    """Build a stage and run two steps of it.

    Args:
        plan: of the stage.
        context: what it is built with on a backend; the artifacts of earlier stages included.
        spec: of the run's images.
        variant: how.
        results: of operations, from earlier rehearsals.

    Raises:
        UserError: a batch norm would see one value a channel.
        Exception: whatever the stage raises that can't run on the meta device.
    """
    backend = Rehearsal(variant)
    seen = Allocations(lambda tensor: kind_of(tensor, weights=backend.shapes, unit=UNIT), results or Results())
    with torch.device("meta"):
        batch = _batch(plan, spec, UNIT)
        with seen:
            live = plan.build(context(backend))
            # The first step is for the optimizer's state, and to see that a micro-batch of the real size works.
            with enough_values(plan.name):
                live.step([_batch(plan, spec, 1)], 0)
            seen.restart()
            live.step([batch] * variant.parts, 0)
    return Footprint(seen.timeline(), input=plan.streams.accumulate * _bytes(batch) // UNIT, unit=backend.unit)


def _batch(plan: StagePlan, spec: ImageSpec, times: int) -> Batch:
    """So many micro-batches of the stage, without values, in one."""
    streams = plan.streams

    def samples(count: int, *, strong: bool, targets: bool) -> Samples:
        rows = times * count // streams.accumulate
        images = [torch.empty(rows, *spec.pixels(streams.size), dtype=torch.uint8) for _ in range(1 + strong)]
        assigned = torch.empty(rows, spec.classes) if targets else None
        return Samples(images[0], images[1] if strong else None, torch.empty(rows, dtype=torch.int64), assigned)

    labeled = samples(streams.labeled, strong="labeled_strong" in streams.views, targets=False)
    if not streams.unlabeled:
        return Batch(labeled)
    strong = "strong" in streams.views
    return Batch(labeled, samples(streams.unlabeled, strong=strong, targets=bool(streams.assigned)))


def _bytes(batch: Batch) -> int:
    found: list[Tensor] = []
    batch.map(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return total_bytes(found)
