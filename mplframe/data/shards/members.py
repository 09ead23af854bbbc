"""Members of a sample in a shard: its label, the names of classes, its tags and the label that a manifest gives it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.errors import DamageError, DataError
from mplframe.io.files import lines_of
from mplframe.io.stores import Stores, explained

LABEL_EXTENSIONS = ("cls", "json")
"""Members that hold a label, best first: a whole number as text, or a JSON object with a key for it."""


def class_names(
    classes: int | Sequence[str] | str, storage_options: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """Class names in index order.

    Args:
        classes: how many there are (they are named "0", "1", ...), their names, or the path or URL of a file that has
            one name a line or is a JSON list of names.

    Raises:
        DataError: the file can't be read, there are fewer than two classes, or two share a name.
    """
    if isinstance(classes, int):
        names = [str(i) for i in range(classes)]
    else:
        names = _read_names(classes, storage_options) if isinstance(classes, str) else list(classes)
    if len(names) < 2:
        raise DataError(f"data.classes gives {len(names)} class(es) but at least two are needed to tell apart")
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    if twice:
        raise DataError(f"data.classes names {', '.join(sorted(twice))} more than once; class names must differ")
    return tuple(names)


def _read_names(url: str, storage_options: Mapping[str, Any] | None) -> list[str]:
    with explained(f"data.classes: {url}"):
        text = Stores(storage_options).read(url).decode("utf-8-sig")
    if not text.lstrip().startswith("["):
        return [line.strip() for line in lines_of(text) if line.strip()]
    try:
        names = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"data.classes: {url} isn't valid JSON ({error}); write a list of names") from error
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"data.classes: {url} holds entries that aren't text; write a JSON list of names")
    return list(names)


def parse_label(extension: str, content: bytes, name: str, key: str = "label") -> int | str | None:
    """What a label member says: a class index, a class name, or None where a JSON object doesn't have the key.

    Args:
        extension: `cls` or `json`.
        content: of the member.
        name: of the sample and where it lies, for errors.
        key: of the label in a JSON object; dots lead into nested ones.

    Raises:
        DamageError: it isn't a label.
    """
    if extension == "cls":
        try:
            return int(content)
        except ValueError:
            raise DamageError(
                f"{name}: its .cls holds {content[:40]!r}; write the class index, a whole number"
            ) from None
    try:
        said = json.loads(content)
    except ValueError as error:
        raise DamageError(f"{name}: its .json isn't valid JSON ({error})") from error
    label = value_at(said, key)
    if not isinstance(said, dict) or isinstance(label, bool) or not isinstance(label, int | str | None):
        raise DamageError(
            f"{name}: its .json has no usable label ({label!r:.40}); write {{{json.dumps(key)}: 3}} or a class name, "
            "or set data.label_key to the key that it is under"
        )
    return label


def value_at(said: Any, key: str) -> Any:
    """The value under a key, or under its parts one inside the other; None where there is none."""
    if not isinstance(said, dict) or key in said:
        return said.get(key) if isinstance(said, dict) else said
    first, _, rest = key.partition(".")
    return value_at(said[first], rest) if rest and isinstance(said.get(first), dict) else None


def check_label(label: int | str | None, classes: Sequence[str], *, required: bool, name: str) -> int:
    """The class index of a label; `UNKNOWN` where it is missing and isn't required.

    Raises:
        DamageError: it is missing but required, or no class of that index or name exists.
    """
    if label is None or (label == UNKNOWN and not required):
        if required:
            raise DamageError(
                f"{name}: it has no label; labeled and test samples need a .cls, or a .json with the key that "
                "data.label_key names"
            )
        return UNKNOWN
    if isinstance(label, str):
        if label not in classes:
            raise DamageError(f"{name}: label {label!r} is none of the {len(classes)} classes that data.classes gives")
        return classes.index(label)
    if not 0 <= label < len(classes):
        raise DamageError(
            f"{name}: label {label} is out of range; with {len(classes)} classes (data.classes) it must be 0 to "
            f"{len(classes) - 1}"
        )
    return label


@dataclass(frozen=True)
class TagRule:
    """How tags are read.

    Attributes:
        key: of the tags in a sample's `.json`; dots lead into nested objects.
        named: the classes that each tag names, by the tag in lower case.
        classes: C.
    """

    key: str
    named: Mapping[str, tuple[int, ...]]
    classes: int

    def classes_of(self, content: bytes | memoryview, name: str) -> tuple[int, ...]:
        """The classes that the tags in a `.json` name, ascending; tags that name none are passed over.

        Tags are a list, or a text in which commas part them; a number names the class with this index.

        Args:
            content: of the member; empty where there is none.
            name: of the sample and where it lies, for errors.

        Raises:
            DamageError: it isn't JSON, or holds something else than tags under the key.
        """
        if not len(content):
            return ()
        try:
            said = json.loads(bytes(content))
        except ValueError as error:
            raise DamageError(f"{name}: its .json isn't valid JSON ({error})") from error
        tags = value_at(said, self.key)
        listed = tags.split(",") if isinstance(tags, str) else [] if tags is None else tags
        if not isinstance(listed, list) or not all(isinstance(tag, str | int) for tag in listed):
            raise DamageError(f"{name}: {self.key} in its .json is {tags!r:.40}; write a list of tags")
        return tuple(sorted({c for tag in listed for c in self._classes_of(tag, name)}))

    def _classes_of(self, tag: str | int, name: str) -> tuple[int, ...]:
        if isinstance(tag, str):
            return self.named.get(tag.strip().lower(), ())
        if not 0 <= tag < self.classes:
            raise DamageError(
                f"{name}: its tag {tag} is no class; with {self.classes} classes it must be 0 to {self.classes - 1}"
            )
        return (tag,)


def tag_rule(
    key: str, classes: Sequence[str], url: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> TagRule:
    """How tags are read, and what they mean.

    Args:
        key: see `TagRule`.
        classes: class names in index order.
        url: of a JSON object from tags to class names or indices, or lists of them; None where each tag is the name of
            its class. Upper and lower case are the same.
        storage_options: what fsspec's driver takes.

    Raises:
        DataError: the file can't be read, or names a class that isn't there.
    """
    indices = {name: c for c, name in enumerate(classes)}
    if url is None:
        named: dict[str, tuple[int, ...]] = {}
        for name, c in indices.items():
            named[name.lower()] = (*named.get(name.lower(), ()), c)
        return TagRule(key, named, len(classes))
    meanings = _read(url, storage_options)
    named = {}
    for tag, said in meanings.items():
        found = {_class(one, indices, len(classes), tag, url) for one in (said if isinstance(said, list) else [said])}
        named[tag.lower()] = tuple(sorted({*named.get(tag.lower(), ()), *found}))
    return TagRule(key, named, len(classes))


def _read(url: str, storage_options: Mapping[str, Any] | None) -> dict[str, Any]:
    with explained(f"data.tag_classes: {url}"):
        text = Stores(storage_options).read(url)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"data.tag_classes: {url} isn't valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f'data.tag_classes: {url} isn\'t a JSON object such as {{"#tabby": "cat"}}')
    return found


def _class(said: Any, indices: Mapping[str, int], classes: int, tag: str, url: str) -> int:
    found = indices.get(said) if isinstance(said, str) else said
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < classes:
        raise DataError(
            f"data.tag_classes: {url} gives the tag {tag!r} to {said!r}, which is none of the {classes} classes"
        )
    return found


ASSIGNED = "assigned.json"
"""The extension."""

ANY_CLASS = 100_000
"""Classes to allow for where only shards are given: then nothing can be held against a list of names."""


def one_hot(label: int, classes: int) -> npt.NDArray[np.float32]:
    """[C] all on one class."""
    row = np.zeros(classes, np.float32)
    row[label] = 1.0
    return row


def write_assigned(
    label: int, *, truth: int, probabilities: npt.NDArray[np.floating[Any]] | None, **facts: Any
) -> bytes:
    """The member's content.

    Args:
        label: the class that the sample is taken for.
        truth: its true class, or `UNKNOWN`.
        probabilities: [C] that the sample is taken for instead; float16 or float32.
        facts: what else to tell of it, plain JSON values.
    """
    said: dict[str, Any] = {"class": label, "truth": None if truth == UNKNOWN else truth, **facts}
    if probabilities is not None:
        # As short as single precision can be told exactly.
        said["probabilities"] = [float(str(value)) for value in np.asarray(probabilities, np.float32)]
    return json.dumps(said).encode()


def read_assigned(content: bytes, name: str, classes: Sequence[str]) -> tuple[int, npt.NDArray[np.float32]]:
    """The true class, or `UNKNOWN`, and [C] the probabilities that the sample is taken for.

    Args:
        content: of the member.
        name: of the sample and where it lies, for errors.
        classes: names, in index order.

    Raises:
        DamageError: it isn't what `write_assigned` writes, or has other classes.
    """
    try:
        said = json.loads(content)
        label, truth, probabilities = int(said["class"]), said["truth"], said.get("probabilities")
        target = one_hot(label, len(classes)) if probabilities is None else np.array(probabilities, np.float32)
        known = UNKNOWN if truth is None else int(truth)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamageError(f"{name}: its .{ASSIGNED} can't be used ({error!r}); collect the shard again") from error
    if max(label, known) >= len(classes) or min(label, known) < UNKNOWN:
        raise DamageError(f"{name}: its .{ASSIGNED} names class {label} (truth {known}) of {len(classes)} classes")
    if len(target) != len(classes) != ANY_CLASS:
        raise DamageError(
            f"{name}: its .{ASSIGNED} has {len(target)} probabilities, but data.classes gives {len(classes)} classes"
        )
    return known, target
