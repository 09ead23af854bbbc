"""What holds for every file: documented, small, silent."""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest
from source_support import FUNCTIONS, ROOT, Source, sources

LONGEST_MODULE, LONGEST_FUNCTION = 400, 60
every_module = pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(source.tree) if isinstance(node, FUNCTIONS))


def public_definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """Functions and classes that others may use, with what is nested in the classes; nothing decorated as a hook,
    and no method of a class whose contract documents it."""
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            nested: list[ast.stmt] = [inner for inner in node.body if isinstance(inner, ast.ClassDef)]
            yield from public_definitions(nested, f"{prefix}{node.name}.")


@every_module
def test_it_says_what_it_is_for(source: Source) -> None:
    docstring = ast.get_docstring(source.tree)
    assert docstring, source.path
    assert docstring.split("\n")[0].rstrip().endswith((".", ":")), "the first line is a sentence"


@every_module
def test_its_public_names_are_documented(source: Source) -> None:
    hooks = source.name == "mplframe.builtins"  # documented in mplframe.hooks
    missing = [name for name, node in public_definitions(source.tree.body, "") if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert hooks or missing == []


@every_module
def test_it_is_small(source: Source) -> None:
    assert source.lines <= LONGEST_MODULE
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(source) if f.end_lineno is not None}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


@every_module
def test_only_the_command_line_prints(source: Source) -> None:
    prints = [n.lineno for n in ast.walk(source.tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
    assert prints == [] or source.name.startswith("mplframe.cli.")


@every_module
def test_no_error_is_swallowed(source: Source) -> None:
    """`except: pass` hides what went wrong; `contextlib.suppress` at least names it."""
    silent = [
        handler.lineno
        for handler in ast.walk(source.tree)
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException"))
        and all(isinstance(node, ast.Pass | ast.Continue) for node in handler.body)
    ]
    assert silent == []


STEP_CODE = ("mplframe.training", "mplframe.feedback", "mplframe.optim", "mplframe.losses", "mplframe.methods")
BETWEEN_STAGES = ("mplframe.methods.labeling",)
"""Tasks: they run where no step does."""


@pytest.mark.parametrize(
    "source",
    [s for s in sources() if s.name.startswith(STEP_CODE) and s.name not in BETWEEN_STAGES],
    ids=lambda source: source.name,
)
def test_nothing_in_a_step_waits_for_the_device(source: Source) -> None:
    """Metrics stay on the device until they are logged."""
    waits = {
        node.lineno: node.func.attr
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("item", "tolist", "cpu", "numpy", "synchronize")
    }
    assert waits == {}


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (ROOT / "mplframe" / "py.typed").exists()


def test_test_files_can_be_told_apart() -> None:
    """Outside of packages, pytest needs every file to have a name of its own."""
    files = (path for path in (ROOT / "tests").rglob("*.py") if not (path.parent / "__init__.py").exists())
    names = Counter(path.name for path in files if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
