"""AutoAugment with the policies of CIFAR-10, ImageNet and SVHN.

Each has 25 sub-policies of two operations; an operation has a probability and, where it has a strength, a level of 0 to
9 of its range. Some come twice, as there.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, final

import numpy as np
import torch
from pydantic import Field

from mplframe.augmentation.grouped import Step, both_signs, each_its_own
from mplframe.augmentation.operations import OPERATIONS
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws

LEVELS = 9
"""The strongest level."""


class Use(NamedTuple):
    """How a sub-policy uses an operation.

    Attributes:
        operation: its name.
        probability: with which it is applied.
        level: 0 to `LEVELS`; 0 where the operation has no strength.
    """

    operation: str
    probability: float
    level: int = 0


def _policy(text: str) -> tuple[tuple[Use, Use], ...]:
    """From a line for each sub-policy: operation, probability and level, twice."""
    return tuple(_sub_policy(*line.split()) for line in text.strip().splitlines())


def _sub_policy(a: str, p: str, m: str, b: str, q: str, n: str) -> tuple[Use, Use]:
    return Use(a, float(p), int(m)), Use(b, float(q), int(n))


POLICIES = {
    "cifar": _policy("""
        invert        0.1 0   contrast      0.2 6
        rotate        0.7 2   translate_x   0.3 9
        sharpness     0.8 1   sharpness     0.9 3
        shear_y       0.5 8   translate_y   0.7 9
        auto_contrast 0.5 0   equalize      0.9 0
        shear_y       0.2 7   posterize     0.3 7
        color         0.4 3   brightness    0.6 7
        sharpness     0.3 9   brightness    0.7 9
        equalize      0.6 0   equalize      0.5 0
        contrast      0.6 7   sharpness     0.6 5
        color         0.7 7   translate_x   0.5 8
        equalize      0.3 0   auto_contrast 0.4 0
        translate_y   0.4 3   sharpness     0.2 6
        brightness    0.9 6   color         0.2 8
        solarize      0.5 2   invert        0.0 0
        equalize      0.2 0   auto_contrast 0.6 0
        equalize      0.2 0   equalize      0.6 0
        color         0.9 9   equalize      0.6 0
        auto_contrast 0.8 0   solarize      0.2 8
        brightness    0.1 3   color         0.7 0
        solarize      0.4 5   auto_contrast 0.9 0
        translate_y   0.9 9   translate_y   0.7 9
        auto_contrast 0.9 0   solarize      0.8 3
        equalize      0.8 0   invert        0.1 0
        translate_y   0.7 9   auto_contrast 0.9 0
    """),
    "imagenet": _policy("""
        posterize     0.4 8   rotate        0.6 9
        solarize      0.6 5   auto_contrast 0.6 0
        equalize      0.8 0   equalize      0.6 0
        posterize     0.6 7   posterize     0.6 6
        equalize      0.4 0   solarize      0.2 4
        equalize      0.4 0   rotate        0.8 8
        solarize      0.6 3   equalize      0.6 0
        posterize     0.8 5   equalize      1.0 0
        rotate        0.2 3   solarize      0.6 8
        equalize      0.6 0   posterize     0.4 6
        rotate        0.8 8   color         0.4 0
        rotate        0.4 9   equalize      0.6 0
        equalize      0.0 0   equalize      0.8 0
        invert        0.6 0   equalize      1.0 0
        color         0.6 4   contrast      1.0 8
        rotate        0.8 8   color         1.0 2
        color         0.8 8   solarize      0.8 7
        sharpness     0.4 7   invert        0.6 0
        shear_x       0.6 5   equalize      1.0 0
        color         0.4 0   equalize      0.6 0
        equalize      0.4 0   solarize      0.2 4
        solarize      0.6 5   auto_contrast 0.6 0
        invert        0.6 0   equalize      1.0 0
        color         0.6 4   contrast      1.0 8
        equalize      0.8 0   equalize      0.6 0
    """),
    "svhn": _policy("""
        shear_x       0.9 4   invert        0.2 0
        shear_y       0.9 8   invert        0.7 0
        equalize      0.6 0   solarize      0.6 6
        invert        0.9 0   equalize      0.6 0
        equalize      0.6 0   rotate        0.9 3
        shear_x       0.9 4   auto_contrast 0.8 0
        shear_y       0.9 8   invert        0.4 0
        shear_y       0.9 5   solarize      0.2 6
        invert        0.9 0   auto_contrast 0.8 0
        equalize      0.6 0   rotate        0.9 3
        shear_x       0.9 4   solarize      0.3 3
        shear_y       0.8 8   invert        0.7 0
        equalize      0.9 0   translate_y   0.6 6
        invert        0.9 0   equalize      0.6 0
        contrast      0.3 3   rotate        0.8 4
        invert        0.8 0   translate_y   0.0 2
        shear_y       0.7 6   solarize      0.4 8
        invert        0.6 0   rotate        0.8 4
        shear_y       0.3 7   translate_x   0.9 3
        shear_x       0.1 6   invert        0.6 0
        solarize      0.7 2   translate_y   0.6 7
        shear_y       0.8 4   invert        0.8 0
        shear_x       0.7 9   translate_y   0.8 3
        shear_y       0.8 5   auto_contrast 0.7 0
        shear_x       0.7 2   invert        0.1 0
    """),
}
"""By the data set that each was found on; `cifar` is that of CIFAR-10."""


@final
class AutoAugment(Augmentation):
    """Draws one of 25 sub-policies for each image, and whether each of its two operations is applied.

    Source: Cubuk et al., "AutoAugment" (CVPR 2019). MPL v4, C.4, trained UDA on ImageNet-10% with it to compare with
    UDA's own paper; MPL v4, table 3, and Billion-scale, table 6, have it as a baseline.
    """

    class Config(ComponentConfig):
        """Which policy.

        Attributes:
            policy: that found on CIFAR-10 (`cifar`), ImageNet (`imagenet`) or SVHN (`svhn`).
            fill: pixel value of what comes in from outside.
        """

        name: Literal["autoaugment"] = "autoaugment"
        policy: Literal["cifar", "imagenet", "svhn"] = "cifar"
        fill: Annotated[int, Field(ge=0, le=255)] = 127

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        policy = POLICIES[self.config.policy]
        self._probabilities = np.array([[use.probability for use in pair] for pair in policy])  # [25, 2]
        self._levels = sorted({(use.operation, use.level) for pair in policy for use in pair})
        self._numbers = np.array([[self._levels.index((use.operation, use.level)) for use in pair] for pair in policy])
        self._signed = np.array([[OPERATIONS[use.operation].signed for use in pair] for pair in policy])

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> Draws:
        """`choices` [batch], and `applied` and `negative`, each [batch, 2] bool."""
        choices = rng.integers(0, len(self._numbers), batch)
        applied = rng.random((batch, 2)) < self._probabilities[choices]
        return Draws({"choices": choices, "applied": applied, "negative": rng.random((batch, 2)) < 0.5})

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """[N, C, H, W] uint8 with C = 1 or 3 -> channels_last; the first operation of a sub-policy comes first."""
        choices = draws.values["choices"]
        negative = draws.values["negative"] & self._signed[choices]
        codes = draws.values["applied"] * (1 + 2 * self._numbers[choices] + negative)  # [N, 2]
        return each_its_own(images, codes, self._steps(images.shape[-1]), self.config.fill)

    def _steps(self, size: int) -> list[Step]:
        """Nothing, then each operation at each of its levels, with the strength as it is and negative."""
        steps = [Step(lambda images, strength, around: images, 0.0)]
        for name, level in self._levels:
            operation = OPERATIONS[name]
            steps += both_signs(operation, level / LEVELS, size)
        return steps
