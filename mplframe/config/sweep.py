"""The `sweep` section of a config: which settings `mplframe sweep` searches, how, and by what it judges."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import BaseConfig


class RangeConfig(BaseConfig):
    """The values that one setting may take: from `low` to `high`, or one of `choices`.

    Attributes:
        low: the least value.
        high: the greatest value, included.
        log: draw the logarithm evenly instead of the value; needs `low` above 0.
        step: distance between values; null for any, or for 1 where they are integers.
        choices: values of any kind, components with all their settings too.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)
    choices: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> RangeConfig:
        ends = (self.low, self.high)
        if self.choices:
            if ends != (None, None) or self.log or self.step is not None:
                raise ValueError("choices stand alone; leave low, high, log and step out")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if not self.low < self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range needs low above 0 and takes no step")
        return self


class SweepConfig(BaseConfig):
    """A search for better settings by `mplframe sweep`; `mplframe run` ignores it.

    Attributes:
        trials: how many runs; MPL v4, C.4 allows each method 128. A grid ends earlier when all of it was tried.
        metric: of the network that the run is for, at the end of its last stage, as evaluators name it.
        direction: whether more or less of the metric is better.
        split: what trials are judged by. `holdout` is the labeled samples of `evaluation.holdout`, which no trial
            trains on. `test` is the dataset's test split, which tells nothing about new data any more once a choice
            was made by it: point the dataset's `test` at validation data then.
        sampler: how values are chosen: `tpe` is Optuna's tree-structured Parzen estimator, which learns from the trials
            before; `random`; or every combination of a `grid`, where ranges need a step or choices.
        pruner: which trials are ended early by what they reach at an evaluation (`evaluation.every`): `median` those
            below the median of the trials before, `hyperband` all but a third in each round.
        seed: of the search; the runs' own seed is that of the config.
        ranges: the values that each setting may take, by its path, such as `method.losses.1.weight`.
    """

    trials: PositiveInt = 128
    metric: str = "top1"
    direction: Literal["maximize", "minimize"] = "maximize"
    split: Literal["holdout", "test"] = "holdout"
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "none"
    seed: NonNegativeInt = 0
    ranges: dict[str, RangeConfig] = Field(default_factory=dict)
