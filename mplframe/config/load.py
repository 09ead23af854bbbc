"""YAML 1.2 files into plain values, with bases and profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mplframe.errors import ConfigError, nearest

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


def read(path: str | Path, *, overrides: Sequence[str] = (), profile: str | None = None) -> dict[str, Any]:
    """The merged, not yet validated settings of a config file: base file < file < profile < overrides.

    Args:
        path: a YAML file.
        overrides: `a.b=value` each; numbers index lists.
        profile: a name below the file's `profiles`; `profile=NAME` among the overrides does the same. Null in place of
            a profile's settings takes away the one of the base file.

    Returns:
        Plain data without the keys `base`, `profiles` and `profile`.

    Raises:
        ConfigError: no such file, not YAML, an unknown profile, an override that leads nowhere.
    """
    data = _read_with_base(Path(path), ())
    changes = [_parse_override(text) for text in overrides]
    chosen = [value for keys, value in changes if keys == ["profile"]]
    profiles = data.pop("profiles", None)
    for name in [*([profile] if profile else []), *chosen]:
        data = merge(data, _profile(profiles, str(name), path))
    return _changed(data, changes)


def overridden(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Settings with `a.b=value` overrides laid on them.

    Raises:
        ConfigError: an override that leads nowhere.
    """
    return _changed(dict(data), [_parse_override(text) for text in overrides])


def _changed(data: dict[str, Any], changes: Sequence[tuple[list[str], Any]]) -> dict[str, Any]:
    for keys, value in changes:
        if keys != ["profile"]:
            data = _with(data, keys, value, ".".join(keys))
    return data


def _profile(profiles: Any, name: str, path: str | Path) -> Mapping[str, Any]:
    given = {} if profiles is None else profiles
    if not isinstance(given, Mapping):
        raise ConfigError(f"{path}: `profiles` holds {given!r}, not a mapping of names to settings")
    named = {key: value for key, value in given.items() if value is not None}
    if name not in named:
        raise ConfigError(
            f"{path} has no profile {name!r}{nearest(name, named)} (it has: {', '.join(map(str, named)) or 'none'})"
        )
    settings = named[name]
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{path}: the profile {name!r} holds {settings!r}, not a mapping of settings")
    return settings


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: mappings merge key by key, everything else is replaced.

    A mapping whose `name` differs from the one below replaces it whole: it is another component, with other settings.
    """
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and not _renamed(below, value):
            result[key] = merge(below, value)
        else:
            result[key] = value
    return result


def _renamed(below: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    return "name" in below and "name" in over and below["name"] != over["name"]


def read_plain(path: Path) -> dict[str, Any]:
    """What stands in one file, without its base and with its profiles.

    Raises:
        ConfigError: no such file, or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"no config file at {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the config file {path}: {error}") from error
    data = parse(text, where=str(path))
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} holds {type(data).__name__}, not a mapping of settings")
    return dict(data)


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    data = read_plain(path)
    base = data.pop("base", None)
    if base is None:
        return data
    parent = (path.parent / str(base)).resolve()
    if parent in (*seen, path.resolve()):
        raise ConfigError(f"{path}: `base: {base}` leads in a circle")
    return merge(_read_with_base(parent, (*seen, path.resolve())), data)


def _parse_override(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {text!r}: write it as KEY=VALUE, such as `--set method.steps=100`")
    return keys, parse(value, where=f"--set {text}")


def _with(data: Any, keys: Sequence[str], value: Any, full: str) -> Any:
    """A copy of `data` with the value at the path `keys` replaced."""
    key, rest = keys[0], keys[1:]
    if isinstance(data, list | tuple):
        items = list(data)
        if not key.isdecimal() or int(key) >= len(items):
            raise ConfigError(f"--set {full}: {key!r} isn't an index of a list of {len(items)} (0 to {len(items) - 1})")
        items[int(key)] = _with(items[int(key)], rest, value, full) if rest else value
        return items
    if isinstance(data, str):
        data = {"name": data}  # `feedback: cosine` is short for `feedback: {name: cosine}`
    if data is not None and not isinstance(data, Mapping):
        raise ConfigError(f"--set {full}: {key!r} leads into {data!r}, which has no settings below it")
    result = dict(data or {})
    result[key] = _with(result.get(key), rest, value, full) if rest else value
    return result
