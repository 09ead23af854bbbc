"""The JSON schema of config files, with the settings of every installed component, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from mplframe.config.base import KIND_KEY, ComponentConfig
from mplframe.config.run import RunConfig

REF = "#/$defs/{model}"
WHOLE, BASED = "file", ".on_base"
"""The definition of a file, and the end of the names of those in which nothing is required."""


def json_schema(components: Mapping[str, Mapping[str, type[ComponentConfig]]]) -> dict[str, Any]:
    """A JSON schema (draft 2020-12) of a whole config file.

    Args:
        components: `Config` classes by kind and by the name that each is registered under.
    """
    models: list[type[Any]] = [RunConfig, *(config for named in components.values() for config in named.values())]
    refs, definitions = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    defs: dict[str, Any] = definitions.get("$defs", {})
    schema = dict(defs[refs[RunConfig, "validation"]["$ref"].rpartition("/")[2]])
    for kind, named in components.items():
        options = [refs[config, "validation"] for config in named.values()]
        # A name alone stands for a component with its defaults.
        defs[f"kind.{kind}"] = {"anyOf": [{"type": "string", "enum": sorted(named)}, *options]}
    for model in defs.values():
        model.get("properties", {}).get("name", {}).pop("default", None)
    # A file may leave to a profile or --set what a run requires.
    schema.pop("required", None)
    defs[WHOLE] = {**schema, "properties": {**schema["properties"], **_FILE_ONLY}}
    linked = _linked(defs)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "if": {"type": "object", "required": ["base"]},
        "then": {"$ref": REF.format(model=WHOLE + BASED)},
        "else": {"$ref": REF.format(model=WHOLE)},
        "$defs": {**linked, **{name + BASED: _partial(model) for name, model in linked.items()}},
    }


_FILE_ONLY: dict[str, Any] = {
    "base": {"type": "string", "description": "Another config file that this one is laid on, relative to it."},
    "profiles": {"type": "object", "description": "Named changes, chosen by --profile NAME or --set profile=NAME."},
}


def _linked(node: Any) -> Any:
    """The tree with every mark of a kind replaced by a reference to what is installed of it."""
    if isinstance(node, list):
        return [_linked(item) for item in node]
    if not isinstance(node, dict):
        return node
    kind = node.get(KIND_KEY)
    if kind is None:
        return {key: _linked(value) for key, value in node.items()}
    one = {"$ref": f"#/$defs/kind.{kind}"}
    rest = {key: value for key, value in node.items() if key in ("description", "title")}
    if node.get("type") == "array":
        return {**rest, "type": "array", "items": one}
    return {**rest, "anyOf": [one, {"type": "null"}]}


def _partial(node: Any) -> Any:
    """The tree with nothing required: what is left out stands in the file that this one is laid on."""
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {key: _partial(value) for key, value in node.items() if not (key == "required" and isinstance(value, list))}
    return {**rest, "$ref": node["$ref"] + BASED} if isinstance(node.get("$ref"), str) else rest
