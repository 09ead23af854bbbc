"""Tables that are printed: a run's environment and results, selections, sweeps."""

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
            table.add_row(stage, role, _accuracy(metrics), top5, f"{found['seconds']:.0f}")
    lines = [f"student {_accuracy(summary['final'])} top-1 on the {summary['split']} split"]
    lines += [f"{name} alone {_accuracy(m)}" for name, m in summary["baselines"].items()]
    if summary["best"] is not None:
        lines.append(f"best.pt was chosen on the {summary['best']['split']} split")
    return Group(table, f"{'; '.join(lines)}. Everything is in {folder}")


def networks_table(results: Mapping[str, Any]) -> RenderableType:
    """Metrics of the networks of a checkpoint."""
    named = dict.fromkeys(name for metrics in results["networks"].values() for name in metrics)
    names = [name for name in named if name != "n" and not name.endswith("_interval")]
    table = plain_table("network", *names)
    for role, metrics in results["networks"].items():
        table.add_row(role, *(_metric(metrics, name) for name in names))
    return Group(
        f"{results['stage']} after {results['step']} steps, judged on {results['split']}", table, *_chosen(results)
    )


def _chosen(results: Mapping[str, Any]) -> Iterator[str]:
    if results["chosen"] is not None:
        yield f"this checkpoint was chosen on the {results['chosen']['split']} split"


def _metric(metrics: Mapping[str, Any], name: str) -> str:
    """`0.6667 (of 33, 0.4964 to 0.8025)`."""
    if name not in metrics:
        return ""
    low, high = metrics.get(f"{name}_interval", (None, None))
    return f"{metrics[name]:.4f}" + ("" if low is None else f" (of {metrics['n']}, {low:.4f} to {high:.4f})")


def _accuracy(metrics: Mapping[str, Any]) -> str:
    """`66.7 % of 33, 50 to 80`: with the interval that holds the true one with 95 % confidence."""
    if "top1_interval" not in metrics:
        return _percent(metrics.get("top1"))
    low, high = (f"{100 * bound:.0f}" for bound in metrics["top1_interval"])
    return f"{_percent(metrics['top1'])} of {metrics['n']}, {low} to {high}"


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


WIDTH = 40

FEW = 20
"""Up to this many classes are listed; of more, those with the fewest and the most samples."""


def selection_table(report: Mapping[str, Any]) -> RenderableType:
    """The report of `mplframe.selection` as tables: what became of all images, classes and confidence before and after.

    Args:
        report: as `mplframe.api.select` returns it.
    """
    fates = Table("images", "", box=None, pad_edge=False, header_style="bold")
    tally = report["tally"]
    rows = {"scored": tally["images"], **{f"dropped: {rule}": n for rule, n in report["dropped"].items() if n}}
    for name, count in {**rows, "selected": report["selected"]}.items():
        fates.add_row(name, f"{count:,}")
    repeated = report["copies"] - report["rows"]
    lines = [f"{report['rows']:,} rows + {repeated:,} repetitions = {report['copies']:,} samples, in {report['out']}"]
    filled = [n for n in report["copies_by_class"] if n]
    if filled:
        empty = len(report["copies_by_class"]) - len(filled)
        lines.append(f"samples a class: {min(filled):,} to {max(filled):,}; {empty} classes have none")
    if report["known"]:
        lines.append(f"{100 * report['correct'] / report['known']:.1f} % of the known labels are right")
    if "report" in report:
        lines.append(report["report"])
    return Group(fates, *lines, _classes(report), _histogram(tally["confidence"], report["confidence"]))


def _classes(report: Mapping[str, Any]) -> Table:
    table = Table("class", "scored", "candidates", "rows", "samples", box=None, pad_edge=False, header_style="bold")
    copies = report["copies_by_class"]
    order = sorted(range(len(copies)), key=lambda c: (copies[c], c)) if len(copies) > FEW else list(range(len(copies)))
    tally = report["tally"]
    for place, c in enumerate(order if len(order) <= FEW else [*order[: FEW // 2], *order[-FEW // 2 :]]):
        if len(order) > FEW and place == FEW // 2:
            table.add_row(f"... {len(order) - FEW:,} more")
        counts = (tally["predicted"][c], tally["candidates"][c], report["rows_by_class"][c], copies[c])
        table.add_row(report["names"][c] if report["names"] else str(c), *(f"{count:,}" for count in counts))
    return table


def _histogram(before: list[int], after: list[int]) -> Table:
    table = Table("confidence", "scored", "", "selected", box=None, pad_edge=False, header_style="bold")
    most = max(*before, *after, 1)
    for bin_, (scored, selected) in enumerate(zip(before, after, strict=True)):
        if scored or selected:
            bar = "#" * round(WIDTH * scored / most)
            table.add_row(f"{bin_ / len(before):.2f}", f"{scored:,}", bar, f"{selected:,}")
    return table


SHOWN = 10
JUDGED = "the labeled samples held out of training; best.yaml is judged on the test split"


def sweep_table(found: Mapping[str, Any]) -> RenderableType:
    """The best complete trials, how many there are of each state, and what they were judged on.

    Args:
        found: what `mplframe.search.folder.report` returns.
    """
    complete = [trial for trial in found["trials"] if trial["state"] == "complete"]
    ranked = sorted(complete, key=lambda trial: trial["value"], reverse=found["direction"] == "maximize")
    keys = list(dict.fromkeys(key for trial in ranked for key in trial["values"]))
    table = Table("trial", found["metric"], "seconds", box=None, pad_edge=False, header_style="bold")
    for key in keys:
        share = found["importance"].get(key)
        table.add_column(key if share is None else f"{key} ({100 * share:.0f} %)", overflow="fold")
    for trial in ranked[:SHOWN]:
        cells = [str(trial["number"]), f"{trial['value']:.4f}", f"{trial['seconds']:.0f}"]
        table.add_row(*cells, *(_short(trial["values"].get(key)) for key in keys))
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    lines = [f"{len(found['trials'])} trials: {counts}; judged on {JUDGED}."]
    if found["importance"]:
        lines += ["Percentages: each parameter's share of the metric's variance (fANOVA)."]
    if found["best"] is not None:
        lines += [f"The best configuration: {found['out']}/best.yaml"]
    return Group(table, *lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
