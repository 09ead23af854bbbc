"""Meta Pseudo Labels (MPL v4, algorithm 1), then finetuning on labels (section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, final

from pydantic import Field, PositiveInt
from torch import nn

from mplframe.config.base import BaseConfig, ComponentConfig, Kind
from mplframe.contracts.batch import Batch, Metrics
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, Student, Teacher
from mplframe.contracts.method import Make, Method, Pass, Stage, StageContext, StagePlan, Streams
from mplframe.errors import UserError
from mplframe.methods.classifier import BatchSizes, FinetuneConfig, finetune_plan
from mplframe.methods.settings import BatchConfig, LearnerConfig, check_average, make_learner, make_objective
from mplframe.training.labeling import Labeling
from mplframe.training.objective import prefixed
from mplframe.training.student import NetworkStudent
from mplframe.training.teacher import NetworkTeacher


@final
class MPLStage(Stage):
    """Teacher and student, trained together.

    Args:
        teacher: labels and listens.
        student: learns from the labels; what the stage is for.
        feedback: from the student's labeled gradient to the teacher.
    """

    def __init__(self, teacher: Teacher, student: Student, feedback: FeedbackEstimator) -> None:
        self.teacher = teacher
        self.student = student
        self.feedback = feedback

    def step(self, batches: Sequence[Batch], step: int) -> Metrics:
        """One iteration of MPL v4, algorithm 1."""
        labels = self.teacher.label(batches, step)
        move, student = self.student.learn(batches, labels, step, requires=self.feedback.requires)
        feedback = self.feedback.estimate(move)
        teacher = self.teacher.learn(batches, labels, feedback, step)
        heard = {} if feedback is None else prefixed("feedback", described(feedback))
        return {**prefixed("student", {**student, **move.metrics}), **prefixed("teacher", teacher), **heard}

    def networks(self, weights: str) -> Mapping[str, nn.Module]:
        teacher = self.teacher.evaluated(weights)
        return {"student": self.student.evaluated(weights), **({} if teacher is None else {"teacher": teacher})}

    def artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        return {role: network.state_dict() for role, network in self.networks("ema").items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "teacher": self.teacher.state_dict(),
            "student": self.student.state_dict(),
            "feedback": self.feedback.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.teacher.load_state_dict(state["teacher"])
        self.student.load_state_dict(state["student"])
        self.feedback.load_state_dict(state["feedback"])


def described(feedback: Feedback) -> Metrics:
    """`h`, its mean, and the share of it that is positive."""
    h = feedback.h.detach()
    return {"h": h.mean(), "h_positive": (h > 0).float().mean()}


def feedback_passes(estimator: FeedbackEstimator, name: str, kind: str, sizes: BatchSizes) -> list[Pass]:
    """What feedback costs the student.

    Args:
        estimator: gives the feedback.
        name: of it in the config.
        kind: of the pseudo labels.
        sizes: of a step.

    Raises:
        UserError: the estimator has nothing to say about soft labels.
    """
    if kind == "soft" and not estimator.soft:
        raise UserError(
            f"method.feedback: {name!r} credits a label that was drawn, but method.pseudo_label.kind is 'soft'; use "
            "the feedback 'exact' (or 'off'), or sampled labels"
        )
    passes = []
    if "old_loss" in estimator.requires:
        passes += [Pass("student", sizes.labeled, False)] * 2
    elif estimator.requires:
        passes.append(Pass("student", sizes.labeled, True))
    if "old_weights" in estimator.requires:
        # A directional derivative carries a second number through each operation of a forward.
        passes += [Pass("student", sizes.unlabeled, False)] * 2
    return passes


class TeacherConfig(LearnerConfig):
    """The teacher.

    Attributes:
        losses: what it is trained on beside the feedback.
    """

    losses: Annotated[tuple[ComponentConfig, ...], Kind("loss")] = (
        ComponentConfig(name="label_smoothing"),
        ComponentConfig(name="uda"),
    )


class StudentConfig(LearnerConfig):
    """The student.

    Attributes:
        label_smoothing: of the pseudo labels (MPL v4, table 8).
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class PseudoLabelConfig(BaseConfig):
    """How pseudo labels are made; see `mplframe.training.labeling.Labeling`.

    Attributes:
        kind: `sampled` from the teacher's distribution, its `argmax`, or `soft`: the distribution itself.
        temperature: of that distribution.
        teacher_view: the view that the teacher labels.
        student_view: the view that the student learns the label on.
    """

    kind: Literal["sampled", "argmax", "soft"] = "sampled"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    teacher_view: Literal["weak", "strong"] = "strong"
    student_view: Literal["weak", "strong"] = "strong"


@final
class MetaPseudoLabels(Method):
    """Two stages: `mpl`, and `finetune` where it is configured."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            steps: of the `mpl` stage.
            batch: samples of a step.
            teacher: its network, training and auxiliary losses.
            student: its network and training.
            feedback: the estimator; `off` for the ablation.
            feedback_weight: what the teacher's feedback term is multiplied by.
            pseudo_label: how they are made.
            finetune: of the student on labels; null for none.
        """

        name: Literal["mpl"] = "mpl"
        steps: PositiveInt
        batch: BatchConfig = BatchConfig()
        teacher: TeacherConfig
        student: StudentConfig
        feedback: Annotated[ComponentConfig, Kind("feedback")] = ComponentConfig(name="baseline")
        feedback_weight: Annotated[float, Field(ge=0)] = 1.0
        pseudo_label: PseudoLabelConfig = PseudoLabelConfig()
        finetune: FinetuneConfig | None = None

    def __init__(self, config: Config) -> None:
        self.config = config

    def stages(self, make: Make) -> Sequence[StagePlan]:
        c = self.config
        sizes = BatchSizes(**c.batch.model_dump())
        objective = make_objective(make, c.teacher.losses)
        check_average(objective.views, c.teacher)
        taught = objective.views | {c.pseudo_label.teacher_view}
        teacher = sizes.passes("teacher", taught)
        passes = [Pass("student", sizes.unlabeled, True), *teacher]
        if sizes.accumulate > 1:
            passes += [replace(each, backward=False) for each in teacher]
        passes += feedback_passes(make("feedback", c.feedback), c.feedback.name, c.pseudo_label.kind, sizes)
        streams = Streams(
            sizes.labeled,
            sizes.unlabeled,
            views=taught | {"labeled", c.pseudo_label.student_view},
            accumulate=sizes.accumulate,
        )
        networks = (
            c.student.planned("student", batch=sizes.unlabeled),
            c.teacher.planned("teacher", batch=sizes.labeled),
        )
        plans = [StagePlan("mpl", c.steps, streams, networks, passes, self._build)]
        if c.finetune is not None:
            plans.append(finetune_plan(c.finetune, c.student.network, make))
        return plans

    def _build(self, context: StageContext) -> Stage:
        c = self.config
        labeling = Labeling(**c.pseudo_label.model_dump())
        teacher = NetworkTeacher(
            make_learner(context, c.teacher, "teacher", c.steps, batch=c.batch.labeled),
            make_objective(context.make, c.teacher.losses),
            labeling=labeling,
            feedback_weight=c.feedback_weight,
            seed=context.seed,
        )
        student = NetworkStudent(
            make_learner(context, c.student, "student", c.steps, batch=c.batch.unlabeled),
            labeling=labeling,
            label_smoothing=c.student.label_smoothing,
            seed=context.seed,
        )
        return MPLStage(teacher, student, context.make("feedback", c.feedback))
