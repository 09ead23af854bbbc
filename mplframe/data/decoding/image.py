"""Encoded image -> pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from mplframe.errors import DamageError

Pixels = npt.NDArray[np.uint8]

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "npy")
"""Extensions of members that hold an image, lower case. What a member really holds is told from its content."""

LARGEST = 178_956_970
"""Pixels beyond which an image counts as a decompression bomb: Pillow's limit."""

KEPT = 2
"""How many times the pixels that are wanted a reduced JPEG keeps along each side. On photographs, scaled to the size
wanted, it is 41 to 48 dB from the JPEG of full size; with a factor of 1.5 it would be 39.8, with 1 it would be 31."""


def decode(data: bytes | memoryview, name: str, shorter: int | None = None) -> Pixels:
    """Pixels of an encoded image or of a `.npy` array.

    Transparency is dropped, of an animation the first frame is taken, and the EXIF orientation is not applied: pixels
    come as they are stored.

    Args:
        data: the whole file.
        name: of the sample and where it lies, for errors.
        shorter: what the shorter side will be scaled down to, in pixels, where that needn't be exact. A JPEG may then
            be decoded to a half, a quarter or an eighth of its size, never to less than `KEPT` times `shorter`: the
            scaled image has a PSNR of at least 40 dB against what the whole JPEG would give.

    Returns:
        [H, W, 3] uint8 RGB, or [H, W, 1] uint8 where the image is grey.

    Raises:
        DamageError: it can't be decoded, or has more than eight bits a channel.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data, shorter)
        if data[:6] == b"\x93NUMPY":
            return _array(data)
        return _pillow(data)
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError, EOFError) as error:
        raise DamageError(f"{name}: the image can't be decoded ({error}); replace or remove it") from error


def _jpeg(data: bytes | memoryview, shorter: int | None) -> Pixels:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space in {"YCbCr", "RGB", "Gray"} and height * width <= LARGEST:
            by = 1 if shorter is None else _reduction(height, width, shorter)
            pixels: Pixels = simplejpeg.decode_jpeg(
                data,
                "GRAY" if space == "Gray" else "RGB",
                min_height=height // by,
                min_width=width // by,
                min_factor=by,
            )
            return pixels
    except ValueError:
        pass  # libjpeg-turbo's strict mode refuses files with odd but harmless markers; Pillow has the last word
    return _pillow(data)


def _reduction(height: int, width: int, shorter: int) -> int:
    """The factor to decode at. Where it doesn't divide a side, the image would be stretched a little; the factors
    between are slower than decoding all pixels."""
    fitting = (by for by in (8, 4, 2) if not (height % by or width % by) and min(height, width) >= by * KEPT * shorter)
    return next(fitting, 1)


def _pillow(data: bytes | memoryview) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image: Image.Image = Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            # Pillow's own words hold an address in memory, which differs from run to run.
            raise ValueError("it is no image of a kind that Pillow knows") from None
    if image.mode[:2] == "I;" or image.mode in {"I", "F"}:
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel; convert it to 8")
    if image.mode in {"1", "L", "LA"}:
        return np.array(image.convert("L"))[:, :, None]
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _array(data: bytes | memoryview) -> Pixels:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise ValueError(f"it holds {array.dtype} {list(array.shape)}; allowed is uint8 [H, W], [H, W, 1] or [H, W, 3]")
    return np.ascontiguousarray(array)
