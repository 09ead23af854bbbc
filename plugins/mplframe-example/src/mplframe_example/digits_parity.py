"""scikit-learn's handwritten digits as a task of two classes: even or odd."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Sample, Split, SplitName
from mplframe.errors import DataError
from pydantic import NonNegativeInt, PositiveInt

Numbers = npt.NDArray[np.int64]


def divide(total: int, labeled: int, test: int, seed: int) -> dict[SplitName, Numbers]:
    """Sample numbers of three disjoint splits that together are everything; the test split is the same for all seeds.

    Raises:
        DataError: nothing would be left unlabeled.
    """
    if labeled + test >= total:
        raise DataError(f"{labeled} labeled and {test} test digits leave none of {total} unlabeled; ask for fewer")
    everything = np.random.default_rng(0).permutation(total)
    rest = np.random.default_rng(seed).permutation(everything[test:])
    return {"labeled": rest[:labeled], "unlabeled": rest[labeled:], "test": everything[:test]}


@final
class ArraySplit(Split):
    """Samples in memory.

    Args:
        images: [N, H, W, C] uint8.
        labels: [N] class indices.
        numbers: which of them, in this order.
    """

    def __init__(self, images: npt.NDArray[np.uint8], labels: Numbers, numbers: Numbers) -> None:
        self._images, self._labels, self._numbers = images, labels, numbers

    @property
    def group_sizes(self) -> Sequence[int]:
        return [len(self._numbers)]

    def read(self, indices: Sequence[int]) -> list[Sample]:
        chosen = self._numbers[np.asarray(indices, dtype=np.int64)]
        return [Sample(f"digit-{n}", self._images[n], int(self._labels[n])) for n in chosen]


@final
class DigitsParity(DatasetSource):
    """1,797 grey images of 8 x 8 pixels; a class holds five different digits. Values 0 to 16 become 0 to 255."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            labeled: images with a label.
            test: images held out.
            split_seed: of the choice of labeled images.
        """

        name: Literal["digits_parity"] = "digits_parity"
        labeled: PositiveInt = 40
        test: PositiveInt = 400
        split_seed: NonNegativeInt = 0

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    @property
    def classes(self) -> Sequence[str]:
        return ("even", "odd")

    def split(self, name: SplitName) -> Split | None:
        return self._splits[name]

    def fingerprint(self) -> Mapping[str, Any]:
        return self.config.dump() | {"samples": {name: len(split) for name, split in self._splits.items()}}

    @cached_property
    def _splits(self) -> dict[SplitName, Split]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # [1797, 8, 8, 1]
        labels = bunch.target.astype(np.int64) % 2
        parts = divide(len(images), self.config.labeled, self.config.test, self.config.split_seed)
        return {name: ArraySplit(images, labels, numbers) for name, numbers in parts.items()}
