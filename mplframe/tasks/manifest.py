"""A manifest that was made outside of the run, in the place of labelling and selecting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.checkpoint.files import write_atomic
from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Split
from mplframe.contracts.method import TaskContext, TaskPlan
from mplframe.data.assignment import Assignment, assigned_split, read_assignment
from mplframe.data.readers.files import STORES
from mplframe.errors import DataError

MANIFEST = "manifest.parquet"
"""Its name in the folder of a task."""


def manifest_plan(url: str, folder: str, *, suffix: str, soft: bool) -> TaskPlan:
    """The task `manifest`: checks a manifest against the unlabeled split and keeps a copy, which is what counts.

    Args:
        url: of the manifest.
        folder: name of the folder that the copy goes to, as of `Streams.assigned`.
        suffix: of the task's name.
        soft: samples are taken for their distributions, else for their class.
    """

    def take(context: TaskContext) -> Mapping[str, Any]:
        copy = context.folder(folder) / MANIFEST

        def work() -> Mapping[str, Any]:
            if not copy.exists():
                _check(url, read_assignment(url), context.split("unlabeled"), context.spec.classes, soft=soft)
                _copy(url, copy, soft=soft)
            return _summary(read_assignment(str(copy)), context.spec.classes)

        found = context.backend.on_main(work)
        context.tell(f"{found['selected']} images of {url}, {found['samples']} samples")
        return found

    return TaskPlan(f"manifest{suffix}", (), take)


def _check(url: str, given: Assignment, split: Split, classes: int, *, soft: bool) -> None:
    if soft and given.distribution is None:
        raise DataError(
            f"{url} has no distributions for soft labels; make one with `mplframe label --distribution float32` and "
            "`mplframe select --set distribution=true`, or set pseudo_labels.labels: hard"
        )
    assigned_split(split, given, classes).check_keys()


def _copy(url: str, copy: Path, *, soft: bool) -> None:
    table = pq.read_table(pa.BufferReader(STORES.read(url)))
    if not soft and "distribution" in table.column_names:
        table = table.drop_columns("distribution")
    write_atomic(copy, lambda file: pq.write_table(table, file))


def _summary(given: Assignment, classes: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "selected": len(given.label),
        "samples": int(given.repeat.sum()),
        "by_class": np.bincount(given.label, weights=given.repeat, minlength=classes).astype(int).tolist(),
    }
    known = given.truth != UNKNOWN
    if known.any():
        found["correct"] = float((given.truth == given.label)[known].mean())
    return found
