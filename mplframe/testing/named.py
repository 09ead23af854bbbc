"""Components by the name that a config gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import create_model

from mplframe.builders import Maker
from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.config.resolve import resolve
from mplframe.plugins import Components, discover


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
