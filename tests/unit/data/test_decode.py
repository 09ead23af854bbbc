import io
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from data_support import encoded, image
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from mplframe.contracts.data import Sample
from mplframe.data.decoding.fit import fit
from mplframe.data.decoding.image import decode
from mplframe.errors import DamageError, DataError


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_files_come_back_exactly(kind: str, channels: int) -> None:
    pixels = image(1, (5, 7), channels)
    np.testing.assert_array_equal(decode(encoded(pixels, kind), "x"), pixels)


def test_lossless_webp() -> None:
    np.testing.assert_array_equal(decode(encoded(image(2), "WEBP", lossless=True), "x"), image(2))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_agrees_with_pillow(channels: int) -> None:
    pixels = np.kron(image(3, (4, 5), channels), np.ones((8, 8, 1), np.uint8))
    data = encoded(pixels, "JPEG", quality=95)
    ours, theirs = decode(data, "x"), np.array(Image.open(io.BytesIO(data))).reshape(pixels.shape)
    assert ours.shape == pixels.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_cmyk_jpeg_becomes_rgb() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(file, "JPEG")
    pixels = decode(file.getvalue(), "x")
    assert pixels.shape == (4, 6, 3)
    assert pixels[..., 0].min() > 200
    assert pixels[..., 1:].max() < 60


def test_transparency_and_palettes() -> None:
    file = io.BytesIO()
    paletted = Image.fromarray(image(4)).quantize(16)
    paletted.save(file, "PNG", transparency=bytes([0, 255] * 8))
    seen = np.array(Image.open(file).convert("RGBA")).astype(int)
    alpha = seen[:, :, 3:]
    expected = np.round((seen[:, :, :3] * alpha + 255 * (255 - alpha)) / 255)
    np.testing.assert_array_equal(decode(file.getvalue(), "x"), expected)
    rgba = np.concatenate([image(5), np.full((8, 8, 1), 9, np.uint8)], 2)
    expected = np.round((image(5).astype(float) * 9 + 255 * 246) / 255)
    assert np.abs(decode(encoded(rgba), "x") - expected).max() <= 1
    opaque = np.concatenate([image(5), np.full((8, 8, 1), 255, np.uint8)], 2)
    np.testing.assert_array_equal(decode(encoded(opaque), "x"), image(5))


def test_grey_with_transparency_stays_grey() -> None:
    file = io.BytesIO()
    Image.fromarray(np.stack([image(5)[:, :, 0], np.zeros((8, 8), np.uint8)], -1), "LA").save(file, "PNG")
    assert decode(file.getvalue(), "x").shape == (8, 8, 1)
    assert decode(file.getvalue(), "x").min() == 255


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(kind: str, orientation: int) -> None:
    """Against Pillow's own `exif_transpose`; a JPEG that is decoded to a half too."""
    blocks = np.kron(image(7, (2, 3)), np.ones((32, 32, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(blocks).save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.array(ImageOps.exif_transpose(Image.open(file)).convert("RGB")).astype(int)
    found = decode(file.getvalue(), "x").astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 2
    reduced = decode(file.getvalue(), "x", shorter=16)
    assert (reduced.shape[0] > reduced.shape[1]) == (expected.shape[0] > expected.shape[1])


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (8, 8, 4)])
def test_sixteen_bits_are_rounded_to_eight(shape: tuple[int, ...]) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    if len(shape) == 3:
        deep[:, :, 3:] = 65535
    data = cv2.imencode(".png", deep)[1].tobytes()
    found = decode(data, "x")
    expected = np.round(deep / 257)
    if len(shape) == 2:
        np.testing.assert_array_equal(found[:, :, 0], expected)
    else:
        np.testing.assert_array_equal(found, expected[:, :, 2::-1])


def test_no_program_is_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "EPS")
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    with pytest.raises(DataError, match="no image of a kind"):
        decode(file.getvalue(), "photo.jpg")


@pytest.mark.parametrize("error", [NotImplementedError, MemoryError, OverflowError, RecursionError])
def test_whatever_a_decoder_raises_is_one_damaged_file(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error("odd")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(DamageError, match="k: the image can't be decoded"):
        decode(b"\x89PNG", "k")


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_arrays(shape: tuple[int, ...]) -> None:
    file = io.BytesIO()
    array = np.asfortranarray(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
    np.save(file, array)
    decoded = decode(file.getvalue(), "x")
    np.testing.assert_array_equal(decoded, array.reshape(4, 5, -1))
    assert decoded.flags.c_contiguous


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no image of a kind"),
        (b"not an image", "no image of a kind"),
        (encoded(image(1, (64, 64)), "JPEG")[:900], "truncated"),
        (encoded(image(1, (64, 64)))[:900], "can't be decoded"),
        (saved(np.zeros((4, 4, 2), np.uint8)), r"uint8 \[4, 4, 2\]; allowed"),
        (saved(np.zeros((4, 4, 3), np.float32)), "float32"),
        (saved(np.zeros((0, 4, 3), np.uint8)), "allowed"),
        (saved(np.zeros(4, np.uint8))[:100], "can't be decoded"),
    ],
)
def test_what_cannot_be_decoded_names_the_sample(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=f"sample 'k' in s.tar: .*{reason}"):
        decode(data, "sample 'k' in s.tar")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_of_a_shard_decodes_like_bytes(kind: str, channels: int) -> None:
    data = encoded(image(6, (9, 11), channels), kind)
    view = memoryview(b"before" + data + b"after")[6:-5]
    np.testing.assert_array_equal(decode(view, "x"), decode(data, "x"))
    array = saved(image(6))
    np.testing.assert_array_equal(decode(memoryview(array), "x"), image(6))


PHOTOGRAPHS = [pixels[: len(pixels) // 16 * 16] for pixels in load_sample_images().images]  # 416 x 640


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize(("shorter", "height"), [(104, 208), (70, 208), (52, 104), (40, 104), (26, 52)])
def test_a_reduced_photograph_is_close_to_the_whole_one(photograph: np.ndarray, shorter: int, height: int) -> None:
    data = encoded(photograph, "JPEG", quality=90)
    reduced, whole = decode(data, "x", shorter), decode(data, "x")
    assert reduced.shape == (height, height * 640 // 416, 3)
    ours, exact = (fit([Sample("x", each, 0)], shorter, 3, "resize").double() for each in (reduced, whole))
    assert 10 * torch.log10(255**2 / (ours - exact).square().mean()) >= 40


@pytest.mark.parametrize(
    ("size", "shorter", "decoded"),
    [
        ((64, 64), 17, (64, 64)),  # half of it would keep less than twice what is wanted
        ((64, 64), 16, (32, 32)),
        ((64, 96), 16, (32, 48)),
        ((66, 64), 8, (33, 32)),  # a quarter isn't whole
        ((65, 64), 4, (65, 64)),
        ((64, 64), 1, (8, 8)),
    ],
)
def test_how_far_an_image_is_reduced(size: tuple[int, int], shorter: int, decoded: tuple[int, int]) -> None:
    for channels in (1, 3):
        data = encoded(image(1, size, channels), "JPEG")
        assert decode(data, "x", shorter).shape == (*decoded, channels)
        assert decode(data, "x").shape == (*size, channels)


def test_what_is_no_jpeg_is_never_reduced() -> None:
    for data in (encoded(image(1, (64, 64))), saved(image(1, (64, 64)))):
        np.testing.assert_array_equal(decode(data, "x", 8), image(1, (64, 64)))
