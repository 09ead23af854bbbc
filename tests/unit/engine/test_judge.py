from collections.abc import Iterable, Mapping

import pytest
import torch
from engine_support import BACKEND
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import EvaluationBatch
from mplframe.contracts.watching import Evaluator
from mplframe.errors import UserError
from mplframe.evaluation.classification import Classification
from mplframe.inference.judge import Judge, predict

IMAGES, LABELS = torch.randn(10, 3), torch.randint(2, (10,))


class Count(Evaluator):
    """How many samples there were."""

    Config = ComponentConfig

    def __init__(self, name: str = "count") -> None:
        self.name = name

    def evaluate(self, outputs: Iterable[tuple[Tensor, Tensor]], classes: int) -> Mapping[str, float]:
        return {self.name: float(sum(len(logits) for logits, _ in outputs))}


def batches(size: int | None) -> Iterable[EvaluationBatch]:
    for start in (0, 4, 8):
        part = slice(start, start + 4)
        yield EvaluationBatch(IMAGES[part], LABELS[part], [str(i) for i in range(10)][part], list(range(10))[part])


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_every_evaluator_sees_the_whole_split() -> None:
    judged = Judge(BACKEND, batches, [Count(), Classification(), Count("again")], 2)({"student": network()})
    assert judged["student"]["count"] == judged["student"]["again"] == 10
    assert 0 <= judged["student"]["top1"] <= 1


def test_two_evaluators_cannot_give_the_same_metric() -> None:
    with pytest.raises(UserError, match=r"both give the metrics \['count'\]"):
        Judge(BACKEND, batches, [Count(), Count()], 2)({"student": network()})


@pytest.mark.parametrize("training", [True, False])
def test_judging_leaves_the_network_as_it_was(training: bool) -> None:
    one = network().train(training)
    before = {name: value.clone() for name, value in one.state_dict().items()}
    torch.manual_seed(0)
    random = torch.get_rng_state()
    modes = [module.training for module in one.modules()]
    Judge(BACKEND, batches, [Count()], 2)({"student": one})
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in one.modules()] == modes


def test_predictions_are_those_of_evaluation_mode() -> None:
    one = network()
    found = predict(one, IMAGES, BACKEND)
    assert not found.requires_grad
    assert torch.equal(found, one.eval()(IMAGES))


def test_the_mode_is_put_back_after_an_error() -> None:
    one = network().train()
    with pytest.raises(RuntimeError):
        predict(one, torch.randn(2, 7), BACKEND)
    assert one.training
