"""Settings of one shape, trained over all seeds in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.two_moons.networks import forward, uniform
from benchmarks.two_moons.points import POINTS, Labeled, Points, take
from benchmarks.two_moons.settings import Setting
from benchmarks.two_moons.step import Pair, Rates, Unlabeled, train_step

CHECKS = 10
"""Evaluations of a training, evenly spaced."""
BLOCK = 100
"""Steps whose points are drawn at once."""
COPIES = 16


@dataclass(frozen=True)
class Result:
    """Of one setting.

    Attributes:
        student: [seeds] accuracy over the 2,000 points at the end.
        teacher: likewise.
        history: student's accuracy after each tenth of the steps, [CHECKS, seeds].
        weights: [seeds, 2, PARAMETERS] of teacher and student at the end.
    """

    student: Tensor
    teacher: Tensor
    history: Tensor
    weights: Tensor


def run(settings: Sequence[Setting], data: Points) -> list[Result]:
    """Train them all.

    Args:
        settings: of one shape.
        data: one row a seed. Every setting sees the same points, labels, noise and, up to scale, initial weights.
    """
    training = _Training(settings, data)
    first = settings[0]
    history = []
    if first.sequential:
        training.advance(first.steps, student=False)
    for _ in range(CHECKS):
        training.advance(first.steps // CHECKS, teacher=not first.sequential)
        history.append(training.accuracy(training.pair.student))
    ends = training.accuracy(training.pair.teacher)
    count, seeds = len(settings), len(data.labeled.y)
    by_setting = torch.stack(history).reshape(CHECKS, count, seeds)
    weights = torch.stack([training.pair.teacher, training.pair.student], dim=1).reshape(count, seeds, 2, -1)
    teachers = ends.reshape(count, seeds)
    return [Result(by_setting[-1, k], teachers[k], by_setting[:, k], weights[k]) for k in range(count)]


class _Training:
    """Networks, random numbers and the number of the step."""

    def __init__(self, settings: Sequence[Setting], data: Points) -> None:
        assert len({setting.shape for setting in settings}) == 1, "these settings can't be trained in one go"
        self.setting, self.settings = settings[0], settings
        self.seeds = len(data.labeled.y)
        self.seed_points, self.data = data.everything, data.times(len(settings))
        self.measured = _measured(self.setting, self.data)
        self.reach, self.noise = self._column("init"), self._column("uda_noise").unsqueeze(2)
        self.start, self.stop, self.ramp = (self._column(name) for name in ("start", "stop", "ramp"))
        self.scheduled = any(s.start or s.stop or s.ramp for s in settings)
        self.random = torch.Generator().manual_seed(1)
        self.weights = torch.Generator().manual_seed(2)
        self.pair = Pair(self._fresh(), self._fresh())
        self.strong = any(s.uda or s.view == "strong" or s.measured_on == "consistency" for s in settings)
        self.draws = self._draws()
        self.step = 0

    def advance(self, steps: int, *, teacher: bool = True, student: bool = True) -> None:
        """Some more steps; a network that isn't to learn keeps its weights."""
        constant = self._rates()
        off = torch.zeros_like(constant.student)
        constant = replace(
            constant, teacher=constant.teacher if teacher else off, student=constant.student if student else off
        )
        for _ in range(steps):
            if self.setting.reset and self.step % self.setting.reset == 0:
                self.pair = replace(self.pair, student=self._fresh())
            rates = self._scheduled(constant)
            self.pair = train_step(
                self.pair, next(self.draws), self.data.labeled, self._measured_now(), self.setting, rates
            )
            self.step += 1

    def accuracy(self, theta: Tensor) -> Tensor:
        """[S] over all points."""
        everything = self.data.everything
        margins = torch.cat(
            [forward(t, x).margin for t, x in zip(torch.split(theta, 40), torch.split(everything.x, 40), strict=True)]
        )
        return ((margins > 0) == (everything.y > 0)).float().mean(1)

    def _fresh(self) -> Tensor:
        return uniform(self.seeds, torch.ones(()), self.weights).repeat(len(self.settings), 1) * self.reach

    def _column(self, name: str) -> Tensor:
        values = torch.tensor([float(getattr(setting, name)) for setting in self.settings])
        return values.repeat_interleave(self.seeds).unsqueeze(1)

    def _rates(self) -> Rates:
        lr = self._column("lr")
        own = torch.tensor([s.lr if s.teacher_lr is None else s.teacher_lr for s in self.settings])
        return Rates(
            student=lr,
            teacher=own.repeat_interleave(self.seeds).unsqueeze(1),
            feedback=self._column("weight"),
            baseline=self._column("baseline"),
            supervised=self._column("supervised"),
            uda=self._column("uda"),
            uda_temperature=self._column("uda_temperature"),
            temperature=self._column("temperature"),
        )

    def _scheduled(self, rates: Rates) -> Rates:
        if not self.scheduled:
            return rates
        ramp = (self.step / self.ramp.clamp_min(1)).clamp(max=1) if self.step else (self.ramp == 0).float()
        heard = (self.start <= self.step) & ((self.stop == 0) | (self.stop > self.step))
        return replace(rates, uda=rates.uda * ramp, feedback=rates.feedback * heard)

    def _draws(self) -> Iterator[Unlabeled]:
        """Points of one step after the other, drawn some steps at a time.

        They are the same for all settings, so that these can be compared seed by seed.
        """
        size, count = self.setting.batch, len(self.settings)
        while True:
            shape = (self.seeds, BLOCK * size)
            weak = take(self.seed_points, torch.randint(POINTS, shape, generator=self.random)).x
            logistic = torch.rand(shape, generator=self.random).logit_()
            noise = torch.randn((self.seeds, 2, BLOCK * size), generator=self.random)
            for x, more, y in zip(*(torch.split(t, size, -1) for t in (weak, noise, logistic)), strict=True):
                tiled = x.repeat(count, 1, 1)
                strong = tiled + self.noise * more.repeat(count, 1, 1) if self.strong else None
                yield Unlabeled(tiled, strong, y.repeat(count, 1))

    def _measured_now(self) -> Labeled:
        if self.setting.measured_on != "noisy_labels":
            return self.measured
        shape = (self.seeds, *self.measured.x.shape[1:])
        noise = torch.randn(shape, generator=self.random).repeat(len(self.settings), 1, 1)
        return Labeled(self.measured.x + self.noise * noise, self.measured.y)


def _measured(setting: Setting, data: Points) -> Labeled:
    if setting.measured_on == "truth":
        # Points lie class by class and at random within it.
        spaced = torch.arange(setting.truths) * POINTS // setting.truths
        return take(data.everything, spaced.expand(len(data.labeled.y), -1))
    return data.labeled.repeated(COPIES) if setting.measured_on == "noisy_labels" else data.labeled
