"""What a selection came to, in a folder: numbers, a figure, and examples to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

from mplframe.data.assigned import check_key
from mplframe.data.contact_sheet import TILE, Tile, tile_sheet
from mplframe.data.shards import WebDataset
from mplframe.errors import DataError, UserError, writing
from mplframe.selection.config import ResourceConfig
from mplframe.selection.examples import Example, examples

JSON, FIGURE, EXAMPLES = "report.json", "selection.png", "examples.png"


def write_report(
    report: Mapping[str, Any],
    manifest: str,
    folder: Path,
    *,
    names: Sequence[str] = (),
    resources: ResourceConfig | None = None,
) -> str:
    """Write `report.json`, `selection.png` and, where the images can be reached, `examples.png`.

    Args:
        report: of the selection.
        manifest: where it lies.
        folder: made if need be; what an earlier selection has left there is replaced.
        names: of the classes, in index order; numbers where there are none.
        resources: what it may use.

    Returns:
        What is there, and why there are no examples where there are none: one line.

    Raises:
        UserError: the folder can't be written.
        RunError: the disk is full.
    """
    from mplframe.report.selection_figure import selection_figure  # matplotlib, slow to import

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        selection_figure(report, folder / FIGURE, names)
        (folder / EXAMPLES).unlink(missing_ok=True)
    chosen = examples(manifest, resources=resources)
    if not chosen:
        return f"{folder} has {JSON} and {FIGURE}; there is no image with a probability to show"
    try:
        rows = _tiles(chosen, names or [str(c) for c in range(len(report["rows_by_class"]))])
    except UserError as error:
        return f"{folder} has {JSON} and {FIGURE}, but no examples, because the images can't be read: {error}"
    tile_sheet(rows, folder / EXAMPLES)
    with_rows = sum(map(bool, report["rows_by_class"]))
    return (
        f"{folder} has {JSON}, {FIGURE} and {EXAMPLES}: a row for each of {len(rows)} of {with_rows} classes, "
        "the most probable images first, the least probable ones last"
    )


def _tiles(chosen: Sequence[Sequence[Example]], names: Sequence[str]) -> list[list[Tile]]:
    wanted = list(chain.from_iterable(chosen))
    shards = sorted({example.shard for example in wanted})
    split = WebDataset(WebDataset.Config(unlabeled=shards, classes=list(names))).split("unlabeled")
    assert split is not None, "it has a URL"
    starts = dict(zip(split.group_names, accumulate(split.group_sizes, initial=0), strict=False))
    numbers = [starts[example.shard] + example.index for example in wanted]
    if max(numbers) >= len(split):
        raise DataError("the shards have changed since; label and select again")
    samples = split.scaled(TILE).read(numbers)
    for example, sample in zip(wanted, samples, strict=True):
        check_key(sample.key, example.key, example.shard)
    tiles = (Tile(s.image, _caption(e, names)) for e, s in zip(wanted, samples, strict=True))
    return [list(islice(tiles, len(row))) for row in chosen]


def _caption(example: Example, names: Sequence[str]) -> str:
    """The class and its probability; an exclamation mark where it is known to be wrong."""
    wrong = "!" if example.truth not in (None, example.label) else ""
    return f"{example.probability:.2f}{wrong} {names[example.label]}"
