import numpy as np
import pytest
import torch
from data_support import image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mplframe.contracts.data import Sample
from mplframe.data.decoding.fit import crop_box, draw_crops, fit, fit_evaluation
from mplframe.errors import DataError


def gradient(height: int, width: int) -> Sample:
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([255 * y / height, 255 * x / width, 127 + 0 * x], 2).astype(np.uint8)
    return Sample("g", pixels, 0)


def test_exact_keeps_pixels() -> None:
    batch = fit([Sample("a", image(1), 0), Sample("b", image(2), 0)], 8, 3, "exact")
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch.numpy(), np.stack([image(1), image(2)]).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("evaluation", [False, True])
def test_exact_refuses_another_size(evaluation: bool) -> None:
    samples = [Sample("dog/7", image(1, (8, 9)), 0)]
    with pytest.raises(DataError, match=r"'dog/7' has 8 x 9 pixels but input.size is 8 .*input.fit=resize"):
        _ = fit_evaluation(samples, 8, 3, "exact", 1.0) if evaluation else fit(samples, 8, 3, "exact")


def test_channels_are_converted_in_a_mixed_batch() -> None:
    colour, grey = Sample("c", image(1), 0), Sample("g", image(2, channels=1), 0)
    rgb = fit([colour, grey], 8, 3, "exact").numpy()
    np.testing.assert_array_equal(rgb[1], np.repeat(grey.image.transpose(2, 0, 1), 3, 0))
    luma = fit([colour, grey], 8, 1, "exact").numpy()
    expected = np.array(Image.fromarray(colour.image).convert("L"))
    assert np.abs(luma[0, 0].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(luma[1, 0], grey.image[:, :, 0])


@pytest.mark.parametrize(("height", "width"), [(100, 150), (150, 100), (64, 64), (20, 31)])
def test_resize_agrees_with_pillow(height: int, width: int) -> None:
    sample, size = gradient(height, width), 32
    scale = size / min(height, width)
    scaled = Image.fromarray(sample.image).resize(
        (max(size, int(width * scale)), max(size, int(height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (scaled.width - size) // 2, (scaled.height - size) // 2
    expected = np.array(scaled.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
    ours = fit([sample], size, 3, "resize")[0].numpy()
    assert np.abs(ours.astype(int) - expected).max() <= 2


def test_resize_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = fit([Sample("s", stripes, 0)], 32, 3, "resize")[0, :, 4:-4, 4:-4]
    assert (pixels.int() - 127).abs().max() <= 2


def test_evaluation_takes_the_center() -> None:
    sample = gradient(128, 128)
    whole = fit_evaluation([sample], 64, 3, "random_resized_crop", 1.0)[0]
    center = fit_evaluation([sample], 64, 3, "resize", 0.5)[0]
    assert whole[0, 0, 0] <= 2
    assert whole[0, -1, 0] >= 251
    np.testing.assert_array_equal(center.numpy(), sample.image[32:96, 32:96].transpose(2, 0, 1))


def test_a_long_strip_is_not_scaled_whole() -> None:
    assert fit([Sample("s", np.full((2, 60_000, 3), 9, np.uint8), 0)], 64, 3, "resize").unique().tolist() == [9]


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 2**32))
def test_crop_boxes_lie_within_the_image(height: int, width: int, seed: int) -> None:
    top, left, h, w = crop_box(height, width, draw_crops(1, np.random.default_rng(seed))[0])
    assert 0 <= top < top + h <= height
    assert 0 <= left < left + w <= width


def test_crop_boxes_have_the_inception_distribution() -> None:
    boxes = [crop_box(400, 400, u) for u in draw_crops(4000, np.random.default_rng(0))]
    areas = np.array([h * w for _, _, h, w in boxes]) / 160_000
    ratios = np.log([w / h for _, _, h, w in boxes])
    assert 0.075 < areas.min() < 0.1
    assert areas.max() > 0.95
    assert abs(ratios.mean()) < 0.01
    assert np.abs(ratios).max() == pytest.approx(np.log(4 / 3), abs=0.02)
    assert np.mean([top / (400 - h) for top, _, h, _ in boxes if h < 390]) == pytest.approx(0.5, abs=0.02)


def test_the_last_resort_is_a_central_box() -> None:
    hopeless = np.zeros((10, 4)) + 0.999
    assert crop_box(100, 1000, hopeless) == (0, 433, 100, 133)
    assert crop_box(1000, 100, hopeless) == (433, 0, 133, 100)


def test_random_resized_crop_scales_the_drawn_box() -> None:
    sample = gradient(200, 200)
    crops = draw_crops(1, np.random.default_rng(3))
    top, left, height, width = crop_box(200, 200, crops[0])
    part = Image.fromarray(sample.image[top : top + height, left : left + width])
    expected = np.array(part.resize((48, 48), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    ours = fit([sample], 48, 3, "random_resized_crop", crops)[0]
    assert ours.dtype == torch.uint8
    assert np.abs(ours.numpy().astype(int) - expected).max() <= 1
