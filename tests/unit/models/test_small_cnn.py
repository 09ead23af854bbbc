import pytest
import torch
from torch import nn

from mplframe.contracts.architecture import ImageSpec
from mplframe.models.small_cnn import SmallCNN


@pytest.mark.parametrize(("size", "last_map"), [(8, 4), (16, 4), (28, 7), (32, 8), (5, 5)])
def test_maps_are_halved_while_they_are_large_enough(size: int, last_map: int) -> None:
    network = SmallCNN().build(ImageSpec(size, channels=1, classes=10))
    before_pooling = network[: next(i for i, m in enumerate(network) if isinstance(m, nn.AdaptiveAvgPool2d))]
    assert before_pooling(torch.zeros(2, 1, size, size)).shape == (2, 128, last_map, last_map)


@pytest.mark.parametrize("config", [SmallCNN.Config(), SmallCNN.Config(channels=4, blocks=2, convolutions=3)])
def test_parameters_follow_the_formula(config: SmallCNN.Config) -> None:
    network = SmallCNN(config).build(ImageSpec(size=28, channels=1, classes=10))
    expected, inputs = 0, 1
    for block in range(config.blocks):
        width = config.channels * 2**block
        for _ in range(config.convolutions):
            expected += 9 * inputs * width + 2 * width
            inputs = width
    assert sum(p.numel() for p in network.parameters()) == expected + (inputs + 1) * 10


def test_it_learns_to_tell_top_from_bottom() -> None:
    torch.manual_seed(0)
    network = SmallCNN(SmallCNN.Config(channels=4, blocks=2)).build(ImageSpec(size=8, channels=1, classes=2))
    labels = torch.arange(64) % 2
    images = torch.randn(64, 1, 8, 8)
    images[labels == 1, :, :4] += 1.0
    images[labels == 0, :, 4:] += 1.0
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    network.eval()
    assert float((network(images).argmax(1) == labels).float().mean()) == 1.0


def test_settings_reach_the_layers() -> None:
    config = SmallCNN.Config(dropout=0.4, leak=0.2, bn_decay=0.95)
    network = SmallCNN(config).build(ImageSpec(size=8, channels=3, classes=2))
    assert {m.momentum for m in network if isinstance(m, nn.BatchNorm2d)} == {1.0 - 0.95}
    assert {m.negative_slope for m in network if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert [m.p for m in network if isinstance(m, nn.Dropout)] == [0.4]
