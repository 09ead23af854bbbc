"""AutoAugment: two operations of a sub-policy that a search has found, with its probabilities and strengths."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
import torch
from pydantic import Field

from mplframe.augmentation.grouped import Step, both_signs, each_its_own
from mplframe.augmentation.operations import OPERATIONS
from mplframe.augmentation.policies import LEVELS, POLICIES
from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import Augmentation, Draws


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
