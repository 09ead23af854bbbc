"""Whether a planned run fits on devices, and how long it takes there, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType

from mplframe.report.tables import plain_table, short, size


def device_table(cost: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Stage by stage: memory, time, and what would help where it doesn't fit; nothing where no device is asked for."""
    devices = cost["devices"]
    if devices is None:
        return
    name = f"{devices['count']} x {devices['name']}"
    table = plain_table("stage", f"memory of each of {name}", "fits", "days", "what would help", "memory then", "fits")
    for stage in cost["stages"]:
        placed = stage["on_device"]
        days = "" if placed["days"] is None else f"{placed['days']:.3g}"
        first, *more = placed["remedies"] or [None]
        table.add_row(stage["name"], size(placed["peak_bytes"]), _yes(placed["fits"]), days, *_remedy(first))
        for remedy in more:
            table.add_row("", "", "", "", *_remedy(remedy))
    yield table
    if devices["count"] > 1:
        yield f"The {devices['count']} devices share each batch; weights too only where the backend cuts them."
    yield (
        f"{devices['name']}: {size(devices['memory_bytes'])}, of which tensors may take {size(devices['room_bytes'])}; "
        f"{_rate(devices)} ({devices['source']}). Communication and reading aren't counted."
    )


def _rate(devices: Mapping[str, Any]) -> str:
    if devices["peak_flops"] is None:
        return "no peak in the run's precision, so no days"
    peak = short(devices["peak_flops"], unit="FLOP/s")
    return f"days at {devices['utilisation']:.0%} of its {devices['format']} peak of {peak}"


def _remedy(remedy: Mapping[str, Any] | None) -> tuple[str, str, str]:
    return ("", "", "") if remedy is None else (remedy["change"], size(remedy["peak_bytes"]), _yes(remedy["fits"]))


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
