"""A small world of components, so that config tests don't depend on what ships."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.errors import UserError, nearest


class CosineConfig(ComponentConfig):
    """A component without collaborators."""

    name: Literal["cosine"] = "cosine"
    epsilon: Annotated[float, Field(gt=0)] = 1e-6


class BaselineConfig(ComponentConfig):
    """A component around another."""

    name: Literal["baseline"] = "baseline"
    inner: Annotated[ComponentConfig, Kind("feedback")] = ComponentConfig(name="cosine")
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99


class SupervisedConfig(ComponentConfig):
    """A loss."""

    name: Literal["supervised"] = "supervised"
    weight: Annotated[float, Field(ge=0)] = 1.0


class MPLConfig(ComponentConfig):
    """A component that holds one of another kind."""

    name: Literal["mpl"] = "mpl"
    steps: Annotated[int, Field(gt=0)]
    feedback: Annotated[ComponentConfig, Kind("feedback")] = ComponentConfig(name="baseline")
    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss")] = ()


class Settings(BaseConfig):
    """Settings in a group of their own, with a component among them."""

    every: Annotated[int, Field(ge=0)] = 0
    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss")] = (ComponentConfig(name="supervised"),)


class Small(BaseConfig):
    """The whole config."""

    method: Annotated[ComponentConfig, Kind("method")]
    baselines: Annotated[tuple[ComponentConfig, ...], Kind("method")] = ()
    other: Annotated[ComponentConfig | None, Kind("feedback")] = None
    evaluation: Settings = Settings()
    log_every: Annotated[int, Field(gt=0)] = 50
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> "Small":
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


KNOWN: dict[str, dict[str, type[ComponentConfig]]] = {
    "feedback": {"cosine": CosineConfig, "baseline": BaselineConfig},
    "loss": {"supervised": SupervisedConfig},
    "method": {"mpl": MPLConfig},
}


def lookup(kind: str, name: str) -> type[ComponentConfig]:
    """The config of a known component."""
    if name not in KNOWN[kind]:
        raise UserError(f"no {kind} is named {name!r}{nearest(name, KNOWN[kind])}")
    return KNOWN[kind][name]


def small(**raw: Any) -> Small:
    """Resolve, with a method by default."""
    resolved: Small = resolve(Small, {"method": {"name": "mpl", "steps": 3}, **raw}, lookup)
    return resolved
