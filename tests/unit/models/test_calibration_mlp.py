import pytest
import torch

from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError
from mplframe.models.mlp import CalibrationMLP
from mplframe.testing import check_architecture

SPEC = ImageSpec(size=32, channels=3, classes=10).of_distributions


def test_it_keeps_the_contract_of_architectures() -> None:
    # The suite varies the classes and not the channels, which an identity can't follow.
    check_architecture(lambda: CalibrationMLP(CalibrationMLP.Config(hidden=(8,), identity=False)), SPEC)


def test_it_begins_as_the_identity() -> None:
    q = torch.randn(5, 10, generator=torch.Generator().manual_seed(0)).softmax(-1)
    network = CalibrationMLP().build(SPEC)
    torch.testing.assert_close(network(q).softmax(-1), q)
    certain = torch.eye(10)
    assert network(certain).isfinite().all()
    torch.testing.assert_close(network(certain).softmax(-1), certain)


@pytest.mark.parametrize(("hidden", "parameters"), [(128, 52_234), (512, 798_730)])
def test_it_has_five_layers(hidden: int, parameters: int) -> None:
    network = CalibrationMLP(CalibrationMLP.Config(hidden=(hidden,) * 4)).build(SPEC)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len([m for m in network.modules() if isinstance(m, torch.nn.Linear)]) == 5


def test_images_are_refused() -> None:
    with pytest.raises(UserError, match="not images"):
        CalibrationMLP().build(ImageSpec(size=32, channels=3, classes=10))


def test_every_layer_learns() -> None:
    network = CalibrationMLP().build(SPEC)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    q = torch.randn(16, 10, generator=torch.Generator().manual_seed(1)).softmax(-1)
    before = [p.detach().clone() for p in network.parameters()]
    for _ in range(3):  # the first step moves the last layer alone
        optimizer.zero_grad()
        network(q).log_softmax(-1)[:, 3].mean().neg().backward()
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
