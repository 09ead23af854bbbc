from itertools import pairwise

import pytest
import torch

from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError
from mplframe.models.wide_resnet import WideResNet

CIFAR = ImageSpec(size=32, channels=3, classes=10)


def expected_parameters(depth: int, width: int, spec: ImageSpec) -> int:
    """Counted by hand: convolutions without bias, two numbers a channel for each batch norm, one linear layer."""

    def block(a: int, b: int) -> int:
        return 2 * a + 9 * a * b + 2 * b + 9 * b * b + (a * b if a != b else 0)

    n = (depth - 4) // 6
    widths = [16, 16 * width, 32 * width, 64 * width]
    groups = sum(block(a, b) + (n - 1) * block(b, b) for a, b in pairwise(widths))
    return 9 * spec.channels * 16 + groups + 2 * widths[-1] + (widths[-1] + 1) * spec.classes


@pytest.mark.parametrize(("depth", "width"), [(28, 2), (10, 1), (16, 3)])
@pytest.mark.parametrize("spec", [CIFAR, ImageSpec(size=8, channels=1, classes=7)])
def test_parameters_follow_the_formula(depth: int, width: int, spec: ImageSpec) -> None:
    with torch.device("meta"):
        network = WideResNet(WideResNet.Config(depth=depth, width=width)).build(spec)
    assert sum(p.numel() for p in network.parameters()) == expected_parameters(depth, width, spec)


def test_wrn_28_2_has_the_papers_size() -> None:
    # MPL v4, section 3.2 says 1.45 million, other papers 1.47.
    assert expected_parameters(28, 2, CIFAR) == 1_467_610


def test_depth_counts_convolutions() -> None:
    with torch.device("meta"):
        network = WideResNet().build(CIFAR)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in network.modules()) == 28


@pytest.mark.parametrize("depth", [27, 4, 29, 1])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(UserError, match=rf"depth {depth} isn't 6n \+ 4"):
        WideResNet(WideResNet.Config(depth=depth)).build(CIFAR)


def test_the_refusal_names_the_nearest_depth() -> None:
    with pytest.raises(UserError, match="set depth: 28"):
        WideResNet(WideResNet.Config(depth=27)).build(CIFAR)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3)])
def test_images_of_any_size_train(size: int, channels: int) -> None:
    torch.manual_seed(0)
    network = WideResNet(WideResNet.Config(depth=10, width=1)).build(ImageSpec(size, channels, classes=5))
    logits = network(torch.randn(4, channels, size, size))
    logits.logsumexp(1).sum().backward()
    assert logits.shape == (4, 5)
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert 0.0 < float(parameter.grad.abs().sum()) < float("inf")


def test_batch_norm_keeps_the_configured_share_of_old_statistics() -> None:
    network = WideResNet(WideResNet.Config(depth=10, width=1, bn_decay=0.9)).build(CIFAR)
    images = torch.randn(4, 3, 32, 32)
    network(images)
    first = network.groups[0][0].norm1
    inputs = network.stem(images)
    assert torch.allclose(first.running_mean, 0.1 * inputs.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(first.running_var, 0.9 + 0.1 * inputs.var((0, 2, 3)), atol=1e-6)


def test_dropout_acts_on_the_features_only_in_training() -> None:
    torch.manual_seed(0)
    network = WideResNet(WideResNet.Config(depth=10, width=1, dropout=0.5)).build(CIFAR)
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_initial_weights_come_from_the_global_generator() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        network = WideResNet(WideResNet.Config(depth=10, width=1)).build(CIFAR)
        return torch.nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(weights(), weights())


def test_activations_keep_their_scale_at_the_start() -> None:
    torch.manual_seed(0)
    network = WideResNet().build(CIFAR).train()
    with torch.no_grad():
        logits = network(torch.randn(16, 3, 32, 32))
    assert 0.1 < float(logits.std()) < 10.0


def reference(state: dict[str, torch.Tensor], images: torch.Tensor, *, training: bool) -> torch.Tensor:
    """WRN-28-2 of Oliver et al. written out: [N, 3, 32, 32] -> [N, 10]."""

    def activated(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean = x.mean((0, 2, 3))
            variance = (x - mean[:, None, None]).square().mean((0, 2, 3))
        scale = state[f"{name}.weight"] / (variance + 1e-3).sqrt()
        x = (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]
        return torch.maximum(x, 0.1 * x)

    def convolved(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        """Every patch times every filter."""
        filters = state[f"{name}.weight"]
        kernel, size = filters.shape[-1], x.shape[-1] // stride
        padded = torch.nn.functional.pad(x, [kernel // 2] * 4)
        patches = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)[:, :, :size, :size]
        return torch.einsum("nchwij,ocij->nohw", patches, filters)

    x = convolved(images, "stem")
    for group in range(3):
        for block in range(4):
            name, stride = f"groups.{group}.{block}", 2 if group and not block else 1
            active = activated(x, f"{name}.norm1")
            residual = convolved(active, f"{name}.conv1", stride)
            residual = convolved(activated(residual, f"{name}.norm2"), f"{name}.conv2")
            if block == 0:
                x = convolved(x if group else active, f"{name}.shortcut", stride)
            x = x + residual
    features = activated(x, "norm").mean((2, 3))
    return features @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("training", [True, False])
def test_wrn_28_2_agrees_with_the_network_written_out(training: bool) -> None:
    torch.manual_seed(0)
    network = WideResNet().build(CIFAR).double().train(training)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if ".norm" in name or name.startswith("norm"):
                tensor.add_(0.3 * torch.randn_like(tensor))
        for name, tensor in network.named_buffers():
            if name.endswith(("mean", "var")):
                tensor.add_(torch.rand_like(tensor))
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
        expected = reference(state, images, training=training)
        torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)
