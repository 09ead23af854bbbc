import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import log_softmax, softmax

from mplframe.contracts.loss import LossInputs
from mplframe.losses.uda import UDA, uda

RANDOM = np.random.default_rng(0)
WEAK, STRONG = RANDOM.normal(size=(2, 64, 5)) * 2


def reference(temperature: float, threshold: float) -> np.ndarray:
    """A transcription in NumPy."""
    target = softmax(WEAK / temperature, axis=-1)
    counts = softmax(WEAK, axis=-1).max(-1) >= threshold
    return np.where(counts, -(target * log_softmax(STRONG, axis=-1)).sum(-1), 0.0)


def inputs(step: int = 0, *, weak: torch.Tensor | None = None, strong: torch.Tensor | None = None) -> LossInputs:
    logits = {
        "weak": torch.tensor(WEAK) if weak is None else weak,
        "strong": torch.tensor(STRONG) if strong is None else strong,
    }
    return LossInputs(logits, torch.zeros(3, dtype=torch.int64), step, 100)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.4, 0.8, 1.0, 2.0])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 1.0])
def test_it_is_the_formula(temperature: float, threshold: float) -> None:
    found = uda(torch.tensor(WEAK), torch.tensor(STRONG), temperature=temperature, threshold=threshold)
    np.testing.assert_allclose(found.numpy(), reference(temperature, threshold), rtol=1e-12)


def test_the_threshold_is_held_against_the_unsharpened_prediction() -> None:
    weak = torch.tensor([[1.0, 0.0]])  # p = 0.73, but 0.99 at temperature 0.2
    assert uda(weak, weak, temperature=0.2, threshold=0.8).item() == 0.0
    assert uda(weak, weak, temperature=0.2, threshold=0.7).item() > 0.0


def test_no_gradient_flows_through_the_weak_view() -> None:
    weak, strong = (torch.tensor(x, requires_grad=True) for x in (WEAK, STRONG))
    UDA()(inputs(weak=weak, strong=strong)).sum().backward()
    assert weak.grad is None
    assert strong.grad is not None
    expected = softmax(STRONG, axis=-1) - softmax(WEAK / 0.8, axis=-1)
    np.testing.assert_allclose(strong.grad.numpy(), expected, atol=1e-12)


def test_views_that_agree_are_at_the_least_loss() -> None:
    """At temperature 1 the gradient vanishes where both views say the same."""
    strong = torch.tensor(WEAK, requires_grad=True)
    uda(torch.tensor(WEAK), strong, temperature=1.0, threshold=0.0).sum().backward()
    assert strong.grad is not None
    assert strong.grad.abs().max() < 1e-12


def test_the_weight_grows_linearly_over_the_ramp() -> None:
    loss, full = UDA(UDA.Config(ramp=8)), UDA()
    whole = full(inputs(0))
    for step, share in ((0, 0.0), (2, 0.25), (4, 0.5), (8, 1.0), (50, 1.0)):
        torch.testing.assert_close(loss(inputs(step)), share * whole)
        torch.testing.assert_close(full(inputs(step)), whole)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"threshold": 1.5}, {"ramp": -1}, {"weight": -1.0}])
def test_settings_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        UDA.Config(**wrong)  # type: ignore[arg-type]
