"""How fast images are decoded, cropped and augmented, beside torchvision v2 and the bare JPEG decoder.

    python benchmarks/augmentation.py --json benchmarks/results/augmentation.json

One thread; CPU time. The variants take turns, batch by batch in one process, so that whatever else the machine does
meets all of them; rates are medians, ratios are medians of the ratios within a round. JPEGs are two photographs
(scikit-learn's samples) of quality 90, chroma halved. torchvision's own RandAugment has 14 operations, ours the 15 of
MPL v4's table 5.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import torchvision
import torchvision.transforms.v2 as tv2
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from torchvision.io import ImageReadMode, decode_jpeg

from mplframe.augmentation.basic import Flip
from mplframe.augmentation.randaugment import RandAugment
from mplframe.contracts.data import Augmentation, Sample
from mplframe.data.decoding.fit import draw_crops, fit
from mplframe.data.decoding.image import decode

Job = Callable[[], object]
CROP = 224
RNG = np.random.default_rng(0)


def photographs(n: int, size: int) -> list[Image.Image]:
    """`n` different photographs of `size` x `size` pixels."""
    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    places = [(float(x), 0.5) for x in np.linspace(0, 1, n)]
    return [ImageOps.fit(sources[i % 2], (size, size), centering=place) for i, place in enumerate(places)]


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def augmented(images: torch.Tensor, *augmentations: Augmentation) -> torch.Tensor:
    for augmentation in augmentations:
        images = augmentation.apply(images, augmentation.draw(len(images), images.shape[-1], RNG))
    return images


def in_memory(n: int, channels: int, size: int) -> dict[str, Job]:
    """RandAugment of decoded images."""
    pixels = np.stack([np.array(image).reshape(size, size, 3)[..., :channels] for image in photographs(n, size)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    ours, theirs = RandAugment(), tv2.RandAugment(2, 10)
    return {
        "torchvision v2 RandAugment(2)": lambda: [theirs(image) for image in images],
        "mplframe RandAugment(2)": lambda: augmented(images, ours),
    }


def from_jpeg(n: int, size: int) -> dict[str, Job]:
    """From the file to a training view of 224 pixels."""
    files = [jpeg(image) for image in photographs(n, size)]
    tensors = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    flip, randaugment = Flip(), RandAugment()
    weak = tv2.Compose([tv2.RandomResizedCrop(CROP, antialias=True), tv2.RandomHorizontalFlip()])
    strong = tv2.Compose([weak, tv2.RandAugment(2, 10)])

    def fitted() -> torch.Tensor:
        samples = [Sample("", decode(file, ""), 0) for file in files]
        return fit(samples, CROP, 3, "random_resized_crop", draw_crops(n, RNG))

    return {
        "bare decoder": lambda: [simplejpeg.decode_jpeg(file) for file in files],
        "torchvision v2 crop, flip": lambda: [weak(decode_jpeg(file, ImageReadMode.RGB)) for file in tensors],
        "torchvision v2 crop, flip, RandAugment(2)": lambda: [
            strong(decode_jpeg(file, ImageReadMode.RGB)) for file in tensors
        ],
        "mplframe crop, flip": lambda: augmented(fitted(), flip),
        "mplframe crop, flip, RandAugment(2)": lambda: augmented(fitted(), flip, randaugment),
    }


def times(jobs: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each job in each round."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            if number:  # the first round warms up
                found[name].append(time.process_time() - start)
    return found


def rows(images: str, n: int, jobs: dict[str, Job], rounds: int) -> list[dict[str, Any]]:
    found = times(jobs, rounds)

    def ratio(name: str, other: str) -> float:
        return statistics.median(b / a for a, b in zip(found[name], found[other], strict=True))

    return [
        {
            "images": images,
            "work": name,
            "images / CPU s": n / statistics.median(seconds),
            "of bare decoder": ratio(name, "bare decoder") if "bare decoder" in jobs else None,
            "of torchvision v2": ratio(name, name.replace("mplframe", "torchvision v2")) if "mpl" in name else None,
        }
        for name, seconds in found.items()
    ]


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| images | work | images / CPU s | of bare decoder | of torchvision v2 |", "|---|---|---:|---:|---:|"]
    for row in results:
        shares = " | ".join("" if row[key] is None else f"{row[key]:.2f}" for key in list(row)[3:])
        lines.append(f"| {row['images']} | {row['work']} | {row['images / CPU s']:,.0f} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = []
    for n, channels, size in ((128, 1, 28), (128, 3, 32), (24, 3, 224)):
        results += rows(f"{size} x {size} x {channels}, batch {n}", n, in_memory(n, channels, size), arguments.rounds)
    for size in (224, 512):
        results += rows(f"JPEG {size} x {size}", 16, from_jpeg(16, size), arguments.rounds)
    print(table(results))
    if arguments.json:
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "machine": platform.machine()}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({"rounds": arguments.rounds, **versions, "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
