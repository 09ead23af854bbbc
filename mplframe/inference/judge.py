"""Networks judged on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from mplframe.contracts.backend import Backend
from mplframe.contracts.data import EvaluationBatch
from mplframe.contracts.watching import Evaluator
from mplframe.errors import UserError
from mplframe.inference.predict import predict

Outputs = Iterator[tuple[Tensor, Tensor]]
JudgedBatches = Callable[[int | None], Iterable[EvaluationBatch]]


class Judge:
    """Runs every evaluator over a network's outputs on a split.

    Args:
        backend: where networks run.
        batches: a fresh pass over this process's share of the split, with images of a size, or of the run's own.
        evaluators: what is measured.
        classes: length of the logits.
        split: what records call it.

    Attributes:
        samples: of the split, as counted in the last pass over all processes' shares.
    """

    def __init__(
        self,
        backend: Backend,
        batches: JudgedBatches,
        evaluators: Sequence[Evaluator],
        classes: int,
        *,
        split: str = "test",
    ) -> None:
        self.backend = backend
        self.batches = batches
        self.evaluators = evaluators
        self.classes = classes
        self.split = split
        self.samples = 0

    def on(self, batches: JudgedBatches, split: str) -> Judge:
        """The same on another split."""
        return Judge(self.backend, batches, self.evaluators, self.classes, split=split)

    def __call__(self, networks: Mapping[str, nn.Module], size: int | None = None) -> dict[str, dict[str, float]]:
        """Metrics of each network, by role.

        Args:
            networks: by role.
            size: height and width of the images; the run's own by default.

        Raises:
            UserError: two evaluators give metrics of the same name.
        """
        found = {}
        for role, network in networks.items():
            with self.backend.alone(network):
                found[role] = self._judge(network, size)
        return found

    def _judge(self, network: nn.Module, size: int | None) -> dict[str, float]:
        found: dict[str, float] = {}
        for evaluator in self.evaluators:
            metrics = evaluator.evaluate(self._outputs(network, size), self.classes)
            if taken := found.keys() & metrics.keys():
                raise UserError(f"two evaluators both give the metrics {sorted(taken)}; keep one of them")
            found.update(metrics)
        return found

    def _outputs(self, network: nn.Module, size: int | None) -> Outputs:
        own = self._own(network, size)
        self.samples = 0
        for logits, labels in own if self.backend.world == 1 else _of_all(own, self.backend):
            self.samples += len(labels)
            yield logits, labels

    def _own(self, network: nn.Module, size: int | None) -> Outputs:
        for batch in self.batches(size):
            logits = self.backend.host(predict(network, batch.images, self.backend))
            yield logits, batch.labels.to(logits.device)


def _of_all(own: Outputs, backend: Backend) -> Outputs:
    """What all processes give, who take batches in turn, on the host."""
    while any(found := backend.gather(_on_host(next(own, None)))):
        yield from (outputs for outputs in found if outputs is not None)


def _on_host(outputs: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
    return None if outputs is None else (outputs[0].cpu(), outputs[1].cpu())
