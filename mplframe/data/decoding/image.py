"""Encoded image -> pixels."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from mplframe.errors import DamageError

Pixels = npt.NDArray[np.uint8]

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "npy")
"""Extensions of members that hold an image, lower case. What a member really holds is told from its content."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF", "AVIF", "JPEG2000")
"""What Pillow may take a file for, by its content. Of the others some start programs, as EPS does Ghostscript."""

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\x00\x00"
_ORIENTATION = 0x0112

LARGEST = 178_956_970
"""Pixels beyond which an image counts as a decompression bomb: Pillow's limit."""

EXIF_WITHIN = 1 << 17
"""Bytes at the head of a JPEG in which its EXIF block is looked for: it comes first, and has 64 KiB at most."""

KEPT = 2
"""How many times the pixels that are wanted a reduced JPEG keeps along each side. On photographs, scaled to the size
wanted, it is 41 to 48 dB from the JPEG of full size; with a factor of 1.5 it would be 39.8, with 1 it would be 31."""


def decode(data: bytes | memoryview, name: str, shorter: int | None = None) -> Pixels:
    """Pixels of an encoded image or of a `.npy` array.

    The image is turned as its EXIF orientation says, transparency is laid on white, 16 bits a channel are rounded to 8,
    and of an animation the first frame is taken.

    Args:
        data: the whole file.
        name: of the sample and where it lies, for errors.
        shorter: what the shorter side will be scaled down to, in pixels, where that needn't be exact. A JPEG may then
            be decoded to a half, a quarter or an eighth of its size, never to less than `KEPT` times `shorter`: the
            scaled image has a PSNR of at least 40 dB against what the whole JPEG would give.

    Returns:
        [H, W, 3] uint8 RGB, or [H, W, 1] uint8 where the image is grey.

    Raises:
        DamageError: it can't be decoded, is of no kind among `FORMATS`, or has 32 bits a channel.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _turned(_jpeg(data, shorter), _jpeg_orientation(data))
        if data[:6] == b"\x93NUMPY":
            return _array(data)
        if data[:8] == _PNG and data[24:25] == b"\x10":
            return _deep_png(data)
        return _pillow(data)
    except Exception as error:
        # Decoders of foreign files raise almost anything; one file is damaged, the run isn't over.
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
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            # Pillow's own words hold an address in memory, which differs from run to run.
            raise ValueError(f"it is no image of a kind that is read: {', '.join(FORMATS).lower()}, npy") from None
    if image.format in {"JPEG", "MPO"}:
        return _pixels(image)  # `decode` turns it
    return _turned(_pixels(image), int(image.getexif().get(_ORIENTATION, 1)))


def _pixels(image: Image.Image) -> Pixels:
    if image.mode[:4] == "I;16":
        return _rounded(np.array(image).astype(np.uint16))[:, :, None]
    if image.mode in {"I", "F"}:
        raise ValueError(f"mode {image.mode} has 32 bits a channel, whose range isn't known; convert it to 8")
    if image.mode in {"1", "L"} and "transparency" not in image.info:
        return np.array(image.convert("L"))[:, :, None]
    if image.mode in {"L", "LA", "La"}:
        grey, alpha = np.moveaxis(np.array(image.convert("LA")), -1, 0)
        return _on_white(grey[:, :, None], alpha[:, :, None])
    if image.mode in {"RGBA", "RGBa", "PA"} or "transparency" in image.info:
        pixels = np.array(image.convert("RGBA"))
        return _on_white(pixels[:, :, :3], pixels[:, :, 3:])
    return np.array(image.convert("RGB"))


def _on_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    wide = alpha.astype(np.uint32)
    found: Pixels = ((pixels * wide + 255 * (255 - wide) + 127) // 255).astype(np.uint8)
    return found


def _rounded(deep: npt.NDArray[np.uint16]) -> Pixels:
    found: Pixels = ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return found


def _deep_png(data: bytes | memoryview) -> Pixels:
    """A PNG of 16 bits a channel: Pillow would cut colours to their upper byte."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    if width * height > LARGEST:
        raise ValueError(f"{width} x {height} pixels are more than {LARGEST:,}")
    grey = data[25:26] in (b"\x00", b"\x04")
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16:
        raise ValueError("its 16 bits a channel can't be decoded")
    flat = _rounded((deep if deep.ndim == 3 else deep[:, :, None]).astype(np.uint16, copy=False))
    if flat.shape[2] == 4:
        flat = _on_white(flat[:, :, :3], flat[:, :, 3:])
    if grey:
        return np.ascontiguousarray(flat[:, :, :1])
    return np.ascontiguousarray(flat[:, :, ::-1])


def _jpeg_orientation(data: bytes | memoryview) -> int:
    """What the EXIF block of a JPEG says of its orientation, 1 to 8; 1 where it says nothing that can be read."""
    head = bytes(data[:EXIF_WITHIN])
    at = head.find(_EXIF)
    if at < 0:
        return 1
    exif = Image.Exif()
    try:
        exif.load(head[at:])
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # a damaged block says nothing; the pixels are whole
        return 1


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """The image upright (EXIF 2.32, tag 0x0112): mirrored, turned, or both."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _array(data: bytes | memoryview) -> Pixels:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise ValueError(f"it holds {array.dtype} {list(array.shape)}; allowed is uint8 [H, W], [H, W, 1] or [H, W, 3]")
    return np.ascontiguousarray(array)
