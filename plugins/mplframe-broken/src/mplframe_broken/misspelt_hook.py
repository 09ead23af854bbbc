"""Implements a hook that there is none of: `feedbak` for `feedback`."""

from mplframe import hookimpl


@hookimpl
def mplframe_feedbak() -> dict[str, str]:
    return {"never_heard": "mplframe_broken.nowhere:NeverHeard"}
