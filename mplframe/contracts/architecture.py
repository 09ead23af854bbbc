"""What builds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from mplframe.config.base import ComponentConfig


@dataclass(frozen=True)
class ImageSpec:
    """What a network takes in and gives out.

    Attributes:
        size: height and width, in pixels.
        channels: 1 or 3; of a network that takes distributions, the number of classes.
        classes: length of the logits.
    """

    size: int
    channels: int
    classes: int

    @property
    def of_distributions(self) -> ImageSpec:
        """For a network that takes probabilities of the classes: an image of one pixel whose channels they are."""
        return ImageSpec(size=1, channels=self.classes, classes=self.classes)


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
