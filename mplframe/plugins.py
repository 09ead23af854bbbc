"""Discovery of plugins, and the registry of what they bring; every failure names the plugin at fault.

A plugin that can't be loaded doesn't take the others down. It is listed as broken, with the reason, and the reason is
repeated where a config asks for a name that isn't there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

import pluggy

from mplframe import builtins
from mplframe.config.base import ComponentConfig
from mplframe.errors import PluginError, UserError, nearest
from mplframe.hooks import KINDS, PROJECT, Specs

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


GROUP = "mplframe"


@dataclass(frozen=True)
class PluginInfo:
    """One plugin.

    Attributes:
        name: its distribution, or the name of its entry point where it has none.
        version: of the distribution, or the empty string.
        reason: why it is broken, or the empty string.
        entry_point: which of the distribution's, `name = module`, or the empty string.
    """

    name: str
    version: str = ""
    reason: str = ""
    entry_point: str = ""


class Components:
    """Every registry, filled from the installed plugins."""

    def __init__(self, registries: Mapping[str, Registry[Any]], plugins: Iterable[PluginInfo]) -> None:
        self.registries = dict(registries)
        self.plugins = list(plugins)

    def __getitem__(self, kind: str) -> Registry[Any]:
        return self.registries[kind]

    def get(self, kind: str, name: str) -> type[Any]:
        """The class of a component.

        Raises:
            UserError: no such name; also says which plugins are broken, since one of them may be meant.
        """
        try:
            return self[kind].get(name)
        except UserError as error:
            broken = [f"{plugin.name} ({plugin.reason})" for plugin in self.plugins if plugin.reason]
            if not broken or isinstance(error, PluginError):
                raise
            raise UserError(f"{error}; plugins that couldn't be loaded: {'; '.join(broken)}") from error

    def config(self, kind: str, name: str) -> type[ComponentConfig]:
        """The `Config` of a component.

        Raises:
            UserError: no such name.
            PluginError: the component has no proper `Config`.
        """
        cls = self.get(kind, name)
        config = getattr(cls, "Config", None)
        if not (isinstance(config, type) and issubclass(config, ComponentConfig)):
            raise PluginError(
                f"the {kind} {name!r} ({cls.__module__}:{cls.__qualname__}) has no nested Config(ComponentConfig)"
            )
        return config

    def listing(self, kind: str | None = None) -> dict[str, Any]:
        """Every component and plugin as plain data, for `mplframe plugins list`."""
        chosen = self.registries if kind is None else {kind: self.registries[kind]}
        return {
            "components": [
                {"kind": k, "name": entry.name, "origin": entry.origin, "path": entry.path}
                for k, registry in chosen.items()
                for entry in registry
            ],
            "plugins": [
                {"name": p.name, "version": p.version, "entry_point": p.entry_point, "broken": p.reason}
                for p in self.plugins
            ],
        }

    def examine(self) -> list[str]:
        """What is wrong with any plugin or component: each is imported and held against its contract."""
        problems = [f"plugin {plugin.name}: {plugin.reason}" for plugin in self.plugins if plugin.reason]
        for kind, registry in self.registries.items():
            for name in registry.names():
                try:
                    own = self.config(kind, name).model_fields["name"].default
                except UserError as error:
                    problems.append(f"{kind} {name}: {error}")
                    continue
                if own != name:
                    problems.append(f"{kind} {name}: it is registered under that name, but its Config is named {own!r}")
        return problems


def discover(extra: Iterable[tuple[str, object]] = ()) -> Components:
    """All components of the installed plugins and of mplframe itself.

    Args:
        extra: more plugins as pairs of name and object, for programs that embed mplframe.
    """
    registries: dict[str, Registry[Any]] = {kind.kind: Registry(kind.kind, kind.contract) for kind in KINDS}
    infos = [_load(PROJECT, "", registries, lambda: builtins)]
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    for point in found:
        info = _load(_origin(point), _version(point), registries, point.load)
        infos.append(replace(info, entry_point=f"{point.name} = {point.value}"))
    infos += [_load(name, "", registries, lambda plugin=plugin: plugin) for name, plugin in extra]  # type: ignore[misc]
    return Components(registries, infos)


def _load(name: str, version: str, registries: dict[str, Registry[Any]], load: Callable[[], object]) -> PluginInfo:
    """Register one plugin's components; all of them or, where any is at fault, none."""
    try:
        components = _collect(name, load())
    except (Exception, SystemExit) as error:
        # Loading runs foreign code; any failure, a call of sys.exit too, is that plugin's alone and is shown.
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        return PluginInfo(name, version, reason)
    added: list[tuple[Registry[Any], str]] = []
    try:
        for kind, entries in components.items():
            for component, target in entries.items():
                registries[kind].register(component, target, origin=name)
                added.append((registries[kind], component))
    except PluginError as error:
        for registry, component in added:
            registry.forget(component)
        return PluginInfo(name, version, str(error))
    return PluginInfo(name, version)


def _collect(name: str, plugin: object) -> dict[str, Mapping[str, type | str]]:
    # A manager of its own for each plugin: then a failing or misspelt hook is known to be this one's.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Specs)
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        allowed = ", ".join(kind.hook for kind in KINDS)
        raise PluginError(f"{error}; hooks are: {allowed}") from error
    return {kind.kind: _merged(kind.hook, getattr(manager.hook, kind.hook)()) for kind in KINDS}


def _merged(hook: str, results: list[Any]) -> dict[str, type | str]:
    merged: dict[str, type | str] = {}
    for result in results:
        if not isinstance(result, Mapping):
            raise PluginError(f"{hook} returned {type(result).__name__}, not a mapping of names to classes")
        merged.update(result)
    return merged


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.name


def _version(point: EntryPoint) -> str:
    return point.dist.version if point.dist is not None else ""
