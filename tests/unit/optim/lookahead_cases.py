"""Optimizers with drawn groups, shapes and settings, walked over random gradients under a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import lookahead_formulas as formulas
import torch
from hypothesis import strategies as st
from lookahead_formulas import Formula, Memory
from timm.optim import RMSpropTF
from timm.optim.lars import Lars
from torch import Tensor

from mplframe.contracts.batch import Tensors
from mplframe.contracts.optimizer import Lookahead
from mplframe.optim.adam import AdamLookahead
from mplframe.optim.lars import LARSLookahead
from mplframe.optim.rmsprop import RMSPropLookahead
from mplframe.optim.sgd import NesterovLookahead, SGDLookahead

STEPS = 20
Settings = Mapping[str, Any]


class Kind(NamedTuple):
    """An optimizer, the lookahead that describes it, the formula it is held against, and its settings."""

    optimizer: Callable[..., torch.optim.Optimizer]
    lookahead: type[Lookahead]
    formula: Formula
    settings: Mapping[str, st.SearchStrategy[Any]]


RATE = {"lr": st.floats(1e-3, 0.5), "weight_decay": st.just(0.0) | st.floats(1e-3, 0.3)}
MOMENTUM = st.floats(0.1, 0.95)
BETAS = st.tuples(st.just(0.0) | st.floats(0.1, 0.95), st.floats(0.1, 0.999))
VELOCITY = {"momentum": st.just(0.0) | MOMENTUM, "dampening": st.just(0.0) | st.floats(0.1, 0.9)}
ADAM = {**RATE, "betas": BETAS, "eps": st.sampled_from([1e-8, 1e-3, 0.1])}

KINDS = {
    "sgd": Kind(torch.optim.SGD, SGDLookahead, formulas.sgd, {**RATE, **VELOCITY, "nesterov": st.just(False)}),
    "nesterov": Kind(
        torch.optim.SGD,
        NesterovLookahead,
        formulas.sgd,
        {**RATE, "momentum": MOMENTUM, "dampening": st.just(0.0), "nesterov": st.just(True)},
    ),
    "rmsprop": Kind(
        RMSpropTF,
        RMSPropLookahead,
        formulas.rmsprop,
        {
            **RATE,
            "alpha": st.floats(0.1, 0.99),
            "eps": st.sampled_from([1e-8, 1e-3, 0.1]),
            "momentum": VELOCITY["momentum"],
        },
    ),
    "adam": Kind(torch.optim.Adam, AdamLookahead, formulas.adam, ADAM),
    "adamw": Kind(torch.optim.AdamW, AdamLookahead, formulas.adamw, ADAM),
    "lars": Kind(
        Lars,
        LARSLookahead,
        formulas.lars,
        {
            **RATE,
            **VELOCITY,
            "nesterov": st.booleans(),
            "trust_coeff": st.floats(0.01, 1.0),
            "eps": st.sampled_from([1e-8, 0.1]),
            "trust_clip": st.booleans(),
            "always_adapt": st.booleans(),
        },
    ),
}


@dataclass(frozen=True)
class Case:
    """One walk: an optimizer of `kind` over `groups` of settings and shapes, with everything random from `seed`.

    Attributes:
        zeros: how often a gradient is 0, as a whole and in each entry.
    """

    kind: Kind
    groups: tuple[tuple[Settings, tuple[tuple[int, ...], ...]], ...]
    seed: int
    zeros: float = 0.0


def cases(name: str, *, zeros: float = 0.0) -> st.SearchStrategy[Case]:
    """Walks of one to three groups with one or two parameters each, of up to three dimensions."""
    shape = st.lists(st.integers(1, 4), max_size=3).map(tuple)
    group = st.tuples(st.fixed_dictionaries(dict(KINDS[name].settings)), st.tuples(shape) | st.tuples(shape, shape))
    groups = st.lists(group, min_size=1, max_size=3).map(tuple)
    return st.builds(Case, st.just(KINDS[name]), groups, st.integers(0, 2**32 - 1), st.just(zeros))


SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "dampening": 0.5, "nesterov": False},
    "nesterov": {"momentum": 0.9, "dampening": 0.0, "nesterov": True},
    "rmsprop": {"alpha": 0.9, "momentum": 0.9, "eps": 0.01},
    "adam": {"betas": (0.9, 0.99), "eps": 1e-8},
    "adamw": {"betas": (0.9, 0.99), "eps": 1e-8},
    "lars": {
        "momentum": 0.9,
        "dampening": 0.0,
        "nesterov": False,
        "trust_coeff": 0.1,
        "eps": 1e-8,
        "trust_clip": False,
        "always_adapt": True,
    },
}


def typical(name: str) -> Case:
    """A walk of one group with one matrix that decays."""
    return Case(KINDS[name], (({"lr": 0.1, "weight_decay": 0.1, **SETTINGS[name]}, ((3, 4),)),), seed=5)


@dataclass
class Moment:
    """An optimizer about to step: everything is as it is before.

    Attributes:
        gradient: g of the step.
        memories: of the formula, one a parameter.
        settings: of each parameter's group, with the schedule in `lr`.
    """

    case: Case
    step: int
    optimizer: torch.optim.Optimizer
    parameters: list[torch.nn.Parameter]
    gradient: Tensors
    memories: list[Memory]
    settings: list[Settings]
    random: torch.Generator

    @property
    def lookahead(self) -> Lookahead:
        return self.case.kind.lookahead()

    def draw(self) -> Tensors:
        """One normal tensor like each parameter."""
        return tuple(torch.randn(p.shape, generator=self.random, dtype=p.dtype) for p in self.parameters)

    def by_formula(self, gradient: Tensors) -> Tensors:
        """The displacement that the independent formula gives; differentiable in the gradient."""
        return tuple(moved for moved, _ in self._formula(gradient))

    def go(self) -> Tensors:
        """Really step; how far the parameters went."""
        self.memories = [memory for _, memory in self._formula(self.gradient)]
        before = [p.detach().clone() for p in self.parameters]
        for p, g in zip(self.parameters, self.gradient, strict=True):
            p.grad = g.clone()
        self.optimizer.step()
        return tuple(p.detach() - b for p, b in zip(self.parameters, before, strict=True))

    def _formula(self, gradient: Tensors) -> Iterator[tuple[Tensor, Memory]]:
        for p, g, memory, settings in zip(self.parameters, gradient, self.memories, self.settings, strict=True):
            yield self.case.kind.formula(p.detach(), g, memory, self.step + 1, settings)


def walk(case: Case, steps: int = STEPS) -> Iterator[Moment]:
    """The moments before each step. Steps that the caller doesn't take by `go` are taken."""
    random = torch.Generator().manual_seed(case.seed)
    drawn = [
        (settings, [torch.nn.Parameter(torch.randn(shape, generator=random, dtype=torch.float64)) for shape in shapes])
        for settings, shapes in case.groups
    ]
    optimizer = case.kind.optimizer([{"params": parameters, **settings} for settings, parameters in drawn], lr=1.0)
    parameters = [p for _, ps in drawn for p in ps]
    memories: list[Memory] = [{} for _ in parameters]
    for step in range(steps):
        factor = 1.0 - 0.8 * step / steps
        for group, (settings, _) in zip(optimizer.param_groups, drawn, strict=True):
            group["lr"] = settings["lr"] * factor
        scheduled = [{**s, "lr": s["lr"] * factor} for s, ps in drawn for _ in ps]
        gradient = tuple(_gradient(p, random, case.zeros) for p in parameters)
        moment = Moment(case, step, optimizer, parameters, gradient, memories, scheduled, random)
        yield moment
        if moment.memories is memories:
            moment.go()
        memories = moment.memories


def _gradient(parameter: Tensor, random: torch.Generator, zeros: float) -> Tensor:
    """Normal, of a size that changes from step to step; some of it 0."""
    size = 10.0 ** float(torch.empty(()).uniform_(-1.0, 1.0, generator=random))
    whole = torch.rand((), generator=random) >= zeros
    entries = torch.rand(parameter.shape, generator=random) >= zeros
    return size * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype) * (whole & entries)
