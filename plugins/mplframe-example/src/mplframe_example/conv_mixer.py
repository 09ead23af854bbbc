"""ConvMixer: depthwise convolutions mix places, pointwise ones mix channels."""

from typing import Annotated, Literal, final

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.errors import UserError
from pydantic import AfterValidator, PositiveInt
from torch import Tensor, nn


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"a kernel of {kernel} has no center; choose an odd size")
    return kernel


class Residual(nn.Module):
    """`x + body(x)`.

    Args:
        body: keeps the shape of what it is given.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        change: Tensor = self.body(x)
        return x + change


@final
class ConvMixer(Architecture):
    """Builds a ConvMixer. Trockman and Kolter, Patches Are All You Need?, 2022, section 2."""

    class Config(ComponentConfig):
        """Settings.

        Attributes:
            width: channels of every layer.
            depth: blocks.
            kernel: of the depthwise convolutions; odd.
            patch: side of the patches that the image is cut into, in pixels; divides its size.
        """

        name: Literal["conv_mixer"] = "conv_mixer"
        width: PositiveInt = 32
        depth: PositiveInt = 4
        kernel: Annotated[PositiveInt, AfterValidator(_odd)] = 3
        patch: PositiveInt = 2

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes].

        Raises:
            UserError: patches don't divide the image.
        """
        config = self.config
        if spec.size % config.patch:
            raise UserError(
                f"conv_mixer: patches of {config.patch} pixels don't divide images of {spec.size}; choose another patch"
            )
        stem = _active(nn.Conv2d(spec.channels, config.width, config.patch, stride=config.patch), config.width)
        blocks = [_block(config.width, config.kernel) for _ in range(config.depth)]
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(config.width, spec.classes))
        return nn.Sequential(stem, *blocks, *head)


def _block(width: int, kernel: int) -> nn.Module:
    depthwise = nn.Conv2d(width, width, kernel, groups=width, padding="same")
    return nn.Sequential(Residual(_active(depthwise, width)), _active(nn.Conv2d(width, width, 1), width))


def _active(convolution: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(convolution, nn.GELU(), nn.BatchNorm2d(width))
