from typing import Any

import numpy as np
import pytest
import torch
from data_support import ArraySplit, image
from hypothesis import given, settings
from hypothesis import strategies as st

from mplframe.augmentation.basic import Crop, Cutout, Flip
from mplframe.augmentation.randaugment import RandAugment
from mplframe.contracts.batch import Samples
from mplframe.data.stream import Stream, evaluation_batches
from mplframe.errors import DataError

SPLIT = ArraySplit([image(i) for i in range(37)], [10, 20, 7])


def stream(split: ArraySplit = SPLIT, **given: Any) -> Stream:
    settings: dict[str, Any] = {
        "name": "labeled",
        "seed": 0,
        "batch": 12,
        "size": 8,
        "channels": 3,
        "fit": "exact",
        "weak": [Crop(Crop.Config(padding=2)), Flip()],
        "strong": [RandAugment(), Cutout(Cutout.Config(size=3))],
        "want_strong": True,
    }
    return Stream(split, **(settings | given))


def same(ours: Samples, theirs: Samples) -> bool:
    assert ours.strong is not None
    assert theirs.strong is not None
    pairs = ((ours.weak, theirs.weak), (ours.strong, theirs.strong), (ours.labels, theirs.labels))
    return all(torch.equal(a, b) for a, b in pairs)  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(12, 1, 1), (12, 1, 3), (12, 2, 1), (12, 3, 2), (12, 2, 3), (12, 12, 1), (9, 3, 1), (9, 3, 3)]),
    st.integers(0, 40),
    st.sampled_from(["exact", "random_resized_crop"]),
)
def test_ranks_share_every_micro_batch_of_the_same_global_batch(
    shape: tuple[int, int, int], step: int, fit: str
) -> None:
    batch, world, parts = shape
    whole = stream(batch=batch, fit=fit).samples(step)
    shares = [stream(batch=batch, fit=fit, rank=rank, world=world, parts=parts).samples(step) for rank in range(world)]
    assert {len(share) for share in shares} == {batch // world}
    ranks = [share.split(parts) for share in shares]
    assert same(whole, Samples.joined([rank[part] for part in range(parts) for rank in ranks]))


def test_a_step_is_the_same_after_a_restart_and_differs_from_others() -> None:
    first = [stream().samples(step) for step in range(4)]
    assert same(stream().samples(3), first[3])
    assert not same(first[0], first[1])
    assert not same(stream(seed=1).samples(0), first[0])
    assert not same(stream(name="unlabeled").samples(0), first[0])


def test_each_sample_comes_once_an_epoch() -> None:
    line = torch.cat([stream(weak=[]).samples(step).labels for step in range(37)])  # type: ignore[misc]
    for epoch in line.view(12, 37):
        assert sorted(epoch.tolist()) == list(range(37))
    assert stream().epochs(37) == 12.0


def test_views_without_augmentation_are_the_images() -> None:
    samples = stream(weak=[], want_strong=False).samples(2)
    assert samples.strong is None
    assert samples.weak.dtype == torch.uint8
    assert samples.labels is not None
    for pixels, label in zip(samples.weak, samples.labels.tolist(), strict=True):
        np.testing.assert_array_equal(pixels.numpy().transpose(1, 2, 0), image(label))


def test_the_weak_view_does_not_depend_on_the_strong_one() -> None:
    assert torch.equal(stream(want_strong=False).samples(3).weak, stream().samples(3).weak)
    plain = stream(strong=[]).samples(3)
    assert plain.strong is not None
    assert torch.equal(plain.strong, stream(weak=[], strong=[]).samples(3).weak)


def test_each_view_has_a_random_crop_of_its_own() -> None:
    samples = stream(weak=[], strong=[], fit="random_resized_crop", size=6).samples(0)
    assert samples.strong is not None
    assert samples.weak.shape == samples.strong.shape == (12, 3, 6, 6)
    assert not any(torch.equal(a, b) for a, b in zip(samples.weak, samples.strong, strict=True))


def test_a_batch_larger_than_the_split() -> None:
    samples = stream(ArraySplit([image(0), image(1)]), batch=11, weak=[]).samples(1)
    assert samples.labels is not None
    assert len(samples) == 11
    assert abs(samples.labels.sum() - 5.5) <= 0.5


def test_a_batch_that_processes_cannot_share() -> None:
    for shape in ({"world": 5}, {"world": 3, "parts": 8}):
        with pytest.raises(ValueError, match=r"a batch of 12 in . micro-batches can't be shared by . processes"):
            stream(**shape)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_everything_once_in_order(workers: int) -> None:
    batches = list(
        evaluation_batches(SPLIT, batch_size=10, size=8, channels=3, fit="exact", eval_crop=0.9, workers=workers)
    )
    assert [len(batch.images) for batch in batches] == [10, 10, 10, 7]
    assert torch.cat([batch.labels for batch in batches]).tolist() == list(range(37))
    assert [key for batch in batches for key in batch.keys] == [f"s{i}" for i in range(37)]
    assert [number for batch in batches for number in batch.numbers] == list(range(37))
    everything = torch.cat([batch.images for batch in batches]).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(everything, np.stack(SPLIT.images))


def test_processes_take_batches_of_evaluation_in_turn() -> None:
    settings: dict[str, Any] = {"batch_size": 10, "size": 8, "channels": 3, "fit": "exact", "eval_crop": 0.9}
    shares = [[b.numbers for b in evaluation_batches(SPLIT, **settings, rank=rank, world=3)] for rank in range(3)]
    everything = [list(range(start, min(start + 10, 37))) for start in (0, 10, 20, 30)]
    assert shares == [everything[0::3], everything[1::3], everything[2::3]]


def test_evaluation_scales_where_training_crops() -> None:
    split = ArraySplit([image(0, (20, 30)), image(1, (16, 16))])
    batch = next(evaluation_batches(split, batch_size=2, size=8, channels=1, fit="random_resized_crop", eval_crop=0.5))
    assert batch.images.shape == (2, 1, 8, 8)
    with pytest.raises(DataError, match="'s0' has 20 x 30 pixels"):
        next(evaluation_batches(split, batch_size=2, size=8, channels=3, fit="exact", eval_crop=0.5))
