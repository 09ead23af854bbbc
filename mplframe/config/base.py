"""The base of every config model, and the marker of fields that hold a component of some kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

KIND_KEY = "x-mplframe-kind"


class BaseConfig(BaseModel):
    """A frozen model with strict keys. Every setting of mplframe extends it."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=False, ser_json_inf_nan="constants"
    )

    def dump(self) -> dict[str, Any]:
        """The whole tree as plain data, with the settings that each nested component brings."""
        return self.model_dump(mode="json", serialize_as_any=True)


class ComponentConfig(BaseConfig):
    """The settings of one component; `name` is the name it is registered under.

    A component overrides `name` with a literal of its own: `name: Literal["cosine"] = "cosine"`.
    """

    name: str


@dataclass(frozen=True)
class Kind:
    """Marks a field that holds the config of a component: `feedback: Annotated[ComponentConfig, Kind("feedback")]`.

    The component's own `Config` is found by name in the registry of this kind when the config is loaded.
    Works on a single component, on a list or tuple of them, and on an optional one.
    """

    kind: str

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # Only marked here: `schema.py` puts in what the installed plugins allow.
        found = handler(schema)
        holder = {"type": "array"} if found.get("type") == "array" else {}
        return {**holder, KIND_KEY: self.kind}
