"""Registers well, but the module of its component doesn't exist: seen only when the component is asked for."""

from mplframe import hookimpl


@hookimpl
def mplframe_loss() -> dict[str, str]:
    return {"missing": "mplframe_broken.nowhere:Missing"}
