"""Data sets of a few images, laid out on disk as their official sites and the tools around them lay them out."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def write_cifar10(folder: Path) -> None:
    """The python version of CIFAR-10 with 8 training images a batch and 10 test images."""
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    _pickled(folder / "batches.meta", {"num_cases_per_batch": 8, "label_names": names, "num_vis": 3072})
    for number in range(5):
        _cifar_batch(folder / f"data_batch_{number + 1}", first=8 * number, count=8)
    _cifar_batch(folder / "test_batch", first=0, count=10)


def write_svhn(folder: Path) -> None:
    """The Matlab files of SVHN's cropped digits with 40 training, 20 extra and 10 test images; a 0 is labeled 10."""
    folder.mkdir(parents=True)
    for seed, (part, count) in enumerate({"train": 40, "extra": 20, "test": 10}.items()):
        digits = np.arange(count) % 10
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)
        savemat(folder / f"{part}_32x32.mat", {"X": _noise(seed, 32, 32, 3, count), "y": labels[:, None]})


def write_imagenet(folder: Path) -> None:
    """Four classes: `train` and `val` have one folder of JPEG files for each."""
    for number, synset in enumerate(("n01440764", "n01443537", "n01484850", "n01491361")):
        for i in range(8):
            _jpeg(folder / "train" / synset / f"{synset}_{i}.JPEG", seed=100 * number + i)
        for i in range(2):
            _jpeg(folder / "val" / synset / f"ILSVRC2012_val_{10 * number + i:08d}.JPEG", seed=100 * number + 50 + i)


def write_web_images(folder: Path) -> None:
    """40 JPEG files at two depths, without labels."""
    for i in range(40):
        _jpeg(folder / ("." if i % 2 else "more") / f"{i}.jpg", seed=1000 + i)


def _cifar_batch(path: Path, *, first: int, count: int) -> None:
    labels = [(first + i) % 10 for i in range(count)]
    files = [f"{label}_s_{first + i:06d}.png" for i, label in enumerate(labels)]
    _pickled(path, {"batch_label": path.name, "labels": labels, "data": _noise(first, count, 3072), "filenames": files})


def _pickled(path: Path, content: dict[str, object]) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def _jpeg(path: Path, *, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = 40 + seed % 3 * 8, 40 + seed % 5 * 8
    Image.fromarray(_noise(seed, height, width, 3)).save(path, "JPEG")


def _noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
