"""Write `reference/config.md` and `reference/cli.md` from the code: python docs/make_reference.py"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from mplframe.cli import app
from mplframe.config.base import BaseConfig, ComponentConfig
from mplframe.config.resolve import kind_of
from mplframe.config.run import RunConfig
from mplframe.hooks import KINDS, PROJECT
from mplframe.plugins import Components, discover

REFERENCE = Path(__file__).parent / "reference"
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
WORDS: dict[type, str] = {int: "NUMBER", float: "NUMBER", Path: "PATH"}
TABLE = ["| setting | type | default | meaning |", "|---|---|---|---|"]


def config_page(components: Components) -> str:
    """Every setting of a config file: those of a run, then those of each built-in component."""
    lines = [CONFIG_INTRO, "## Run\n", *TABLE, *rows(RunConfig), ""]
    for kind in KINDS:
        lines += [f"## {kind.kind}\n"]
        built_in = [entry.name for entry in components[kind.kind] if entry.origin == PROJECT]
        for name in built_in:
            lines += component(components.get(kind.kind, name), name)
    return "\n".join(lines).rstrip() + "\n"


def component(cls: type[Any], name: str) -> Iterator[str]:
    """The section of one component."""
    yield f"### `{name}`\n"
    yield paragraph(cls) + "\n"
    table = list(rows(cls.Config))
    yield from [*TABLE, *table, ""] if table else ["No settings.\n"]


def rows(model: type[BaseConfig], prefix: str = "") -> Iterator[str]:
    """One line of the table for each setting; those of nested models with dots in their names."""
    properties = model.model_json_schema()["properties"]
    meanings = documented(model)
    for name, field in model.model_fields.items():
        if name == "name" and issubclass(model, ComponentConfig):
            continue
        kind, nested = kind_of(field), nested_model(field.annotation)
        if nested is None or kind is not None:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            shown = "required" if field.is_required() else f"`{plain(default)}`"
            yield row(prefix + name, shape(properties[name], kind), shown, meanings[name])
            continue
        if field.default is None:
            yield row(prefix + name, "settings or `null`", "`null`", meanings[name])
        by_key = "KEY." if get_origin(field.annotation) is dict else ""
        yield from rows(nested, f"{prefix}{name}.{by_key}")


def row(*cells: str) -> str:
    """A line of a table; the first cell is code."""
    name, *rest = (text.replace("|", "\\|") for text in cells)
    return f"| `{name}` | {' | '.join(rest)} |"


def nested_model(annotation: Any) -> type[BaseConfig] | None:
    """The model of settings that a field holds, optional or not."""
    options = (annotation, *get_args(annotation))
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseConfig)), None)


def shape(schema: Mapping[str, Any], kind: str | None = None) -> str:
    """What a JSON schema of one value says, in words."""
    if kind is not None:
        link = f"[{kind}](#{kind})"
        return f"list of {link}" if schema.get("type") == "array" else link
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(shape(option) for option in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{plain(value)}`" for value in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return f"[{', '.join(map(shape, schema['prefixItems']))}]"
    if schema.get("type") == "array":
        return f"list of {shape(schema['items'])}"
    limits = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema]
    given = schema.get("type", "any value")
    word = {"object": "mapping", "null": "`null`", "string": "text"}.get(given, given)
    return f"{word} {', '.join(limits)}".rstrip()


def plain(value: Any) -> str:
    """A value as YAML has it; components that are given by name alone as that name."""
    if isinstance(value, ComponentConfig):
        given = value.model_dump(exclude_unset=True)
        return value.name if set(given) <= {"name"} else json.dumps(given)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(plain, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def documented(model: type[BaseConfig]) -> dict[str, str]:
    """What the `Attributes:` of a model and of its bases say.

    Raises:
        ValueError: a setting isn't described.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        section = inspect.cleandoc(cls.__dict__.get("__doc__") or "").partition("Attributes:\n")[2]
        for entry in re.split(r"\n(?=    \w)", section.partition("\n\n")[0]):
            name, colon, text = entry.strip().partition(":")
            if colon:
                found[name] = " ".join(text.split())
    missing = model.model_fields.keys() - found.keys() - {"name"}
    if missing:
        raise ValueError(f"{model.__qualname__} doesn't describe {', '.join(sorted(missing))} under Attributes")
    return found


def paragraph(documented: object) -> str:
    """A docstring up to the first paragraph that ends a sentence."""
    text = inspect.cleandoc(documented.__doc__ or "")
    return " ".join(re.split(r"(?<=\.)\n\n", text)[0].split())


def cli_page() -> str:
    """Every verb with its arguments and options."""
    return CLI_INTRO + "\n".join(verbs(app, "mplframe")).rstrip() + "\n"


def verbs(commands: typer.Typer, path: str) -> Iterator[str]:
    """The sections of all commands, those of groups after the others."""
    for command in commands.registered_commands:
        assert command.callback is not None
        yield from verb(f"{path} {command.name or command.callback.__name__}", command.callback, command.epilog)
    for group in commands.registered_groups:
        assert group.typer_instance is not None
        yield from verbs(group.typer_instance, f"{path} {group.name}")


def verb(path: str, function: Callable[..., Any], epilog: str | None) -> Iterator[str]:
    """The section of one command, from the function behind it."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    declared = [(p, *get_args(hints[p.name])[:2]) for p in parameters]
    arguments = [info for _, _, info in declared if isinstance(info, ArgumentInfo)]
    yield f"## `{path}`\n"
    yield f"{paragraph(function)}\n"
    yield f"    {' '.join([path, *(str(info.metavar) for info in arguments), *(['[OPTIONS]'] if declared else [])])}\n"
    if declared:
        yield from ["| argument or option | meaning | default |", "|---|---|---|"]
    for parameter, kind, info in declared:
        spelled = str(info.metavar) if info in arguments else option(parameter, kind, info)
        yield row(spelled, info.help or "", initial(parameter))
    yield f"\n{epilog.replace('Example: ', 'Example: `', 1)}`\n" if epilog else ""


def option(parameter: inspect.Parameter, kind: Any, info: OptionInfo) -> str:
    """An option with what it takes."""
    # Within Annotated, typer keeps the first of the given names where defaults are in its other style.
    given = [name for name in (info.default, *(info.param_decls or ())) if str(name).startswith("--")]
    named = str(given[0]) if given else f"--{parameter.name.replace('_', '-')}"
    if kind is bool:
        return named
    choices = [str(choice) for part in (kind, *get_args(kind)) for choice in get_args(part) if isinstance(choice, str)]
    bare = next((part for part in (*get_args(kind), kind) if isinstance(part, type)), str)
    return f"{named} {info.metavar or '|'.join(choices) or WORDS.get(bare, 'TEXT')}"


def initial(parameter: inspect.Parameter) -> str:
    """What an argument or option is when it isn't given."""
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return "" if parameter.default is None or parameter.default is False else f"`{parameter.default}`"


CONFIG_INTRO = """# Settings

<!-- Made by docs/make_reference.py from the code; change the docstrings there. -->

A config is a YAML file. Unknown keys are errors, and every error names the path of the key. What a file leaves out has
the default below. `mplframe config show FILE` prints a file with all defaults filled in, and
`mplframe config schema` a JSON schema, with installed plugins, for editors.

- **Components** are chosen by name: `feedback: cosine`, or with settings `feedback: {name: cosine, epsilon: 1e-20}`.
  The kinds are the sections below. Plugins add names; `mplframe plugins list` shows all that are installed.
- **`base: other.yaml`** at the top of a file lays it on another one, relative to it.
- **`profiles:`** holds named changes; `--profile NAME` applies one. `NAME: null` takes away one of the base file.
- **`--set a.b=VALUE`** changes one setting; numbers index lists: `--set baselines.0.steps=100`.
- Later wins: base, file, profile, `--set`. Mappings merge key by key; lists are replaced. A component whose `name`
  changes loses the settings of the one before.
- Values are those of YAML 1.2: `1e-5` is a number, `off` and `no` are words. A key that comes twice is an error.
"""

CLI_INTRO = """# Command line

<!-- Made by docs/make_reference.py from the code; change the help texts there. -->

Results go to standard output, progress and errors to standard error. `--json` prints one JSON object for programs.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the run failed: a loss that isn't finite, a full disk |
| 2 | something in the input has to be mended; one message says what |
| 130 | stopped by SIGINT or SIGTERM after saving a checkpoint |

"""


def pages() -> dict[Path, str]:
    """What each generated page should hold."""
    return {REFERENCE / "config.md": config_page(discover()), REFERENCE / "cli.md": cli_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
