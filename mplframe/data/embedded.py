"""Two small data sets that need no download by mplframe; on first use they pack themselves into the cache."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from filelock import FileLock
from pydantic import NonNegativeInt, PositiveInt

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.local import cache_folder
from mplframe.data.output import writing
from mplframe.data.packing import FORMAT_VERSION, MARKER, pack_splits
from mplframe.data.partition import Parts
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.readers.idx import idx_file, idx_folder
from mplframe.data.readers.views import Subset
from mplframe.data.shards import WebDataset
from mplframe.data.splits import rest, stratified, stratified_count
from mplframe.errors import DataError

DIGITS = tuple(str(digit) for digit in range(10))
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@final
class Digits(DatasetSource):
    """scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels in ten classes.

    The values 0 to 16 become 0 to 255 (times 255/16, rounded). Whatever is neither labeled nor held out for testing is
    unlabeled; its labels are kept for diagnostics. The test images are the same for every `split_seed`.
    """

    class Config(ComponentConfig):
        """Which images are labeled.

        Attributes:
            labeled_per_class: labeled images of each class.
            test: images held out, each class alike.
            split_seed: of the choice of labeled images.
            cache: the folder that the packed data set is kept in; by default that of all caches (`MPLFRAME_CACHE`).
        """

        name: Literal["digits"] = "digits"
        labeled_per_class: PositiveInt = 4
        test: PositiveInt = 400
        split_seed: NonNegativeInt = 0
        cache: str | None = None

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or self.Config()
        self._packed = _SelfPacked(self._config, DIGITS, lambda: digits_parts(self._config))

    @property
    def classes(self) -> Sequence[str]:
        return DIGITS

    def split(self, name: SplitName) -> Split | None:
        return self._packed.source().split(name)

    def fingerprint(self) -> Mapping[str, Any]:
        return self._packed.fingerprint()


@final
class FashionMNIST(DatasetSource):
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
        self._config = config or self.Config()
        self._packed = _SelfPacked(self._config, FASHION, lambda: fashion_parts(self._config))

    @property
    def classes(self) -> Sequence[str]:
        return FASHION

    def split(self, name: SplitName) -> Split | None:
        return self._packed.source().split(name)

    def fingerprint(self) -> Mapping[str, Any]:
        return self._packed.fingerprint()


def digits_parts(config: Digits.Config) -> Parts:
    """The three splits of the digits.

    Raises:
        DataError: more are asked for than there are.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8]
    everything = ArrayReader(images, bunch.target, classes=DIGITS, where="scikit-learn's digits")
    test = stratified_count(everything.labels, config.test, seed=0)
    return _three_way(everything, Subset(everything, test), test, config.labeled_per_class, config.split_seed)


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
    return _three_way(train, test, np.empty(0, np.int64), config.labeled_per_class, config.split_seed)


def _three_way(
    train: ArrayReader,
    test: ArrayReader | Subset,
    held_out: np.ndarray[Any, np.dtype[np.int64]],
    per_class: int,
    seed: int,
) -> Parts:
    left = rest(len(train), held_out)
    labeled = left[stratified(train.labels[left], per_class, seed)]
    unlabeled = rest(len(train), held_out, labeled)
    return Parts(Subset(train, labeled), Subset(train, unlabeled) if len(unlabeled) else None, test)


@final
class _SelfPacked:
    """A data set that is packed into the cache when it is first asked for, once for all processes."""

    def __init__(
        self, config: Digits.Config | FashionMNIST.Config, classes: Sequence[str], parts: Callable[[], Parts]
    ) -> None:
        self._settings = config.model_dump(mode="json", exclude={"cache"})
        self._folder = cache_folder(config.cache) / "datasets" / f"{config.name}-{_digest(self._settings)}"
        self._cache, self._classes, self._parts = config.cache, list(classes), parts
        self._lock = threading.Lock()
        self._source: WebDataset | None = None

    def source(self) -> WebDataset:
        """The packed data set."""
        with self._lock:
            if self._source is None:
                self._pack()
                self._source = self._open()
            return self._source

    def fingerprint(self) -> dict[str, Any]:
        """The settings, and the shards without the place where they happen to lie."""
        found = self.source().fingerprint()
        splits = {
            name: {key: value for key, value in split.items() if key != "urls"}
            for name, split in found.items()
            if isinstance(split, Mapping)
        }
        return {**self._settings, "classes": len(self._classes), "splits": splits}

    def _pack(self) -> None:
        if (self._folder / MARKER).is_file():
            return
        with writing(self._folder, "set data.cache or MPLFRAME_CACHE to a folder that can be written"):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self._folder}.lock"):
                if not (self._folder / MARKER).is_file():
                    parts = self._parts()
                    pack_splits(
                        self._folder,
                        labeled=parts.labeled,
                        unlabeled=parts.unlabeled,
                        test=parts.test,
                        keep_truth=True,
                        source=self._settings,
                    )

    def _open(self) -> WebDataset:
        shards = {
            split: str(self._folder / f"{split}-*.tar")
            for split in ("labeled", "unlabeled", "test")
            if any(self._folder.glob(f"{split}-*.tar"))
        }
        return WebDataset(WebDataset.Config(**shards, classes=self._classes, cache=self._cache))


def _digest(settings: Mapping[str, Any]) -> str:
    text = json.dumps({"format": FORMAT_VERSION, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
