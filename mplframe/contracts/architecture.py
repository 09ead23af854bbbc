"""What builds a network."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from mplframe.config.base import ComponentConfig


@dataclass(frozen=True)
class ImageSpec:
    """What a network takes in and gives out.

    Attributes:
        size: height and width, in pixels.
        channels: 1 or 3.
        classes: length of the logits.
    """

    size: int
    channels: int
    classes: int


class Architecture(ABC):
    """Builds one kind of network from its `Config`.

    Third parties: extend this, give it a nested `Config(ComponentConfig)`, and register it as an `architecture`.
    """

    Config: type[ComponentConfig]

    @abstractmethod
    def build(self, spec: ImageSpec) -> nn.Module:
        """A freshly initialised network, [N, channels, size, size] float -> [N, classes] logits.

        Called under a seeded RNG, and on the meta device by `mplframe plan`: draw initial weights with torch's global
        RNG and allocate nothing but parameters and buffers.

        Raises:
            UserError: the settings and `spec` don't go together.
        """
