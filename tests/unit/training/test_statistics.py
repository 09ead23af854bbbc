import copy

import pytest
import torch
from learner_support import batch, equal, normed, snapshot
from torch import nn

from mplframe.errors import UserError
from mplframe.training.network import enough_values, frozen_statistics

IMAGES = batch().labeled.weak


def test_running_statistics_stay_and_the_output_is_that_of_training() -> None:
    module = normed(1).train()
    before = snapshot(module)
    with frozen_statistics(module):
        frozen = module(IMAGES)
    assert equal(snapshot(module), before)
    assert torch.equal(frozen, module(IMAGES))
    after = snapshot(module)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{i}.{part}" for i in (1, 4) for part in ("running_mean", "running_var", "num_batches_tracked")}


def test_gradients_are_those_of_training() -> None:
    one, two = normed(1).train(), normed(1).train()
    with frozen_statistics(one):
        one(IMAGES).square().sum().backward()
    two(IMAGES).square().sum().backward()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert a.grad is not None
        assert torch.equal(a.grad, b.grad)


def test_afterwards_all_is_as_before_even_after_an_error() -> None:
    module = normed(1).train()
    with pytest.raises(ZeroDivisionError), frozen_statistics(module):
        _ = 1 / 0
    before = snapshot(module)
    module(IMAGES)
    assert not equal(snapshot(module), before)


def test_norms_in_evaluation_mode_go_on_using_their_running_statistics() -> None:
    module = normed(1)
    module(IMAGES)
    module.eval()
    expected = module(IMAGES)
    with frozen_statistics(module):
        assert torch.equal(module(IMAGES), expected)


def test_norms_that_track_nothing_stay_so() -> None:
    module = nn.BatchNorm2d(1, track_running_stats=False).double()
    with frozen_statistics(module):
        module(IMAGES)
    assert module.track_running_stats is False


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(1), nn.SyncBatchNorm(1), nn.InstanceNorm2d(1, track_running_stats=True)]
)
def test_every_norm_with_running_statistics_is_frozen(norm: nn.Module) -> None:
    norm = copy.deepcopy(norm).double().train()
    before = snapshot(norm)
    with frozen_statistics(norm):
        norm(IMAGES)
    assert equal(snapshot(norm), before)


def test_one_value_a_channel_is_the_users_to_change() -> None:
    norm = nn.BatchNorm2d(3)
    said = r"teacher: a batch norm sees one value a channel.*accumulate"
    with pytest.raises(UserError, match=said), enough_values("teacher"):
        norm(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="another"), enough_values("teacher"):
        raise ValueError("another")
