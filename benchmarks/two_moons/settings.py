"""What is varied: one frozen setting a cell of the tables."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

Estimator = Literal["off", "dot", "cosine", "per_example", "exact", "taylor"]
MeasuredOn = Literal["labels", "noisy_labels", "truth", "consistency"]


@dataclass(frozen=True)
class Setting:
    """One way to train a teacher and a student. Both use plain SGD.

    Attributes:
        estimator: of the feedback.
        weight: that the feedback is multiplied by.
        normalised: per_example and exact divided by the two norms that cosine is divided by; not a part of mplframe.
        baseline: decay of the moving average that is subtracted from h; 0 for none.
        start: first step with feedback.
        stop: first step without it again; 0 for never.
        labeled_per_class: labeled points of each moon.
        measured_on: what R is: `labels`, the labeled points; `noisy_labels`, 16 noisy copies of each; `truth`, other
            points with their true class, a control that no method could have; `consistency`, the labeled points, and
            the student's own consistency loss on the unlabeled ones. The last three aren't a part of mplframe.
        truths: points of `truth`, half of them of each moon.
        supervised: weight of the teacher's loss on the labeled points.
        uda: weight of the teacher's consistency loss.
        uda_noise: standard deviation of the noise in the strong view.
        uda_temperature: of the consistency loss's target.
        ramp: steps over which `uda` grows from 0.
        labels: how pseudo labels are made of the teacher's distribution.
        temperature: of that distribution.
        view: that the teacher labels and the student learns on.
        reset: steps after which the student starts afresh, over and over; 0 for never. The last one has as many.
        sequential: the teacher trains first, then it is left as it is and the student trains: Pseudo Labels.
        init: weights and biases are drawn from [-init, init].
        lr: learning rate of the student, and of the teacher where it has none of its own.
        teacher_lr: of the teacher.
        batch: unlabeled points of a step.
        steps: how many.
    """

    estimator: Estimator = "off"
    weight: float = 1.0
    normalised: bool = False
    baseline: float = 0.0
    start: int = 0
    stop: int = 0
    labeled_per_class: int = 3
    measured_on: MeasuredOn = "labels"
    truths: int = 100
    supervised: float = 1.0
    uda: float = 0.0
    uda_noise: float = 0.2
    uda_temperature: float = 1.0
    ramp: int = 0
    labels: Literal["sampled", "argmax", "soft"] = "sampled"
    temperature: float = 1.0
    view: Literal["weak", "strong"] = "weak"
    reset: int = 0
    sequential: bool = False
    init: float = 0.1
    lr: float = 0.1
    teacher_lr: float | None = None
    batch: int = 50
    steps: int = 100_000

    def dump(self) -> dict[str, Any]:
        """What isn't as it is by default, as plain data."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @property
    def shape(self) -> tuple[object, ...]:
        """What settings must have in common to be trained in one go; all else is a number for each network."""
        return (
            self.estimator, self.normalised, bool(self.baseline), self.labeled_per_class, self.measured_on, self.truths,
            self.labels, self.view, self.reset, self.sequential, self.batch, self.steps,
        )  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One number of the tables: a setting on some seeds.

    Attributes:
        setting: what is trained.
        seeds: of points, labels and everything else random.
    """

    setting: Setting
    seeds: range
