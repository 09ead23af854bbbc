"""Videos that need no download: handwritten digits that move to the left or to the right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, final

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeInt, PositiveInt

from mplframe.config.base import ComponentConfig
from mplframe.data.embedded import DIGITS, digits_images
from mplframe.data.partition import Parts
from mplframe.data.readers.base import Labels, Reader, Record, digest
from mplframe.data.readers.views import Subset
from mplframe.data.self_packed import SelfPacked, three_way
from mplframe.data.splits import stratified_count
from mplframe.errors import optional

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
