"""The suites have teeth: broken datasets and augmentations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from broken import Config, rejects
from torch import Tensor

from mplframe.augmentation.basic import Flip
from mplframe.contracts.data import Augmentation, DatasetSource, Draws, Sample, Split
from mplframe.testing import check_augmentation, check_dataset


class Numbers(Split):
    """Ten images of noise, the label of each its number; `change` spoils samples as they are read."""

    def __init__(self, change: Callable[[Sample], Sample], sizes: Sequence[int] = (6, 4)) -> None:
        self.change, self.sizes = change, sizes

    @property
    def group_sizes(self) -> Sequence[int]:
        return self.sizes

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return [self.change(Sample(f"s{i}", np.full((4, 4, 1), i, np.uint8), i)) for i in indices]


class OtherLabels(Numbers):
    """Gives labels of its own where they are asked for alone."""

    def labels(self, indices: Sequence[int]) -> list[int]:
        return [0 for _ in indices]


class Source(DatasetSource):
    Config = Config

    def __init__(self, change: Callable[[Sample], Sample] = lambda s: s, **more: Any) -> None:
        self.change, self.more = change, more

    @property
    def classes(self) -> Sequence[str]:
        return self.more.get("classes", [str(i) for i in range(10)])

    def split(self, name: str) -> Split | None:
        kind = self.more.get("kind", Numbers)
        return None if name == self.more.get("missing") else kind(self.change, self.more.get("sizes", (6, 4)))

    def fingerprint(self) -> Mapping[str, Any]:
        return {"id": id(self)} if self.more.get("unstable") else {}


DATASETS = {
    "floats": (lambda: Source(lambda s: replace(s, image=s.image / 255)), "not uint8"),
    "no channels": (lambda: Source(lambda s: replace(s, image=s.image[..., 0])), r"is neither \[H, W, channels\] nor"),
    "label out of range": (lambda: Source(lambda s: replace(s, label=s.label + 1)), "label 10 isn't in"),
    "unknown label": (lambda: Source(lambda s: replace(s, label=-1)), "labeled, .* isn't in 0"),
    "other labels": (lambda: Source(kind=OtherLabels), "labels by themselves"),
    "shared keys": (lambda: Source(lambda s: replace(s, key="same")), "share a key"),
    "random pixels": (
        lambda: Source(lambda s: replace(s, image=np.random.default_rng().integers(0, 256, (4, 4, 1), dtype=np.uint8))),
        "another image or label",
    ),
    "no test split": (lambda: Source(missing="test"), r"split\('test'\) gave NoneType"),
    "empty": (lambda: Source(sizes=()), "there are no samples"),
    "one class": (lambda: Source(classes=["all"]), "at least two"),
    "unstable fingerprint": (lambda: Source(unstable=True), "another fingerprint"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_datasets(case: str) -> None:
    make, promise = DATASETS[case]
    rejects(lambda: check_dataset(make), promise)


def test_a_sound_dataset_passes() -> None:
    check_dataset(Source)
    check_dataset(lambda: Source(missing="unlabeled"), splits=("labeled", "test"))
    rejects(lambda: check_dataset(Source, splits=("labeled", "test")), r"split\('unlabeled'\) isn't None")


class Change(Augmentation):
    Config = Config

    def __init__(self, apply: Callable[[Tensor, Draws], Tensor] | None = None, draw: Any = None) -> None:
        self._apply, self._draw = apply or Flip().apply, draw or Flip().draw

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        return self._draw(batch, size, rng)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        return self._apply(images, draws)


def unseeded(batch: int, size: int, rng: np.random.Generator) -> Draws:
    return Flip().draw(batch, size, np.random.default_rng())


AUGMENTATIONS = {
    "in place": (lambda: Change(lambda images, _: images.add_(1)), "changed in place"),
    "floats": (lambda: Change(lambda images, _: images / 255), "not uint8"),
    "smaller": (lambda: Change(lambda images, _: images[..., 1:]), "images became"),
    "mixes the batch": (lambda: Change(lambda images, _: images.flip(0)), "without the rest of the batch"),
    "random": (lambda: Change(lambda images, _: torch.randint_like(images, 256)), "other images the second time"),
    "another generator": (lambda: Change(draw=unseeded), "draw from `rng` alone"),
    "too few rows": (lambda: Change(draw=lambda b, s, rng: Flip().draw(b - 1, s, rng)), "rows for 11 images"),
}


@pytest.mark.parametrize("case", AUGMENTATIONS)
def test_augmentations(case: str) -> None:
    make, promise = AUGMENTATIONS[case]
    rejects(lambda: check_augmentation(make), promise)
