"""Reduced Meta Pseudo Labels (MPL v4, appendix E): a small teacher calibrates what a large one said once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, final

from pydantic import Field, PositiveInt, field_validator, model_validator

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.method import Make, Method, Pass, Plan, PlannedNetwork, Stage, StageContext, StagePlan, Streams
from mplframe.methods.billion_scale import FirstTeacherConfig, first_teacher_plan
from mplframe.methods.classifier import BatchSizes, FinetuneConfig, finetune_plan
from mplframe.methods.labeling import PseudoLabelingConfig, check_taught, labeling_plans
from mplframe.methods.mpl import MPLStage, StudentConfig, feedback_passes
from mplframe.methods.settings import BatchConfig, LearnerConfig, make_learner
from mplframe.models.mlp import CalibrationMLP
from mplframe.optim.adam import Adam
from mplframe.training.labeling import Labeling
from mplframe.training.learner import Learner
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher


class LargeTeacherConfig(FirstTeacherConfig):
    """The large teacher.

    Attributes:
        losses: of labeled images.
    """

    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
        ComponentConfig(name="supervised"),
    )


class ReducedTeacherConfig(LearnerConfig):
    """The reduced teacher: five layers over distributions, 128 units for CIFAR-10, 512 for ImageNet (appendix E)."""

    network: Annotated[ComponentConfig, Kind("architecture")] = CalibrationMLP.Config()
    optimizer: Annotated[ComponentConfig, Kind("optimizer")] = Adam.Config(lr=1e-4, weight_decay=1e-4)
    schedule: Annotated[ComponentConfig, Kind("schedule")] = ComponentConfig(name="constant")


class CalibrationConfig(BaseConfig):
    """How the reduced teacher's distributions become pseudo labels; see `mplframe.training.labeling.Labeling`.

    Attributes:
        kind: `sampled`, `argmax` or `soft`.
        temperature: of the distribution.
        student_view: the view that the student learns the label on.
    """

    kind: Literal["sampled", "argmax", "soft"] = "sampled"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    student_view: Literal["weak", "strong"] = "strong"


@final
class ReducedMPL(Method):
    """Stage `large`, tasks `label` and `select`, stages `reduced_mpl` and, where it is configured, `finetune`.

    The large teacher isn't in memory while the student learns.
    """

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            large: the large teacher and its training; null where `pseudo_labels.manifest` has its distributions.
            pseudo_labels: which images are kept, with the large teacher's distributions; the paper keeps the K most
                probable of each class.
            steps: of the stage `reduced_mpl`.
            batch: samples of a step of it.
            teacher: the reduced teacher, which learns from feedback alone.
            student: its network and training.
            feedback: the estimator; `off` leaves the reduced teacher as it began.
            feedback_weight: what the feedback term is multiplied by.
            pseudo_label: how labels are made of the reduced teacher's distributions.
            finetune: of the student on labels; null for none.
        """

        name: Literal["reduced_mpl"] = "reduced_mpl"
        large: LargeTeacherConfig | None = None
        pseudo_labels: PseudoLabelingConfig = PseudoLabelingConfig()
        steps: PositiveInt
        batch: BatchConfig = BatchConfig()
        teacher: ReducedTeacherConfig = ReducedTeacherConfig()
        student: StudentConfig
        feedback: Annotated[ComponentConfig, Kind("feedback")] = ComponentConfig(name="baseline")
        feedback_weight: Annotated[float, Field(ge=0)] = 1.0
        pseudo_label: CalibrationConfig = CalibrationConfig()
        finetune: FinetuneConfig | None = None

        @field_validator("pseudo_labels")
        @classmethod
        def _soft(cls, given: PseudoLabelingConfig) -> PseudoLabelingConfig:
            if given.labels != "soft":
                raise ValueError("the reduced teacher looks at distributions: labels must be soft")
            return given

        @model_validator(mode="after")
        def _taught(self) -> ReducedMPL.Config:
            check_taught(self.pseudo_labels, self.large, name="large")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[Plan]:
        c = self.config
        plans: list[Plan] = []
        large = None
        if c.large is not None:
            plans.append(first_teacher_plan("large", c.large, c.large.losses, make))
            large = PlannedNetwork("large", c.large.network, optimizer=None, size=c.large.size)
        plans += [*labeling_plans(c.pseudo_labels, large), self._reduced(make)]
        if c.finetune is not None:
            plans.append(finetune_plan(c.finetune, c.student.network, make))
        return plans

    def _reduced(self, make: Make) -> StagePlan:
        c = self.config
        sizes = BatchSizes(**c.batch.model_dump())
        passes = [Pass("student", sizes.unlabeled, True), Pass("teacher", sizes.unlabeled, True)]
        if sizes.accumulate > 1:
            passes.append(Pass("teacher", sizes.unlabeled, False))
        passes += feedback_passes(make("feedback", c.feedback), c.feedback.name, c.pseudo_label.kind, sizes)
        streams = Streams(
            sizes.labeled,
            sizes.unlabeled,
            views=frozenset({"labeled", c.pseudo_label.student_view}),
            accumulate=sizes.accumulate,
            assigned="selected",
        )
        networks = (
            c.student.planned("student", batch=sizes.unlabeled),
            c.teacher.planned("teacher", batch=sizes.unlabeled, distributions=True),
        )
        return StagePlan("reduced_mpl", c.steps, streams, networks, passes, self._build)

    def _build(self, context: StageContext) -> Stage:
        c = self.config
        labeling = Labeling(teacher_view="assigned", **c.pseudo_label.model_dump())
        unlabeled = c.batch.unlabeled
        teacher: Learner = make_learner(context, c.teacher, "teacher", c.steps, batch=unlabeled, distributions=True)
        student = make_learner(context, c.student, "student", c.steps, batch=unlabeled)
        return MPLStage(
            NetworkTeacher(teacher, labeling=labeling, feedback_weight=c.feedback_weight, seed=context.seed),
            NetworkStudent(student, labeling=labeling, label_smoothing=c.student.label_smoothing, seed=context.seed),
            context.make("feedback", c.feedback),
        )
