"""Weights for models of timm: published ones, and files of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import timm
from timm.models import load_state_dict

from mplframe.contracts.architecture import ImageSpec
from mplframe.errors import UserError

CLOSE = 1e-3
"""Difference of means and standard deviations, in units of the [0, 1] pixel range, that no network notices."""


def published(model: str) -> Any:
    """What timm says of the weights that it has published for a model.

    Raises:
        UserError: it has none of that tag.
    """
    try:
        return timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        name = model.partition(".")[0]
        raise UserError(
            f"timm can't build {model!r}: {error} Leave the tag out, or choose one of "
            f"`python -c \"import timm; print(timm.list_pretrained('{name}.*'))\"`"
        ) from error


def check_normalisation(model: str, spec: ImageSpec) -> None:
    """See that images are normalised as they were when published weights were learned.

    Raises:
        UserError: says what to set.
    """
    said = published(model)
    if spec.normalisation is None or spec.channels != 3 or said is None:
        return
    if any(_far(a, b) for a, b in zip((said.mean, said.std), spec.normalisation, strict=True)):
        raise UserError(
            f"the weights of {model!r} were learned from images normalised otherwise; set "
            f"input.mean={list(said.mean)} and input.std={list(said.std)}"
        )


def _far(a: Sequence[float], b: Sequence[float]) -> bool:
    return any(abs(x - y) > CLOSE for x, y in zip(a, b, strict=True))


@contextmanager
def local_file(url: str) -> Iterator[str]:
    """The path of a file on any store, fetched for the length of the block where it isn't here.

    Raises:
        UserError: it can't be had.
    """
    with TemporaryDirectory() as folder:
        try:
            fs, path = fsspec.url_to_fs(url)
            if "file" not in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
                remote, path = path, f"{folder}/{PurePosixPath(path).name}"
                fs.get_file(remote, path)
            elif not fs.isfile(path):
                raise FileNotFoundError("there is no such file")
        except Exception as error:  # a driver may raise anything
            raise UserError(
                f"the weights {url} can't be had: {error or type(error).__name__}; check the path"
            ) from error
        yield path


@cache
def classes_of(url: str, model: str) -> int | None:
    """Classes of the classifier in a file for a model; None where it has none."""
    with local_file(url) as path:
        try:
            state = load_state_dict(path)
        except Exception as error:  # a damaged file can raise almost anything
            raise UserError(f"{url} can't be read as weights: {type(error).__name__}: {error}") from error
    classifiers = published(model).classifier or ()
    names = (classifiers,) if isinstance(classifiers, str) else classifiers
    return next((len(state[f"{name}.weight"]) for name in names if f"{name}.weight" in state), None)


def from_file(path: str, classes: int | None) -> Mapping[str, Any]:
    """Arguments of `timm.create_model` that make it begin with a file.

    Args:
        path: of the file, here.
        classes: of its classifier, if it has one.
    """
    counted = {} if classes is None else {"num_classes": classes}
    return {
        "pretrained": True,
        # timm knows no offset of classes and no format of its own in files of a user's.
        "pretrained_cfg_overlay": {"file": path, "custom_load": False, "label_offset": None, **counted},
    }
