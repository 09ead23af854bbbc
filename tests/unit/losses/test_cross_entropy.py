import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from mplframe.contracts.loss import LossInputs
from mplframe.losses.supervised import LabelSmoothing, Supervised, cross_entropy

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(5, 4)) * 3
LABELS = np.array([0, 3, 1, 2, 3])
ONE_HOT = np.eye(4)[LABELS]
SOFT = RANDOM.dirichlet(np.ones(4), size=5)


def reference(q: np.ndarray, smoothing: float) -> np.ndarray:
    """`-sum_c ((1 - e) q_c + e / C) log p_c`."""
    mixed = (1 - smoothing) * q + smoothing / q.shape[1]
    return np.asarray(-(mixed * log_softmax(LOGITS, axis=-1)).sum(-1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_formula_for_classes_and_for_distributions(smoothing: float) -> None:
    logits = torch.tensor(LOGITS)
    hard = cross_entropy(logits, torch.tensor(LABELS), smoothing=smoothing)
    soft = cross_entropy(logits, torch.tensor(SOFT), smoothing=smoothing)
    assert hard.shape == (5,)
    np.testing.assert_allclose(hard.numpy(), reference(ONE_HOT, smoothing), rtol=1e-12)
    np.testing.assert_allclose(soft.numpy(), reference(SOFT, smoothing), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_logits_are_widened_first(dtype: torch.dtype) -> None:
    logits = torch.tensor(LOGITS).to(dtype)
    found = cross_entropy(logits, torch.tensor(LABELS))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, cross_entropy(logits.float(), torch.tensor(LABELS)))


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    assert cross_entropy(logits, torch.tensor([0, 0])).tolist() == [0.0, 2e4]


def inputs() -> LossInputs:
    strong = torch.tensor(LOGITS[::-1].copy())
    return LossInputs({"labeled": torch.tensor(LOGITS), "labeled_strong": strong}, torch.tensor(LABELS), 0, 10)


def test_the_supervised_terms_look_at_their_view_and_are_not_weighted_yet() -> None:
    plain, smooth = Supervised.Config(weight=3.0), LabelSmoothing.Config(smoothing=0.2)
    strong = LabelSmoothing.Config(view="labeled_strong")
    np.testing.assert_allclose(Supervised(plain)(inputs()).numpy(), reference(ONE_HOT, 0.0))
    np.testing.assert_allclose(LabelSmoothing(smooth)(inputs()).numpy(), reference(ONE_HOT, 0.2))
    swapped = -(0.9 * ONE_HOT + 0.025) * log_softmax(LOGITS[::-1], axis=-1)
    np.testing.assert_allclose(LabelSmoothing(strong)(inputs()).numpy(), swapped.sum(-1))
    assert LabelSmoothing(strong).views == {"labeled_strong"}
    assert Supervised(plain).weight == 3.0
