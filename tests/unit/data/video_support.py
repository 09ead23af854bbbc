"""Small videos for the tests of the data folder."""

import io
from collections.abc import Sequence

import av
import numpy as np
import numpy.typing as npt

from mplframe.contracts.data import Clips, Media, Sample, Split
from mplframe.data.decoding.video import clip_frames

Frames = npt.NDArray[np.uint8]

FORMATS = {
    "mp4": ("libx264", "mp4", {"bf": "3"}),
    "open groups": ("libx264", "mp4", {"x264-params": "open-gop=1:bframes=3:keyint=10:min-keyint=10:log-level=none"}),
    "webm": ("libvpx-vp9", "webm", {}),
    "vp8": ("libvpx", "webm", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "mkv": ("libx264", "matroska", {}),
    "avi": ("mpeg4", "avi", {"bf": "2"}),
    "avi without times": ("libx264", "avi", {"bf": "2"}),
}
"""Codec, container and options of the encoder."""


def frames(count: int, size: int = 32, seed: int = 0) -> Frames:
    """[T, H, W, 3] a window that moves over blocks of colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([blocks[i // 2 : i // 2 + size, i : i + size] for i in range(count)])


def encoded_video(given: Frames, kind: str = "mp4", group: int = 10) -> bytes:
    """A video file with a key frame every `group` frames."""
    codec, container_format, options = FORMATS[kind]
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = given.shape[1:3]
        stream.pix_fmt, stream.gop_size, stream.codec_context.thread_count = "yuv420p", group, 1
        for frame in given:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def decoded_video(data: bytes) -> Frames:
    """[T, H, W, 3] every frame, one after the other."""
    with av.open(io.BytesIO(data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


class VideoSplit(Split):
    """Videos in memory."""

    def __init__(self, videos: Sequence[Frames]) -> None:
        self.videos = videos

    @property
    def group_sizes(self) -> Sequence[int]:
        return [len(self.videos)]

    @property
    def media(self) -> frozenset[Media]:
        return frozenset({"video"})

    def read(self, indices: Sequence[int]) -> list[Sample]:
        return [Sample(f"v{i}", self.videos[i], i) for i in indices]

    def read_clips(self, indices: Sequence[int], clips: Sequence[Clips]) -> list[Sample]:
        wanted = zip(indices, clips, strict=True)
        return [Sample(f"v{i}", self.videos[i][clip_frames(len(self.videos[i]), c).ravel()], i) for i, c in wanted]
