"""What `mplframe plan` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

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


NAMED = 8
"""Of a long list of names."""


def plan_table(cost: Mapping[str, Any]) -> RenderableType:
    """What a run would cost."""
    stages = plain_table("stage", "steps", "images/step", "images", "FLOPs/step", "FLOPs", "peak memory")
    networks = plain_table(
        "stage", "network", "lr", "parameters", "weights", "gradients", "optimizer", "EMA", "act./image", "FLOPs/image"
    )
    for stage in cost["stages"]:
        stages.add_row(
            stage["name"],
            f"{stage['steps']:,}",
            f"{stage['images_per_step']:,}",
            short(stage["images"]),
            short(stage["flops_per_step"]),
            short(stage["flops"]),
            size(stage["peak_bytes"]),
        )
        for network in stage["networks"]:
            networks.add_row(
                stage["name"],
                network["role"],
                "" if network["lr"] is None else f"{network['lr']:.4g}",
                short(network["parameters"]),
                *(size(network[f"{part}_bytes"]) for part in ("weight", "gradient", "optimizer", "ema", "activation")),
                short(network["forward_flops"]),
            )
    note = (
        "One FLOP is one addition or multiplication; FLOPs/image is a forward alone, act./image what it keeps for "
        "the backward. Peak memory is of all tensors on one device, in a step run without values. lr is the peak "
        "learning rate."
    )
    return Group(stages, networks, note, *_estimated(cost), *_shares(cost), *device_table(cost))


def _estimated(cost: Mapping[str, Any]) -> Iterator[str]:
    for stage in cost["stages"]:
        if stage["estimated"] and stage["steps"]:
            yield f"{stage['name']}: peak memory is an upper estimate: {stage['estimated']}"


def _shares(cost: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What one device holds, where the backend cuts networks over devices."""
    found = [(stage["name"], n) for stage in cost["stages"] for n in stage["networks"] if n["share"] is not None]
    if not found:
        return
    table = plain_table(
        "stage", "network", "state of a device", "act./image of a device", "weights whole", "maps whole"
    )
    for stage, network in found:
        share = network["share"]
        weights = f"{len(share['whole_weights'])} ({size(share['whole_bytes'])})"
        held = (size(share[f"{part}_bytes"]) for part in ("state", "activation"))
        table.add_row(stage, network["role"], *held, weights, str(len(share["whole_layers"])))
    yield table
    yield "A device holds its part of every image of its replica, and of all that can be cut. What can't (see --json):"
    for whole, roles in _alike(found).items():
        yield f"{', '.join(roles)}: {whole}"


def _alike(found: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Networks by what stays whole in them."""
    roles: dict[str, list[str]] = {}
    for stage, network in found:
        weights, layers = (_some(network["share"][f"whole_{what}"]) for what in ("weights", "layers"))
        roles.setdefault(f"weights {weights}; maps of {layers}", []).append(f"{stage} {network['role']}")
    return roles


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (", ".join(names[:NAMED]) or "none") + more
