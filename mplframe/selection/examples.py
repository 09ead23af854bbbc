"""Selected images to look at: of each class those that the teacher is surest of, and those it is least sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mplframe.io.location import locate
from mplframe.selection.config import ResourceConfig
from mplframe.selection.database import engine
from mplframe.selection.manifest import read_manifest_format


@dataclass(frozen=True)
class Example:
    """A row of a manifest: where the image lies, what it was selected for and how probable that is, its true class."""

    key: str
    shard: str
    index: int
    label: int
    probability: float
    truth: int | None


def examples(
    manifest: str,
    *,
    each: int = 4,
    classes: int = 20,
    resources: ResourceConfig | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[list[Example]]:
    """Of each class the most probable images, descending, followed by the least probable ones, descending too.

    Ties go by shard and number. An image is there once, and rows whose probability isn't known aren't there.

    Args:
        manifest: where it lies.
        each: how many of both.
        classes: how many classes at most, evenly spaced among those that have images.
        resources: what it may use.
        storage_options: what fsspec's driver takes.

    Raises:
        DataError: the manifest can't be read.
    """
    form = read_manifest_format(manifest, storage_options=storage_options)
    wanted = _spaced([c for c, n in enumerate(form.report.rows_by_class) if n], classes)
    truth = "truth" if form.scores.label else "null::int"
    with engine(resources or ResourceConfig()) as database:
        database.view("manifest", [locate(manifest, storage_options)])
        rows = database.rows(f"""
            select label, min({_struct("-probability", truth)}, {each}), min({_struct("probability", truth)}, {each})
            from manifest where label in {(*wanted, -1)} and probability is not null
            group by label order by label
        """)
    return [_line(label, best, worst) for label, best, worst in rows]


def _struct(score: str, truth: str) -> str:
    return f"""{{'score': {score}, 'shard': shard, 'index': "index", 'key': key, 'truth': {truth}}}"""


def _line(label: int, best: Sequence[Mapping[str, Any]], worst: Sequence[Mapping[str, Any]]) -> list[Example]:
    surest = [_example(row, label, -row["score"]) for row in best]
    rest = [_example(row, label, row["score"]) for row in worst]
    return [*surest, *(example for example in reversed(rest) if example not in surest)]


def _example(row: Mapping[str, Any], label: int, probability: float) -> Example:
    return Example(row["key"], str(row["shard"]), row["index"], label, probability, row["truth"])


def _spaced(classes: Sequence[int], most: int) -> list[int]:
    if len(classes) <= most:
        return list(classes)
    return [classes[round(place * (len(classes) - 1) / (most - 1))] for place in range(most)]
