import pytest

from mplframe.backends.xla.rules import WidthSharding
from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError
from mplframe.models.small_cnn import SmallCNN
from mplframe.optim.sgd import SGD
from mplframe.planning.probe import network_share, optimizer_state, probe

# Convolutions of 16 and 32 channels on maps 8 and 4 wide, and a linear layer of 10 classes.
NETWORK = SmallCNN(SmallCNN.Config(channels=16, blocks=2))


def share(size: int, model: int, averaged: bool = False):
    found = probe(NETWORK, ImageSpec(size, 3, 10), name="small_cnn")
    state = optimizer_state(found.network, SGD(), name="sgd")
    return found, network_share(found, state, averaged=averaged, sharding=WidthSharding(model))


def test_one_device_holds_all() -> None:
    found, whole = share(8, 1, averaged=True)
    weights = sum(p.nbytes for p in found.network.parameters())
    counters = sum(b.nbytes for b in found.network.buffers())
    assert whole.state_bytes == 4 * weights + 2 * counters
    assert whole.activation_bytes == found.activation_bytes


def test_eight_devices_share_what_divides_and_the_rest_is_named() -> None:
    found, part = share(8, 8)
    named = dict(found.network.named_parameters())
    bias = next(name for name, p in named.items() if tuple(p.shape) == (10,))
    assert part.whole_weights == (bias,)
    assert part.whole_bytes == 4 * 10
    cut = sum(p.nbytes for p in named.values()) - 40
    norms = sum(b.nbytes for b in found.network.buffers() if b.ndim)
    counters = sum(b.nbytes for b in found.network.buffers() if not b.ndim)
    # Weights, gradients and momenta.
    assert part.state_bytes == 3 * (cut // 8 + 40) + norms // 8 + counters
    # The map of the second convolution is 4 wide.
    convolutions = [name.removesuffix(".weight") for name, p in named.items() if p.ndim == 4]
    assert part.whole_layers == (convolutions[1],)
    assert found.activation_bytes / 8 < part.activation_bytes < found.activation_bytes


def test_a_map_that_cannot_be_cut_is_named() -> None:
    with pytest.raises(UserError, match=r"the layer 0 has a width of 10, which isn't a multiple of 4"):
        share(10, 4)
