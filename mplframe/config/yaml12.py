"""YAML text with the values of YAML 1.2: `off` and `no` are words, `1e-5` is a number, 010 is ten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from mplframe.errors import ConfigError

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""Plain scalars of YAML 1.2's core schema by type: how they look and how they begin; and the merge key of 1.1."""


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of YAML 1.2: `off` and `no` are words, `1e-5` is a number. No key comes twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} comes twice", problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


class _Dumper(yaml.SafeDumper):
    """Quotes words that readers of any version take for something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Only double quotes keep these apart from a line feed.
        style = '"' if set(data) & set("\x85\u2028\u2029") else None
        return self.represent_scalar(_TAG + "str", data, style=style)


_Loader.yaml_implicit_resolvers = {}
for _type, (_pattern, _first) in _SCALARS.items():
    for _user in (_Loader, _Dumper):
        _user.add_implicit_resolver(_TAG + _type, re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor(_TAG + "int", _Loader.construct_yaml_int)
_Dumper.add_representer(str, _Dumper.represent_str)


def parse(text: str, *, where: str) -> Any:
    """Plain data from YAML text.

    Raises:
        ConfigError: not YAML; says where.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise ConfigError(f"{where} isn't valid YAML: {reason}") from error


def dump(data: Mapping[str, Any]) -> str:
    """YAML text that `parse` reads back unchanged."""
    text: str = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
