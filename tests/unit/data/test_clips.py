"""Which frames clips have, and that all frames of a clip undergo the same."""

from typing import Any

import numpy as np
import pytest
import torch
from data_support import ArraySplit, image
from hypothesis import given
from hypothesis import strategies as st
from video_support import VideoSplit, frames

from mplframe.augmentation.basic import Crop, Cutout, Flip
from mplframe.augmentation.randaugment import RandAugment
from mplframe.contracts.data import Clips, Sample
from mplframe.data.decoding.fit import draw_crops, fit
from mplframe.data.decoding.video import augment, clip_frames, evenly
from mplframe.data.stream import Stream, evaluation_batches, generator
from mplframe.errors import DataError

SPLIT = VideoSplit([frames(20 + 3 * i, 12, seed=i) for i in range(7)])
CLIP = Clips(4, 3, ())


@given(
    st.integers(1, 60), st.integers(1, 8), st.integers(1, 6), st.lists(st.floats(0, 1, exclude_max=True), min_size=1)
)
def test_frames_against_brute_force(length: int, count: int, stride: int, positions: list[float]) -> None:
    possible = [
        [first + stride * frame for frame in range(count)]
        for first in range(length)
        if first + stride * (count - 1) < length
    ]
    standing = [[min(stride * frame, length - 1) for frame in range(count)]]
    found = clip_frames(length, Clips(count, stride, tuple(positions)))
    for row, position in zip(found.tolist(), positions, strict=True):
        choice = possible or standing
        assert row == choice[int(position * len(choice))]


def test_even_clips_reach_from_the_first_frame_to_the_last() -> None:
    found = clip_frames(101, Clips(2, 1, evenly(10)))
    assert found[0].tolist() == [0, 1]
    assert found[-1].tolist() == [99, 100]
    assert set(np.diff(found[:, 0]).tolist()) <= {11, 12}
    assert clip_frames(101, Clips(1, 1, evenly(1))).tolist() == [[50]]


@pytest.mark.parametrize("name", ["cifar", "SamplePairing"])
def test_every_frame_of_a_clip_is_changed_as_an_image_would_be(name: str) -> None:
    chosen: Any = "cifar" if name == "cifar" else ("sample_pairing",)
    steps = [RandAugment(RandAugment.Config(operations=chosen)), Crop(), Flip(), Cutout(Cutout.Config(size=4))]
    rng = np.random.default_rng(0)
    draws = [step.draw(5, 16, rng) for step in steps]
    clips = torch.from_numpy(rng.integers(0, 256, (5, 2, 3, 3, 16, 16), dtype=np.uint8))  # [N, clips, T, C, H, W]
    changed = augment(clips, steps, draws)
    for clip in range(2):
        for frame in range(3):
            assert torch.equal(changed[:, clip, frame], augment(clips[:, clip, frame].contiguous(), steps, draws))
    still = augment(clips[:, :1, :1].expand(-1, 2, 3, -1, -1, -1), steps, draws)
    assert torch.equal(still, still[:, :1, :1].expand_as(still))


@pytest.mark.parametrize("how", ["resize", "random_crop", "random_resized_crop"])
def test_every_frame_is_fitted_as_an_image_would_be(how: Any) -> None:
    crops = draw_crops(7, np.random.default_rng(0))
    videos = [Sample(s.key, s.image[:4], s.label) for s in SPLIT.read(range(7))]
    together = fit(videos, 8, 1, how, crops, shorter=10)
    assert together.shape == (7, 4, 1, 8, 8)
    for frame in range(4):
        images = [Sample(v.key, v.image[frame], v.label) for v in videos]
        assert torch.equal(together[:, frame], fit(images, 8, 1, how, crops, shorter=10))


def test_a_random_crop_keeps_every_place_of_the_scaled_image_in_reach() -> None:
    picture = np.arange(100, dtype=np.uint8).reshape(10, 10, 1)
    crops = np.stack(np.meshgrid(np.arange(0, 1, 0.05), np.arange(0, 1, 0.05)), -1).reshape(-1, 2)
    drawn = np.zeros((len(crops), 10, 4))
    drawn[:, 0, 2:] = crops
    found = fit([Sample("a", picture, 0)] * len(crops), 8, 1, "random_crop", drawn, shorter=10)
    corners = {int(corner) for corner in found[:, 0, 0, 0]}
    assert corners == {10 * row + column for row in range(3) for column in range(3)}


def stream(**given: Any) -> Stream:
    settings: dict[str, Any] = {
        "name": "labeled",
        "seed": 0,
        "batch": 6,
        "size": 12,
        "channels": 3,
        "fit": "exact",
        "weak": [Flip()],
        "strong": [RandAugment(), Cutout(Cutout.Config(size=3))],
        "want_strong": True,
        "clip": CLIP,
    }
    return Stream(SPLIT, **(settings | given))


def test_a_step_takes_each_clip_from_its_own_place() -> None:
    samples = stream(weak=[]).samples(5)
    drawn = generator(0, "labeled", "clip", 5).random(6)
    assert samples.weak.shape == (6, 4, 3, 12, 12)
    assert samples.labels is not None
    for clip, label, position in zip(samples.weak, samples.labels.tolist(), drawn.tolist(), strict=True):
        video = SPLIT.videos[label]
        first = int(position * (len(video) - 9))
        assert np.array_equal(clip.permute(0, 2, 3, 1).numpy(), video[first : first + 12 : 3])
    assert stream().bytes_a_step == 6 * (2 * 4 * 3 * 12 * 12 + 8)


def test_clips_are_the_same_for_any_share_of_the_batch() -> None:
    whole = stream().samples(3)
    parts = [stream(rank=rank, world=2).samples(3) for rank in range(2)]
    for view in ("weak", "strong"):
        assert torch.equal(getattr(whole, view), torch.cat([getattr(part, view) for part in parts]))


def test_without_augmentation_clips_lie_in_the_middle() -> None:
    samples = stream(weak=[], strong=[], still=True).samples(0)
    assert samples.labels is not None
    video = SPLIT.videos[int(samples.labels[0])]
    first = int(0.5 * (len(video) - 9))
    assert np.array_equal(samples.weak[0].permute(0, 2, 3, 1).numpy(), video[first : first + 12 : 3])


@pytest.mark.parametrize(("batch_size", "sizes"), [(9, [3, 3, 1]), (2, [1] * 7), (100, [7])])
def test_evaluation_bounds_the_clips_of_a_batch(batch_size: int, sizes: list[int]) -> None:
    clips = Clips(4, 3, evenly(3))
    batches = list(
        evaluation_batches(SPLIT, batch_size=batch_size, size=12, channels=3, fit="exact", eval_crop=1.0, clips=clips)
    )
    assert [len(batch.keys) for batch in batches] == sizes
    for batch in batches:
        assert batch.images.shape[1:] == (3, 4, 3, 12, 12)
        for videos, label in zip(batch.images, batch.labels.tolist(), strict=True):
            expected = SPLIT.videos[label][clip_frames(len(SPLIT.videos[label]), clips)]
            assert np.array_equal(videos.permute(0, 1, 3, 4, 2).numpy(), expected)


def test_images_and_videos_are_not_taken_for_each_other() -> None:
    images = ArraySplit([image(i) for i in range(3)])
    with pytest.raises(DataError, match="no videos to take clips of"):
        Stream(images, name="a", seed=0, batch=2, size=8, channels=3, fit="exact", weak=[], strong=[],
               want_strong=False, clip=CLIP).samples(0)  # fmt: skip
    with pytest.raises(DataError, match="is a video"):
        stream(clip=None).samples(0)
