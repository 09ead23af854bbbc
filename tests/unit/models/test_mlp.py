import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.models.mlp import MLP

SPEC = ImageSpec(size=8, channels=1, classes=3)


def test_logits_are_those_of_the_written_out_network() -> None:
    torch.manual_seed(0)
    network = MLP(MLP.Config(hidden=(8, 4), activation="sigmoid")).build(SPEC)
    w1, b1, w2, b2, w3, b3 = (p.detach() for p in network.parameters())
    images = torch.randn(5, 1, 8, 8)
    x = torch.sigmoid(images.reshape(5, 64) @ w1.T + b1)
    x = torch.sigmoid(x @ w2.T + b2)
    assert torch.allclose(network(images), x @ w3.T + b3, atol=1e-6)


def test_without_hidden_layers_it_is_linear() -> None:
    network = MLP(MLP.Config(hidden=())).build(SPEC)
    a, b = torch.randn(2, 4, 1, 8, 8)
    assert torch.allclose(network(a) + network(b), network(a + b) + network(0 * a), atol=1e-5)
    assert sum(p.numel() for p in network.parameters()) == 65 * 3


def test_uniform_init_fills_its_range_biases_included() -> None:
    torch.manual_seed(0)
    network = MLP(MLP.Config(hidden=(200,), init=0.1)).build(SPEC)
    for parameter in network.parameters():
        assert float(parameter.detach().abs().max()) <= 0.1
    first = next(network.parameters()).detach()
    assert float(first.std()) == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert float(first.mean()) == pytest.approx(0.0, abs=0.002)


def test_default_init_is_torchs_own() -> None:
    torch.manual_seed(1)
    network = MLP(MLP.Config(hidden=(7,))).build(SPEC)
    torch.manual_seed(1)
    assert torch.equal(network[1].weight, nn.Linear(64, 7).weight)


@pytest.mark.parametrize(("activation", "module"), [("relu", nn.ReLU), ("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh)])
def test_each_hidden_layer_is_activated_and_dropped(activation: str, module: type[nn.Module]) -> None:
    network = MLP(MLP.Config(hidden=(5, 6), activation=activation, dropout=0.3)).build(SPEC)
    assert sum(isinstance(m, module) for m in network) == 2
    assert [m.p for m in network if isinstance(m, nn.Dropout)] == [0.3, 0.3]


@pytest.mark.parametrize("bad", [{"hidden": [0]}, {"init": -0.1}, {"init": "xavier"}, {"dropout": 1.0}, {"units": 3}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        MLP.Config(**bad)


@pytest.mark.parametrize(("hidden", "classes", "parameters"), [(128, 10, 52_234), (512, 1000, 1_813_480)])
def test_the_reduced_teacher_maps_distributions_to_logits(hidden: int, classes: int, parameters: int) -> None:
    # MPL v4, appendix E: five layers, 128 units on CIFAR-10 and 512 on ImageNet.
    teacher = MLP(MLP.Config(hidden=[hidden] * 4)).build(ImageSpec(size=1, channels=classes, classes=classes))
    assert sum(isinstance(m, nn.Linear) for m in teacher) == 5
    assert sum(p.numel() for p in teacher.parameters()) == parameters
    distributions = torch.randn(3, classes).softmax(-1)
    assert teacher(distributions).shape == (3, classes)
    assert torch.equal(teacher(distributions), teacher(distributions[:, :, None, None]))
