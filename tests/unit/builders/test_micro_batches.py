from collections.abc import Iterator

import pytest
import torch

from mplframe.builders.micro_batches import joined
from mplframe.contracts.batch import Batch, Samples


def batches(first: int, closed: list[int]) -> Iterator[Batch]:
    try:
        for number in range(first, first + 3):
            images = torch.full((2, 1, 1, 1), float(number))
            labeled = Samples(images, None, torch.tensor([number, number]))
            yield Batch(labeled, Samples(images + 0.5, images + 0.25, targets=torch.ones(2, 3) * number))
    finally:
        closed.append(first)


def test_batches_are_made_of_their_micro_batches_in_order() -> None:
    closed: list[int] = []
    first, *rest = joined([batches(0, closed), batches(10, closed)])
    assert len(rest) == 2
    assert first.labeled.weak.flatten().tolist() == [0, 0, 10, 10]
    assert first.labeled.strong is None
    assert first.labeled.labels is not None
    assert first.labeled.labels.tolist() == [0, 0, 10, 10]
    assert first.unlabeled is not None
    assert first.unlabeled.strong is not None
    assert first.unlabeled.targets is not None
    assert first.unlabeled.strong.flatten().tolist() == [0.25, 0.25, 10.25, 10.25]
    assert first.unlabeled.targets[:, 0].tolist() == [0, 0, 10, 10]
    a, b = first.split(2)
    assert torch.equal(torch.cat([a.labeled.weak, b.labeled.weak]), first.labeled.weak)


def test_one_part_is_handed_on_as_it_is() -> None:
    first, _, _ = batches(0, [])
    both = joined([(batch for batch in [first])])
    assert next(both) is first


def test_an_early_end_closes_every_part() -> None:
    closed: list[int] = []
    both = joined([batches(0, closed), batches(10, closed)])
    next(both)
    assert closed == []
    both.close()  # type: ignore[attr-defined]
    assert sorted(closed) == [0, 10]


def test_parts_of_different_length_are_an_error() -> None:
    short = batches(10, [])
    next(short)
    with pytest.raises(ValueError, match="shorter"):
        list(joined([batches(0, []), short]))
