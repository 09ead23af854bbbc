"""Weak labels: which classes the tags of an image name (Billion-scale SSL, section 3.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mplframe.data.labels import value_at
from mplframe.errors import DamageError, DataError
from mplframe.stores.stores import Stores, explained


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
