"""Two-phase validation: a component's name leads through the registry to its own `Config`, which validates the rest.

Errors keep the full path of the key, whatever the depth at which a component brought its own model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.errors import ConfigError, MplframeError, nearest


class Lookup(Protocol):
    """From a kind and a name to the component's `Config` class; raises `UserError` for an unknown name."""

    def __call__(self, kind: str, name: str) -> type[ComponentConfig]: ...


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, at one path."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def resolve(model: type[BaseConfig], raw: Mapping[str, Any], lookup: Lookup) -> Any:
    """Validate plain data into `model`, with every component resolved.

    Args:
        model: the config class.
        raw: plain data, as YAML gives it.
        lookup: finds the `Config` of a component.

    Returns:
        An instance of `model`.

    Raises:
        ConfigError: lists every problem with its path.
    """
    problems: list[Problem] = []
    found = _model(model, raw, (), lookup, problems)
    if problems:
        raise ConfigError("\n".join(["the configuration isn't valid:", *(f"  {problem}" for problem in problems)]))
    return found


def kind_of(field: FieldInfo) -> str | None:
    """The kind of component that a field holds, or None."""
    return next((item.kind for item in field.metadata if isinstance(item, Kind)), None)


def _model(
    model: type[BaseConfig], raw: Any, path: tuple[Any, ...], lookup: Lookup, problems: list[Problem]
) -> BaseConfig | None:
    if isinstance(raw, model) and not isinstance(raw, ComponentConfig):
        return raw
    if not isinstance(raw, Mapping):
        problems.append(Problem(_dotted(path), f"expected a mapping of settings, got {_short(raw)}"))
        return None
    values: dict[str, Any] = {**_component_defaults(model), **{str(key): value for key, value in raw.items()}}
    wrong = set()
    for key, value in values.items():
        before = len(problems)
        if (field := model.model_fields.get(key)) is not None:
            values[key] = _field(field, value, (*path, key), lookup, problems)
        if len(problems) > before:
            wrong.add(key)
    try:
        # What is wrong below is already in the list; an object fits no field, so that only the others are judged.
        return model.model_validate({**values, **{key: object() for key in wrong}})
    except ValidationError as error:
        found = (item for item in error.errors(include_url=False) if not wrong.intersection(item["loc"][:1]))
        problems.extend(_translate(model, item, path) for item in found)
        return None


def _component_defaults(model: type[BaseConfig]) -> dict[str, Any]:
    """Defaults that name components, as plain data: they are resolved like anything that was written down."""
    return {
        key: _plain(field.get_default(call_default_factory=True))
        for key, field in model.model_fields.items()
        if not field.is_required() and (kind_of(field) is not None or _nested_model(field.annotation) is not None)
    }


def _field(field: FieldInfo, value: Any, path: tuple[Any, ...], lookup: Lookup, problems: list[Problem]) -> Any:
    kind = kind_of(field)
    if kind is not None:
        if isinstance(value, list | tuple):
            return tuple(_component(kind, item, (*path, i), lookup, problems) for i, item in enumerate(value))
        return None if value is None else _component(kind, _named(field, value), path, lookup, problems)
    nested = _nested_model(field.annotation)
    if nested is not None and value is not None:
        if get_origin(field.annotation) is tuple and isinstance(value, list | tuple):
            return tuple(_model(nested, item, (*path, i), lookup, problems) for i, item in enumerate(value))
        if get_origin(field.annotation) is dict and isinstance(value, Mapping):
            return {str(key): _model(nested, item, (*path, key), lookup, problems) for key, item in value.items()}
        return _model(nested, value, path, lookup, problems)
    return value


def _component(kind: str, value: Any, path: tuple[Any, ...], lookup: Lookup, problems: list[Problem]) -> Any:
    if isinstance(value, ComponentConfig):
        value = _plain(value)
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        problems.append(
            Problem(_dotted(path), f"expected the name of a {kind}, or settings with a `name`, got {_short(value)}")
        )
        return None
    try:
        config = lookup(kind, value["name"])
    except MplframeError as error:
        problems.append(Problem(_dotted((*path, "name")), str(error)))
        return None
    return _model(config, value, path, lookup, problems)


def _named(field: FieldInfo, value: Any) -> Any:
    """Settings without a name are those of the field's default component."""
    if not isinstance(value, Mapping) or "name" in value or field.is_required():
        return value
    default = field.get_default(call_default_factory=True)
    return {"name": default.name, **value} if isinstance(default, ComponentConfig) else value


def _nested_model(annotation: Any) -> type[BaseConfig] | None:
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseConfig)), None)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseConfig):
        return value.dump()
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _unknown(model: type[BaseConfig], key: str, path: tuple[Any, ...]) -> Problem:
    allowed = ", ".join(sorted(model.model_fields))
    return Problem(_dotted(path), f"unknown key{nearest(key, model.model_fields)} (allowed here: {allowed})")


def _translate(model: type[BaseConfig], item: Any, path: tuple[Any, ...]) -> Problem:
    full = (*path, *item["loc"])
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return _unknown(model, str(item["loc"][-1]), full)
    if item["type"] == "missing":
        return Problem(_dotted(full), "is required and not set")
    if item["type"] in ("value_error", "assertion_error"):
        return Problem(_dotted(full), item["msg"].partition(", ")[2] or item["msg"])
    return Problem(_dotted(full), f"{item['msg'][0].lower()}{item['msg'][1:]}, got {_short(item['input'])}")


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
