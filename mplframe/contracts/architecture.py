"""What builds a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from mplframe.config.base import ComponentConfig
from mplframe.errors import UserError

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class ImageSpec:
    """What a network takes in and gives out.

    Attributes:
        size: height and width, in pixels.
        channels: 1 or 3; of a network that takes distributions, the number of classes.
        classes: length of the logits.
        frames: of a clip of a video; None for images.
        names: of the classes, in index order; empty where they aren't known.
        normalisation: what pixels in [0, 1] are normalised by before the network takes them, as mean and standard
            deviation by channel; None where it isn't known or nothing is.
    """

    size: int
    channels: int
    classes: int
    frames: int | None = None
    names: tuple[str, ...] = ()
    normalisation: Normalisation | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample as a network takes it: channels, frames of a clip, height, width."""
        frames = () if self.frames is None else (self.frames,)
        return (self.channels, *frames, self.size, self.size)

    def pixels(self, size: int | None = None) -> tuple[int, ...]:
        """Of one sample as data give it, at another height and width if so told: frames of a clip, channels, height,
        width."""
        frames = () if self.frames is None else (self.frames,)
        side = size or self.size
        return (*frames, self.channels, side, side)

    @property
    def of_distributions(self) -> ImageSpec:
        """For a network that takes probabilities of the classes: an image of one pixel whose channels they are."""
        return ImageSpec(size=1, channels=self.classes, classes=self.classes, names=self.names)


class Architecture(ABC):
    """Builds one kind of network from its `Config`.

    Third parties: extend this, give it a nested `Config(ComponentConfig)`, and register it as an `architecture`.
    """

    Config: type[ComponentConfig]

    @abstractmethod
    def build(self, spec: ImageSpec) -> nn.Module:
        """A network, [N, channels, size, size] float -> [N, classes] logits; for clips it takes
        [N, channels, frames, size, size]. Freshly initialised, unless it is `trained`.

        Called under a seeded RNG, and on the meta device by `mplframe plan`: draw initial weights with torch's global
        RNG and allocate nothing but parameters and buffers.

        Raises:
            UserError: the settings and `spec` don't go together.
        """

    @property
    def clips(self) -> bool:
        """Whether its networks take clips of videos, rather than images."""
        return False

    def trained(self, spec: ImageSpec) -> bool:
        """Whether `build` gives a network that has learned, its classifier included."""
        return False

    def untrained(self) -> Architecture:
        """What builds the same network freshly initialised, for whoever is about to load other weights into it."""
        return self


def check_input(architecture: Architecture, spec: ImageSpec, *, name: str) -> None:
    """See that networks for clips are given clips, and others images.

    Args:
        architecture: that would be built.
        spec: what it would take in.
        name: of the architecture, for the error.

    Raises:
        UserError: it is the other way round.
    """
    if architecture.clips and spec.frames is None:
        raise UserError(
            f"the architecture {name!r} takes clips of videos and is given images; set input.clip (such as "
            "input.clip.frames=8) for data of videos, or choose a network for images"
        )
    if spec.frames is not None and not architecture.clips:
        raise UserError(
            f"the architecture {name!r} takes images and is given clips of {spec.frames} frames; unset input.clip, or "
            "choose a network for videos, such as r2plus1d_18"
        )
