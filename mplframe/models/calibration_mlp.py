"""The teacher of Reduced MPL: a perceptron that turns one distribution over the classes into another."""

from __future__ import annotations

from typing import Literal, final

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import UserError
from mplframe.models.mlp import MLP


class Calibration(nn.Module):
    """`log q + f(q)`, with f a perceptron whose last layer begins at 0: at first q comes out as it went in.

    Args:
        body: f, [N, C] -> [N, C].
    """

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body
        last = body[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, distributions: Tensor) -> Tensor:
        """[N, C] probabilities -> [N, C] logits."""
        q = distributions.flatten(1)
        logits: Tensor = q.clamp_min(torch.finfo(torch.float32).tiny).log() + self.body(q)
        return logits


@final
class CalibrationMLP(Architecture):
    """Five layers with ReLU (MPL v4, appendix E): 128 units for CIFAR-10, 512 for ImageNet."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            hidden: units of each hidden layer.
            identity: begin as the identity map, which appendix E expects the network to stay close to; it doesn't say
                how the network begins. One that begins at random labels at random until feedback has taught it.
        """

        name: Literal["calibration_mlp"] = "calibration_mlp"
        hidden: tuple[PositiveInt, ...] = (128, 128, 128, 128)
        identity: bool = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, C] probabilities, or images of one pixel with C channels, -> [N, C] logits.

        Raises:
            UserError: it is to begin as the identity map, but takes something else than distributions.
        """
        if self.config.identity and spec != spec.of_distributions:
            raise UserError(
                "calibration_mlp takes distributions over the classes, not images; it is the teacher of reduced_mpl"
            )
        body = MLP(MLP.Config(hidden=self.config.hidden)).build(spec)
        if not self.config.identity:
            return body
        assert isinstance(body, nn.Sequential)
        return Calibration(body)
