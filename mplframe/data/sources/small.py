"""Small data sets that are generated or embedded: digits, Fashion-MNIST's files, digits that move."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal, final

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mplframe.config.base import ComponentConfig
from mplframe.data.packing.choice import stratified_count
from mplframe.data.packing.partition import Parts
from mplframe.data.readers.arrays import ArrayReader, idx_file, idx_folder
from mplframe.data.readers.base import Labels, Reader, Record, Subset, digest
from mplframe.data.sources.self_packed import SelfPacked, three_way
from mplframe.errors import DataError, optional
from mplframe.io.files import expanded

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
    root = expanded(config.root)
    try:
        idx_file(root, "train", "images")
    except DataError as error:
        raise DataError(
            f"Fashion-MNIST isn't in {root}: `apt-get install dataset-fashion-mnist`, or set data.root to the folder "
            "with train-images-idx3-ubyte.gz and the other three files"
        ) from error
    train, test = idx_folder(root, "train", FASHION), idx_folder(root, "test", FASHION)
    return three_way(train, test, np.empty(0, np.int64), config.labeled_per_class, config.split_seed)


DIRECTIONS = {"left": -1, "right": 1}
"""Pixels that a digit moves by from one frame to the next."""
CLASSES = tuple(f"{digit} {direction}" for digit in DIGITS for direction in DIRECTIONS)
SIZE = 16
"""Height and width of the videos, in pixels; a digit has 8 x 8."""
FRAMES = 32
RATE = 25
KEY_FRAMES = 12
"""Frames from one key frame to the next."""
FINEST = 2
"""Quantiser of the encoder: the finest that doesn't waste space."""


@final
class MovingDigits(SelfPacked):
    """scikit-learn's 1,797 handwritten digits as videos of 32 frames of 16 x 16 pixels, in twenty classes.

    A digit begins at a random place and moves by a pixel a frame to the left or to the right, and comes back in on the
    other side. A class is a digit and a direction, so that a single frame can't tell more than one class in two. What
    is neither labeled nor held out for testing is unlabeled; its labels are kept for diagnostics. The videos are
    encoded (MPEG-4 in MP4) on first use, by PyAV.
    """

    class Config(ComponentConfig):
        """Which videos are labeled.

        Attributes:
            videos: how many are made, of each class as many as of any other; null for all 1,797.
            labeled_per_class: labeled videos of each class.
            test: videos held out, each class alike.
            split_seed: of the choice of labeled videos.
            cache: the folder that the packed data set is kept in; by default that of all caches (`MPLFRAME_CACHE`).
        """

        name: Literal["moving_digits"] = "moving_digits"
        videos: PositiveInt | None = None
        labeled_per_class: PositiveInt = 10
        test: PositiveInt = 400
        split_seed: NonNegativeInt = 0
        cache: str | None = None

    def __init__(self, config: Config | None = None) -> None:
        own = config or self.Config()

        def parts() -> Parts:
            everything: Reader = MovingReader()
            if own.videos is not None:
                everything = Subset(everything, stratified_count(everything.labels, own.videos, seed=0))
            test = stratified_count(everything.labels, own.test, seed=0)
            return three_way(everything, Subset(everything, test), test, own.labeled_per_class, own.split_seed)

        super().__init__(own, CLASSES, parts, own.cache)


@final
class MovingReader(Reader):
    """One video of each digit image; half of each digit's images move either way, always the same."""

    def __init__(self) -> None:
        self._images, digits = digits_images()
        rng = np.random.default_rng(0)
        order = rng.permutation(len(digits))
        place = np.empty(len(digits), np.int64)  # of each image among those of its digit, in a random order
        for digit in range(len(DIGITS)):
            own = order[digits[order] == digit]
            place[own] = np.arange(len(own))
        self._labels: Labels = digits * len(DIRECTIONS) + place % len(DIRECTIONS)
        self._begins = rng.integers(0, (SIZE - 8 + 1, SIZE), (len(digits), 2))  # row and column

    @property
    def classes(self) -> Sequence[str]:
        return CLASSES

    @property
    def labels(self) -> Labels:
        return self._labels

    @cached_property
    def digest(self) -> str:
        return digest(self._images, self._labels, self._begins)

    def read(self, index: int) -> Record:
        label = int(self._labels[index])
        row, column = self._begins[index].tolist()
        step = list(DIRECTIONS.values())[label % len(DIRECTIONS)]
        return Record(str(index), encode_mp4(moving(self._images[index], row, column, step)), "mp4", label)


def moving(image: npt.NDArray[np.uint8], row: int, column: int, step: int) -> npt.NDArray[np.uint8]:
    """[FRAMES, SIZE, SIZE] an image that moves over black.

    Args:
        image: [H, W], no larger than a frame.
        row: of its upper edge, always.
        column: of its left edge in the first frame.
        step: pixels to the right by which it moves from frame to frame.
    """
    first = np.zeros((SIZE, SIZE), np.uint8)
    first[row : row + len(image), : image.shape[1]] = image
    return np.stack([np.roll(first, column + step * frame, axis=1) for frame in range(FRAMES)])


def encode_mp4(frames: npt.NDArray[np.uint8]) -> bytes:
    """[T, H, W] grey frames as an MPEG-4 video in an MP4 file.

    Raises:
        UserError: PyAV isn't installed.
    """
    av = optional("av", "av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt, stream.gop_size = "yuv420p", KEY_FRAMES
        codec = stream.codec_context
        codec.qmin = codec.qmax = FINEST
        codec.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        container.mux(stream.encode())
    return file.getvalue()
