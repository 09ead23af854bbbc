"""The cells, declared before any of them is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.two_moons.settings import Cell, Setting

PAPER = Setting(lr=0.1, init=0.1, steps=50_000)
"""MPL v4, section 3.1: learning rate 0.1, weights in [-0.1, 0.1]. Batch and number of steps aren't given there."""
FAST = Setting(lr=0.5, init=1.0, uda=1.0, steps=10_000)
"""Where UDA alone solves some seeds but not all within its steps: there is something to gain and something to lose."""

METHODS: dict[str, Setting] = {
    "pseudo labels": Setting(sequential=True, labels="argmax"),
    "MPL off": Setting(),
    "MPL dot": Setting(estimator="dot"),
    "MPL cosine": Setting(estimator="cosine"),
    "MPL baseline": Setting(estimator="cosine", baseline=0.99),
    "MPL per_example": Setting(estimator="per_example"),
    "MPL exact": Setting(estimator="exact"),
    "MPL taylor": Setting(estimator="taylor"),
}
"""At a feedback weight of 1. The teacher of `MPL off` is supervised learning and, with UDA, UDA: it hears nothing."""


def methods(start: Setting, prefix: str) -> dict[str, Setting]:
    """Every method from one starting point, without and with UDA."""
    kept = ("sequential", "labels", "estimator", "baseline")
    found = {}
    for uda in (0.0, 1.0):
        for name, method in METHODS.items():
            changes = {key: getattr(method, key) for key in kept}
            found[f"{prefix}/{'with' if uda else 'without'} UDA/{name}"] = replace(start, uda=uda, **changes)
    return found


def _each(key: str, *values: object) -> list[Changes]:
    return [{key: value} for value in values]


def _label(changes: Changes) -> str:
    return ", ".join(f"{key} {value}" for key, value in changes.items())


Changes = Mapping[str, Any]
"""Fields of a setting."""

OFF: Changes = {"estimator": "off"}
DOT: Changes = {"estimator": "dot"}
TAYLOR: Changes = {"estimator": "taylor"}
COSINE: Changes = {"estimator": "cosine", "weight": 0.3}
BASELINE: Changes = {**COSINE, "baseline": 0.99}
PER_EXAMPLE: Changes = {"estimator": "per_example", "weight": 10.0}
EXACT: Changes = {"estimator": "exact"}
EXACT_LOW: Changes = {"estimator": "exact", "weight": 0.1}
EXACT_10: Changes = {"estimator": "exact", "weight": 10.0}
SCALED: Changes = {"estimator": "exact", "normalised": True, "weight": 0.1}
SCALED_PER_EXAMPLE: Changes = {**SCALED, "estimator": "per_example"}

HEARD = {"baseline": BASELINE, "exact": EXACT, "exact, weight 10": EXACT_10}
ABLATED = {"off": OFF, **HEARD}
BY_GRADIENT = {"dot": DOT, "taylor": TAYLOR, "per_example": PER_EXAMPLE, "exact": EXACT}
SCALED_BY_NORMS = {"exact, scaled": SCALED, "per_example, scaled": SCALED_PER_EXAMPLE}
SOFT = {"off": OFF, "exact": EXACT, "exact, weight 10": EXACT_10, "exact, scaled": SCALED}


@dataclass(frozen=True)
class Axis:
    """One thing that is varied around `FAST`.

    Attributes:
        name: of the axis.
        changes: what is done to the starting point.
        estimators: each with each of the changes, which win.
        table: that its cells are in.
    """

    name: str
    changes: Sequence[Changes]
    estimators: Mapping[str, Changes]
    table: str = "sweep"

    def settings(self) -> dict[str, Setting]:
        """By name: the table, the axis, the change, the estimator."""
        return {
            f"{self.table}/{self.name}/{_label(changes)}/{name}": replace(FAST, **{**estimator, **changes})
            for changes in self.changes
            for name, estimator in self.estimators.items()
        }


AXES = (
    Axis("weight", _each("weight", -10.0, -1.0, 0.1, 10.0), BY_GRADIENT),
    Axis("weight", _each("weight", -0.3, 0.03, 0.1, 0.3), {"cosine": COSINE, "baseline": BASELINE}),
    Axis("weight", _each("weight", 0.03, 0.1, 0.3), SCALED_BY_NORMS),
    Axis("when", [*_each("start", 1000, 5000), *_each("stop", 500, 2000)], {**HEARD, "per_example": PER_EXAMPLE}),
    Axis("teacher confidence", [*_each("temperature", 0.5, 2.0), *_each("uda_temperature", 0.5, 0.8)], ABLATED),
    Axis("labels", _each("labels", "soft"), SOFT),
    Axis("labels", _each("labels", "argmax"), {"off": OFF, "baseline": BASELINE}),
    Axis("labels", _each("view", "strong"), ABLATED),
    Axis("student reset", _each("reset", 1000), {**ABLATED, "exact, scaled": SCALED}),
    Axis("batch", _each("batch", 20, 200), {"off": OFF, "baseline": BASELINE, "exact": EXACT}),
    Axis("R", _each("measured_on", "noisy_labels", "truth"), {**HEARD, "per_example": PER_EXAMPLE, **SCALED_BY_NORMS}),
    Axis("supervised term", _each("supervised", 0.0, 0.1, 0.3, 3.0), ABLATED),
    Axis("UDA weight", _each("uda", 0.1, 0.3, 3.0, 10.0), ABLATED),
    Axis("UDA noise", _each("uda_noise", 0.1, 0.3), ABLATED),
    Axis("UDA ramp", _each("ramp", 5000), ABLATED),
    Axis("init", _each("init", 0.1, 0.5, 2.0), ABLATED),
    Axis("learning rate", _each("lr", 0.1, 0.2, 1.0), ABLATED),
    Axis("teacher's learning rate", _each("teacher_lr", 0.1, 1.0), ABLATED),
)
"""What might matter, one thing at a time."""

CONSISTENT: Mapping[str, Changes] = {
    "baseline": {**BASELINE, "weight": 1.0},
    "exact, weight 10": EXACT_10,
    "exact, weight 100": {**EXACT, "weight": 100.0},
    "exact, scaled": SCALED,
    "exact, scaled, weight 1": {**SCALED, "weight": 1.0},
}
STRONG = {"baseline": BASELINE, "per_example": PER_EXAMPLE, "exact, weight 10": EXACT_10}
AFTERWARDS = (
    Axis("R", [{"measured_on": "consistency", "uda": u} for u in (0.0, 1.0)], CONSISTENT, "afterwards"),
    Axis("R", [{"measured_on": "truth", "truths": count} for count in (6, 12, 24, 50)], STRONG, "afterwards"),
    Axis(
        "labels",
        [{"labeled_per_class": count, "uda": u} for count in (6, 12, 25, 50) for u in (0.0, 1.0)],
        {"off": OFF, **STRONG},
        "afterwards",
    ),
)
"""Declared when the sweep had been seen: R that says something of unlabeled points, and R on more points."""

FRESH = range(1000, 1100)
CONFIRMED: Mapping[str, Changes] = {
    "MPL off": OFF,
    **{f"MPL dot, weight {w:g}": {**DOT, "weight": w} for w in (0.1, 1.0)},
    **{f"MPL baseline, weight {w:g}": {**BASELINE, "weight": w} for w in (0.1, 1.0)},
    **{f"MPL exact, weight {w:g}": {**EXACT, "weight": w} for w in (0.1, 1.0, 10.0)},
    **{f"MPL exact, weight 10, stop {stop}": {**EXACT_10, "stop": stop} for stop in (500, 2000)},
    "MPL exact, weight 100, stop 500": {**EXACT, "weight": 100.0, "stop": 500},
}
"""Repeated on 100 seeds that nothing was chosen by; feedback that stops early for having won most in the sweep."""

EXAMPLE = Setting(lr=1.0, init=2.0, uda=3.0, steps=5000)
"""As in `examples/two_moons.yaml`."""


def ablation(setting: Setting) -> Setting:
    """The same without feedback; what only feedback looks at is as it is by default."""
    plain = Setting()
    ignored = ("estimator", "weight", "normalised", "baseline", "start", "stop", "measured_on", "truths")
    return replace(setting, **{name: getattr(plain, name) for name in ignored})


def cells(seeds: int) -> dict[str, Cell]:
    """Everything, on seeds 0, 1, ...; what is confirmed on seeds of its own."""
    varied = {name: setting for axis in (*AXES, *AFTERWARDS) for name, setting in axis.settings().items()}
    settings = {**methods(FAST, "fast"), **methods(PAPER, "paper"), **varied}
    fresh = {f"confirmed/with UDA/{name}": replace(FAST, **changes) for name, changes in CONFIRMED.items()}
    for name, changes in {"MPL off": OFF, "MPL exact": EXACT, "MPL exact, weight 0.1": EXACT_LOW}.items():
        fresh[f"confirmed/example/{name}"] = replace(EXAMPLE, **changes)
    return {name: Cell(setting, range(seeds)) for name, setting in settings.items()} | {
        name: Cell(setting, FRESH) for name, setting in fresh.items()
    }
