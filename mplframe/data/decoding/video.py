"""Clips of videos."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt
import torch

from mplframe.contracts.data import Augmentation, Clips, Draws
from mplframe.data.decoding.image import LARGEST
from mplframe.errors import DamageError, optional


def clip_frames(length: int, clips: Clips) -> npt.NDArray[np.int64]:
    """[clips, frames] the numbers of the frames that clips are made of.

    Args:
        length: frames of the video, at least one.
        clips: what is wanted of it. Where the video is too short its last frame is repeated.
    """
    beginnings = max(0, length - 1 - (clips.frames - 1) * clips.stride) + 1
    firsts = np.minimum(np.floor(np.asarray(clips.positions) * beginnings), beginnings - 1).astype(np.int64)
    frames: npt.NDArray[np.int64] = firsts[:, None] + np.arange(clips.frames) * clips.stride
    return np.minimum(frames, length - 1)


def evenly(count: int) -> tuple[float, ...]:
    """`count` positions from the first clip of a video to its last; a single one lies in the middle."""
    return tuple(np.linspace(0.0, 1.0, count).tolist()) if count > 1 else (0.5,)


def augment(images: torch.Tensor, augmentations: Sequence[Augmentation], draws: Sequence[Draws]) -> torch.Tensor:
    """Images, or clips whose frames are all changed alike, after some augmentations.

    Args:
        images: [N, C, H, W] uint8, or [N, ..., C, H, W] with any dimensions of frames between.
        augmentations: in order.
        draws: of each, with N rows.

    Returns:
        The shape of `images`.
    """

    def change(frame: torch.Tensor) -> torch.Tensor:
        for augmentation, drawn in zip(augmentations, draws, strict=True):
            frame = augmentation.apply(frame, drawn)
        return frame

    if images.ndim == 4:
        return change(images)
    # Frame by frame, so that a row is a sample whatever an augmentation does with rows.
    frames = [change(frame) for frame in images.flatten(1, -4).unbind(1)]
    return torch.stack(frames, 1).view(images.shape)


if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter

Pixels = npt.NDArray[np.uint8]

VIDEO_EXTENSIONS = ("mp4", "webm", "mkv", "avi")
"""Extensions of members that hold a video, lower case."""

SHOWN = 8
"""Frames by which a whole video is shown."""

CUT_OFF = 0.9
"""The part of the length that it announces which a file has at least. Only Matroska and WebM can end early without an
error."""

MICROSECONDS = 1_000_000
"""In a second: what containers tell their length in."""

Choice = Callable[[int], Sequence[int]]
"""Numbers of frames, given how many a video has."""


def decode_clips(data: bytes | memoryview, name: str, clips: Clips) -> Pixels:
    """Clips of an encoded video. Of what lies between key frames, only what is needed is decoded.

    Frames come as they are stored, without the rotation that a player may be told of.

    Args:
        data: the whole file.
        name: of the sample and where it lies, for errors.
        clips: what is wanted.

    Returns:
        [clips * frames, H, W, 3] uint8 RGB, or [clips * frames, H, W, 1] uint8 where the video is grey.

    Raises:
        DamageError: it can't be decoded.
        UserError: PyAV isn't installed.
    """
    with _opened(data, name) as video:
        return video.chosen(lambda length: clip_frames(length, clips).ravel().tolist())


def decode_whole(data: bytes | memoryview, name: str) -> Pixels:
    """Up to `SHOWN` frames from the first to the last, after decoding all. Shapes and errors as of `decode_clips`."""
    with _opened(data, name) as video:
        video.count()
        return video.chosen(lambda length: np.linspace(0, length - 1, min(SHOWN, length)).round().astype(int).tolist())


@contextmanager
def _opened(data: bytes | memoryview, name: str) -> Iterator[_Video]:
    av = optional("av", "av")
    try:
        with av.open(io.BytesIO(data)) as container:
            yield _Video(container, av.video.reformatter.VideoReformatter())
    except (av.FFmpegError, ValueError, OSError) as error:
        # FFmpeg's own words end with the name of a file, and there is none.
        reason = getattr(error, "strerror", None) or error
        raise DamageError(f"{name}: the video can't be decoded ({reason}); replace or remove it") from error


@final
class _Video:
    """A video whose packets are in memory, so that any part of it can be decoded by itself.

    Args:
        container: that is open.
        converter: of pixel formats; setting one up costs more than converting a small frame.

    Raises:
        ValueError: it has no frames, or was cut off; likewise every method, where a frame can't be decoded.
    """

    def __init__(self, container: InputContainer, converter: VideoReformatter) -> None:
        if not container.streams.video:
            raise ValueError("it has no video stream")
        self._converter = converter
        stream = container.streams.video[0]
        self._codec = stream.codec_context
        if self._codec.width * self._codec.height > LARGEST:
            raise ValueError(f"its frames of {self._codec.width} x {self._codec.height} pixels are too large")
        self._codec.thread_count = 1  # the loader's threads share the cores
        everything = [packet for packet in container.demux() if packet.size]
        self._packets = [packet for packet in everything if packet.stream_index == stream.index]
        if any(packet.pts is None for packet in self._packets):
            raise ValueError("its frames have no times; convert it to mp4")
        self._times = sorted(_time(packet) for packet in self._packets if not packet.is_discard)
        if not self._times or len(self._packets) < stream.frames or _ends_early(container, everything):
            raise ValueError(f"it was cut off after {len(self._packets)} frames")
        self._keys = [number for number, packet in enumerate(self._packets) if packet.is_keyframe]
        self._key_times = [_time(self._packets[number]) for number in self._keys]
        if container.format.name == "avi" and self._codec.has_b_frames and self._times == [*map(_time, self._packets)]:
            self.count()  # AVI has no times: they came in the order of decoding

    def count(self) -> None:
        """Decode everything; packets that show no frame, such as VP8's of references alone, count no more."""
        self._times = [_time(_sound(frame)) for frame in self._decoded(0)]
        if not self._times:
            raise ValueError("none of its frames can be shown")

    def chosen(self, choose: Choice) -> Pixels:
        """[N, H, W, C] the frames that `choose` asks for, in its order."""
        found = self._frames(choose(len(self._times)))
        if found is None:
            self.count()
            found = self._frames(choose(len(self._times)))
        if found is None:
            raise ValueError("frames are missing")
        return found

    def _frames(self, numbers: Sequence[int]) -> Pixels | None:
        """[N, H, W, C], or None where one isn't shown."""
        found: dict[int, Pixels] = {}
        times = [self._times[number] for number in numbers]
        for start, part in groupby(sorted(set(times)), self._start):
            wanted = set(part)
            for frame in self._decoded(start):
                if frame.pts in wanted:
                    wanted.remove(frame.pts)
                    found[frame.pts] = self._pixels(_sound(frame))
                if not wanted:
                    break
            if wanted:
                return None
        return np.stack([found[time] for time in times])

    def _pixels(self, frame: VideoFrame) -> Pixels:
        """[H, W, 3] RGB, or [H, W, 1] grey."""
        if frame.format.name.startswith("gray"):
            return np.asarray(frame.to_ndarray(format="gray"), np.uint8)[..., None]
        rgb = self._converter.reformat(frame, format="rgb24", threads=1)
        return np.asarray(rgb.to_ndarray(), np.uint8)

    def _start(self, time: int) -> int:
        """The packet to begin with to have the frame of this time: the last key frame that isn't shown after it."""
        before = bisect_right(self._key_times, time) - 1
        return self._keys[before] if before >= 0 else 0

    def _decoded(self, start: int) -> Iterator[VideoFrame]:
        """Frames from a packet on, in the order in which they are shown."""
        self._codec.flush_buffers()
        for packet in (*self._packets[start:], None):
            yield from self._codec.decode(packet)


def _time(of: Packet[Any] | VideoFrame) -> int:
    """In units of the stream."""
    if of.pts is None:
        raise ValueError("a frame has no time")
    return of.pts


def _sound(frame: VideoFrame) -> VideoFrame:
    if frame.is_corrupt:
        raise ValueError("a frame is corrupt")
    return frame


def _ends_early(container: InputContainer, packets: Sequence[Packet[Any]]) -> bool:
    """Whether a Matroska or WebM file lacks more of what it announces than `CUT_OFF` allows."""
    if container.duration is None or "matroska" not in container.format.name:
        return False
    ends = [(p.pts + (p.duration or 0)) * p.time_base for p in packets if p.pts is not None and p.time_base is not None]
    return float(max(ends, default=0)) < CUT_OFF * container.duration / MICROSECONDS
