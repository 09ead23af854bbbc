"""Registers well, but the module of its components doesn't exist: seen only when one of them is asked for."""

from mplframe import hookimpl


@hookimpl
def mplframe_loss() -> dict[str, str]:
    return {"missing": "mplframe_broken.nowhere:Missing"}


@hookimpl
def mplframe_lookahead() -> dict[str, str]:
    # Every run that trains looks for the lookahead of its optimizer: it must not stumble over this one.
    return {"a_missing_one": "mplframe_broken.nowhere:Missing"}
