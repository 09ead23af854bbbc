import pytest
import torch
from torch.nn.functional import softmax

from mplframe.contracts.architecture import ImageSpec
from mplframe.models.ensemble import Ensemble, log_mean_probability
from mplframe.models.mlp import MLP

SPEC = ImageSpec(size=4, channels=1, classes=3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_says_the_mean_of_what_its_members_say(dtype: torch.dtype) -> None:
    logits = 5 * torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    said = log_mean_probability(logits)
    assert said.dtype == dtype
    torch.testing.assert_close(said.softmax(-1), softmax(logits, -1).mean(0))
    torch.testing.assert_close(said.exp().sum(-1), torch.ones(6, dtype=dtype))


def test_odds_that_round_to_nothing_stay_finite() -> None:
    sure = torch.tensor([[[0.0, 400.0]], [[0.0, 400.0]]])
    assert log_mean_probability(sure).tolist() == [[-400.0, 0.0]]


def test_members_differ_from_each_other_and_are_all_trained() -> None:
    ensemble = Ensemble(members=[MLP(MLP.Config(hidden=(5,)))] * 2)
    network = ensemble.build(SPEC)
    first, second = (member.state_dict() for member in network.members)  # type: ignore[union-attr]
    assert not torch.equal(first["1.weight"], second["1.weight"])
    network(torch.randn(2, 1, 4, 4)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert not ensemble.trained(SPEC)
