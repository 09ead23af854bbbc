"""Accuracy and likelihood of a classifier."""

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from mplframe.config.base import ComponentConfig
from mplframe.contracts.watching import Evaluator
from mplframe.errors import DataError

CONFIDENCE = 0.95
ACCURACIES = ("top1", "top5")
"""The metrics that are shares of samples."""


def interval(share: float, samples: int) -> tuple[float, float]:
    """Where the true accuracy lies with 95 % confidence: Wilson's score interval, good for few samples too.

    Args:
        share: of `samples` that are right, in [0, 1].
        samples: independent ones; at least 1.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    center = share + z * z / (2 * samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def with_intervals(metrics: Mapping[str, float], samples: int) -> dict[str, Any]:
    """Metrics, how many samples they are of (`n`), and beside each accuracy its interval, such as `top1_interval`."""
    found = {f"{name}_interval": list(interval(metrics[name], samples)) for name in ACCURACIES if name in metrics}
    return {**metrics, "n": samples, **found} if samples else dict(metrics)


@final
class Classification(Evaluator):
    """Top-1 and top-5 accuracy in [0, 1] and mean negative log likelihood in nats, over all samples alike."""

    class Config(ComponentConfig):
        """Settings of the classification metrics.

        Attributes:
            top5: also report `top5`, where there are more than five classes.
        """

        name: Literal["classification"] = "classification"
        top5: bool = True

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def evaluate(self, outputs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Mapping[str, float]:
        """`top1`, `top5` (of more than five classes) and `nll`, of exactly the samples given: no process asks another.

        Everything stays on the device until the last batch; then there is one transfer to the host.

        Args:
            outputs: pairs of logits [N, classes] float and labels [N] int64 on one device, batch by batch.
            classes: length of the logits.

        Raises:
            DataError: there are no samples, or labels outside 0 to `classes - 1`.
        """
        totals: _Totals | None = None
        for logits, labels in outputs:
            if totals is None:
                totals = _Totals(classes, top5=self.config.top5 and classes > 5, device=logits.device)
            totals.add(logits.float(), labels)
        if totals is None or not totals.samples:
            raise DataError(
                "there is nothing to evaluate on: the test split gave no samples; check the data's test set"
            )
        return totals.metrics()


class _Totals:
    """Sums over batches, on the device.

    Attributes:
        samples: how many were added.
    """

    def __init__(self, classes: int, *, top5: bool, device: torch.device) -> None:
        self.samples = 0
        self._classes = classes
        self._accuracies = {
            f"top{k}": MulticlassAccuracy(
                classes, top_k=k, average="micro", validate_args=False, sync_on_compute=False
            ).to(device)
            for k in ((1, 5) if top5 else (1,))
        }
        self._nll = torch.zeros((), device=device)
        self._strangers = torch.zeros((), device=device)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take a batch: [N, classes] and [N]."""
        if not len(labels):
            return
        known = labels.clamp(0, self._classes - 1)
        self._strangers += (known != labels).sum()
        self._nll += F.cross_entropy(logits, known, reduction="sum")
        for accuracy in self._accuracies.values():
            accuracy.update(logits, known)
        self.samples += len(labels)

    def metrics(self) -> dict[str, float]:
        """By name, after the one transfer to the host."""
        values = {name: accuracy.compute() for name, accuracy in self._accuracies.items()}
        values["nll"] = self._nll / self.samples
        strangers, *found = torch.stack([self._strangers, *values.values()]).tolist()
        if strangers:
            raise DataError(
                f"{strangers:.0f} of {self.samples} test labels aren't in 0 to {self._classes - 1}: "
                "every test sample needs a label; check the classes and the test split of the data"
            )
        return dict(zip(values, found, strict=True))
