"""The package's source files, parsed."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mplframe"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One module.

    Attributes:
        name: with dots.
        path: of the file.
        lines: how many.
        tree: its syntax tree.
    """

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def public(self) -> bool:
        return not any(part.startswith("_") and part != "__main__" for part in self.name.split("."))

    def imports(self) -> Iterator[str]:
        """The full name of everything that is imported, at any depth."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
                yield from (
                    arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                )


@cache
def sources() -> tuple[Source, ...]:
    """Every module of the package."""
    return tuple(_parsed(path) for path in sorted(PACKAGE.rglob("*.py")))


def _parsed(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(name, path, len(text.splitlines()), ast.parse(text))
