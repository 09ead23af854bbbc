"""Tensors without values: what they would allocate, and what a plan found."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Like = tuple[torch.Size, tuple[int, ...], torch.dtype]


@final
class Results:
    """Calls operations on meta tensors, each once for the same shapes.

    Only where there is nothing in the result but new tensors; what is a view, or is changed in place, is asked for.
    """

    def __init__(self) -> None:
        self._known: dict[Any, tuple[bool, list[Like]]] = {}

    def __call__(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What `func` gives."""
        if _changes_values_alone(func) and _is_meta(args[0]):
            return args[0] if func._schema.returns else None
        key = _key((func, args, kwargs))
        if key in self._known:
            single, likes = self._known[key]
            found = tuple(torch.empty_strided(*like[:2], dtype=like[2], device="meta") for like in likes)
            return found[0] if single else found
        out = func(*args, **kwargs)
        if _is_new(func, out):
            given = (out,) if isinstance(out, Tensor) else out
            if _storages(given).isdisjoint(_storages((args, kwargs))):
                self._known[key] = isinstance(out, Tensor), [(t.shape, t.stride(), t.dtype) for t in given]
        return out


def _changes_values_alone(func: Any) -> bool:
    """Whether an operation gives its first tensors back, with other values."""
    name = func._schema.name
    if not func._schema.is_mutable or not name.endswith("_"):
        return False
    return torch.Tag.pointwise in func.tags or name.startswith("aten::_foreach_")


def _is_meta(value: Any) -> bool:
    """Whether it is a meta tensor, or several of them. Some numbers of optimizers are kept on the host."""
    values = value if isinstance(value, tuple | list) else (value,)
    return all(isinstance(each, Tensor) and each.device.type == "meta" for each in values)


def _is_new(func: Any, out: Any) -> bool:
    return (
        all(each.alias_info is None for each in func._schema.returns)
        and isinstance(out, Tensor | tuple)
        and _is_meta(out)
    )


def _storages(values: Any) -> set[int]:
    if isinstance(values, Tensor):
        return {values.untyped_storage()._cdata}
    if isinstance(values, Mapping):
        values = values.values()
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        return set()
    return {storage for value in values for storage in _storages(value)}


def _key(value: Any) -> Any:
    """Something hashable that says as much as is known of meta tensors."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device.type
    if isinstance(value, tuple | list):
        return tuple(map(_key, value))
    if isinstance(value, Mapping):
        return tuple((name, _key(each)) for name, each in value.items())
    # 1, 1.0 and True are equal, but don't give the same types.
    return type(value), value


Kind = int
WEIGHT, FIXED, BATCH = range(3)
"""Kinds of tensors: shaped like a weight; of a size that doesn't depend on the batch; in proportion to it."""


@dataclass(frozen=True)
class Timeline:
    """What is there after each allocation that nothing was given back before.

    Attributes:
        bytes: [moments, 3] int64, by kind.
    """

    bytes: NDArray[np.int64]

    def peak(self, *, batch: float = 1.0, shards: int = 1) -> int:
        """The most bytes that are there at once.

        Args:
            batch: size of the batch, in units of the one that was recorded.
            shards: devices that share what is shaped like weights.
        """
        return round(float((self.bytes @ np.array([1.0 / shards, 1.0, batch])).max(initial=0.0)))


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A block whose meta tensors are recorded; none of them takes memory.

    What an operation allocates inside itself, such as a convolution's workspace, isn't seen.

    Args:
        kind: of a new tensor.
        results: calls operations.
    """

    def __init__(self, kind: Callable[[Tensor], Kind], results: Results) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = kind
        self._results = results
        self._live = [0, 0, 0]
        self._moments: list[tuple[int, ...]] = []
        self._growing = False
        self._ends: dict[int, weakref.ref[Any]] = {}

    def restart(self) -> None:
        """Forget all moments but the present one."""
        self._moments, self._growing = [tuple(self._live)], True

    def timeline(self) -> Timeline:
        """Since the beginning, or the last `restart`."""
        return Timeline(np.array(self._moments or [(0, 0, 0)], dtype=np.int64))

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Some operations refuse generators on the meta device, where nothing is drawn.
        out = self._results(func, args, {name: value for name, value in (kwargs or {}).items() if name != "generator"})
        for each in out if isinstance(out, tuple | list) else (out,):
            if isinstance(each, Tensor) and each.device.type == "meta":
                self._add(each)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._ends or not size:
            return
        kind = self._kind(tensor)
        self._ends[key] = weakref.ref(storage, lambda _: self._drop(key, kind, size))
        self._live[kind] += size
        if self._growing:
            self._moments[-1] = tuple(self._live)
        else:
            self._moments.append(tuple(self._live))
        self._growing = True

    def _drop(self, key: int, kind: Kind, size: int) -> None:
        del self._ends[key]
        self._live[kind] -= size
        self._growing = False


def kind_of(tensor: Tensor, *, weights: set[torch.Size], unit: int) -> Kind:
    """What a tensor belongs to.

    Args:
        tensor: any.
        weights: shapes of weights.
        unit: a prime that divides the batch, and hardly anything else.
    """
    if tensor.shape in weights:
        return WEIGHT
    return BATCH if tensor.untyped_storage().nbytes() % unit == 0 else FIXED
