"""The JSON schema of config files, with the settings of every installed component, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from mplframe.config.base import KIND_KEY, ComponentConfig
from mplframe.config.run import RunConfig

REF = "#/$defs/{model}"


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
    schema["properties"] = {**schema["properties"], **_FILE_ONLY}
    whole: dict[str, Any] = _linked(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": defs}
    )
    # A file may leave to its base, a profile or --set what a run requires.
    whole.pop("required", None)
    return whole


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
