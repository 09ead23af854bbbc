"""A tensor held to a layout in the middle of a computation, and its gradient too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_xla.distributed.spmd import annotate_custom_sharding

from mplframe.backends.xla.rules import Spec


def constrained(tensor: Tensor, mesh: Any, spec: Spec, gradient: Spec | None = None) -> Tensor:
    """The same values, laid out as said; with derivatives in both modes.

    Args:
        tensor: any.
        mesh: `torch_xla.distributed.spmd.Mesh`.
        spec: of the result.
        gradient: of the gradient; like the result by default.
    """
    found: Tensor = _Constrained.apply(tensor, mesh, spec, spec if gradient is None else gradient)
    return found


class _Constrained(torch.autograd.Function):
    @staticmethod
    def forward(tensor: Tensor, mesh: Any, spec: Spec, gradient: Spec) -> Tensor:
        return _annotated(tensor, mesh, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, ctx.mesh, ctx.spec, ctx.gradient = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _annotated(gradient, ctx.mesh, ctx.gradient), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _annotated(tangent, ctx.mesh, ctx.spec)


def _annotated(tensor: Tensor, mesh: Any, spec: Spec) -> Tensor:
    # The annotation is put on the tensor itself, and a weight has one already. No value is copied.
    annotated = tensor.clone()
    annotate_custom_sharding(annotated, mesh, spec)
    return annotated
