"""A grid: the variants of a config file, at every seed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mplframe
from benchmarks.accuracy import components
from mplframe.config import load as config_files
from mplframe.config import load as yaml12
from mplframe.config.run import RunConfig
from mplframe.errors import UserError, nearest
from mplframe.plugins import Components, discover


def installed() -> Components:
    """Everything installed, and what only this benchmark needs."""
    return discover(extra=[("benchmarks.accuracy", components)])


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        grid: the config file.
        variant: one of its profiles.
        seed: of everything random, the choice of labeled samples included.
        overrides: `a.b=value` each, laid on every variant.
        out: the folder of all runs.
    """

    grid: Path
    variant: str
    seed: int
    overrides: tuple[str, ...]
    out: Path

    @property
    def folder(self) -> Path:
        """Of this run."""
        return self.out / f"{self.variant}-{self.seed}"

    @property
    def command(self) -> str:
        """What makes this run alone, wherever its folder happened to lie."""
        words = ["python", "-m", "benchmarks.accuracy", str(self.grid), "--variant", self.variant]
        words += ["--first-seed", str(self.seed), "--seeds", "1"]
        words += [word for change in self.overrides for word in ("--set", change)]
        return shlex.join([*words, "--out", f"runs/{self.grid.stem}"])

    def config(self, found: Components) -> RunConfig:
        """The settings; runs of the same seed have the same labeled samples in every variant."""
        own = [*self.overrides, f"seed={self.seed}"]
        once = mplframe.load(self.grid, overrides=own, profile=self.variant, installed=found)
        chosen = [f"{path}={self.seed}" for path in split_seeds(once.data.dump(), "data")]
        return mplframe.load(self.grid, overrides=[*own, *chosen], profile=self.variant, installed=found)


def split_seeds(data: Mapping[str, Any], path: str) -> Iterator[str]:
    """Where a dataset's settings say which samples are labeled: the paths of `split_seed`, at any depth."""
    for key, value in data.items():
        if key == "split_seed":
            yield f"{path}.{key}"
        elif isinstance(value, Mapping):
            yield from split_seeds(value, f"{path}.{key}")


def variants(path: Path, chosen: Sequence[str] = ()) -> list[str]:
    """The profiles of a config file and of its bases, or those chosen, in this order.

    Raises:
        UserError: there are none, or not the one that is asked for.
    """
    names = _profiles(path)
    if not names:
        raise UserError(f"{path} has no `profiles`; a grid's variants are its profiles")
    for name in chosen:
        if name not in names:
            raise UserError(f"{path} has no variant {name!r}{nearest(name, names)} (it has: {', '.join(names)})")
    return list(chosen) or names


def _profiles(path: Path) -> list[str]:
    config_files.read(path)  # says what is wrong with the file
    data = yaml12.parse(path.read_text(encoding="utf-8"), where=str(path))
    below = _profiles(path.parent / data["base"]) if "base" in data else []
    own = data.get("profiles") or {}
    return [name for name in dict.fromkeys([*below, *own]) if own.get(name, {}) is not None]
