"""The suites have teeth: each broken component below keeps all promises but one, and its suite says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.feedback import Feedback, FeedbackEstimator, StudentStep
from mplframe.contracts.lookahead import Lookahead
from mplframe.contracts.loss import AuxLoss, LossInputs
from mplframe.contracts.optimizer import OptimizerFactory, Schedule
from mplframe.lookahead.sgd import SGD as SGDLookahead
from mplframe.testing import (
    check_architecture,
    check_feedback,
    check_lookahead,
    check_loss,
    check_optimizer,
    check_schedule,
)


class Config(ComponentConfig):
    name: Literal["broken"] = "broken"


def rejects(check: Callable[[], None], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check()


class Noisy(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) + torch.randn(len(x), 1)


class Shifted(nn.Module):
    """Holds a random tensor that is no buffer, so that no checkpoint has it."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, classes)
        self.shift = torch.randn(classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) + self.shift


def inputs_of(spec: ImageSpec) -> int:
    return spec.channels * spec.size**2


def from_numpy(spec: ImageSpec) -> nn.Module:
    linear = nn.Linear(inputs_of(spec), spec.classes)
    linear.weight.data = torch.from_numpy(np.random.randn(*linear.weight.shape)).to(linear.weight)  # noqa: NPY002
    return nn.Sequential(nn.Flatten(), linear)


def on_the_cpu(spec: ImageSpec) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs_of(spec), spec.classes, device="cpu"))


ARCHITECTURES = {
    "too many logits": (lambda s: nn.Sequential(nn.Flatten(), nn.Linear(inputs_of(s), s.classes + 1)), "not .N, classes"),
    "weights from numpy": (from_numpy, "torch's global RNG alone"),
    "names a device": (on_the_cpu, "on the meta device .* takes memory"),
    "noise in evaluation": (lambda s: Noisy(inputs_of(s), s.classes), "different logits each time"),
    "state outside": (lambda s: Shifted(inputs_of(s), s.classes), "restored from a checkpoint"),
    "frozen": (lambda s: nn.Sequential(nn.Flatten(), nn.Linear(inputs_of(s), s.classes)).requires_grad_(False), "trainable"),
}


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_architectures(case: str) -> None:
    build, promise = ARCHITECTURES[case]

    class Broken(Architecture):
        build = lambda self, spec: build(spec)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_architecture(Broken), promise)


def batchwide(inputs: LossInputs) -> Tensor:
    return inputs.logits["weak"].logsumexp(-1).mean()


def in_place(inputs: LossInputs) -> Tensor:
    return inputs.logits["weak"].detach().mul_(0.5).logsumexp(-1)


def synced(inputs: LossInputs) -> Tensor:
    values = inputs.logits["weak"].logsumexp(-1)
    return values / max(1.0, values.detach().max().item())


def overflowing(inputs: LossInputs) -> Tensor:
    return (inputs.logits["weak"] * 1e38).exp().sum(-1)


LOSSES = {
    "unlisted view": (lambda i: i.logits["strong"].logsumexp(-1), "'strong', but lists only"),
    "a mean": (batchwide, "one value a sample"),
    "no graph": (lambda i: i.logits["weak"].detach().logsumexp(-1), "no graph"),
    "in place": (in_place, "changed in place"),
    "host sync": (synced, "reads a tensor on the host"),
    "infinite": (overflowing, "isn't finite"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_losses(case: str) -> None:
    formula, promise = LOSSES[case]

    class Broken(AuxLoss):
        views = frozenset({"weak"})
        __call__ = lambda self, inputs: formula(inputs)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_loss(Broken), promise)


class Estimator(FeedbackEstimator):
    """The dot product with something wrong; keeps the sum of what it has seen."""

    Config = Config

    def __init__(self, change: Callable[[Tensor, Estimator], Any]) -> None:
        self.change = change
        self.sum: Any = torch.zeros(())

    def estimate(self, step: StudentStep) -> Feedback:
        h = -step.inner(step.labeled_gradient(), step.label_part)
        self.sum = self.sum.to(h.device) + h
        return Feedback(self.change(h, self), "mean")

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def load_state_dict(self, state: Any) -> None:
        self.sum = state["sum"]


class Forgetful(Estimator):
    def state_dict(self) -> dict[str, Any]:
        return {"sum": torch.zeros(())}


class Unstorable(Estimator):
    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum, "change": Estimator}


class Undeclared(Estimator):
    requires = frozenset()


class Meddling(Estimator):
    """Moves the student's weights through the gradient that it was handed."""

    def estimate(self, step: StudentStep) -> Feedback:
        step._student.module.body[0].weight.data.mul_(1.1)
        return super().estimate(step)


FEEDBACK = {
    "a number": (lambda: Estimator(lambda h, _: 0.5), "not a tensor"),
    "host sync": (lambda: Estimator(lambda h, _: torch.tensor(h.item())), "reads a tensor on the host"),
    "wrong shape": (lambda: Estimator(lambda h, _: h.expand(3)), r"neither \[\] nor \[N\]"),
    "not finite": (lambda: Estimator(lambda h, _: h / 0.0), "isn't finite"),
    "random": (lambda: Estimator(lambda h, _: h + torch.randn(())), "other feedback the second time"),
    "state forgotten": (lambda: Forgetful(lambda h, e: h - e.sum), "goes on differently after a restart"),
    "state unstorable": (lambda: Unstorable(lambda h, e: h), "tensors and plain values only"),
    "not required": (lambda: Undeclared(lambda h, _: h), "asks for more than its `requires`"),
    "changes the student": (lambda: Meddling(lambda h, _: h), "changed the student's /module"),
}


@pytest.mark.parametrize("case", FEEDBACK)
def test_feedback(case: str) -> None:
    make, promise = FEEDBACK[case]
    rejects(lambda: check_feedback(make), promise)


class Ahead(Lookahead):
    """The lookahead of SGD with one of its answers changed."""

    Config = Config
    sound = SGDLookahead()

    def __init__(self, **changed: Callable[..., Any]) -> None:
        self.changed = changed

    def accepts(self, optimizer: Any) -> bool:
        return self.changed.get("accepts", self.sound.accepts)(optimizer)

    def displacement(self, optimizer: Any, gradient: Any) -> Any:
        return self.changed.get("displacement", self.sound.displacement)(optimizer, gradient)

    def label_part(self, optimizer: Any, gradient: Any) -> Any:
        return self.changed.get("label_part", self.sound.label_part)(optimizer, gradient)

    def pullback(self, optimizer: Any, gradient: Any, vector: Any) -> Any:
        return self.changed.get("pullback", self.sound.pullback)(optimizer, gradient, vector)


def no_decay(optimizer: Any, gradient: Any) -> Any:
    groups = [(g, group["lr"]) for group in optimizer.param_groups for g in gradient]
    return tuple(-lr * g for g, lr in groups)


def moving(optimizer: Any, gradient: Any) -> Any:
    optimizer.param_groups[0]["params"][0].data.add_(1.0)
    return Ahead.sound.label_part(optimizer, gradient)


LOOKAHEADS = {
    "not accepted": ({"accepts": lambda o: False}, "doesn't accept SGD"),
    "without decay": ({"displacement": no_decay}, "label_part isn't|displacement isn't what step"),
    "label part of another sign": ({"label_part": lambda o, g: g}, "label_part isn't"),
    "half the slope": ({"pullback": lambda o, g, u: tuple(0.5 * x for x in Ahead.sound.pullback(o, g, u))}, "isn't J.T u"),
    "moves the weights": ({"label_part": moving}, "label_part isn't|changed /parameters"),
}


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


@pytest.mark.parametrize("case", LOOKAHEADS)
def test_lookaheads(case: str) -> None:
    changed, promise = LOOKAHEADS[case]
    rejects(lambda: check_lookahead(lambda: Ahead(**changed), sgd), promise)


def test_a_refusal_has_to_be_one() -> None:
    rejects(lambda: check_lookahead(SGDLookahead, sgd, derivative="refused"), "pullback gives a result")


class Fixed(torch.optim.SGD):
    """Steps at a rate of its own, whatever its groups say."""

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=-0.01)


class Watchful(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:
        assert self.param_groups[0]["params"][0].grad.norm().item() >= 0
        super().step()


class Ascending(torch.optim.SGD):
    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__(groups, lr=lr, maximize=True)


def undecayed(groups: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": g["params"]} for g in groups], lr=lr)


OPTIMIZERS = {
    "its own rate": (Fixed, "moves at a learning rate of 0"),
    "host sync": (Watchful, "reads a tensor on the host"),
    "uphill": (Ascending, "didn't lower a smooth loss"),
    "decay lost": (undecayed, "lost the weight_decay"),
    "another rate": (lambda groups, lr: torch.optim.SGD(groups, lr=2 * lr), "the factory says 0.1"),
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizers(case: str) -> None:
    build, promise = OPTIMIZERS[case]

    class Broken(OptimizerFactory):
        lr = 0.1
        weight_decay = 0.01
        build = lambda self, groups: build(groups, lr=0.1)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_optimizer(Broken), promise)


class Counting(Schedule):
    Config = Config
    asked = 0

    def at(self, step: int, steps: int) -> float:
        self.asked += 1
        return 1.0 / self.asked


SCHEDULES = {
    "above the peak": (lambda step, steps: 1.5, "isn't in .0, 1."),
    "never above 0": (lambda step, steps: 0.0, "always 0"),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules(case: str) -> None:
    formula, promise = SCHEDULES[case]

    class Broken(Schedule):
        at = lambda self, step, steps: formula(step, steps)  # noqa: E731

    Broken.Config = Config
    rejects(lambda: check_schedule(Broken), promise)


def test_schedules_keep_no_state() -> None:
    rejects(lambda: check_schedule(Counting), "keep no state")


def test_a_config_has_to_fix_its_name() -> None:
    class Loose(ComponentConfig):
        name: str = "loose"

    class Nameless(Counting):
        Config = Loose

    rejects(lambda: check_schedule(Nameless), "has to fix its name")
    rejects(lambda: check_loss(Counting), "doesn't extend AuxLoss")
