"""What a split reads of a shard: of each usable sample the image or video, and the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mplframe.data.assigned_member import ASSIGNED
from mplframe.data.decode import IMAGE_EXTENSIONS
from mplframe.data.index import ShardIndex
from mplframe.data.labels import LABEL_EXTENSIONS
from mplframe.data.media import SAMPLE_EXTENSIONS
from mplframe.data.video import VIDEO_EXTENSIONS
from mplframe.errors import DataError


@dataclass(frozen=True)
class Layout:
    """The usable samples of a shard.

    Attributes:
        index: of the shard.
        samples: [n] their numbers in the index.
        image: [n] the member that holds the image; of a sample without one, its video.
        video: [n] the member that holds the video; -1 where there is none.
        label: [n] the member that holds the label, or what was assigned where no label is required; -1 where there is
            none.
    """

    index: ShardIndex
    samples: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    video: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        index = self.index
        parts = (index.keys, index.key_ends, index.first, index.extension, index.offset, index.length)
        return sum(array.nbytes for array in (*parts, self.samples, self.image, self.video, self.label))

    def keys(self, numbers: npt.NDArray[np.int64]) -> list[str]:
        """The keys of some of the usable samples."""
        return self.index.keys_of(self.samples[numbers])


def lay_out(index: ShardIndex, url: str, *, labels_required: bool) -> tuple[Layout, list[tuple[str, str]]]:
    """Find images, videos and labels.

    Args:
        index: of the shard.
        url: of the shard, for errors.
        labels_required: leave out samples without a label.

    Returns:
        The layout, and (key, reason) of everything that is left out: what the index calls damaged, and samples that
        lack an image and a video, or a required label.

    Raises:
        DataError: there are samples but not one has an image or a video, or the required label: then it is not the
            shard that is at fault.
    """
    image, video = index.best(IMAGE_EXTENSIONS), index.best(VIDEO_EXTENSIONS)
    image = np.where(image >= 0, image, video)
    # Behind an assigned class the `.cls` says the same once more; the truth is told by the other.
    label = index.best(LABEL_EXTENSIONS if labels_required else (ASSIGNED, *LABEL_EXTENSIONS))
    without: dict[str, tuple[npt.NDArray[np.bool_], tuple[str, ...]]] = {
        "an image or a video": (image < 0, SAMPLE_EXTENSIONS)
    }
    if labels_required:
        without["a label"] = ((image >= 0) & (label < 0), LABEL_EXTENSIONS)
    out = list(index.damage)
    usable = np.ones(len(index), bool)
    for what, (lacking, allowed) in without.items():
        usable &= ~lacking
        out += [(index.key(i), _lacks(index, i, what, allowed)) for i in np.flatnonzero(lacking).tolist()]
    if len(index) and not usable.any():
        key, reason = out[len(index.damage)]
        raise DataError(f"sample {key!r} in {url}, like every other in it: {reason}")
    samples = np.flatnonzero(usable)
    return Layout(index, samples, image[samples], video[samples], label[samples]), out


def _lacks(index: ShardIndex, sample: int, what: str, allowed: tuple[str, ...]) -> str:
    has = ", ".join(f".{extension}" for extension in sorted(index.members(sample)))
    return (
        f"lacks {what}: it has {has}, allowed are {', '.join('.' + extension for extension in allowed)}; an extension "
        "begins at the first dot of a name"
    )
