import pytest
import torch

from mplframe.contracts.loss import LossInputs
from mplframe.errors import UserError
from mplframe.losses.assigned import Assigned
from mplframe.testing import check_loss


def test_it_keeps_the_contract() -> None:
    check_loss(Assigned)
    check_loss(lambda: Assigned(Assigned.Config(view="weak", smoothing=0.1)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_it_is_the_cross_entropy_with_what_was_assigned(smoothing: float) -> None:
    logits = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, 1.0]], dtype=torch.float64)
    odds = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64)
    found = Assigned(Assigned.Config(smoothing=smoothing))(
        LossInputs({"strong": logits}, torch.zeros(1, dtype=torch.int64), 0, 1, odds)
    )
    q = (1 - smoothing) * odds + smoothing / 3
    logp = logits - logits.exp().sum(-1, keepdim=True).log()
    torch.testing.assert_close(found, -(q * logp).sum(-1))


def test_without_an_assignment_it_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"noisy_student"):
        Assigned()(LossInputs({"strong": torch.zeros(2, 3)}, torch.zeros(1, dtype=torch.int64), 0, 1))
