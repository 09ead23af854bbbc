"""Label and select: the tasks between a teacher's training and its student's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mplframe.config.base import BaseConfig
from mplframe.contracts.method import PlannedNetwork, TaskContext, TaskPlan
from mplframe.errors import UserError
from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.report import Report
from mplframe.selection.score_reader import ScoreFolder
from mplframe.selection.score_writer import ScoreWriter
from mplframe.selection.scores import ScoreFormat
from mplframe.selection.select import select
from mplframe.tasks.scoring import digest, score

MANIFEST = "manifest.parquet"


class PseudoLabelingConfig(BaseConfig):
    """How a teacher's opinion of unlabeled images becomes training data.

    Attributes:
        labels: `soft` gives the student the teacher's distribution, `hard` the class that an image was selected for.
        precision: in which soft labels are stored.
        noisy: label strong views with dropout and stochastic depth on (Noisy Student, table 6, the last row).
        select: which images are taken, how often.
        resources: what selection may use.
    """

    labels: Literal["soft", "hard"] = "soft"
    precision: Literal["float16", "float32"] = "float32"
    noisy: bool = False
    select: SelectionConfig = SelectionConfig()
    resources: ResourceConfig = ResourceConfig()


def labeling_plans(config: PseudoLabelingConfig, teacher: PlannedNetwork, *, suffix: str = "") -> list[TaskPlan]:
    """The tasks `label` and `select`; the second leaves the manifest that `Streams.assigned` names, `selected`.

    Args:
        config: how.
        teacher: the network, under the role in which an earlier stage left its weights.
        suffix: of all names, where a method labels more than once.
    """

    def label(context: TaskContext) -> Mapping[str, Any]:
        return _label(context, config, teacher, context.folder(f"scores{suffix}"))

    def choose(context: TaskContext) -> Mapping[str, Any]:
        scores = ScoreFolder(str(context.folder(f"scores{suffix}")), shards=context.split("unlabeled").group_names)
        chosen = config.select.model_copy(update={"distribution": config.labels == "soft"})
        manifest = context.folder(f"selected{suffix}") / MANIFEST

        def work() -> Mapping[str, Any]:
            report = select(scores, str(manifest), chosen, resources=config.resources)
            _check_any(report)
            context.tell(_described(report))
            return _summary(report)

        return context.backend.on_main(work)

    return [TaskPlan(f"label{suffix}", (teacher,), label), TaskPlan(f"select{suffix}", (), choose)]


def _label(
    context: TaskContext, config: PseudoLabelingConfig, teacher: PlannedNetwork, folder: Path
) -> Mapping[str, Any]:
    state = context.artifact(teacher.role)
    network = context.network(teacher.architecture, teacher.role)
    network.load_state_dict(state)
    form = ScoreFormat(
        classes=context.spec.classes,
        top_p=min(config.select.top_p, context.spec.classes),
        checkpoint=digest(state),
        distribution=config.precision if config.labels == "soft" else None,
        label=True,
    )

    def done(count: int, total: int) -> None:
        context.tell(f"{count} of {total} shards are labeled")
        context.check()

    split = context.split("unlabeled")
    score(
        network,
        split,
        ScoreWriter(str(folder), form),
        inputs=partial(context.inputs, augmented=config.noisy),
        backend=context.backend,
        noise=context.seed if config.noisy else None,
        share=(context.backend.rank, context.backend.world),
        done=done,
    )
    context.backend.barrier()
    return {"images": ScoreFolder(str(folder), shards=split.group_names).images, "of": len(split)}


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
