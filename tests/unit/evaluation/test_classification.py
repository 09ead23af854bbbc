from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mplframe.errors import DataError
from mplframe.evaluation.classification import Classification


def samples(classes: int, n: int = 203) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(n, classes, generator=generator)
    return logits, torch.randint(classes, (n,), generator=generator)


def brute_force(logits: Tensor, labels: Tensor, k: int) -> float:
    scores, truth = logits.double().numpy(), labels.numpy()
    return float(np.mean([truth[i] in np.argsort(-scores[i])[:k] for i in range(len(truth))]))


@pytest.mark.parametrize("classes", [2, 5, 6, 100])
def test_metrics_match_a_count_by_hand(classes: int) -> None:
    logits, labels = samples(classes)
    found = Classification().evaluate([(logits, labels)], classes)
    scores = logits.double().numpy()
    likelihood = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = {
        "top1": brute_force(logits, labels, 1),
        "nll": -likelihood[np.arange(len(labels)), labels.numpy()].mean(),
    }
    if classes > 5:
        expected["top5"] = brute_force(logits, labels, 5)
    assert dict(found) == pytest.approx(expected, rel=1e-5)
    assert all(type(value) is float for value in found.values())


def test_batches_of_unequal_size_count_by_their_samples() -> None:
    logits, labels = samples(10)
    whole = Classification().evaluate([(logits, labels)], 10)
    parts = zip(logits.split([100, 100, 0, 3]), labels.split([100, 100, 0, 3]), strict=True)
    assert dict(Classification().evaluate(parts, 10)) == pytest.approx(dict(whole), rel=1e-6)


def test_top5_can_be_left_out() -> None:
    evaluator = Classification(Classification.Config(top5=False))
    assert set(evaluator.evaluate([samples(10)], 10)) == {"top1", "nll"}


@pytest.mark.parametrize("outputs", [[], [(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))]])
def test_an_empty_split_is_an_error(outputs: list[tuple[Tensor, Tensor]]) -> None:
    with pytest.raises(DataError, match="the test split gave no samples"):
        Classification().evaluate(outputs, 3)


@pytest.mark.parametrize("stranger", [-1, 3])
def test_labels_outside_the_classes_are_an_error(stranger: int) -> None:
    logits, labels = samples(3, 8)
    labels[4] = stranger
    with pytest.raises(DataError, match="1 of 8 test labels aren't in 0 to 2"):
        Classification().evaluate([(logits, labels)], 3)


class Watch(TorchDispatchMode):
    """Notes operations that would make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in {"_local_scalar_dense", "is_nonzero", "nonzero", "equal"}:
            self.waits.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_host_does_not_wait_between_batches() -> None:
    logits, labels = samples(10)
    # Without top5: torch's one_hot, which torchmetrics uses for it, reads its input on CPUs (and only there).
    evaluator = Classification(Classification.Config(top5=False))
    watch = Watch()
    with watch:
        assert logits.sum().item() != 0
        assert len(watch.waits) == 1
        evaluator.evaluate(zip(logits.split(50), labels.split(50), strict=True), 10)
    assert len(watch.waits) == 1
