"""Billion-scale semi-supervised learning (section 3.1): teach, rank, pre-train on the best, finetune on labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.method import Make, Method, Plan, PlannedNetwork, StagePlan
from mplframe.losses.assigned import Assigned
from mplframe.methods.classifier import BatchSizes, FinetuneConfig, classifier_plan, finetune_plan, teacher_plan
from mplframe.methods.labeling import PseudoLabelingConfig, check_taught, labeling_plans
from mplframe.methods.settings import LearnerConfig, make_objective
from mplframe.selection.config import SelectionConfig


class TrainedConfig(LearnerConfig):
    """A network and its training.

    Attributes:
        steps: how many.
        batch: samples of a step.
        accumulate: micro-batches that a step is cut into.
        size: height and width of its images, in training and evaluation; null for the run's own.
    """

    steps: PositiveInt
    batch: PositiveInt = 64
    accumulate: PositiveInt = 1
    size: PositiveInt | None = None


class FirstTeacherConfig(TrainedConfig):
    """The first teacher.

    Attributes:
        steps: of its training on labels; 0 for one that has learned before.
    """

    steps: NonNegativeInt


def first_teacher_plan(role: str, config: FirstTeacherConfig, losses: Sequence[ComponentConfig], make: Make) -> Plan:
    """The stage that trains the first teacher, or the task that takes it as it is given.

    Args:
        role: of the teacher, and name of the stage.
        config: of the teacher.
        losses: that it is trained on.
        make: gives the live component behind a config.
    """
    return teacher_plan(
        role,
        config,
        make_objective(make, losses),
        steps=config.steps,
        sizes=BatchSizes(config.batch, accumulate=config.accumulate),
        size=config.size,
    )


@final
class BillionScale(Method):
    """Stages `teacher`, `pretrain` and `finetune`, with the tasks `label` and `select` before the second."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            teacher: trained on labels; null where `pseudo_labels.manifest` has its labels.
            student: pre-trained on the selected images alone.
            losses: of labeled images.
            assigned: the loss of selected images.
            pseudo_labels: how images are ranked and selected; the paper's is the 16,000 best images of each class, each
                image counted for its 10 best classes, with hard labels (section 4.1).
            finetune: of the student on labels; null for none.
            rounds: how often the student, finetuned, becomes the teacher and a new one is taught (section 4.4).
        """

        name: Literal["billion_scale"] = "billion_scale"
        teacher: FirstTeacherConfig | None = None
        student: TrainedConfig
        losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
            ComponentConfig(name="supervised"),
        )
        assigned: Annotated[ComponentConfig, Kind("loss")] = Assigned.Config(view="weak")
        pseudo_labels: PseudoLabelingConfig = PseudoLabelingConfig(
            labels="hard", select=SelectionConfig(top_p=10, top_k=16_000)
        )
        finetune: FinetuneConfig | None = FinetuneConfig()
        rounds: PositiveInt = 1

        @model_validator(mode="after")
        def _taught(self) -> BillionScale.Config:
            check_taught(self.pseudo_labels, self.teacher)
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[Plan]:
        c = self.config
        plans: list[Plan] = []
        teacher = None
        if c.teacher is not None:
            plans.append(first_teacher_plan("teacher", c.teacher, c.losses, make))
            teacher = PlannedNetwork("teacher", c.teacher.network, optimizer=None, size=c.teacher.size)
        for number in range(1, c.rounds + 1):
            suffix = "" if number == c.rounds else f"_{number}"
            role = f"student{suffix}"
            plans += labeling_plans(c.pseudo_labels, teacher, suffix=suffix)
            plans.append(self._pretrain(role, suffix, make))
            if c.finetune is not None:
                plans.append(self._finetune(c.finetune, role, suffix, make))
            teacher = PlannedNetwork(role, c.student.network, optimizer=None, size=c.student.size)
        return plans

    def _pretrain(self, role: str, suffix: str, make: Make) -> StagePlan:
        c = self.config
        # Every batch has labeled samples; as few as there can be, since nothing looks at them.
        sizes = BatchSizes(c.student.accumulate, c.student.batch, c.student.accumulate)
        objective = make_objective(make, [c.assigned])
        plan = classifier_plan(
            f"pretrain{suffix}", role, c.student, objective, steps=c.student.steps, sizes=sizes, size=c.student.size
        )
        return replace(plan, streams=replace(plan.streams, assigned=f"selected{suffix}"))

    def _finetune(self, config: FinetuneConfig, role: str, suffix: str, make: Make) -> StagePlan:
        student = self.config.student
        return finetune_plan(config, student.network, make, role=role, name=f"finetune{suffix}", size=student.size)
