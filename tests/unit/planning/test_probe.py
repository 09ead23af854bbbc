from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mplframe.config.base import ComponentConfig
from mplframe.contracts.architecture import Architecture, ImageSpec
from mplframe.contracts.optimizer import OptimizerConfig, OptimizerFactory
from mplframe.errors import UserError
from mplframe.models.mlp import MLP
from mplframe.models.small_cnn import SmallCNN
from mplframe.models.timm_model import TimmModel
from mplframe.models.wide_resnet import WideResNet
from mplframe.optim.lars import LARS
from mplframe.optim.rmsprop import RMSProp
from mplframe.optim.sgd import SGD
from mplframe.planning.probe import forward_flops, kept_activations, optimizer_state, probe, total_bytes

CIFAR = ImageSpec(size=32, channels=3, classes=10)


def activations(network: nn.Module, images: Tensor) -> int:
    """Bytes that are kept for one image."""
    return sum(size for _, size in kept_activations(network, images)) // len(images)


def test_resnet_50_needs_its_well_known_flops() -> None:
    config = TimmModel.Config(model="resnet50")
    found = probe(TimmModel(config), ImageSpec(224, 3, 1000), name="timm")
    # torchvision documents 4.09 billion multiply-adds.
    assert found.forward_flops == pytest.approx(2 * 4.089e9, rel=5e-4)


def test_wrn_28_2_needs_the_flops_of_its_formula() -> None:
    def block(a: int, b: int, side: int) -> int:
        return side**2 * (9 * a * b + 9 * b * b + (a * b if a != b else 0))

    macs = 32**2 * 9 * 3 * 16 + 128 * 10
    for a, b, side in ((16, 32, 32), (32, 64, 16), (64, 128, 8)):
        macs += block(a, b, side) + 3 * block(b, b, side)
    assert probe(WideResNet(), CIFAR, name="wide_resnet").forward_flops == 2 * macs


def test_activations_of_an_mlp_are_its_layers_inputs() -> None:
    spec = ImageSpec(size=8, channels=1, classes=3)
    found = probe(MLP(MLP.Config(hidden=(16, 8), activation="sigmoid")), spec, name="mlp")
    # A sigmoid keeps its output, which is the very tensor that the next layer keeps as its input.
    assert found.activation_bytes == 4 * (64 + 16 + 8)
    assert found.forward_flops == 2 * (64 * 16 + 16 * 8 + 8 * 3)


@pytest.mark.parametrize("architecture", [WideResNet(WideResNet.Config(depth=10, width=1)), SmallCNN()])
def test_the_meta_device_keeps_what_a_real_one_keeps(architecture: Architecture) -> None:
    network = architecture.build(CIFAR)
    images = torch.randn(2, 3, 32, 32)
    found = probe(architecture, CIFAR, name="it")
    assert found.activation_bytes == activations(network, images)
    assert found.forward_flops == forward_flops(network, images)


def test_activations_are_the_same_for_each_image() -> None:
    network = SmallCNN().build(CIFAR)
    two, eight = (activations(network, torch.randn(n, 3, 32, 32)) for n in (2, 8))
    assert eight == pytest.approx(two, rel=0.01)


@pytest.mark.parametrize(
    ("factory", "numbers_per_parameter", "numbers_per_tensor"),
    [
        (SGD(), 1, 0),
        (SGD(SGD.Config(momentum=0.0, nesterov=False)), 0, 0),
        (RMSProp(), 2, 1),
        (LARS(LARS.Config(weight_decay=1e-4)), 1, 0),
    ],
)
def test_optimizers_keep_what_their_formulas_need(
    factory: OptimizerFactory, numbers_per_parameter: int, numbers_per_tensor: int
) -> None:
    found = probe(WideResNet(), CIFAR, name="wide_resnet")
    parameters = list(found.network.parameters())
    expected = sum(numbers_per_parameter * p.numel() + numbers_per_tensor for p in parameters)
    assert total_bytes(optimizer_state(found.network, factory, name="it")) == 4 * expected
    assert all(p.grad is None for p in parameters)


class HostSGD(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:
        self.param_groups[0]["params"][0].norm().item()


class HostFactory(OptimizerFactory):
    config = OptimizerConfig(name="host", lr=0.1)

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return HostSGD(groups, lr=self.config.lr)


def test_an_optimizer_that_reads_on_the_host_is_named() -> None:
    found = probe(MLP(), CIFAR, name="mlp")
    with pytest.raises(UserError, match=r"the optimizer 'host' can't be planned.*must not read tensors on the host"):
        optimizer_state(found.network, HostFactory(), name="host")


class Halving(Architecture):
    """Halves its input six times, which images under 64 pixels don't survive."""

    Config = ComponentConfig

    def build(self, spec: ImageSpec) -> nn.Module:
        return nn.Sequential(*(nn.MaxPool2d(2) for _ in range(6)), nn.Flatten(), nn.Linear(spec.channels, spec.classes))


def test_an_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(UserError, match=r"'halving' can't be run on 3 x 32 x 32 images.*choose another input size"):
        probe(Halving(), CIFAR, name="halving")


def test_frozen_parameters_have_no_optimizer_state() -> None:
    network = nn.Sequential(nn.Linear(4, 4, device="meta"), nn.Linear(4, 2, device="meta"))
    frozen: Tensor
    for frozen in network[0].parameters():
        frozen.requires_grad_(False)
    assert total_bytes(optimizer_state(network, SGD(), name="sgd")) == 4 * (4 * 2 + 2)
