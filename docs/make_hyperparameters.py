"""Write `reference/hyperparameters.md`, the papers' numbers beside the presets': python docs/make_hyperparameters.py"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mplframe
from mplframe.config.load import parse, read
from mplframe.errors import ConfigError

ROOT = Path(__file__).parents[1]
PRESETS = ROOT / "examples" / "paper"
NUMBERS = PRESETS / "hyperparameters.yaml"
PAGE = ROOT / "docs" / "reference" / "hyperparameters.md"

FOLDERS = {
    "mpl": "Meta Pseudo Labels (arXiv:2003.10580 v4)",
    "mpl_v1": "Meta Pseudo Labels (arXiv:2003.10580 v1)",
    "noisy_student": "Noisy Student (arXiv:1911.04252)",
    "billion_scale": "Billion-scale semi-supervised learning (arXiv:1905.00546)",
}

ABSENT = {
    "mpl": (
        "Table 2: only rows that the authors ran themselves; of the others the paper has just the results.",
        "Table 3: only the first and the last row, for the same reason; the first is table2_imagenet_10pct_supervised.",
        "Table 4: only the authors' own rows; EfficientNet-L2, supervised and by Noisy Student, is below.",
        "Tables 9, 10 and 11 are complete.",
        "Figure 5, ImageNet with 10 to 80 % of its labels: the paper gives no numbers. The splits are there: "
        "`mplframe data pack --split imagenet-20`.",
    ),
    "noisy_student": (
        "Table 2: only the authors' own rows.",
        "Tables 3 to 5 and figure 4, robustness and attacks: they judge table 2's networks on other images, and "
        "nothing here makes those or measures mCE and mFR.",
        "Appendix A: the rounds one by one (A.2) are in `section3_1_three_iterations`, which judges each student; the "
        "other studies (A.3) are settings, but their numbers aren't in the text that these presets were made from.",
    ),
    "billion_scale": (
        "Figures 3 to 5: the paper gives no numbers; they are other `select.top_k`, `student.steps` and data.",
        "Table 5, supervised: `table2_resnet50_supervised`. Table 6, semi-supervised: the presets of table 2.",
        "Table 6, weakly supervised: the two presets of the teacher with another network; their hyper-parameters are "
        "in another paper. The rows above are other methods.",
        "Table 7: rows without R(2+1)D are other methods.",
        "Tables 8 and 13: finetuning on CUB2011 is `supervised` on a network of a finished run; the logistic regressor "
        "on frozen features isn't there.",
    ),
}
"""Rows of the papers that have no preset, and why."""

ENTRIES = ("Expected", "Hardware and time", "Data", "Command")
"""What the opening comment of every preset tells."""

INTRO = """# The papers' numbers

<!-- Made by docs/make_hyperparameters.py from examples/paper; change hyperparameters.yaml or the presets there. -->

`examples/paper` has a preset for each result of the papers that can be had: run it with `mplframe run FILE`, see what
it would take with `mplframe plan FILE`, and try it on a few images with `--profile smoke`. Its comments give
the place of each number in the paper, or say that it has none. `--profile mini` trains the recipe small, on
Fashion-MNIST and a CPU in minutes: [in small](minis.md) says what becomes of it, and what it gives.

The first part sets each number of the papers' tables of hyper-parameters beside the one that the preset carries once
everything it builds on is resolved. The second lists the presets with the results of the papers.
"""


@dataclass(frozen=True)
class Number:
    """A number of a paper and the setting that carries it.

    Attributes:
        place: the table it stands in.
        what: the paper's name of it.
        preset: the file that has it, below `examples/paper`, without suffix.
        setting: dotted path of the setting.
        written: as the paper has it.
        value: as the setting takes it.
    """

    place: str
    what: str
    preset: str
    setting: str
    written: str
    value: float

    @property
    def configured(self) -> Any:
        """The value that the preset's resolved config carries."""
        return setting(resolved(self.preset), self.setting)

    @property
    def agrees(self) -> bool:
        """Whether the preset carries the paper's number."""
        return math.isclose(self.configured, self.value, rel_tol=1e-6)


@dataclass(frozen=True)
class Row:
    """One hyper-parameter, in one setting, of all presets of a table."""

    what: str
    setting: str
    numbers: Sequence[Number | None]


@dataclass(frozen=True)
class Table:
    """A table of a paper; `presets` by the title of their column."""

    title: str
    presets: dict[str, str]
    rows: Sequence[Row]


def tables() -> list[Table]:
    """All tables of `hyperparameters.yaml`."""
    return [_table(given) for given in parse(NUMBERS.read_text(encoding="utf-8"), where=str(NUMBERS))]


def _table(given: dict[str, Any]) -> Table:
    title, presets = given["title"], given["presets"]
    rows = []
    for what, path, *values in given["rows"]:
        pairs = zip(presets.values(), values, strict=True)
        numbers = [None if v is None else _number(title, what, preset, path, v) for preset, v in pairs]
        rows.append(Row(what, path, numbers))
    return Table(title, presets, rows)


def _number(title: str, what: str, preset: str, path: str, given: Any) -> Number:
    written, value = given if isinstance(given, list) else (plain(given), given)
    return Number(title, what, preset, path, written, value)


@cache
def resolved(preset: str) -> dict[str, Any]:
    """The whole config of a preset as plain data."""
    return mplframe.load(PRESETS / f"{preset}.yaml").dump()


def setting(config: Any, path: str) -> Any:
    """What lies at a dotted path; numbers index lists."""
    for key in path.split("."):
        config = config[int(key) if isinstance(config, list) else key]
    return config


def plain(value: float) -> str:
    """A number without exponent down to a millionth."""
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:.7f}".rstrip("0") if abs(value) >= 1e-6 else f"{value:.0e}"


def presets() -> list[Path]:
    """All presets, in the order of the papers' tables; those that others build on aside."""
    found = [path for folder in FOLDERS for path in (PRESETS / folder).glob("*.yaml")]
    return sorted(found, key=lambda path: (list(FOLDERS).index(path.parent.name), _natural(path.stem)))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts table10 after table9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def header(path: Path) -> dict[str, str]:
    """The opening comment of a preset: its `title`, and what stands under each of `ENTRIES`."""
    comment = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))
    assert comment is not None
    paragraphs = [" ".join(text.replace("#", " ").split()) for text in comment[0].split("\n#\n")]
    title, entries = paragraphs[0], "".join(paragraphs[1:2])
    _, *found = re.split(rf"(?:^| )({'|'.join(ENTRIES)}): ", entries)
    return {"title": title, **dict(zip(found[::2], found[1::2], strict=True))}


def page() -> str:
    """The whole page."""
    lines = [INTRO, "## Numbers\n"]
    for table in tables():
        lines += [f"### {table.title}\n", *comparison(table), ""]
    lines += ["## Presets\n", f"Without a `mini` profile: {', '.join(without_mini())}.\n"]
    for folder, paper in FOLDERS.items():
        lines += [f"### {paper}\n", "| preset | what | result in the paper |", "|---|---|---|"]
        lines += [listing(path) for path in presets() if path.parent.name == folder] + [""]
        if folder in ABSENT:
            lines += [
                "What isn't there, and where to look for what is elsewhere:\n",
                *(f"- {a}" for a in ABSENT[folder]),
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def comparison(table: Table) -> Iterator[str]:
    """The lines of one table: for each preset what the paper has, and what the preset has."""
    links = [f"[{title}]({link(PRESETS / f'{preset}.yaml')})" for title, preset in table.presets.items()]
    yield "| hyper-parameter | setting | " + " | ".join(f"{each}: paper | preset" for each in links) + " |"
    yield "|---|---|" + "---:|---:|" * len(links)
    for row in table.rows:
        cells = [("", "") if n is None else (n.written, plain(n.configured)) for n in row.numbers]
        yield f"| {row.what} | `{row.setting}` | " + " | ".join(f"{a} | {b}" for a, b in cells) + " |"


def listing(path: Path) -> str:
    """One line of the list of presets; the title without the paper, the result without its place."""
    entry = header(path)
    what = entry["title"].partition("), ")[2].rstrip(".")
    result = re.sub(r" \([^()]*\)$", "", entry["Expected"].rstrip("."))
    return f"| [{path.stem}]({link(path)}) | {what} | {result} |"


def has_mini(path: Path) -> bool:
    """Whether a preset has a form that trains on Fashion-MNIST."""
    try:
        read(path, profile="mini")
    except ConfigError:
        return False
    return True


def without_mini() -> Iterator[str]:
    """Links to the presets that Fashion-MNIST has nothing for: those of videos, hashtags and networks of other runs."""
    return (f"[{path.stem}]({link(path)})" for path in presets() if not has_mini(path))


def link(path: Path) -> str:
    """A file as the page refers to it."""
    return f"../../{path.relative_to(ROOT).as_posix()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
