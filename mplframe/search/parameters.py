"""The settings that are searched: declared ranges, checked against the configuration that they change."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mplframe.api import from_dict
from mplframe.config.load import overridden, parse
from mplframe.config.run import RangeConfig, RunConfig
from mplframe.errors import ConfigError, nearest

Scalar = None | bool | int | float | str
FIXED = ("evaluation", "out", "sweep")
"""Settings that say what is measured and where things go, rather than what is trained."""


@dataclass(frozen=True)
class Parameter:
    """One setting that is searched.

    Attributes:
        key: its path in the configuration.
        range: what it may be.
        integer: whether it takes whole numbers alone.
    """

    key: str
    range: RangeConfig
    integer: bool = False

    @property
    def labels(self) -> list[Scalar]:
        """One for each of the choices: the choice itself, or JSON where that has parts."""
        return [json.dumps(c) if isinstance(c, list | tuple | Mapping) else c for c in self.range.choices]

    def value(self, found: Scalar) -> Any:
        """The setting that a number or a label stands for."""
        return self.range.choices[self.labels.index(found)] if self.range.choices else found

    @property
    def grid(self) -> list[Scalar]:
        """Every value.

        Raises:
            ConfigError: there is no end of them.
        """
        if self.range.choices:
            return self.labels
        low, high, step = self.range.low, self.range.high, self.range.step or (1 if self.integer else None)
        assert low is not None
        assert high is not None
        if step is None or self.range.log:
            raise ConfigError(f"sweep.ranges.{self.key}: a grid needs choices, or low and high with a step")
        return [low + i * step for i in range(math.floor((high - low) / step + 1e-9) + 1)]

    @property
    def extremes(self) -> list[Any]:
        """What has to be a valid setting for the whole range to be one."""
        return list(self.range.choices or (self.range.low, self.range.high))


def parse_range(text: str) -> tuple[str, RangeConfig]:
    """A range as the command line has it: `KEY=LOW:HIGH`, `KEY=LOW:HIGH:log`, or `KEY=[A, B]` for choices.

    Raises:
        ConfigError: it is none of these.
    """
    key, equals, given = text.partition("=")
    how = "write it as KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=[A, B]"
    if not equals or not key.strip():
        raise ConfigError(f"--range {text!r}: {how}")
    if given.lstrip().startswith("["):
        settings: dict[str, Any] = {"choices": parse(given, where=f"--range {text}")}
    else:
        low, high, *log = given.split(":") if ":" in given else ("", "")
        if log not in ([], ["log"]):
            raise ConfigError(f"--range {text!r}: {how}")
        settings = {"low": parse(low, where=text), "high": parse(high, where=text), "log": bool(log)}
    try:
        return key.strip(), RangeConfig(**settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"].partition("Value error, ")
        raise ConfigError(f"--range {text!r}: {problem[2] or problem[0]}; {how}") from error


def declared(base: RunConfig, ranges: Mapping[str, RangeConfig]) -> list[Parameter]:
    """The parameters of a search, after every key and both ends of every range were tried on the configuration.

    Args:
        base: what the values are laid on.
        ranges: by key.

    Raises:
        ConfigError: there is none, a key leads nowhere, or a value isn't allowed there.
    """
    if not ranges:
        raise ConfigError("a sweep needs ranges: set sweep.ranges in the config, or give --range KEY=LOW:HIGH")
    present = dict(_settings(base.dump()))
    # Those that lead further come later: a choice of components first, then what is within the chosen one.
    found = [_parameter(key, ranges[key], present) for key in sorted(ranges, key=lambda key: key.count("."))]
    for parameter in found:
        for value in parameter.extremes:
            trial_config(base, {parameter.key: value})
    return found


def trial_config(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The configuration with other values of some settings.

    Raises:
        ConfigError: it isn't valid; says with which values.
    """
    changes = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    return from_dict(overridden(base.dump(), changes), where=f"the configuration with {', '.join(changes)}")


def _parameter(key: str, given: RangeConfig, present: Mapping[str, Any]) -> Parameter:
    if key not in present:
        parent = key.rpartition(".")[0]
        siblings = [path.rpartition(".")[2] for path in present if path.rpartition(".")[0] == parent]
        allowed = f" (allowed in {parent}: {', '.join(siblings)})" if parent and siblings else ""
        raise ConfigError(f"sweep.ranges: the configuration has no {key!r}{nearest(key, present)}{allowed}")
    if key.partition(".")[0] in FIXED:
        raise ConfigError(f"sweep.ranges: {key} can't be searched; a sweep changes what is trained, not {key}")
    if given.choices:
        return Parameter(key, given)
    if isinstance(present[key], bool | str | list | dict):
        raise ConfigError(f"sweep.ranges.{key}: {present[key]!r} isn't a number; give choices")
    numbers = [n for n in (given.low, given.high, given.step) if n is not None]
    whole = all(isinstance(n, int) for n in numbers)
    if isinstance(present[key], int) and not whole:
        raise ConfigError(f"sweep.ranges.{key}: the setting takes whole numbers ({present[key]} now), not {numbers}")
    return Parameter(key, given, integer=isinstance(present[key], int) or (whole and given.step is not None))


def _settings(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting at any depth, by its path."""
    if path:
        yield path, data
    below = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for key, value in below:
        yield from _settings(value, f"{path}.{key}" if path else str(key))
