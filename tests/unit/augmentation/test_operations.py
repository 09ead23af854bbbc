import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as tv2
from PIL import Image, ImageEnhance, ImageOps

from mplframe.augmentation.batches import batch, pixels
from mplframe.augmentation.operations import DIGITS, NATURAL, OPERATIONS, Surroundings

COLOUR = torch.from_numpy(np.random.default_rng(0).integers(20, 230, (6, 3, 12, 12), dtype=np.uint8))
FILL = 99
NAMES = {
    "auto_contrast": "AutoContrast",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "posterize": "Posterize",
    "rotate": "Rotate",
    "sharpness": "Sharpness",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "solarize": "Solarize",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
}


def applied(name: str, images: torch.Tensor, strength: float, rows: list[int] | None = None) -> torch.Tensor:
    """An operation on the images of some rows, all by default, of the batch `images`."""
    whole = pixels(images)
    before = whole.copy()
    at = np.arange(len(whole)) if rows is None else np.array(rows)
    changed = batch(OPERATIONS[name].apply(whole[at], strength, Surroundings(FILL, whole, at)))
    assert changed.dtype == torch.uint8
    np.testing.assert_array_equal(whole, before)
    return changed


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))


def narrow(*shape: int) -> torch.Tensor:
    """Few values of the range, other ones in each channel; the last image has one only."""
    images = noise(*shape) // 7 + torch.arange(0, 60 * shape[1], 60, dtype=torch.uint8)[:, None, None]
    images[-1] = 77
    return images


def torchvisions_strength(name: str, level: int, size: int) -> float:
    """What torchvision takes level 0 to 30 for."""
    table = tv2.AutoAugment._AUGMENTATION_SPACE[name][0](31, size, size)
    unit = 255 if name == "Solarize" else 1  # its threshold is a fraction there
    return 0.0 if table is None else float(table[level]) * unit


def torchvisions(image: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    """The same operation on a single image by torchvision's own AutoAugment."""
    reference = tv2.AutoAugment(fill=FILL)
    strength /= 255 if name == "Solarize" else 1
    return reference._apply_image_or_video_transform(image, name, strength, reference.interpolation, reference._fill)


@pytest.mark.parametrize("levels", [30, 9])
def test_rounding_moves_no_threshold(levels: int) -> None:
    """A grey value is on the side of the threshold that the true one, 255 (1 - level / levels), puts it on."""
    for level in range(levels + 1):
        threshold = OPERATIONS["solarize"].strength(level / levels, 32)
        assert [grey >= threshold for grey in range(256)] == [
            grey * levels >= 255 * (levels - level) for grey in range(256)
        ]


@pytest.mark.parametrize("make", [noise, narrow])
@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 3, 12, 12), (4, 1, 28, 28), (4, 3, 32, 32), (2, 3, 97, 97)])
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_equals_torchvisions(name: str, shape: tuple[int, ...], make) -> None:  # type: ignore[no-untyped-def]
    images = make(*shape)
    for level in (0, 3, 10, 17, 30):
        for sign in (1, -1) if OPERATIONS[name].signed else (1,):
            strength = sign * torchvisions_strength(NAMES[name], level, shape[-1])
            expected = torch.stack([torchvisions(image, NAMES[name], strength) for image in images])
            assert torch.equal(applied(name, images, strength), expected), (level, sign)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_imagenets_size_and_others_that_are_not_square(name: str) -> None:
    for shape in ((1, 3, 224, 224), (2, 3, 20, 51), (2, 1, 51, 20)):
        images = noise(*shape)
        strength = torchvisions_strength(NAMES[name], 13, shape[-1])
        expected = torch.stack([torchvisions(image, NAMES[name], strength) for image in images])
        assert torch.equal(applied(name, images, strength), expected), shape


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_smallest_images_are_off_by_one_at_most(name: str, size: int) -> None:
    """Where fewer than 32 values are at hand, torch adds and multiplies them in two steps rather than in one."""
    images = noise(400, 3, size, size)
    strength = torchvisions_strength(NAMES[name], 30, size)
    expected = torch.stack([torchvisions(image, NAMES[name], strength) for image in images])
    difference = (applied(name, images, strength).int() - expected.int()).abs()
    assert difference.max() <= 1
    assert difference.float().mean() < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_magnitudes_are_torchvisions(name: str) -> None:
    for size in (8, 32, 224):
        for level in range(31):
            ours = OPERATIONS[name].strength(level / 30, size)
            theirs = torchvisions_strength(NAMES[name], level, size)
            assert (round(ours) if name == "posterize" else ours) == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "strength", "reference", "tolerance"),
    [
        ("solarize", 100.0, lambda image: ImageOps.solarize(image, 100), 0),
        ("posterize", 5.0, lambda image: ImageOps.posterize(image, 5), 0),
        ("equalize", 0.0, ImageOps.equalize, 0),
        ("auto_contrast", 0.0, ImageOps.autocontrast, 1),
        ("invert", 0.0, ImageOps.invert, 0),
        ("brightness", -0.4, lambda image: ImageEnhance.Brightness(image).enhance(0.6), 1),
        ("contrast", 0.5, lambda image: ImageEnhance.Contrast(image).enhance(1.5), 1),
        ("color", 0.5, lambda image: ImageEnhance.Color(image).enhance(1.5), 1),
        ("sharpness", 0.5, lambda image: ImageEnhance.Sharpness(image).enhance(1.5), 1),
        ("sharpness", -0.5, lambda image: ImageEnhance.Sharpness(image).enhance(0.5), 1),
        ("rotate", 30.0, lambda image: image.rotate(30, fillcolor=(FILL, FILL, FILL)), 0),
        ("shear_x", 0.3, lambda image: warped(image, (1, 0.3, 0, 0, 1, 0)), 0),
        ("shear_y", 0.3, lambda image: warped(image, (1, 0, 0, 0.3, 1, 0)), 0),
        ("translate_x", -4.7, lambda image: warped(image, (1, 0, 4, 0, 1, 0)), 0),
        ("translate_y", 4.7, lambda image: warped(image, (1, 0, 0, 0, 1, -4)), 0),
    ],
)
def test_agrees_with_pillow(name: str, strength: float, reference, tolerance: int) -> None:  # type: ignore[no-untyped-def]
    ours = applied(name, COLOUR, strength).numpy().astype(int)
    pillow = [np.array(reference(Image.fromarray(image.numpy().transpose(1, 2, 0)))) for image in COLOUR]
    difference = np.abs(ours - np.stack(pillow).transpose(0, 3, 1, 2))
    # Pillow and torch place the centers of a few border pixels of a warp differently.
    outliers = 0.05 if name in {"rotate", "shear_x", "shear_y"} else 0.0
    assert (difference > tolerance).mean() <= outliers


def warped(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=(FILL, FILL, FILL))


def test_sample_pairing_blends() -> None:
    images = noise(5, 3, 16, 16)
    partners = images[[1, 0, 3, 2, 4]]
    ours = applied("sample_pairing", images, 0.4)
    assert torch.equal(ours, (images * 0.6).add(partners, alpha=0.4).add(0.5).to(torch.uint8))
    exact = np.floor(0.6 * images.numpy() + 0.4 * partners.numpy() + 0.5)
    assert np.abs(ours.numpy() - exact).max() <= 1
    assert (ours.numpy() != exact).mean() < 0.01
    assert torch.equal(ours[4], images[4])
    assert torch.equal(applied("sample_pairing", images, 0.4, rows=[1, 3]), ours[[1, 3]])


def test_color_leaves_grey_alone_and_fill_fills() -> None:
    grey = COLOUR[:, :1]
    assert torch.equal(applied("color", grey, 0.9), grey)
    moved = applied("translate_x", COLOUR, 5.9)
    assert moved[..., :5].unique().tolist() == [FILL]
    assert torch.equal(moved[..., 5:], COLOUR[..., :-5])
    for name in ("translate_x", "translate_y"):
        for strength in (12.0, -40.0):
            assert applied(name, COLOUR, strength).unique().tolist() == [FILL]


def test_contrast_of_a_large_image_does_not_depend_on_threads() -> None:
    large = noise(1, 3, 600, 600)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            results.append(applied("contrast", large, 0.5))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


def test_the_sets_of_table_5() -> None:
    natural = """AutoContrast Brightness Color Contrast Equalize Invert Sharpness Posterize SamplePairing Solarize
        Rotate ShearX ShearY TranslateX TranslateY"""
    digits = (
        "AutoContrast Brightness Color Contrast Equalize Invert Sharpness Posterize Solarize ShearX ShearY TranslateY"
    )
    for ours, table in ((NATURAL, natural), (DIGITS, digits)):
        assert sorted(name.replace("_", "") for name in ours) == sorted(table.lower().split())
