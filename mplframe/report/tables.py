"""Tables for people, from the plain data that programs get as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

UNITS = ("", "K", "M", "G", "T", "P", "E")


def short(number: float, *, base: int = 1000, unit: str = "") -> str:
    """`480.3 M`, `1.8 GiB`: four figures at most."""
    scale = 0
    while abs(number) >= base and scale < len(UNITS) - 1:
        number, scale = number / base, scale + 1
    prefix = UNITS[scale] + ("i" if base == 1024 and scale else "")
    return f"{number:.4g} {prefix}{unit}".rstrip() if scale or number % 1 else f"{int(number)} {unit}".rstrip()


def size(count: float) -> str:
    """Bytes in binary units."""
    return short(count, base=1024, unit="B")


def summary_table(summary: Mapping[str, Any], folder: Path) -> RenderableType:
    """What a run came to: every stage's networks, the main one beside its baselines."""
    table = plain_table("stage", "network", "top-1", "top-5", "seconds")
    for stage, found in summary["stages"].items():
        for role, metrics in found.get("networks", {}).items():
            top5 = _percent(metrics["top5"]) if "top5" in metrics else ""
            table.add_row(stage, role, _percent(metrics.get("top1")), top5, f"{found['seconds']:.0f}")
    lines = [f"student {_percent(summary['final'].get('top1'))} top-1 on the {summary['split']} split"]
    lines += [f"{name} alone {_percent(m.get('top1'))}" for name, m in summary["baselines"].items()]
    return Group(table, f"{'; '.join(lines)}. Everything is in {folder}")


def networks_table(results: Mapping[str, Any]) -> RenderableType:
    """Metrics of the networks of a checkpoint."""
    names = list(dict.fromkeys(name for metrics in results["networks"].values() for name in metrics))
    table = plain_table("network", *names)
    for role, metrics in results["networks"].items():
        table.add_row(role, *(f"{metrics[name]:.4f}" if name in metrics else "" for name in names))
    return Group(f"{results['stage']} after {results['step']} steps", table)


def dataset_table(found: Mapping[str, Any]) -> RenderableType:
    """What a dataset holds."""
    table = plain_table(
        "split", "shards", "samples", "looked at", "image sizes", "videos", "without label", "fewest of a class", "most"
    )
    for name, split in found["splits"].items():
        counts = {label: count for label, count in split["class_counts"].items() if count} or {"": 0}
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        sizes = ["x".join(map(str, found["shape"])) for found in split["image_sizes"]]
        table.add_row(
            name,
            str(split["shards"]),
            f"{split['samples']:,}",
            f"{split['read']:,}",
            ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""),
            str(split["videos"]),
            str(split["without_label"]),
            f"{few} ({counts[few]})",
            f"{many} ({counts[many]})",
        )
    problems = [f"{problem['split']}: {problem['reason']}" for problem in found["problems"]]
    classes = f"{len(found['classes'])} classes" if found["classes"] else "nothing says which classes there are"
    return Group(table, classes, *problems, *_notes(found))


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    for name, split in found["splits"].items():
        sizes = split["shard_bytes"]
        if sizes is not None:
            smallest, median, largest = (size(sizes[key]) for key in ("smallest", "median", "largest"))
            total = size(sizes["total"])
            yield f"{name}: {total} in shards of {median} (median; smallest {smallest}, largest {largest})"
        if split["damage"]:
            first = split["damage"][0]
            more = f" and {len(split['damage']) - 1} more" if len(split["damage"]) > 1 else ""
            yield f"{name}: damaged: {first['where']} {first['key']}: {first['reason']}{more}"


def plugins_table(listing: Mapping[str, Any]) -> RenderableType:
    """Components and plugins."""
    table = plain_table("kind", "name", "from", "class")
    for entry in listing["components"]:
        table.add_row(entry["kind"], entry["name"], entry["origin"], entry["path"])
    plugins = plain_table("plugin", "version", "entry point", "state")
    for plugin in listing["plugins"]:
        state = f"broken: {plugin['broken']}" if plugin["broken"] else "sound"
        plugins.add_row(plugin["name"], plugin["version"], plugin["entry_point"], state)
    return Group(table, plugins)


def plain_table(*columns: str) -> Table:
    """An empty table without rules."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
