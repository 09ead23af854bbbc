"""What all contract suites share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import torch
from pydantic import create_model

from mplframe.builders import Maker
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.plugins import Components, discover

T = TypeVar("T")


def made(make: Callable[[], T], contract: type[Any]) -> T:
    """A fresh component, after a look at its class.

    Raises:
        AssertionError: it doesn't extend the contract, or has no proper `Config`.
    """
    component = make()
    assert isinstance(component, contract), f"{type(component).__name__} doesn't extend {contract.__name__}"
    check_config(type(component))
    return component


def check_config(cls: type) -> None:
    """The nested `Config` that the registry asks for: a ComponentConfig whose `name` is one literal, its default."""
    config = getattr(cls, "Config", None)
    assert isinstance(config, type), f"{cls.__name__} has no nested class Config"
    assert issubclass(config, ComponentConfig), f"{cls.__name__}.Config doesn't extend ComponentConfig"
    name = config.model_fields["name"]
    literal = get_args(name.annotation) if get_origin(name.annotation) is Literal else ()
    assert literal == (name.default,), (
        f'{cls.__name__}.Config has to fix its name, as in `name: Literal["x"] = "x"`; it has {name.annotation} = '
        f"{name.default!r}"
    )


def stored(state: Any) -> Any:
    """A state as a checkpoint gives it back.

    Raises:
        AssertionError: it holds something that a checkpoint can't: only tensors and plain values may be in it.
    """
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise AssertionError(f"a state may hold tensors and plain values only: {error}") from error


def flat(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested state with its path."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from flat(value, f"{path}/{key}")
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from flat(value, f"{path}/{index}")
    else:
        yield path or "/", state


def same(a: Any, b: Any) -> str:
    """The path of the first leaf in which two states differ by as much as a bit, or the empty string."""
    first, second = dict(flat(a)), dict(flat(b))
    if odd := first.keys() ^ second.keys():
        return min(odd)
    return next((path for path, value in first.items() if not _equal(value, second[path])), "")


def copied(state: Any) -> Any:
    """A nested state whose tensors share nothing with the original."""
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [copied(value) for value in state]
    return state.detach().clone() if isinstance(state, torch.Tensor) else state


@contextmanager
def without_values(what: str) -> Iterator[None]:
    """Within it, failing on tensors of the meta device is a broken promise: nothing may be read from the device.

    Raises:
        AssertionError: something was read.
    """
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        raise AssertionError(
            f"{what} reads a tensor on the host (by .item(), float(), bool(), .cpu() or the like), which makes every "
            f"step wait for the device; keep results as tensors: {error}"
        ) from error


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    return bool(a == b)


def named(kind: str, settings: str | Mapping[str, Any], components: Components | None = None) -> Callable[[], Any]:
    """What makes a component out of what a config file says, its collaborators included.

        check_feedback(named("feedback", {"name": "baseline", "inner": "sign"}))

    Args:
        kind: such as `feedback`.
        settings: a name, or settings with a `name`.
        components: what names refer to; everything installed by default.

    Raises:
        ConfigError: the settings aren't valid.
    """
    found = components or discover()
    model = create_model("Named", __base__=BaseConfig, component=(Annotated[ComponentConfig, Kind(kind)], ...))
    config = resolve(model, {"component": settings}, found.config).component
    make = Maker(found)
    return lambda: make(kind, config)
