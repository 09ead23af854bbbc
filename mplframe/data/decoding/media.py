"""Images and videos alike: files that hold what a sample shows."""

from __future__ import annotations

from mplframe.data.decoding.image import IMAGE_EXTENSIONS, Pixels, decode
from mplframe.data.decoding.video import VIDEO_EXTENSIONS, decode_whole

SAMPLE_EXTENSIONS = (*IMAGE_EXTENSIONS, *VIDEO_EXTENSIONS)
"""Extensions of members that hold an image or a video, best first."""


def decode_file(extension: str, data: bytes | memoryview, name: str, shorter: int | None = None) -> Pixels:
    """Everything in a file, to be seen or checked.

    Args:
        extension: in lower case, without the dot.
        data, name, shorter: see `decode`; a video keeps its size.

    Returns:
        [H, W, 3 or 1] uint8 of an image; [frames, H, W, 3 or 1] of a video, see `decode_whole`.

    Raises:
        DamageError: it can't be decoded.
        UserError: it is a video, and PyAV isn't installed.
    """
    return decode_whole(data, name) if extension in VIDEO_EXTENSIONS else decode(data, name, shorter)
