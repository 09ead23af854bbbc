"""What opening a split finds: how many samples each shard has, and what is damaged."""

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

from mplframe.contracts.data import Damage
from mplframe.data.access import Access
from mplframe.data.index_cache import Indexes
from mplframe.data.layout import Layout, lay_out
from mplframe.data.parallel import over_shards
from mplframe.data.shard_list import Shard
from mplframe.data.sidecar import write_whole

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
