"""Pseudo Labels: a teacher learns first, then a student learns from it (Lee 2013; MPL v4, section 2, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.method import Make, Method, Pass, Plan, PlannedNetwork, Stage, StageContext, StagePlan, Streams
from mplframe.feedback.off import Off
from mplframe.methods.classifier import BatchSizes, FinetuneConfig, finetune_plan, teacher_plan
from mplframe.methods.mpl import MPLStage
from mplframe.methods.settings import BatchConfig, LearnerConfig, make_learner, make_objective
from mplframe.training.labeling import Labeling
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import FrozenTeacher


class PretrainedTeacherConfig(LearnerConfig):
    """The teacher.

    Attributes:
        steps: of the `teacher` stage; null for as many as the student's (MPL v4, table 6), 0 for a teacher that has
            learned before.
        losses: what it is trained on; those of unlabeled samples may be among them.
    """

    steps: NonNegativeInt | None = None
    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss"), Field(min_length=1)] = (
        ComponentConfig(name="supervised"),
    )


class TaughtStudentConfig(LearnerConfig):
    """The student.

    Attributes:
        label_smoothing: of the pseudo labels (MPL v4, table 6: 0 for CIFAR-10 and SVHN, 0.1 for ImageNet).
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class FixedLabelConfig(BaseConfig):
    """How pseudo labels are made; see `mplframe.training.labeling.Labeling`.

    Attributes:
        kind: the `argmax` of the teacher's distribution (Lee 2013), `sampled` from it, or `soft`: the distribution.
        temperature: of that distribution; argmax doesn't depend on it.
        threshold: samples of less confidence, at temperature 1, count 0 (MPL v4, table 6: 0.95 for CIFAR-10, 0.975 for
            SVHN, 0.7 for ImageNet); 0 counts all.
        teacher_view: the view that the teacher labels.
        student_view: the view that the student learns the label on.
    """

    kind: Literal["argmax", "sampled", "soft"] = "argmax"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.95
    teacher_view: Literal["weak", "strong"] = "weak"
    student_view: Literal["weak", "strong"] = "strong"

    @property
    def labeling(self) -> Labeling:
        """All but the threshold."""
        return Labeling(**self.model_dump(exclude={"threshold"}))


@final
class PseudoLabeling(Method):
    """Stages `teacher` and `student`, and `finetune` where it is configured.

    The student's stage is that of Meta Pseudo Labels with a teacher that listens to nothing: it labels in evaluation
    mode, with its averaged weights where it keeps an average.
    """

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            steps: of the `student` stage.
            batch: labeled samples of the teacher's steps, unlabeled ones of the student's.
            teacher: its network and training.
            student: its network and training.
            pseudo_label: how they are made.
            finetune: of the student on labels; null for none.
        """

        name: Literal["pseudo_label"] = "pseudo_label"
        steps: PositiveInt
        batch: BatchConfig = BatchConfig()
        teacher: PretrainedTeacherConfig
        student: TaughtStudentConfig
        pseudo_label: FixedLabelConfig = FixedLabelConfig()
        finetune: FinetuneConfig | None = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[Plan]:
        plans: list[Plan] = [self._teacher(make), self._student()]
        if self.config.finetune is not None:
            plans.append(finetune_plan(self.config.finetune, self.config.student.network, make))
        return plans

    def _teacher(self, make: Make) -> Plan:
        c = self.config
        objective = make_objective(make, c.teacher.losses)
        unlabeled = 0 if objective.views.isdisjoint({"weak", "strong"}) else c.batch.unlabeled
        sizes = BatchSizes(c.batch.labeled, unlabeled, c.batch.accumulate)
        steps = c.steps if c.teacher.steps is None else c.teacher.steps
        return teacher_plan("teacher", c.teacher, objective, steps=steps, sizes=sizes)

    def _student(self) -> StagePlan:
        c = self.config
        # Every batch has labeled samples; as few as there can be, since nothing looks at them.
        streams = Streams(
            labeled=c.batch.accumulate,
            unlabeled=c.batch.unlabeled,
            views=frozenset({c.pseudo_label.teacher_view, c.pseudo_label.student_view}),
            accumulate=c.batch.accumulate,
        )
        networks = (
            c.student.planned("student", batch=c.batch.unlabeled),
            PlannedNetwork("teacher", c.teacher.network, optimizer=None),
        )
        passes = (Pass("student", c.batch.unlabeled, True), Pass("teacher", c.batch.unlabeled, False))
        return StagePlan("student", c.steps, streams, networks, passes, self._build)

    def _build(self, context: StageContext) -> Stage:
        c = self.config
        network = context.network(c.teacher.network, "teacher", state=context.artifact("teacher"))
        labeling = c.pseudo_label.labeling
        teacher = FrozenTeacher(
            network,
            backend=context.backend,
            labeling=labeling,
            threshold=c.pseudo_label.threshold,
            label_smoothing=c.student.label_smoothing,
            seed=context.seed,
        )
        learner = make_learner(context, c.student, "student", c.steps, batch=c.batch.unlabeled)
        return MPLStage(teacher, NetworkStudent(learner, labeling=labeling, seed=context.seed), Off())
