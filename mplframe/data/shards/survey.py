"""What lies in the shards of a split, found shard by shard and kept in bounded memory."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt

from mplframe.contracts.data import Damage
from mplframe.data.decoding.image import IMAGE_EXTENSIONS
from mplframe.data.decoding.media import SAMPLE_EXTENSIONS
from mplframe.data.decoding.video import VIDEO_EXTENSIONS
from mplframe.data.shards.access import Access
from mplframe.data.shards.index import ShardIndex
from mplframe.data.shards.index_files import Indexes, write_whole
from mplframe.data.shards.listing import Shard
from mplframe.data.shards.members import ASSIGNED, LABEL_EXTENSIONS
from mplframe.errors import DataError
from mplframe.io.threads import over_shards


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


_FORMAT = 2
_IN_MEMORY = 64 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """What is known of a split without its indexes.

    Attributes:
        counts: usable samples of each shard.
        sizes: of each shard, in bytes.
        damage: what is left out.
    """

    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    damage: tuple[Damage, ...]


@final
class Layouts:
    """The layouts of a split's shards, made when they are needed; the most recently used stay in memory.

    Args:
        shards: of the split.
        indexes: where their indexes are had.
        access: where their content is.
        labels_required: see `lay_out`.
    """

    def __init__(self, shards: Sequence[Shard], indexes: Indexes, access: Access, *, labels_required: bool) -> None:
        self._shards, self._indexes, self._access = shards, indexes, access
        self.labels_required = labels_required
        self._kept: OrderedDict[int, Layout] = OrderedDict()
        self._left = _IN_MEMORY
        self._lock = threading.Lock()

    def get(self, number: int) -> Layout:
        """The layout of shard `number`. Errors as of `make`."""
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
        return self.make(number)[0]

    def make(self, number: int) -> tuple[Layout, list[tuple[str, str]]]:
        """As `lay_out`, of shard `number`.

        Raises:
            DataError: the shard is ambiguous, or was changed since it was listed.
            StoreError: it can't be read.
        """
        shard = self._shards[number]
        index = self._indexes.get(shard, self._access.of(shard))
        layout, out = lay_out(index, shard.url, labels_required=self.labels_required)
        self._keep(number, layout)
        return layout, out

    def _keep(self, number: int, layout: Layout) -> None:
        with self._lock:
            if number not in self._kept:
                self._kept[number] = layout
                self._left -= layout.nbytes
            while self._left < 0 and len(self._kept) > 1:
                self._left += self._kept.popitem(last=False)[1].nbytes


def survey(shards: Sequence[Shard], layouts: Layouts, cache: Path) -> Survey:
    """What the shards hold: as it was kept, or by looking at the index of every shard.

    Args:
        shards: of the split.
        layouts: of these shards.
        cache: what is found is kept in its subfolder `surveys`, for as long as no shard changes.

    Raises:
        DataError, StoreError: as `Layouts.make`.
    """
    identity = repr((_FORMAT, layouts.labels_required, [(shard.url, shard.size, shard.version) for shard in shards]))
    kept = cache / "surveys" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.npz"
    try:
        return _load(kept, shards)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s) and is made again", kept, error)
    found = _look(shards, layouts)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, _content(found, shards))
    except OSError as error:
        log.warning("%s can't be written (%s); the next run will look at every shard again", kept, error)
    return found


def damage_text(key: str, url: str, reason: str) -> str:
    """What is wrong, with the name of the sample or of the shard."""
    return f"sample {key!r} in {url}: {reason}" if key else f"{url}: {reason}"


def _look(shards: Sequence[Shard], layouts: Layouts) -> Survey:
    def look(number: int) -> tuple[int, int, list[tuple[str, str]]]:
        layout, out = layouts.make(number)
        return len(layout), layout.index.size, out

    found = over_shards(look, range(len(shards)))
    return Survey(
        counts=tuple(count for count, _, _ in found),
        sizes=tuple(size for _, size, _ in found),
        damage=tuple(
            Damage(key, shard.url, damage_text(key, shard.url, reason))
            for shard, (_, _, out) in zip(shards, found, strict=True)
            for key, reason in out
        ),
    )


def _content(found: Survey, shards: Sequence[Shard]) -> bytes:
    numbers = {shard.url: i for i, shard in enumerate(shards)}
    damage = json.dumps([[numbers[one.where], one.key, one.reason] for one in found.damage])
    with io.BytesIO() as file:
        np.savez_compressed(
            file,
            counts=np.array(found.counts, np.int64),
            sizes=np.array(found.sizes, np.int64),
            damage=np.frombuffer(damage.encode(), np.uint8),
        )
        return file.getvalue()


def _load(path: Path, shards: Sequence[Shard]) -> Survey:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        damage = json.loads(arrays["damage"].tobytes())
        return Survey(
            counts=tuple(arrays["counts"].tolist()),
            sizes=tuple(arrays["sizes"].tolist()),
            damage=tuple(Damage(key, shards[number].url, reason) for number, key, reason in damage),
        )
