"""What an operation of RandAugment and AutoAugment is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mplframe.augmentation.batches import Pixels


@dataclass(frozen=True)
class Surroundings:
    """What an operation may need beside its images.

    Attributes:
        fill: pixel value of what comes in from outside.
        batch: [B, H, W, C] the whole batch before the first operation.
        rows: [N] where the images are in it.
    """

    fill: int
    batch: Pixels
    rows: npt.NDArray[np.int64]

    @property
    def partners(self) -> Pixels:
        """[N, H, W, C] the other row of each image's pair 2i, 2i + 1; an odd last row is its own partner."""
        partners: Pixels = self.batch[np.minimum(self.rows ^ 1, len(self.batch) - 1)]
        return partners


Apply = Callable[[Pixels, float, Surroundings], Pixels]


@dataclass(frozen=True)
class Operation:
    """An operation with its range.

    Attributes:
        apply: images [N, H, W, C], strength and surroundings -> images; never in place.
        strength: magnitude (0 to 1) and image size (pixels) -> strength, in the unit of the operation.
        signed: the strength's sign is drawn at random.
    """

    apply: Apply
    strength: Callable[[float, int], float]
    signed: bool = False
