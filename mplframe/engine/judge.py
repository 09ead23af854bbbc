"""Networks judged on the test split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.evaluation import Evaluator
from mplframe.errors import UserError

Outputs = Iterator[tuple[Tensor, Tensor]]
TestBatches = Callable[[], Iterable[tuple[Tensor, Tensor, Sequence[str]]]]


class Judge:
    """Runs every evaluator over a network's outputs on the test split.

    Args:
        backend: where networks run.
        batches: a fresh pass over the test split: images, labels, keys.
        evaluators: what is measured.
        classes: length of the logits.
    """

    def __init__(self, backend: Backend, batches: TestBatches, evaluators: Sequence[Evaluator], classes: int) -> None:
        self.backend = backend
        self.batches = batches
        self.evaluators = evaluators
        self.classes = classes

    def __call__(self, networks: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
        """Metrics of each network, by role.

        Raises:
            UserError: two evaluators give metrics of the same name.
        """
        return {role: self._judge(network) for role, network in networks.items()}

    def _judge(self, network: nn.Module) -> dict[str, float]:
        found: dict[str, float] = {}
        for evaluator in self.evaluators:
            metrics = evaluator.evaluate(self._outputs(network), self.classes)
            if taken := found.keys() & metrics.keys():
                raise UserError(f"two evaluators both give the metrics {sorted(taken)}; keep one of them")
            found.update(metrics)
        return found

    def _outputs(self, network: nn.Module) -> Outputs:
        for images, labels, _ in self.batches():
            placed = self.backend.place(Batch(Samples(images, labels=labels))).labeled
            assert placed.labels is not None
            yield predict(network, placed.weak, self.backend), placed.labels


def predict(network: nn.Module, images: Tensor, backend: Backend) -> Tensor:
    """[N, C] float32 logits in evaluation mode, without a graph; the network's mode is left as it was."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode(), backend.autocast():
            logits: Tensor = network(images)
        return logits.float()
    finally:
        network.train(training)
