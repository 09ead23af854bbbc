"""One registry type for all kinds of components: a name leads to a class, imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from mplframe.errors import PluginError, UserError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One registered component.

    Attributes:
        name: what a config writes.
        target: the class, or `"package.module:Class"` to import it lazily.
        origin: the distribution that brought it, such as `mplframe`.
    """

    name: str
    target: type | str
    origin: str

    @property
    def path(self) -> str:
        """`package.module:Class`, whether or not it has been imported."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}:{self.target.__qualname__}"


class Registry(Generic[T]):
    """Names of one kind of component.

    Args:
        kind: the word that errors and `plugins list` use, such as `feedback`.
        contract: `"package.module:Class"` of the abstract class that every component of this kind extends.
    """

    def __init__(self, kind: str, contract: str) -> None:
        self.kind = kind
        self.contract = contract
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def register(self, name: str, target: type[T] | str, *, origin: str) -> None:
        """Add a component.

        Raises:
            PluginError: the name is taken; the newcomer is to blame.
        """
        if (taken := self._entries.get(name)) is not None:
            raise PluginError(
                f"plugin {origin!r} registers the {self.kind} {name!r}, which {taken.origin!r} already has "
                f"({taken.path}); choose another name"
            )
        self._entries[name] = Entry(name, target, origin)

    def forget(self, name: str) -> None:
        """Take a component out again; used when a plugin turns out to be unusable half-way."""
        self._entries.pop(name, None)

    def get(self, name: str) -> type[T]:
        """The class behind a name.

        Raises:
            UserError: no such name; says the nearest spelling and what is allowed.
            PluginError: the class can't be imported or doesn't fulfil the contract; says whose it is.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise UserError(
                f"no {self.kind} is named {name!r}{nearest(name, self._entries)} "
                f"(installed: {', '.join(self.names()) or 'none'}; `mplframe plugins list` shows where each comes from)"
            )
        cls = _import(entry.target, f"the {self.kind} {name!r} of plugin {entry.origin!r}")
        contract = _import(self.contract, f"the contract of {self.kind}")
        if not (isinstance(cls, type) and issubclass(cls, contract)):
            raise PluginError(
                f"the {self.kind} {name!r} of plugin {entry.origin!r} ({entry.path}) doesn't extend {self.contract}"
            )
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            raise PluginError(
                f"the {self.kind} {name!r} of plugin {entry.origin!r} ({entry.path}) lacks what its contract asks for: "
                f"{', '.join(missing)}"
            )
        return cast("type[T]", cls)


def _import(target: type | str, what: str) -> type:
    if isinstance(target, type):
        return target
    module, _, attribute = target.partition(":")
    try:
        found: type = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        # An import runs foreign code: whatever it raises is reported with the name of its owner.
        raise PluginError(f"{what} can't be imported from {target!r}: {type(error).__name__}: {error}") from error
    return found
