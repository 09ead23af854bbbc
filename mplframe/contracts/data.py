"""Where samples come from and what is done to them before a network sees them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mplframe.config.base import ComponentConfig
from mplframe.errors import DataError

SplitName = Literal["labeled", "unlabeled", "test"]
Media = Literal["image", "video"]
UNKNOWN_LENGTH = -1
"""The length of a sample's content where it isn't known without reading it."""


@dataclass(frozen=True)
class Sample:
    """One decoded sample.

    Attributes:
        key: its name within the split, for error messages and predictions.
        image: [H, W, 3] uint8 RGB or [H, W, 1] uint8 grey; of a video [frames, H, W, 3 or 1].
        label: its class index, or `UNKNOWN` (-1).
        target: [C] float32 probabilities that an earlier stage assigned to it; None where none did.
    """

    key: str
    image: npt.NDArray[np.uint8]
    label: int
    target: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Clips:
    """What is wanted of a video: one clip or several, each of so many frames.

    Attributes:
        frames: of each clip.
        stride: frames of the video from one frame of a clip to the next.
        positions: where the clips lie, one number for each: 0 begins with the video's first frame, 1 ends with its
            last, and what is drawn uniformly from [0, 1) makes every possible beginning equally likely.
    """

    frames: int
    stride: int
    positions: tuple[float, ...]


@dataclass(frozen=True)
class Damage:
    """A sample, or the rest of a file, that can't be used.

    Attributes:
        key: of the sample; empty where a whole file is meant.
        where: the file or shard.
        reason: what is wrong with it, and what to do.
    """

    key: str
    where: str
    reason: str


def digest_of(*content: bytes | memoryview) -> bytes:
    """16 bytes that identify the content of a sample."""
    found = hashlib.blake2b(digest_size=16)
    for part in content:
        found.update(part)
    return found.digest()


class Split(ABC):
    """Samples that can be read by their number, in any order, from any thread."""

    @property
    @abstractmethod
    def group_sizes(self) -> Sequence[int]:
        """How many samples lie together (in a shard, say), group by group; samples are numbered through the groups.

        Training order shuffles groups, then samples within a few groups, so that neighbours are read together.
        """

    @property
    def group_names(self) -> Sequence[str]:
        """What identifies each group wherever the dataset is opened, such as a shard's URL."""
        return [str(group) for group in range(len(self.group_sizes))]

    @abstractmethod
    def read(self, indices: Sequence[int]) -> list[Sample]:
        """The samples with these numbers, decoded, in this order; of videos a few frames from first to last.

        Raises:
            DamageError: a sample can't be used; names its key and where it lies.
            DataError: none can be read: the store is out of reach, a file was changed.
        """

    @property
    def media(self) -> frozenset[Media]:
        """What its samples are."""
        return frozenset({"image"})

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        """Clips of the videos with these numbers, in this order; `image` is [clips * frames, H, W, C], clip by clip.

        Args:
            indices: [N] numbers.
            clips: [N] what is wanted of each. A video that is shorter than a clip stands still at its end.

        Raises:
            DamageError: a sample can't be used, or isn't a video; names its key and where it lies.
            DataError: there are no videos here, or none can be read.
        """
        raise DataError("this dataset has images and no videos to take clips of; unset input.clip")

    @property
    def damage(self) -> Sequence[Damage]:
        """What was found unusable when the split was opened. It has no number and is never read; whether a run goes on
        without it is for `input.max_damaged` to say."""
        return ()

    def key(self, index: int) -> str:
        """The key of a sample, known without decoding it."""
        return str(index)

    def labels(self, indices: Sequence[int]) -> list[int]:
        """The labels of these samples, as `read` gives them; cheaper where they lie apart from the images.

        Raises:
            DamageError: a label can't be read; names the sample's key and where it lies.
            DataError: none can be read.
        """
        return [sample.label for sample in self.scaled(1).read(indices)]

    def tags(self, indices: Sequence[int]) -> list[tuple[int, ...]] | None:
        """The classes that the tags of these samples name, ascending; None where samples have no tags.

        Raises:
            DamageError: tags can't be read; names the sample's key and where it lies.
        """
        return None

    def lengths(self, indices: Sequence[int]) -> list[int]:
        """Bytes of each sample's content, known without reading it; `UNKNOWN_LENGTH` where it isn't."""
        return [UNKNOWN_LENGTH] * len(indices)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """What identifies the content of each of these samples: equal where it is, whatever key and label are.

        Raises:
            DamageError: a sample can't be used.
            DataError: none can be read.
        """
        return [digest_of(repr(s.image.shape).encode(), s.image.tobytes()) for s in self.read(indices)]

    def expect(self, groups: Sequence[int]) -> None:
        """Told which groups will be read before long: a slow store can begin to fetch them. Returns at once."""
        return

    def scaled(self, shorter: int) -> Split:
        """The same samples for uses that need no detail, such as evaluation: images may be decoded to fewer pixels, as
        long as their shorter side keeps at least `shorter`."""
        return self

    def __len__(self) -> int:
        return sum(self.group_sizes)


class EvaluationBatch(NamedTuple):
    """Samples as networks take them in evaluation.

    Attributes:
        images: [n, channels, size, size] uint8; of videos [n, clips, frames, channels, size, size].
        labels: [n] int64.
        keys: n of them.
        numbers: n, of the samples in their split.
    """

    images: torch.Tensor
    labels: torch.Tensor
    keys: list[str]
    numbers: list[int]


class DatasetSource(ABC):
    """A dataset: its classes and its splits.

    Third parties: extend this, give it a nested `Config(ComponentConfig)`, and register it as a `dataset`. Whatever
    the source, order, shuffling and exact resume are the framework's.
    """

    Config: type[ComponentConfig]

    @property
    @abstractmethod
    def classes(self) -> Sequence[str]:
        """Class names in index order; known without touching the data.

        Raises:
            UserError: it can't be known from the config alone.
        """

    @abstractmethod
    def split(self, name: SplitName) -> Split | None:
        """A split, or None where the dataset has none of that name.

        Raises:
            DataError: the data are missing, empty or damaged; says what to set or which command makes them.
        """

    @abstractmethod
    def fingerprint(self) -> Mapping[str, Any]:
        """What identifies the data, for the run's manifest: URLs, sizes, counts. Plain JSON values."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of one augmentation of one global batch: arrays whose first dimension is the batch."""

    values: Mapping[str, npt.NDArray[Any]]

    def rows(self, start: int, stop: int) -> Draws:
        """Those of samples `start` to `stop`."""
        return Draws({name: value[start:stop] for name, value in self.values.items()})


class Augmentation(ABC):
    """A random change of uint8 image batches.

    Drawing and applying are apart, so that what happens to a sample depends on the seed and its place in the global
    batch alone: not on how many processes or threads share the work.
    """

    Config: type[ComponentConfig]

    @abstractmethod
    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """Random numbers for `batch` images of `size` x `size` pixels."""

    @abstractmethod
    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """[N, C, H, W] uint8 -> the same shape; `draws` has N rows. Must not change `images` in place."""
