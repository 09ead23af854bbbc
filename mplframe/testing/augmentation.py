"""The contract of augmentations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mplframe.contracts.data import Augmentation, Draws
from mplframe.testing.component import made, same

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
