"""What judges a network."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from torch import Tensor

from mplframe.config.base import ComponentConfig


class Evaluator(ABC):
    """Measures a classifier on a whole split."""

    Config: type[ComponentConfig]

    @abstractmethod
    def evaluate(self, outputs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Mapping[str, float]:
        """Metrics by name, such as `top1` in [0, 1].

        Args:
            outputs: pairs of logits [N, classes] float32 and labels [N] int64 on the device, batch by batch.
            classes: length of the logits.
        """
