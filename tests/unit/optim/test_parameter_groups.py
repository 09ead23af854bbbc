import pytest
from torch import nn

from mplframe.errors import UserError
from mplframe.optim.groups import parameter_groups


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_norms_and_biases_do_not_decay() -> None:
    module = network()
    weights, rest = parameter_groups(module, 0.1)
    assert weights["weight_decay"] == 0.1
    assert [id(p) for p in weights["params"]] == [id(module[0].weight), id(module[3].weight)]
    assert rest["weight_decay"] == 0.0
    assert [id(p) for p in rest["params"]] == [
        id(p) for p in (module[0].bias, module[1].weight, module[1].bias, module[3].bias)
    ]


def test_everything_decays_on_request() -> None:
    module = network()
    (group,) = parameter_groups(module, 0.1, decay_all=True)
    assert group["weight_decay"] == 0.1
    assert [id(p) for p in group["params"]] == [id(p) for p in module.parameters()]


def test_the_order_does_not_depend_on_the_decay() -> None:
    module = network()
    with_decay, without = ([[id(p) for p in g["params"]] for g in parameter_groups(module, w)] for w in (0.1, 0.0))
    assert with_decay == without


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    module = network()
    for parameter in module[:3].parameters():
        parameter.requires_grad_(False)
    module[3].bias.requires_grad_(False)
    (group,) = parameter_groups(module, 0.1)
    assert [id(p) for p in group["params"]] == [id(module[3].weight)]


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(UserError, match="ReLU has no trainable parameters"):
        parameter_groups(nn.ReLU(), 0.1)
