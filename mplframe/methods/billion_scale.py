"""Billion-scale semi-supervised learning (section 3.1): teach, rank, pre-train on the best, finetune on labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.method import Make, Method, Plan, PlannedNetwork, StagePlan
from mplframe.learners.objective import Objective
from mplframe.losses.assigned import Assigned
from mplframe.methods.classifier import BatchSizes, classifier_plan
from mplframe.methods.finetune import FinetuneConfig, finetune_plan
from mplframe.methods.settings import LearnerConfig
from mplframe.selection.config import SelectionConfig
from mplframe.tasks.labeling import PseudoLabelingConfig, labeling_plans


class TrainedConfig(LearnerConfig):
    """A network and its training.

    Attributes:
        steps: how many.
        batch: samples of a step.
        accumulate: micro-batches that a step is cut into.
    """

    steps: PositiveInt
    batch: PositiveInt = 64
    accumulate: PositiveInt = 1


@final
class BillionScale(Method):
    """Stages `teacher`, `pretrain` and `finetune`, with the tasks `label` and `select` before the second."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            teacher: trained on labels.
            student: pre-trained on the selected images alone.
            losses: of labeled images.
            assigned: the loss of selected images.
            pseudo_labels: how images are ranked and selected; the paper's is the 16,000 best images of each class, each
                image counted for its 10 best classes, with hard labels (section 4.1).
            finetune: of the student on labels; null for none.
            rounds: how often the student, finetuned, becomes the teacher and a new one is taught (section 4.4).
        """

        name: Literal["billion_scale"] = "billion_scale"
        teacher: TrainedConfig
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

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[Plan]:
        c = self.config
        plans: list[Plan] = [
            classifier_plan(
                "teacher",
                "teacher",
                c.teacher,
                Objective.of([make("loss", loss) for loss in c.losses]),
                steps=c.teacher.steps,
                sizes=BatchSizes(c.teacher.batch, accumulate=c.teacher.accumulate),
            )
        ]
        teacher = PlannedNetwork("teacher", c.teacher.network, optimizer=None)
        for number in range(1, c.rounds + 1):
            suffix = "" if number == c.rounds else f"_{number}"
            role = f"student{suffix}"
            plans += labeling_plans(c.pseudo_labels, teacher, suffix=suffix)
            plans.append(self._pretrain(role, suffix, make))
            if c.finetune is not None:
                plans.append(finetune_plan(c.finetune, c.student.network, make, role=role, name=f"finetune{suffix}"))
            teacher = PlannedNetwork(role, c.student.network, optimizer=None)
        return plans

    def _pretrain(self, role: str, suffix: str, make: Make) -> StagePlan:
        c = self.config
        # Every batch has labeled samples; as few as there can be, since nothing looks at them.
        sizes = BatchSizes(c.student.accumulate, c.student.batch, c.student.accumulate)
        objective = Objective.of([make("loss", c.assigned)])
        plan = classifier_plan(f"pretrain{suffix}", role, c.student, objective, steps=c.student.steps, sizes=sizes)
        return replace(plan, streams=replace(plan.streams, assigned=f"selected{suffix}"))
