"""Each component against the contract of its kind."""

from mplframe.contracts.architecture import ImageSpec
from mplframe.testing import check_architecture, check_backend, check_dataset, check_feedback, check_loss

from mplframe_example.conv_mixer import ConvMixer
from mplframe_example.digits_parity import DigitsParity
from mplframe_example.double import Double
from mplframe_example.entropy_minimisation import EntropyMinimisation
from mplframe_example.sign import Sign


def test_architecture() -> None:
    check_architecture(ConvMixer)
    check_architecture(lambda: ConvMixer(ConvMixer.Config(kernel=5, patch=1)), ImageSpec(size=8, channels=1, classes=2))


def test_backend() -> None:
    check_backend(Double)


def test_dataset() -> None:
    check_dataset(DigitsParity)


def test_feedback() -> None:
    check_feedback(Sign)


def test_loss() -> None:
    check_loss(EntropyMinimisation)
    check_loss(lambda: EntropyMinimisation(EntropyMinimisation.Config(view="strong")))
