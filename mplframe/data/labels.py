"""Class names and labels: from files and members to checked numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mplframe.contracts.batch import UNKNOWN
from mplframe.errors import DamageError, DataError
from mplframe.stores.stores import Stores, explained

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
        return [line.strip() for line in text.splitlines() if line.strip()]
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
