"""What an environment has, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType

from mplframe.report.tables import plain_table


def environment_table(found: Mapping[str, Any]) -> RenderableType:
    """What `mplframe.api.doctor` gives."""
    backends = plain_table("backend", "available", "why not, and what to install")
    for backend in found["backends"]:
        backends.add_row(backend["name"], _yes(backend["available"]), backend["reason"])
    optional = plain_table("package", "version", "for", "to have it")
    for package in found["optional"]:
        have = package["version"]
        optional.add_row(package["package"], have or "missing", package["for"], "" if have else package["install"])
    datasets = plain_table("data set", "there", "where", "to have it")
    for dataset in found["datasets"]:
        to_have = "" if dataset["found"] else dataset["install"]
        datasets.add_row(dataset["name"], _yes(dataset["found"]), dataset["where"], to_have)
    return Group(*_lines(found), backends, optional, datasets, *_broken(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version or 'missing'}" for name, version in found["versions"].items())
    yield f"Python {found['python']} on {found['platform']}"
    yield versions
    yield "devices: " + "; ".join(f"{each['device']} ({each['name']})" for each in found["devices"])
    if found["process"]["of"] > 1:
        yield f"process {found['process']['rank']} of {found['process']['of']} that torchrun started"


def _broken(found: Mapping[str, Any]) -> Iterator[str]:
    for plugin in found["broken_plugins"]:
        yield f"plugin {plugin['name']} couldn't be loaded: {plugin['reason']}"
    if found["broken_plugins"]:
        yield "`mplframe plugins doctor` says what is wrong with anything that is registered"


def _yes(there: bool) -> str:
    return "yes" if there else "no"
