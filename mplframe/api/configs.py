"""Configuration files in, validated settings out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mplframe.config import load as config_files
from mplframe.config.resolve import resolve
from mplframe.config.run import RunConfig
from mplframe.config.schema import json_schema
from mplframe.errors import ConfigError, MplframeError
from mplframe.plugins import Components, discover


@cache
def components() -> Components:
    """Every installed component; discovered once a process."""
    return discover()


def load(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    profile: str | None = None,
    installed: Components | None = None,
) -> RunConfig:
    """A validated config from a YAML file; without `out`, its run folder is `runs/` and the file's name.

    Args:
        path: the file.
        overrides: `a.b=value` each; they win over the file.
        profile: a name below the file's `profiles`.
        installed: what names may refer to; everything installed by default.

    Raises:
        ConfigError: lists every problem with its path.
    """
    raw = {"out": f"runs/{Path(path).stem}"} | config_files.read(path, overrides=overrides, profile=profile)
    return from_dict(raw, installed=installed, where=str(path))


def from_dict(
    raw: Mapping[str, Any], *, installed: Components | None = None, where: str = "the configuration"
) -> RunConfig:
    """A validated config from plain data.

    Raises:
        ConfigError: lists every problem with its path.
    """
    try:
        config: RunConfig = resolve(RunConfig, raw, (installed or components()).config)
    except ConfigError as error:
        raise ConfigError(str(error).replace("the configuration isn't valid", f"{where} isn't valid", 1)) from error
    return config


def schema(installed: Components | None = None) -> dict[str, Any]:
    """The JSON schema of config files, with the settings of every installed component.

    A component that can't be used is left out with a warning.
    """
    found = installed or components()
    named: dict[str, dict[str, Any]] = {}
    for kind, registry in found.registries.items():
        named[kind] = {}
        for name in registry.names():
            try:
                named[kind][name] = found.config(kind, name)
            except MplframeError as error:
                warnings.warn(f"left out of the schema: {error}", RuntimeWarning, stacklevel=2)
    return json_schema(named)
