from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits

from mplframe.contracts.data import DatasetSource
from mplframe.data.sources.small import DIGITS, Digits, FashionMNIST, digits_parts
from mplframe.errors import DataError, UserError


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


def digits(cache: str, **settings: int) -> Digits:
    return Digits(Digits.Config(cache=cache, **settings))


def counts(source: DatasetSource, name: str) -> list[int]:
    split = source.split(name)
    labels = [sample.label for sample in split.read(range(len(split)))]
    return np.bincount(labels, minlength=10).tolist()


def test_digits(cache: str) -> None:
    source = digits(cache)
    assert counts(source, "labeled") == [4] * 10
    assert counts(source, "test") == [40] * 10
    assert sum(counts(source, "unlabeled")) == 1_797 - 40 - 400


def test_digits_are_all_there_once_with_their_labels(cache: str) -> None:
    """Against scikit-learn: every image in exactly one split, values scaled by 255 / 16."""
    source = digits(cache)
    bunch = load_digits()
    truth = {
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(y))
        for image, y in zip(bunch.images, bunch.target, strict=True)
    }
    found = [
        (sample.image.tobytes(), sample.label)
        for split in (source.split("labeled"), source.split("unlabeled"), source.split("test"))
        for sample in split.read(range(len(split)))
    ]
    assert len(found) == 1_797
    assert set(found) == truth


def test_some_of_the_digits(cache: str) -> None:
    source = Digits(Digits.Config(cache=cache, classes=(7, 3), test=60))
    assert source.classes == ["7", "3"]
    assert [counts(source, name)[:2] for name in ("labeled", "test")] == [[4, 4], [30, 30]]
    bunch, split = load_digits(), source.split("unlabeled")
    assert split is not None
    truth = {
        np.rint(x * 255 / 16).astype(np.uint8).tobytes(): y for x, y in zip(bunch.images, bunch.target, strict=True)
    }
    found = split.read(range(len(split)))
    assert len(found) == sum(y in (7, 3) for y in bunch.target) - 60 - 8
    assert all(truth[sample.image.tobytes()] == (7, 3)[sample.label] for sample in found)
    with pytest.raises(ValidationError, match="names a digit twice"):
        Digits.Config(classes=(7, 7))


def test_settings_choose(cache: str) -> None:
    few = digits(cache, labeled_per_class=1, test=20)
    assert counts(few, "labeled") == [1] * 10
    assert counts(few, "test") == [2] * 10


def test_split_seed_changes_the_labeled_images_and_not_the_test_images() -> None:
    first, second = (digits_parts(Digits.Config(split_seed=seed)) for seed in (0, 1))
    assert [record.key for record in first.test] == [record.key for record in second.test]
    assert [record.key for record in first.labeled] != [record.key for record in second.labeled]


def test_classes_touch_no_data(tmp_path: Path) -> None:
    assert Digits(Digits.Config(cache=str(tmp_path))).classes == DIGITS
    assert FashionMNIST(FashionMNIST.Config(cache=str(tmp_path), root="/nowhere")).classes[0] == "T-shirt/top"
    assert list(tmp_path.iterdir()) == []


def test_too_many_labeled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can't choose 160 image\(s\) of class \d: it has 1\d\d"):
        digits(str(tmp_path), labeled_per_class=160).split("labeled")
    assert not [*tmp_path.rglob("*.tar")]
    with pytest.raises(ValidationError):
        Digits.Config(labeled_per_class=0)


def test_all_labeled_but_for_test(tmp_path: Path) -> None:
    """A class may be used up: there is no need for unlabeled images of it."""
    source = digits(str(tmp_path), labeled_per_class=134)
    assert counts(source, "labeled") == [134] * 10


def test_fingerprint_does_not_depend_on_the_cache(cache: str, tmp_path: Path) -> None:
    here, there = digits(cache).fingerprint(), digits(str(tmp_path)).fingerprint()
    assert here == there
    assert here["splits"]["labeled"]["samples"] == 40
    assert here != digits(cache, split_seed=1).fingerprint()


def test_the_cache_is_used_again(cache: str) -> None:
    def times() -> dict[Path, int]:
        digits(cache).split("labeled")
        return {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*.tar")}

    assert times() == times()


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLFRAME_CACHE", str(tmp_path))
    Digits().split("labeled")
    assert [path.name.partition("-")[0] for path in (tmp_path / "datasets").iterdir() if path.is_dir()] == ["digits"]


def test_processes_at_once(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom mplframe.data.sources.small import Digits\n"
        "print(len(Digits(Digits.Config(cache=sys.argv[1])).split('unlabeled')))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["1357"] * 3
    assert len([path for path in (tmp_path / "datasets").iterdir() if path.is_dir()]) == 1


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"can't be written: .*set data\.cache or MPLFRAME_CACHE"):
        digits(str(tmp_path / "file")).split("labeled")


def write_fashion(root: Path, train: int, test: int) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("t10k", test)):
        images, labels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (root / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def test_fashion_mnist_from_a_folder(tmp_path: Path) -> None:
    write_fashion(tmp_path, train=60, test=20)
    config = FashionMNIST.Config(root=str(tmp_path), cache=str(tmp_path / "cache"), labeled_per_class=2)
    source = FashionMNIST(config)
    assert counts(source, "labeled") == [2] * 10
    assert counts(source, "unlabeled") == [4] * 10
    assert counts(source, "test") == [2] * 10
    assert source.split("test").read([0])[0].image.shape == (28, 28, 1)


def test_fashion_mnist_that_is_missing(tmp_path: Path) -> None:
    source = FashionMNIST(FashionMNIST.Config(root=str(tmp_path), cache=str(tmp_path / "cache")))
    with pytest.raises(DataError, match=r"`apt-get install dataset-fashion-mnist`, or set data\.root"):
        source.split("labeled")


@pytest.mark.debian
def test_the_real_fashion_mnist(tmp_path: Path) -> None:
    """The Debian package's files, as a user has them."""
    source = FashionMNIST(FashionMNIST.Config(cache=str(tmp_path)))
    sizes = {name: sum(source.split(name).group_sizes) for name in ("labeled", "unlabeled", "test")}
    assert sizes == {"labeled": 1_000, "unlabeled": 59_000, "test": 10_000}
    assert counts(source, "labeled") == [100] * 10
    assert counts(source, "test") == [1_000] * 10
