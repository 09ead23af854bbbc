"""Registers a free name and one that mplframe itself has; neither may be kept."""

from mplframe import hookimpl


@hookimpl
def mplframe_architecture() -> dict[str, str]:
    return {"half_registered": "mplframe_broken.nowhere:HalfRegistered"}


@hookimpl
def mplframe_feedback() -> dict[str, str]:
    return {"cosine": "mplframe_broken.nowhere:Cosine"}
