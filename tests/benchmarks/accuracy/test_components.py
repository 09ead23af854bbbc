from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from benchmarks.accuracy.components import LabeledTwice, ShiftedLabels, shifted
from benchmarks.accuracy.grid import installed
from mplframe.contracts.loss import LossInputs
from mplframe.testing import check_dataset, check_loss, named


def test_some_labels_become_the_next_class() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    assert shifted(labels, below=2, classes=4).tolist() == [1, 2, 2, 3]
    assert shifted(labels, below=4, classes=4).tolist() == [1, 2, 3, 0]
    assert shifted(labels, below=0, classes=4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("step", "told"), [(0, [1, 2, 2]), (6, [1, 2, 2]), (7, [0, 1, 2])])
def test_the_loss_is_wrong_until_it_is_right(step: int, told: list[int]) -> None:
    logits = torch.randn(3, 3)
    loss = ShiftedLabels(ShiftedLabels.Config(below=2, until=7, smoothing=0.2))
    found = loss(LossInputs({"labeled": logits}, torch.tensor([0, 1, 2]), step, 10))
    expected = F.cross_entropy(logits, torch.tensor(told), reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(found, expected)


def test_the_loss_keeps_its_contract() -> None:
    check_loss(named("loss", {"name": "shifted_labels", "below": 2, "until": 3}, installed()))


def test_the_labeled_samples_are_the_unlabeled_ones(tmp_path: Path) -> None:
    settings = {"name": "labeled_twice", "source": {"name": "digits", "cache": str(tmp_path)}}
    make = named("dataset", settings, installed())
    check_dataset(make)
    source = make()
    assert isinstance(source, LabeledTwice)
    labeled, unlabeled, test = (source.split(name) for name in ("labeled", "unlabeled", "test"))
    assert labeled is not None
    assert unlabeled is not None
    assert test is not None
    assert [s.key for s in unlabeled.read(range(40))] == [s.key for s in labeled.read(range(40))]
    assert (len(unlabeled), len(test)) == (40, 400)
