"""Contract suites of datasets and augmentations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import torch

from mplframe.contracts.batch import UNKNOWN
from mplframe.contracts.data import Augmentation, Clips, DatasetSource, Draws, Sample, Split, SplitName
from mplframe.testing.component import made, same

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
LIMIT = 64
THREADS = 4
CLIPS = Clips(frames=3, stride=2, positions=(0.0, 0.7))


def check_dataset(make: Callable[[], DatasetSource], *, splits: Sequence[SplitName] = SPLITS) -> None:
    """Hold a dataset source against its contract.

    Classes are known and unique; the expected splits hold samples of uint8 pixels with labels in range, known ones
    where training or evaluation needs them; samples can be read in any order, repeatedly and from threads, and are the
    same from a second source, as are clips of videos; the fingerprint is plain JSON and the same for the same data. At
    most 64 samples of a split are read, spread over it.

    Args:
        make: makes the source.
        splits: those that it has to have; any other has to be None.

    Raises:
        AssertionError: names the broken promise.
    """
    source, twin = made(make, DatasetSource), make()
    classes = list(source.classes)
    _check_classes(classes)
    for name in SPLITS:
        split, again = source.split(name), twin.split(name)
        if name not in splits:
            assert split is None, f"split({name!r}) isn't None, but the dataset has no such split"
            continue
        assert isinstance(split, Split), f"split({name!r}) gave {type(split).__name__}, not a Split"
        assert isinstance(again, Split), f"split({name!r}) of a second source gave {type(again).__name__}"
        _check_sizes(name, split)
        _check_reading(name, split, again, len(classes))
    prints = [json.dumps(each.fingerprint(), sort_keys=True) for each in (source, twin)]
    assert prints[0] == prints[1], "the same data have another fingerprint the second time"


def _check_classes(classes: list[str]) -> None:
    assert len(classes) >= 2, f"{len(classes)} classes; a classifier needs at least two"
    assert all(isinstance(name, str) for name in classes), f"class names must be strings: {classes}"
    assert len(set(classes)) == len(classes), f"class names repeat: {classes}"


def _check_sizes(name: str, split: Split) -> None:
    sizes = list(split.group_sizes)
    assert all(size > 0 for size in sizes), f"{name}: group sizes are {sizes}; groups without samples don't count"
    assert len(split) == sum(sizes), f"{name}: {len(split)} samples, but the groups hold {sum(sizes)}"
    assert len(split) > 0, f"{name}: there are no samples; give None for a split that doesn't exist"


def _check_reading(name: str, split: Split, again: Split, classes: int) -> None:
    numbers = np.unique(np.linspace(0, len(split) - 1, LIMIT).astype(int)).tolist()
    samples = split.read(numbers)
    assert len(samples) == len(numbers), f"{name}: {len(numbers)} samples were asked for, {len(samples)} came"
    for sample in samples:
        _check_sample(name, sample, classes, known=name != "unlabeled")
    keys = [sample.key for sample in samples]
    assert len(set(keys)) == len(keys), f"{name}: samples share a key"
    _check_equal(name, "read backwards and twice", samples[::-1] * 2, split.read(numbers[::-1] * 2))
    _check_equal(name, "from a second source", samples, again.read(numbers))
    assert split.read([]) == [], f"{name}: reading no samples gives some"
    labels = list(split.labels(numbers[::-1]))
    assert labels == [sample.label for sample in samples[::-1]], f"{name}: labels by themselves aren't those of samples"
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(split.read, [numbers[i::THREADS] for i in range(THREADS)]))
    for i, part in enumerate(parts):
        _check_equal(name, "from several threads", samples[i::THREADS], part)
    if "video" in split.media:
        _check_clips(name, split, again, samples, numbers)


def _check_clips(name: str, split: Split, again: Split, samples: list[Sample], numbers: list[int]) -> None:
    wanted = [CLIPS] * len(numbers)
    found = split.read_clips(numbers, wanted)
    frames = CLIPS.frames * len(CLIPS.positions)
    for sample, clips in zip(samples, found, strict=True):
        expected = (frames, *sample.image.shape[1:])
        assert clips.image.shape == expected, f"{name}: clips of {clips.key!r} are {clips.image.shape}, not {expected}"
        first = np.array_equal(clips.image[0], sample.image[0])
        assert first, f"{name}: the clip at position 0 of {clips.key!r} doesn't begin with the first frame"
    _check_equal(name, "from a second source, clips", found, again.read_clips(numbers, wanted))


def _check_sample(name: str, sample: Sample, classes: int, *, known: bool) -> None:
    image, where = sample.image, f"{name}, sample {sample.key!r}"
    assert isinstance(sample.key, str), f"{where}: the key isn't a string"
    assert isinstance(image, np.ndarray), f"{where}: the image is {type(image).__name__}, not an array"
    assert image.dtype == np.uint8, f"{where}: pixels are {image.dtype}, not uint8"
    assert image.ndim in (3, 4), f"{where}: {list(image.shape)} is neither [H, W, channels] nor [T, H, W, channels]"
    assert image.shape[-1] in (1, 3), f"{where}: {image.shape[-1]} channels; allowed are 1 (grey) and 3 (RGB)"
    assert isinstance(sample.label, int), f"{where}: the label is {type(sample.label).__name__}, not an int"
    lowest = 0 if known else UNKNOWN
    assert lowest <= sample.label < classes, f"{where}: label {sample.label} isn't in {lowest} to {classes - 1}"


def _check_equal(name: str, how: str, expected: Sequence[Sample], found: Sequence[Sample]) -> None:
    assert [s.key for s in found] == [s.key for s in expected], f"{name}: other samples, or another order, {how}"
    for a, b in zip(expected, found, strict=True):
        unchanged = a.label == b.label and np.array_equal(a.image, b.image)
        assert unchanged, f"{name}: sample {a.key!r} has another image or label {how}"


BATCH = 11


def check_augmentation(make: Callable[[], Augmentation], *, sizes: tuple[int, ...] = (8, 32)) -> None:
    """Hold an augmentation against its contract.

    Draws have a row for each image and come from the given generator alone; images keep shape and dtype, whatever the
    channels, and are never changed in place; what happens to a pair of rows 2i, 2i + 1 depends on nothing else in the
    batch, so that processes can share it.

    Args:
        make: makes the augmentation.
        sizes: heights of the square images that it takes, in pixels.

    Raises:
        AssertionError: names the broken promise.
    """
    made(make, Augmentation)
    for size in sizes:
        draws = _check_draws(make, size)
        for channels in (1, 3):
            images = np.random.default_rng(size).integers(0, 256, (BATCH, channels, size, size), dtype=np.uint8)
            _check_apply(make(), torch.from_numpy(images), draws)


def _check_draws(make: Callable[[], Augmentation], size: int) -> Draws:
    draws, again = (make().draw(BATCH, size, np.random.default_rng(5)) for _ in range(2))
    for name, values in draws.values.items():
        assert isinstance(values, np.ndarray), f"draw {name!r} is {type(values).__name__}, not an array"
        assert len(values) == BATCH, f"draw {name!r} has {len(values)} rows for {BATCH} images"
        assert np.array_equal(values, again.values[name]), (
            f"draw {name!r} isn't the same from a generator of the same seed: draw from `rng` alone"
        )
    return draws


def _check_apply(augmentation: Augmentation, images: torch.Tensor, draws: Draws) -> None:
    before = images.clone()
    changed = augmentation.apply(images, draws)
    shape = list(images.shape)
    assert list(changed.shape) == shape, f"{shape} images became {list(changed.shape)}"
    assert changed.dtype == torch.uint8, f"images became {changed.dtype}, not uint8"
    assert torch.equal(images, before), "the images were changed in place"
    assert not same(changed, augmentation.apply(images, draws)), "the same draws gave other images the second time"
    for start in range(0, BATCH, 2):
        pair = slice(start, min(start + 2, BATCH))
        alone = augmentation.apply(images[pair], draws.rows(pair.start, pair.stop))
        assert torch.equal(alone, changed[pair]), (
            f"rows {pair.start} to {pair.stop - 1} look different without the rest of the batch: rows may depend on "
            "their own draws and on their partner in the pair (2i, 2i + 1), on nothing else"
        )
