"""What a data set holds, before training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mplframe.config.base import ComponentConfig
from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Damage, DatasetSource, Split, SplitName
from mplframe.data.contact_sheet import contact_sheet, evenly_spaced
from mplframe.data.shard_list import list_shards
from mplframe.data.shards import WebDataset
from mplframe.data.verification import SPLITS, Problem, out_of_range, verify, verify_shards
from mplframe.errors import DataError, UserError

__all__ = ["Inspection", "Problem", "SplitInspection", "contact_sheet", "inspect", "verify", "verify_shards"]

_BATCH = 64


@dataclass(frozen=True)
class Sizes:
    """The sizes of some files, in bytes."""

    total: int
    smallest: int
    median: int
    largest: int

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Sizes:
        """Of at least one file."""
        return cls(sum(sizes), min(sizes), int(median(sizes)), max(sizes))


@dataclass(frozen=True)
class SplitInspection:
    """What a split holds.

    Attributes:
        shards: groups of samples that lie together.
        samples: how many there are.
        read: how many were looked at, evenly spaced; what follows counts those alone.
        class_counts: samples by class name, in index order, with classes that don't occur.
        without_label: samples without a label.
        image_sizes: images and videos by (height, width, channels), the most frequent first.
        videos: how many of those that were read are videos.
        damage: what was found unusable when the split was opened, and isn't counted.
        shard_bytes: sizes of its shards, in bytes; None where it isn't made of shards.
    """

    shards: int
    samples: int
    read: int
    class_counts: Mapping[str, int]
    without_label: int
    image_sizes: Mapping[tuple[int, int, int], int]
    videos: int
    damage: tuple[Damage, ...]
    shard_bytes: Sizes | None

    @property
    def imbalance(self) -> float | None:
        """The size of the largest class over that of the smallest.

        Infinite where a class is missing, None where nothing is labeled.
        """
        counts = self.class_counts.values()
        if not any(counts):
            return None
        return max(counts) / min(counts) if min(counts) else float("inf")


@dataclass(frozen=True)
class Inspection:
    """What a data set holds.

    Attributes:
        classes: names in index order.
        splits: those that could be read.
        problems: why others couldn't.
    """

    classes: tuple[str, ...]
    splits: Mapping[SplitName, SplitInspection]
    problems: tuple[Problem, ...]


def inspect(source: DatasetSource, limit: int | None = 2_000, *, config: ComponentConfig | None = None) -> Inspection:
    """Look at every split of a data set.

    Args:
        source: the data set.
        limit: samples that are read of each split; None reads all.
        config: of the data set; shards that it names are measured, and splits that it sets to null aren't asked for.

    Raises:
        UserError: `limit` is less than 1, or the class names can't be had.
    """
    if limit is not None and limit < 1:
        raise UserError(f"inspecting needs a limit of at least one sample, got {limit}; leave it unset to read all")
    classes = tuple(source.classes)
    splits: dict[SplitName, SplitInspection] = {}
    problems: list[Problem] = []
    for name in SPLITS:
        if getattr(config, name, name) is None:
            continue
        try:
            split = source.split(name)
            if split is not None:
                sizes = _shard_sizes(getattr(config, name, None), source)
                splits[name] = _inspect(split, classes, limit, sizes, labels_required=name != "unlabeled")
        except DataError as error:
            problems.append(Problem(name, "", None, str(error)))
    return Inspection(classes, splits, tuple(problems))


def _shard_sizes(urls: str | Sequence[str] | None, source: DatasetSource) -> Sizes | None:
    if urls is None or not isinstance(source, WebDataset):
        return None
    sizes = [shard.size for shard in list_shards(urls, source.storage.stores) if shard.size is not None]
    return Sizes.of(sizes) if sizes else None


def _inspect(
    split: Split, classes: tuple[str, ...], limit: int | None, sizes: Sizes | None, *, labels_required: bool
) -> SplitInspection:
    numbers = evenly_spaced(len(split), limit or len(split))
    labels: Counter[int] = Counter()
    shapes: Counter[tuple[int, ...]] = Counter()
    videos = 0
    for start in range(0, len(numbers), _BATCH):
        for sample in split.read(numbers[start : start + _BATCH]):
            wrong = out_of_range(sample.label, len(classes), labels_required)
            if wrong is not None:
                raise DataError(f"sample {sample.key!r}: {wrong}")
            labels[sample.label] += 1
            shapes[sample.image.shape[-3:]] += 1
            videos += sample.image.ndim == 4
    return SplitInspection(
        shards=len(split.group_sizes),
        samples=len(split),
        read=len(numbers),
        class_counts={name: labels[number] for number, name in enumerate(classes)},
        without_label=labels[UNKNOWN],
        image_sizes={(size[0], size[1], size[2]): count for size, count in shapes.most_common()},
        videos=videos,
        damage=tuple(split.damage),
        shard_bytes=sizes,
    )
