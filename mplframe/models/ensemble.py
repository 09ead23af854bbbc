"""Several networks that speak as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig, Kind
from mplframe.contracts.architecture import Architecture, ImageSpec


def log_mean_probability(logits: Tensor) -> Tensor:
    """[N, C] `log(mean_m softmax(l_m))`: logits whose softmax is the mean of the members' distributions.

    Args:
        logits: [M, N, C] of M members.
    """
    log_probabilities = logits.float() if logits.dtype != torch.float64 else logits
    return log_probabilities.log_softmax(-1).logsumexp(0) - math.log(len(logits))


@final
class Ensemble(Architecture):
    """Builds a network whose distribution is the mean of its members' distributions."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            members: the networks, typically `trained` ones; all take the same images.
        """

        name: Literal["ensemble"] = "ensemble"
        members: Annotated[tuple[ComponentConfig, ...], Kind("architecture"), Field(min_length=2)]

    def __init__(self, config: Config | None = None, *, members: Sequence[Architecture]) -> None:
        self.config = config
        self.members = members

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes] log probabilities.

        Raises:
            UserError: as of the members.
        """
        return _Network([member.build(spec) for member in self.members])

    @property
    def clips(self) -> bool:
        return self.members[0].clips

    def trained(self, spec: ImageSpec) -> bool:
        """Whether every member is."""
        each = [member.trained(spec) for member in self.members]
        return all(each)

    def untrained(self) -> Ensemble:
        """Of members without trained weights."""
        return Ensemble(self.config, members=[member.untrained() for member in self.members])


class _Network(nn.Module):
    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        return log_mean_probability(torch.stack([member(images) for member in self.members]))
