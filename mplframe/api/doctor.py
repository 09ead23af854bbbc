"""What this environment has for mplframe, and what it lacks."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mplframe.api.configs import components
from mplframe.data.sources.small import FashionMNIST
from mplframe.errors import UserError
from mplframe.plugins import Components

PACKAGES = ("mplframe", "torch", "torchvision", "timm", "torch_xla")
OPTIONAL = (
    ("s3fs", "s3:// URLs", "mplframe[s3]"),
    ("gcsfs", "gs:// URLs", "mplframe[gs]"),
    ("adlfs", "az:// URLs", "mplframe[azure]"),
    ("aiohttp", "http:// and https:// URLs", "mplframe[http]"),
    ("huggingface_hub", "hf:// URLs", "huggingface_hub"),
    ("faiss-cpu", "large scores in `duplicates`", "mplframe[dedup]"),
    ("av", "videos", "mplframe[video]"),
    ("onnxscript", "`export` to ONNX", "mplframe[onnx]"),
    ("optuna", "`sweep`", "mplframe[sweep]"),
)
"""Distribution, what it is for, and what to give to `pip install`."""


def doctor(installed: Components | None = None) -> dict[str, Any]:
    """What there is: versions, devices, backends, optional packages, data sets, plugins that couldn't be loaded.

    Nothing is started: a backend says by itself whether it could be.

    Args:
        installed: what names refer to.

    Returns:
        Plain JSON values. Whatever is missing says why, and what to install, under `reason` or `install`.
    """
    found = installed or components()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "process": {"rank": int(os.environ.get("RANK", "0")), "of": int(os.environ.get("WORLD_SIZE", "1"))},
        "backends": [_backend(found, name) for name in found["backend"].names()],
        "optional": [
            {"package": name, "version": _version(name), "for": use, "install": f"pip install '{package}'"}
            for name, use, package in OPTIONAL
        ],
        "datasets": [_fashion_mnist()],
        "broken_plugins": [{"name": p.name, "reason": p.reason} for p in found.plugins if p.reason],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> list[dict[str, str]]:
    gpus = [{"device": f"cuda:{i}", "name": torch.cuda.get_device_name(i)} for i in range(torch.cuda.device_count())]
    return [{"device": "cpu", "name": f"{platform.machine()}, {torch.get_num_threads()} threads"}, *gpus]


def _backend(found: Components, name: str) -> dict[str, Any]:
    try:
        reason = found.get("backend", name).unavailable()
    except UserError as error:
        reason = str(error)
    return {"name": name, "available": reason is None, "reason": reason or ""}


def _fashion_mnist() -> dict[str, Any]:
    root = FashionMNIST.Config().root
    return {
        "name": "fashion_mnist",
        "where": root,
        "found": Path(root).is_dir(),
        "install": "apt-get install dataset-fashion-mnist",
    }
