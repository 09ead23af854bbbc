"""Samples of a WebDataset pipeline as files of a shard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from mplframe.data.labels import LABEL_EXTENSIONS
from mplframe.data.media import SAMPLE_EXTENSIONS, decode_file
from mplframe.data.readers.arrays import check_images
from mplframe.data.video import VIDEO_EXTENSIONS
from mplframe.data.writer import Members, encode_png, sample_key
from mplframe.errors import DataError

KEY = "__key__"


def members_of(number: int, sample: Any, where: str) -> Members:
    """A sample as the files of a shard: its image or video, and its label where it has one.

    Args:
        number: of the sample in its pipeline; makes its key unique.
        sample: a mapping with `__key__`, an image or a video, and perhaps a label; see `pipeline.Pipeline`.
        where: the pipeline, for errors.

    Raises:
        DataError: it isn't such a sample.
    """
    if not isinstance(sample, Mapping):
        raise DataError(
            f"data: {where} returned a {type(sample).__name__} as sample {number}; samples must be dicts with "
            "__key__, an image under its extension and cls or json (leave out to_tuple and batched)"
        )
    name = f"sample {number} ({sample.get(KEY, 'without __key__')}) of {where}"
    if not isinstance(sample.get(KEY), str):
        raise DataError(f"data: {name} has no text under __key__")
    extensions = [extension for extension in SAMPLE_EXTENSIONS if extension in sample]
    if len(extensions) != 1:
        raise DataError(
            f"data: {name} has {len(extensions)} images or videos; it needs one under {', '.join(SAMPLE_EXTENSIONS)} "
            f"(it has {', '.join(key for key in sample if key != KEY) or 'nothing'})"
        )
    extension, image = _image(extensions[0], sample[extensions[0]], name)
    label = next((known for known in LABEL_EXTENSIONS if known in sample), None)
    said = {} if label is None else {label: _label(label, sample[label], name)}
    return {KEY: sample_key(number, sample[KEY]), extension: image, **said}


def _image(extension: str, value: Any, name: str) -> tuple[str, bytes]:
    """Extension and content; encoded bytes stay as they are."""
    if isinstance(value, bytes | bytearray | memoryview):
        decode_file(extension, bytes(value), name)
        return extension, bytes(value)
    if extension in VIDEO_EXTENSIONS:
        raise DataError(f"data: {name} has a {type(value).__name__} as its {extension}; give the bytes of the file")
    if isinstance(value, Image.Image):
        value = np.asarray(value.convert("L" if value.mode in {"1", "L", "LA"} else "RGB"))
    if not isinstance(value, np.ndarray):
        raise DataError(
            f"data: {name} has a {type(value).__name__} as its image; give encoded bytes, a uint8 array or a PIL image"
        )
    return "png", encode_png(check_images(value[None], name)[0])


def _label(extension: str, value: Any, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and extension == "cls":
        return str(int(value)).encode()
    if extension == "json":
        try:
            return json.dumps(value).encode()
        except TypeError as error:
            raise DataError(f"data: {name} has a json that can't be written: {error}") from error
    raise DataError(f"data: {name} has the label {value!r}; under cls give a class index, a whole number")
