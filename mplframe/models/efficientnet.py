"""EfficientNets by the names that the papers call them. Parameters are counted with 1,000 classes.

B0 to B7: Tan & Le, "EfficientNet" (ICML 2019). L2: Noisy Student, section 3.1. B6-Wide: MPL v4, section 4.
"""

from typing import ClassVar, Literal, final

from torch import nn

from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.models.scaled_efficientnet import EfficientNetSettings, Scaling, efficientnet
from mplframe.models.settings import Rate


class EfficientNet(Architecture):
    """Builds the EfficientNet of one scaling.

    Attributes:
        scaling: what makes one size differ from another.
    """

    Config: type[EfficientNetSettings]
    scaling: ClassVar[Scaling]

    def __init__(self, config: EfficientNetSettings | None = None) -> None:
        self.config = config or self.Config.model_validate({})

    def build(self, spec: ImageSpec) -> nn.Module:
        """[N, channels, size, size] -> [N, classes], for any size."""
        return efficientnet(self.scaling, self.config, spec)


@final
class EfficientNetB0(EfficientNet):
    """EfficientNet-B0: 5.3 M parameters; 224 x 224 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b0"] = "efficientnet_b0"
        dropout: Rate = 0.2

    scaling = Scaling(width=1.0, depth=1.0)


@final
class EfficientNetB1(EfficientNet):
    """EfficientNet-B1: 7.8 M parameters; 240 x 240 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b1"] = "efficientnet_b1"
        dropout: Rate = 0.2

    scaling = Scaling(width=1.0, depth=1.1)


@final
class EfficientNetB2(EfficientNet):
    """EfficientNet-B2: 9.1 M parameters; 260 x 260 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b2"] = "efficientnet_b2"
        dropout: Rate = 0.3

    scaling = Scaling(width=1.1, depth=1.2)


@final
class EfficientNetB3(EfficientNet):
    """EfficientNet-B3: 12.2 M parameters; 300 x 300 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b3"] = "efficientnet_b3"
        dropout: Rate = 0.3

    scaling = Scaling(width=1.2, depth=1.4)


@final
class EfficientNetB4(EfficientNet):
    """EfficientNet-B4: 19.3 M parameters; 380 x 380 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b4"] = "efficientnet_b4"
        dropout: Rate = 0.4

    scaling = Scaling(width=1.4, depth=1.8)


@final
class EfficientNetB5(EfficientNet):
    """EfficientNet-B5: 30.4 M parameters; 456 x 456 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b5"] = "efficientnet_b5"
        dropout: Rate = 0.4

    scaling = Scaling(width=1.6, depth=2.2)


@final
class EfficientNetB6(EfficientNet):
    """EfficientNet-B6: 43.0 M parameters; 528 x 528 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b6"] = "efficientnet_b6"
        dropout: Rate = 0.5

    scaling = Scaling(width=1.8, depth=2.6)


@final
class EfficientNetB7(EfficientNet):
    """EfficientNet-B7: 66.3 M parameters; 600 x 600 pixels in its paper."""

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b7"] = "efficientnet_b7"
        dropout: Rate = 0.5

    scaling = Scaling(width=2.0, depth=3.1)


@final
class EfficientNetB6Wide(EfficientNet):
    """EfficientNet-B6-Wide: 316.6 M parameters; 512 x 512 pixels in training (MPL v4, section 4).

    The depth of B6 and a width of 5.0, as MPL v4 says and its published code has it. MPL v4 counts 390 M parameters,
    which these multipliers don't give: at this width B7's depth of 3.1 would make 398.5 M, and a depth of 2.6 needs a
    width of 5.55. Nor is the width of B6 2.1, as it says, but 1.8.
    """

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_b6_wide"] = "efficientnet_b6_wide"
        dropout: Rate = 0.5

    scaling = Scaling(width=5.0, depth=2.6)


@final
class EfficientNetL2(EfficientNet):
    """EfficientNet-L2: 480.3 M parameters; 512 x 512 pixels in training (MPL v4, section 4).

    Noisy Student trains it with 475 x 475 pixels; dropout and stochastic depth as in its section 3.1.
    """

    class Config(EfficientNetSettings):
        """Those of every EfficientNet."""

        name: Literal["efficientnet_l2"] = "efficientnet_l2"
        dropout: Rate = 0.5

    scaling = Scaling(width=4.3, depth=5.3)
