"""Videos are decoded to exactly the frames that are wanted, or refused by name."""

from collections.abc import Iterator
from unittest.mock import patch

import av
import numpy as np
import pytest
from video_support import FORMATS, decoded_video, encoded_video, frames

from mplframe.contracts.data import Clips
from mplframe.data.decoding import video
from mplframe.data.decoding.video import SHOWN, clip_frames, decode_clips, decode_whole
from mplframe.errors import DamageError, UserError

LENGTH = 45
MOVING = frames(LENGTH)


@pytest.mark.parametrize("kind", FORMATS)
def test_clips_are_the_frames_that_decoding_everything_gives(kind: str) -> None:
    data = encoded_video(MOVING, kind)
    everything = decoded_video(data)
    assert len(everything) == LENGTH
    rng = np.random.default_rng(0)
    for _ in range(12):
        clips = Clips(int(rng.integers(1, 9)), int(rng.integers(1, 8)), tuple(rng.random(rng.integers(1, 4)).tolist()))
        found = decode_clips(data, "v", clips)
        assert np.array_equal(found, everything[clip_frames(LENGTH, clips).ravel()])


def test_only_what_is_needed_is_decoded() -> None:
    data, decode, decoded = encoded_video(frames(100), group=10), video._Video._decoded, []

    def counting(self: video._Video, start: int) -> Iterator[av.VideoFrame]:
        for frame in decode(self, start):
            decoded.append(frame)
            yield frame

    with patch.object(video._Video, "_decoded", counting):
        decode_clips(data, "v", Clips(2, 3, (0.5,)))
    assert len(decoded) <= 20  # of the two groups that the frames may lie in


def test_a_whole_video_is_shown_by_a_few_frames() -> None:
    data = encoded_video(MOVING)
    shown = np.linspace(0, LENGTH - 1, SHOWN).round().astype(int)
    assert np.array_equal(decode_whole(data, "v"), decoded_video(data)[shown])
    short = encoded_video(MOVING[:3])
    assert np.array_equal(decode_whole(short, "v"), decoded_video(short))


@pytest.mark.parametrize("kind", ["mp4", "webm", "mkv", "avi"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6])
def test_a_video_that_was_cut_off_is_named(kind: str, part: float) -> None:
    data = encoded_video(MOVING, kind)
    with pytest.raises(DamageError, match=r"sample 'a' in x.tar: the video can't be decoded \(.+\); replace or remove"):
        decode_clips(data[: int(part * len(data))], "sample 'a' in x.tar", Clips(2, 1, (0.0,)))


@pytest.mark.parametrize("data", [b"", b"no video", encoded_video(MOVING)[:40] * 9])
def test_what_is_no_video_is_named(data: bytes) -> None:
    for decode in (lambda: decode_clips(data, "v", Clips(1, 1, (0.0,))), lambda: decode_whole(data, "v")):
        with pytest.raises(DamageError, match=r"^v: the video"):
            decode()


def test_without_pyav_it_says_what_to_install() -> None:
    with patch.dict("sys.modules", {"av": None}), pytest.raises(UserError, match="pip install av"):
        decode_whole(b"", "v")
