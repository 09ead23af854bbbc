"""What the papers vary in the networks that they train."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import Field, PositiveFloat
from torch import nn

from mplframe.config.base import ComponentConfig

Rate = Annotated[float, Field(ge=0.0, lt=1.0)]


class PublishedSettings(ComponentConfig):
    """Settings of a published network.

    Attributes:
        dropout: rate before the prediction layer.
        stochastic_depth: rate at which the last residual block is skipped; it grows linearly from 0 over the depth.
        bn_decay: weight of the old batch statistics in their running average; torch calls 1 - decay "momentum".
        bn_eps: what is added to variances.
    """

    dropout: Rate = 0.0
    stochastic_depth: Rate = 0.0
    bn_decay: Rate = 0.99
    bn_eps: PositiveFloat = 1e-3


def batch_norm(settings: PublishedSettings) -> Callable[..., nn.BatchNorm2d]:
    """Makes a batch norm of so many channels with these settings."""
    return partial(nn.BatchNorm2d, eps=settings.bn_eps, momentum=1.0 - settings.bn_decay)
