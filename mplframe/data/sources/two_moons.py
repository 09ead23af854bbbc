"""Two interleaved half circles in the plane, as images of one pixel: the toy of MPL v4, section 3.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, final

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.packing.choice import rest, stratified
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.base import Subset
from mplframe.data.readers.split import ReaderSplit

CLASSES = ("upper", "lower")
REACH = 2.0
"""Coordinates from -REACH to REACH are what a pixel can say: `input: {mean: [0.5, 0.5, 0], std: [0.25, 0.25, 1]}`."""

Points = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def two_moons(count: int, noise: float, rng: np.random.Generator) -> tuple[Points, Labels]:
    """Points on two half circles of radius 1 that reach into each other, centred on the origin.

    Args:
        count: of points, half of them in each class (the odd one in the second).
        noise: standard deviation of the Gaussian noise on both coordinates.
        rng: draws the place on the half circle, uniformly, and the noise.

    Returns:
        [N, 2] coordinates and [N] classes 0 (the upper moon, about (-0.5, -0.25)) and 1 (the lower, about (0.5, 0.25)).
    """
    labels = np.repeat([0, 1], [count // 2, count - count // 2])
    angle = rng.random(count) * np.pi
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # [N, 2]
    moons = np.where(labels[:, None] == 0, circle, np.array([1.0, 0.5]) - circle)
    return rng.normal(moons - np.array([0.5, 0.25]), noise), labels


def pixels(points: Points) -> npt.NDArray[np.uint8]:
    """[N, 2] coordinates -> [N, 1, 1, 3] pixels: red is x, green is y, blue is 0.

    A level is `2 REACH / 255` = 0.0157 wide: rounding adds a standard deviation of 0.0045. What lies outside of
    [-REACH, REACH] ends on its border.
    """
    levels = np.rint((points + REACH) * (255 / (2 * REACH))).clip(0, 255)
    return np.pad(levels, ((0, 0), (0, 1))).astype(np.uint8)[:, None, None, :]


def coordinates(images: npt.NDArray[np.uint8]) -> Points:
    """[N, 1, 1, 3] pixels -> [N, 2] coordinates, as the config's mean and std make the network's input of them."""
    return images[:, 0, 0, :2].astype(np.float64) * (2 * REACH / 255) - REACH


@final
class TwoMoons(DatasetSource):
    """A few labeled points of each moon, the rest unlabeled (their truth is kept for diagnostics), and fresh test ones.

    An image has one pixel: red is x, green is y. With `input: {size: 1, mean: [0.5, 0.5, 0], std: [0.25, 0.25, 1]}`
    the network's input is the coordinates, and 0.
    """

    class Config(ComponentConfig):
        """The points of MPL v4, section 3.1; the paper doesn't say how noisy they are.

        Attributes:
            points: how many, labeled ones included.
            labeled_per_class: labeled points of each moon.
            test: points to test on, drawn apart.
            noise: standard deviation of the noise on both coordinates.
            split_seed: of the points and of the choice of labeled ones.
        """

        name: Literal["two_moons"] = "two_moons"
        points: Annotated[int, Field(ge=4)] = 2000
        labeled_per_class: PositiveInt = 3
        test: Annotated[int, Field(ge=2)] = 2000
        noise: Annotated[float, Field(ge=0.0, le=0.25)] = 0.1
        split_seed: NonNegativeInt = 0

        @model_validator(mode="after")
        def _some_unlabeled(self) -> TwoMoons.Config:
            if self.labeled_per_class >= self.points // 2:
                raise ValueError(
                    f"labeled_per_class = {self.labeled_per_class} leaves none of a moon's {self.points // 2} points "
                    f"unlabeled; choose at most {self.points // 2 - 1}, or more points"
                )
            return self

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or self.Config()

    @property
    def classes(self) -> Sequence[str]:
        return CLASSES

    def split(self, name: SplitName) -> Split:
        config = self._config
        # Test points have a stream of their own: their number changes nothing in the others.
        train, test = (np.random.default_rng([config.split_seed, stream]) for stream in (0, 1))
        if name == "test":
            return ReaderSplit(_reader(*two_moons(config.test, config.noise, test)))
        everything = _reader(*two_moons(config.points, config.noise, train))
        labeled = stratified(everything.labels, config.labeled_per_class, config.split_seed)
        chosen = labeled if name == "labeled" else rest(len(everything), labeled)
        return ReaderSplit(Subset(everything, chosen))

    def fingerprint(self) -> Mapping[str, Any]:
        return self._config.model_dump(mode="json")


def _reader(points: Points, labels: Labels) -> ArrayReader:
    return ArrayReader(pixels(points), labels, classes=CLASSES, where="two moons")
