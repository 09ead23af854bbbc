"""Components from their configs, collaborators first."""

from __future__ import annotations

import inspect
from typing import Any

from mplframe.config.base import ComponentConfig
from mplframe.config.resolve import kind_of
from mplframe.errors import MplframeError, PluginError
from mplframe.plugins import Components


class Maker:
    """Makes components from their configs, collaborators first.

    A component's constructor is called with its config and, by field name, with the live components behind those
    fields of its config that are marked with a kind; with the maker itself where it takes an argument `make`. Methods
    get their config alone and make what they need.
    """

    def __init__(self, components: Components) -> None:
        self.components = components

    def __call__(self, kind: str, config: ComponentConfig) -> Any:
        """The live component.

        Raises:
            PluginError: a third party's constructor failed; names the plugin.
        """
        cls = self.components.get(kind, config.name)
        collaborators = {} if kind == "method" else self._collaborators(config)
        if "make" in inspect.signature(cls).parameters:
            collaborators["make"] = self
        try:
            return cls(config, **collaborators)
        except MplframeError:
            raise
        except Exception as error:
            origin = next((e.origin for e in self.components[kind] if e.name == config.name), "")
            if origin == "mplframe":
                raise
            raise PluginError(
                f"the {kind} {config.name!r} of plugin {origin!r} failed to start: {type(error).__name__}: {error}"
            ) from error

    def _collaborators(self, config: ComponentConfig) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in type(config).model_fields.items():
            kind, value = kind_of(field), getattr(config, name)
            if kind is not None and value is not None:
                found[name] = tuple(self(kind, v) for v in value) if isinstance(value, tuple) else self(kind, value)
        return found
