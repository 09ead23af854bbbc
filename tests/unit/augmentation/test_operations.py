import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as tv2
from PIL import Image, ImageEnhance, ImageOps

from mplframe.augmentation.operations import DIGITS, NATURAL, OPERATIONS, Surroundings

COLOUR = torch.from_numpy(np.random.default_rng(0).integers(20, 230, (6, 3, 12, 12), dtype=np.uint8))
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


def around(images: torch.Tensor, fill: int = 99) -> Surroundings:
    return Surroundings(fill, images.flip(0))


def torchvisions_strength(name: str, level: int, size: int) -> float:
    """What torchvision takes level 0 to 30 for."""
    table = tv2.AutoAugment._AUGMENTATION_SPACE[name][0](31, size, size)
    unit = 255 if name == "Solarize" else 1  # its threshold is a fraction there
    return 0.0 if table is None else float(table[level]) * unit


def torchvisions(image: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    """The same operation on a single image by torchvision's own AutoAugment."""
    reference = tv2.AutoAugment(fill=99)
    strength /= 255 if name == "Solarize" else 1
    return reference._apply_image_or_video_transform(image, name, strength, reference.interpolation, reference._fill)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 12, 28])
@pytest.mark.parametrize("name", NAMES)
def test_a_group_equals_torchvision_on_single_images(name: str, size: int, channels: int) -> None:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (5, channels, size, size), dtype=np.uint8))
    operation = OPERATIONS[name]
    for level in (0, 10, 17, 30):
        for sign in (1, -1) if operation.signed else (1,):
            strength = sign * torchvisions_strength(NAMES[name], level, size)
            ours = operation.apply(images, strength, around(images))
            expected = torch.stack([torchvisions(image, NAMES[name], strength) for image in images])
            assert ours.dtype == torch.uint8
            assert torch.equal(ours, expected), (level, sign)


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
        ("rotate", 30.0, lambda image: image.rotate(30, fillcolor=(99, 99, 99)), 0),
        ("shear_x", 0.3, lambda image: image.transform((12, 12), Image.Transform.AFFINE, (1, 0.3, 0, 0, 1, 0),
                                                       fillcolor=(99, 99, 99)), 0),
    ],
)  # fmt: skip
def test_agrees_with_pillow(name: str, strength: float, reference, tolerance: int) -> None:  # type: ignore[no-untyped-def]
    ours = OPERATIONS[name].apply(COLOUR, strength, around(COLOUR)).numpy().astype(int)
    pillow = [np.array(reference(Image.fromarray(image.numpy().transpose(1, 2, 0)))) for image in COLOUR]
    difference = np.abs(ours - np.stack(pillow).transpose(0, 3, 1, 2))
    # Pillow and torch place the centers of a few border pixels of a warp differently.
    outliers = 0.05 if name in {"rotate", "shear_x"} else 0.0
    assert (difference > tolerance).mean() <= outliers


def test_sample_pairing_blends() -> None:
    ours = OPERATIONS["sample_pairing"].apply(COLOUR, 0.4, around(COLOUR)).numpy()
    expected = np.floor(0.6 * COLOUR.numpy() + 0.4 * COLOUR.numpy()[::-1] + 0.5)
    assert np.abs(ours - expected).max() <= 1
    assert (ours != expected).mean() < 0.01
    assert torch.equal(OPERATIONS["sample_pairing"].apply(COLOUR, 0.4, Surroundings(0, COLOUR)), COLOUR)


def test_color_leaves_grey_alone_and_fill_fills() -> None:
    grey = COLOUR[:, :1]
    assert torch.equal(OPERATIONS["color"].apply(grey, 0.9, around(grey)), grey)
    moved = OPERATIONS["translate_x"].apply(COLOUR, 5.9, around(COLOUR))
    assert moved[..., :5].unique().tolist() == [99]
    assert torch.equal(moved[..., 5:], COLOUR[..., :-5])


def test_contrast_of_a_large_image_does_not_depend_on_threads() -> None:
    large = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (1, 3, 600, 600), dtype=np.uint8))
    results = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        results.append(OPERATIONS["contrast"].apply(large, 0.5, around(large)))
    assert torch.equal(*results)


def test_the_sets_of_table_5() -> None:
    natural = """AutoContrast Brightness Color Contrast Equalize Invert Sharpness Posterize SamplePairing Solarize
        Rotate ShearX ShearY TranslateX TranslateY"""
    digits = (
        "AutoContrast Brightness Color Contrast Equalize Invert Sharpness Posterize Solarize ShearX ShearY TranslateY"
    )
    for ours, table in ((NATURAL, natural), (DIGITS, digits)):
        assert sorted(name.replace("_", "") for name in ours) == sorted(table.lower().split())
