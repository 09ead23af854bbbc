"""Two small data sets that need no download by mplframe; on first use they pack themselves into the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, final

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import ComponentConfig
from mplframe.data.partition import Parts
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.idx import idx_file, idx_folder
from mplframe.data.readers.views import Subset
from mplframe.data.self_packed import SelfPacked, three_way
from mplframe.data.splits import stratified_count
from mplframe.errors import DataError

DIGITS = tuple(str(digit) for digit in range(10))
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@final
class Digits(SelfPacked):
    """scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels in ten classes.

    The values 0 to 16 become 0 to 255 (times 255/16, rounded). Whatever is neither labeled nor held out for testing is
    unlabeled; its labels are kept for diagnostics. The test images are the same for every `split_seed`.
    """

    class Config(ComponentConfig):
        """Which images are labeled.

        Attributes:
            classes: the digits that there are, in the order of their class indices; null for all ten.
            labeled_per_class: labeled images of each class.
            test: images held out, each class alike.
            split_seed: of the choice of labeled images.
            cache: the folder that the packed data set is kept in; by default that of all caches (`MPLFRAME_CACHE`).
        """

        name: Literal["digits"] = "digits"
        classes: Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], Field(min_length=2)] | None = None
        labeled_per_class: PositiveInt = 4
        test: PositiveInt = 400
        split_seed: NonNegativeInt = 0
        cache: str | None = None

        @model_validator(mode="after")
        def _once(self) -> Digits.Config:
            if self.classes is not None and len(set(self.classes)) < len(self.classes):
                raise ValueError("classes names a digit twice")
            return self

    def __init__(self, config: Config | None = None) -> None:
        own = config or self.Config()
        classes = DIGITS if own.classes is None else [DIGITS[digit] for digit in own.classes]
        super().__init__(own, classes, lambda: digits_parts(own), own.cache)


@final
class FashionMNIST(SelfPacked):
    """Fashion-MNIST: 60,000 training and 10,000 test images, grey, 28 x 28 pixels, in ten classes.

    Training images that aren't labeled are unlabeled; their labels are kept for diagnostics.
    """

    class Config(ComponentConfig):
        """Which images are labeled, and where the files lie.

        Attributes:
            labeled_per_class: labeled images of each class.
            split_seed: of the choice of labeled images.
            root: the folder with the four idx files; by default where Debian's package dataset-fashion-mnist has them.
            cache: the folder that the packed data set is kept in; by default that of all caches (`MPLFRAME_CACHE`).
        """

        name: Literal["fashion_mnist"] = "fashion_mnist"
        labeled_per_class: PositiveInt = 100
        split_seed: NonNegativeInt = 0
        root: str = "/usr/share/datasets/fashion-mnist"
        cache: str | None = None

    def __init__(self, config: Config | None = None) -> None:
        own = config or self.Config()
        super().__init__(own, FASHION, lambda: fashion_parts(own), own.cache)


def digits_images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """[1797, 8, 8] images and [1797] digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)


def digits_parts(config: Digits.Config) -> Parts:
    """The three splits of the digits.

    Raises:
        DataError: more are asked for than there are.
    """
    images, labels = digits_images()
    chosen = np.arange(len(DIGITS)) if config.classes is None else np.array(config.classes)
    kept = np.isin(labels, chosen)
    index = (labels[kept, None] == chosen).argmax(1)
    names = [DIGITS[digit] for digit in chosen]
    everything = ArrayReader(images[kept], index, classes=names, where="scikit-learn's digits")
    test = stratified_count(everything.labels, config.test, seed=0)
    return three_way(everything, Subset(everything, test), test, config.labeled_per_class, config.split_seed)


def fashion_parts(config: FashionMNIST.Config) -> Parts:
    """The three splits of Fashion-MNIST.

    Raises:
        DataError: the files aren't there or are damaged, or more are asked for than there are.
    """
    root = Path(config.root).expanduser()
    try:
        idx_file(root, "train", "images")
    except DataError as error:
        raise DataError(
            f"Fashion-MNIST isn't in {root}: `apt-get install dataset-fashion-mnist`, or set data.root to the folder "
            "with train-images-idx3-ubyte.gz and the other three files"
        ) from error
    train, test = idx_folder(root, "train", FASHION), idx_folder(root, "test", FASHION)
    return three_way(train, test, np.empty(0, np.int64), config.labeled_per_class, config.split_seed)
