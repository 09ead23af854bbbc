"""Tasks between stages: a network labels every image, and some of them are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from mplframe.config.base import BaseConfig
from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Split
from mplframe.contracts.method import PlannedNetwork, TaskContext, TaskPlan
from mplframe.data.manifests import Assignment, assigned_split, read_assignment
from mplframe.data.readers.files import STORES
from mplframe.errors import DataError, UserError
from mplframe.inference.scoring import digest, score
from mplframe.io.files import write_atomic
from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.report import Report
from mplframe.selection.score_files import ScoreFolder, ScoreWriter
from mplframe.selection.scores import ScoreFormat
from mplframe.selection.select import select

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
            return _manifest_summary(read_assignment(str(copy)), context.spec.classes)

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


def _manifest_summary(given: Assignment, classes: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "selected": len(given.label),
        "samples": int(given.repeat.sum()),
        "by_class": np.bincount(given.label, weights=given.repeat, minlength=classes).astype(int).tolist(),
    }
    known = given.truth != UNKNOWN
    if known.any():
        found["correct"] = float((given.truth == given.label)[known].mean())
    return found


TAGGED_TOP_P = 10
"""Classes of an image that are stored where those that its tags name are ranked by their probability."""

LABELED, HELD_OUT = "labeled", "held_out"
"""What the report calls the lists of labeled images, and of those that judge or choose."""


class PseudoLabelingConfig(BaseConfig):
    """How a teacher's opinion of unlabeled images becomes training data.

    Attributes:
        labels: `soft` gives the student the teacher's distribution, `hard` the class that an image was selected for.
        precision: in which soft labels are stored.
        noisy: label strong views with dropout and stochastic depth on (Noisy Student, table 6, the last row).
        manifest: path or URL of a manifest that has been selected before, by `mplframe select`; it takes the place of
            the first teacher, its labelling and its selection. Null: the teacher labels.
        select: which images are taken, how often.
        exclude_labeled: take no image whose key a labeled image has too, whether it is trained on or held out.
        resources: what selection may use.
    """

    labels: Literal["soft", "hard"] = "soft"
    precision: Literal["float16", "float32"] = "float32"
    noisy: bool = False
    manifest: str | None = None
    select: SelectionConfig = SelectionConfig()
    exclude_labeled: bool = False
    resources: ResourceConfig = ResourceConfig()

    @model_validator(mode="after")
    def _told_apart(self) -> PseudoLabelingConfig:
        for name in (LABELED, HELD_OUT):
            if name in self.select.exclude and (self.exclude_labeled or name == HELD_OUT):
                raise ValueError(f"a list named {name!r} is made by itself; give yours in select.exclude another name")
        return self


def check_taught(config: PseudoLabelingConfig, teacher: object | None, *, name: str = "teacher") -> None:
    """See that either a teacher or a manifest has the first pseudo labels.

    Args:
        config: which may name a manifest.
        teacher: the method's first one.
        name: of its setting.

    Raises:
        ValueError: there is none, or both.
    """
    if teacher is None and config.manifest is None:
        raise ValueError(f"{name} is required and not set (or set pseudo_labels.manifest, which takes its place)")
    if teacher is not None and config.manifest is not None:
        raise ValueError(f"pseudo_labels.manifest takes the place of the first teacher; set {name}: null")


def labeling_plans(config: PseudoLabelingConfig, teacher: PlannedNetwork | None, *, suffix: str = "") -> list[TaskPlan]:
    """The tasks `label` and `select`; the second leaves the manifest that `Streams.assigned` names, `selected`.

    Args:
        config: how.
        teacher: the network, under the role in which an earlier stage left its weights; None takes `config.manifest` in
            one task, `manifest`.
        suffix: of all names, where a method labels more than once.
    """
    if teacher is None:
        return [manifest_plan(config.manifest or "", f"selected{suffix}", suffix=suffix, soft=config.labels == "soft")]

    def label(context: TaskContext) -> Mapping[str, Any]:
        return _label(context, config, teacher, context.folder(f"scores{suffix}"))

    def choose(context: TaskContext) -> Mapping[str, Any]:
        scores = ScoreFolder(str(context.folder(f"scores{suffix}")), shards=context.split("unlabeled").group_names)
        folder = context.folder(f"selected{suffix}")
        manifest = folder / MANIFEST

        def work() -> Mapping[str, Any]:
            exclude = {**config.select.exclude, **_kept_out(context, folder, labeled=config.exclude_labeled)}
            chosen = config.select.model_copy(update={"distribution": config.labels == "soft", "exclude": exclude})
            report = select(scores, str(manifest), chosen, resources=config.resources)
            _check_any(report)
            context.tell(_described(report))
            return _summary(report)

        return context.backend.on_main(work)

    tags = config.select.needs_tags
    return [TaskPlan(f"label{suffix}", (teacher,), label, tags=tags), TaskPlan(f"select{suffix}", (), choose)]


def _label(
    context: TaskContext, config: PseudoLabelingConfig, teacher: PlannedNetwork, folder: Path
) -> Mapping[str, Any]:
    state = context.artifact(teacher.role)
    network = context.network(teacher.architecture, teacher.role, size=teacher.size, state=state)
    form = ScoreFormat(
        classes=context.spec.classes,
        top_p=min(_stored(config.select), context.spec.classes),
        checkpoint=digest(state),
        distribution=config.precision if config.labels == "soft" else None,
        label=True,
        tags=config.select.needs_tags,
    )

    def done(count: int, total: int) -> None:
        context.tell(f"{count} of {total} shards are labeled")
        context.check()

    split = context.split("unlabeled")
    score(
        network,
        split,
        ScoreWriter(str(folder), form),
        inputs=partial(context.inputs, augmented=config.noisy, size=teacher.size),
        backend=context.backend,
        noise=context.seed if config.noisy else None,
        share=(context.backend.rank, context.backend.world),
        done=done,
    )
    context.backend.barrier()
    return {"images": ScoreFolder(str(folder), shards=split.group_names).images, "of": len(split)}


def _stored(config: SelectionConfig) -> int:
    """How many of an image's most probable classes are stored; tags may name any of them."""
    ranked_by_tag = config.candidates == "tagged" and config.needs_probability
    return max(config.top_p, TAGGED_TOP_P) if ranked_by_tag else config.top_p


def _kept_out(context: TaskContext, folder: Path, *, labeled: bool) -> dict[str, str]:
    """Lists of images that can't be selected, by their names: those that judge or choose, and where wanted all labeled
    ones."""
    lists = {HELD_OUT: context.copies()}
    if labeled:
        lists[LABELED] = context.labeled_keys()
    found = {}
    for name, keys in lists.items():
        if keys:
            path = folder / f"{name}.txt"
            write_atomic(path, lambda file, keys=keys: file.write("\n".join(keys).encode()))  # type: ignore[misc]
            found[name] = str(path)
    return found


def _check_any(report: Report) -> None:
    """Raises UserError where nothing is left to learn from."""
    if not report.rows:
        dropped = ", ".join(f"{count} by {rule}" for rule, count in report.dropped.items() if count)
        raise UserError(
            f"no image was selected: of {report.tally.images} scored, {dropped} were dropped; loosen `select`, or "
            "train the teacher longer"
        )


def _summary(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = {
        "images": report.tally.images,
        "selected": report.selected,
        "samples": report.copies,
        "dropped": dict(report.dropped),
        "by_class": list(report.copies_by_class),
    }
    if report.known:
        found["correct"] = report.correct / report.known
    return found


def _described(report: Report) -> str:
    right = f", {100 * report.correct / report.known:.1f} % of known labels right" if report.known else ""
    empty = f"; {len(report.empty_classes)} classes got none" if report.empty_classes else ""
    return f"{report.selected} of {report.tally.images} images selected, {report.copies} samples{right}{empty}"


def given_plan(name: str, network: PlannedNetwork) -> TaskPlan:
    """The task in the place of a stage that would train the network.

    Args:
        name: of the stage.
        network: `given`, under the role that later stages know it by.
    """

    def run(context: TaskContext) -> Mapping[str, Any]:
        built = context.network(network.architecture, network.role, size=network.size)
        context.keep(network.role, built.state_dict())
        return {"networks": context.judge({network.role: built}, network.size)}

    return TaskPlan(name, (network,), run)
