"""webdataset pipelines of the user's own as splits."""

from __future__ import annotations

import hashlib
import inspect
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
from filelock import FileLock
from PIL import Image
from pydantic import Field, NonNegativeInt

from mplframe.config.base import ComponentConfig
from mplframe.contracts.data import DatasetSource, Split, SplitName
from mplframe.data.decoding.media import SAMPLE_EXTENSIONS, decode_file
from mplframe.data.decoding.video import VIDEO_EXTENSIONS
from mplframe.data.packing.writer import Members, ShardLimits, ShardWriter, encode_png, sample_key
from mplframe.data.readers.arrays import check_images
from mplframe.data.shards.index_files import write_index
from mplframe.data.shards.listing import inside
from mplframe.data.shards.members import LABEL_EXTENSIONS
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DataError, MplframeError, UserError, nearest
from mplframe.io.files import cache_folder
from mplframe.io.output import new_folder, writing

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


_MARKER = "pipeline.json"
_FORMAT = 1
_SPLITS: tuple[SplitName, ...] = ("labeled", "unlabeled", "test")
CallablePath = Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")]


@final
class Pipeline(DatasetSource):
    """What callables of the user's return: WebDataset-style samples, one dict each, filtered and changed at will.

    A sample has `__key__`, an image under `jpg`, `png`, `npy` or another extension of images (encoded bytes, a uint8
    array [H, W], [H, W, 1] or [H, W, 3], or a PIL image) and its label under `cls` or, with the key `label`, `json`.

    Training reads samples by number, in any order and again after a restart, which a stream can't give. So each
    pipeline is run once, when its split is first opened, into shards in the cache; it must end. It is run again when
    its module's source file or `version` differs.
    """

    class Config(ComponentConfig):
        """Which callables give the splits; each is `package.module:function`, called without arguments.

        Attributes:
            labeled: returns an iterable of labeled samples, such as a `webdataset.WebDataset`.
            unlabeled: likewise; labels found there are kept for diagnostics only.
            test: likewise, with labels.
            classes: the number of classes, their names, or the path or URL of a file that has one name a line or is
                a JSON list of names.
            version: any text; change it when what the callables return changes though their module doesn't.
            cache: folder of the shards; by default `MPLFRAME_CACHE`, or `mplframe` in the user's cache folder.
            memory_mb: decoded samples of each split are kept in memory up to this bound, in MiB.
        """

        name: Literal["pipeline"] = "pipeline"
        labeled: CallablePath
        unlabeled: CallablePath | None = None
        test: CallablePath | None = None
        classes: int | list[str] | str
        version: str = ""
        cache: str | None = None
        memory_mb: NonNegativeInt = 512

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._names = WebDataset(WebDataset.Config(classes=config.classes, cache=config.cache))
        self._sources: dict[SplitName, WebDataset] = {}

    @property
    def classes(self) -> Sequence[str]:
        return self._names.classes

    def split(self, name: SplitName) -> Split | None:
        """A split; its pipeline is run when it is first asked for. None where no pipeline is set.

        Raises:
            UserError: the callable can't be imported, or fails.
            DataError: it returns anything but samples, or none.
        """
        path: str | None = getattr(self._config, name)
        return None if path is None else self._source(name, path).split(name)

    def fingerprint(self) -> Mapping[str, Any]:
        """The settings, and for each split how many shards, samples and bytes its pipeline gave."""
        found: dict[str, Any] = {"classes": len(self.classes), "version": self._config.version}
        for name in _SPLITS:
            path: str | None = getattr(self._config, name)
            if path is not None:
                said = dict(self._source(name, path).fingerprint()[name])
                said.pop("urls", None)  # where the cache happens to lie
                found[name] = {"pipeline": path, **said}
        return found

    def _source(self, name: SplitName, path: str) -> WebDataset:
        with self._lock:
            if name not in self._sources:
                folder = materialised(path, self._config.version, cache_folder(self._config.cache))
                settings: dict[str, Any] = {
                    name: inside(folder, "*.tar"),
                    "classes": self._config.classes,
                    "cache": self._config.cache,
                    "memory_mb": self._config.memory_mb,
                }
                self._sources[name] = WebDataset(WebDataset.Config(**settings))
            return self._sources[name]


def materialised(path: str, version: str, cache: Path) -> Path:
    """The folder with the shards of a pipeline, which is run where there is none; processes wait for each other.

    Args:
        path: `package.module:function`.
        version: see `Pipeline.Config`.
        cache: the folder of everything that is kept.

    Raises:
        UserError, DataError: as `Pipeline.split`.
        RunError: the disk is full.
    """
    function = imported(path)
    settings = {"format": _FORMAT, "pipeline": path, "version": version, "module": _module_digest(function)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "pipelines" / f"{path.replace(':', '.')[-80:]}-{digest}"
    with writing(folder, "set data.cache or MPLFRAME_CACHE to a folder that can be written"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / _MARKER).is_file():
                _write(path, function, folder, settings)
    return folder


def imported(path: str) -> Callable[[], Iterable[Any]]:
    """The callable that `package.module:function` names.

    Raises:
        UserError: it can't be imported, or isn't callable.
    """
    module_name, _, name = path.partition(":")
    try:
        found: Any = import_module(module_name)
    except Exception as error:  # a module of the user's may raise anything
        raise UserError(
            f"data: {path} can't be imported: {type(error).__name__}: {error}; install its package, or put its folder "
            "on PYTHONPATH"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UserError(f"data: {module_name} has no {name!r}{nearest(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"data: {path} is {type(found).__name__}, not a function that returns samples")
    return found  # type: ignore[no-any-return]


def _write(path: str, function: Callable[[], Iterable[Any]], folder: Path, settings: Mapping[str, Any]) -> None:
    shards = []
    with new_folder(folder, marker=_MARKER) as output, ShardWriter(output.folder, "part", ShardLimits()) as writer:
        for number, sample in enumerate(_run(path, function)):
            shards.append(writer.write(members_of(number, sample, path)))
        shards.append(writer.finish())
        complete = [shard for shard in shards if shard is not None]
        if not complete:
            raise DataError(f"data: {path} returned no samples; is every one filtered out?")
        for shard in complete:
            write_index(output.folder / shard.file)
        samples = sum(shard.samples for shard in complete)
        description = json.dumps({**settings, "samples": samples}, indent=2)
        (output.folder / _MARKER).write_text(f"{description}\n", encoding="utf-8")


def _run(path: str, function: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    """What the pipeline yields, with an error that names it where it fails."""
    number = 0
    try:
        for sample in function():
            yield sample
            number += 1
    except MplframeError:
        raise
    except Exception as error:  # code of the user's may raise anything
        raise UserError(
            f"data: the pipeline {path} failed after {number:,} samples: {type(error).__name__}: {error}"
        ) from error


def _module_digest(function: Callable[[], Iterable[Any]]) -> str:
    """Of the source file that the callable is from; empty where there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        return ""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file and Path(file).is_file() else ""
