"""The documentation says what is so: generated pages are fresh, commands and code work, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from .conftest import Cli
from .scripts import load_script

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"])
SHORT = ["method.steps=2", "method.batch.labeled=4", "method.batch.unlabeled=4", "method.finetune.steps=2"]
SHORT += ["method.teacher.schedule.warmup=0", "method.student.schedule.warmup=0"]
SMALL = ["input.size=32", "method.finetune.batch=4"]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> dict[str, str]:
    """Fenced code of one language, by its title, or by its number where it has none."""
    fences = re.findall(rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```$', page.read_text(), re.MULTILINE | re.DOTALL)
    return {title or str(number): text for number, (title, text) in enumerate(fences)}


def commands(page: Path) -> list[list[str]]:
    """The words of each line that a reader types for mplframe."""
    lines = "".join(blocks(page, "console").values()).splitlines()
    return [shlex.split(line.removeprefix("$ "))[1:] for line in lines if line.startswith("$ mplframe ")]


@pytest.fixture(scope="module")
def make_reference() -> ModuleType:
    return load_script(DOCS / "make_reference.py")


def test_the_reference_is_up_to_date(make_reference: ModuleType) -> None:
    for path, text in make_reference.pages().items():
        assert path.read_text() == text, f"{name(path)} is out of date: run python docs/make_reference.py"


def test_a_setting_without_a_description_is_refused(make_reference: ModuleType) -> None:
    from mplframe.config.base import BaseConfig

    class Silent(BaseConfig):
        """Says nothing of what it holds."""

        rate: float = 0.1

    with pytest.raises(ValueError, match=r"Silent doesn't describe rate"):
        make_reference.documented(Silent)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:mplframe|tests|examples|docs|benchmarks|\.ci)/[\w./-]*\w)`", page.read_text()):
        assert (ROOT / path).exists(), f"{name(page)} names {path}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_have_the_options_that_pages_give_them(page: Path) -> None:
    reference = (DOCS / "reference" / "cli.md").read_text()
    sections = dict(re.findall(r"^## `mplframe ([^`]+)`\n(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL))
    for words in commands(page):
        verb = next((verb for verb in (" ".join(words[:2]), words[0]) if verb in sections), None)
        assert verb is not None, f"{name(page)} gives the unknown command {words}"
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert f"`{option}" in sections[verb], f"{name(page)} gives {verb} the unknown option {option}"


def photos(folder: Path) -> None:
    """Two classes of dark and bright noise, 10 labeled images each, and 12 without labels."""
    rng = np.random.default_rng(0)
    places = [f"labeled/{kind}/{i}.jpg" for kind in ("ant", "bee") for i in range(10)]
    for number, place in enumerate([*places, *(f"rest/{i % 2}/{i}.jpg" for i in range(12))]):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 128, (40, 48, 3)) + (120 if "bee" in place or number % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def test_own_images_works_as_written(cli: Cli, tmp_path: Path) -> None:
    page = DOCS / "how-to" / "own-images.md"
    photos(tmp_path / "photos")
    for file, text in blocks(page, "yaml").items():
        (tmp_path / file).write_text(text)
    for words in commands(page):
        short = [f"--set={change}" for change in [*SHORT, *SMALL]] if words[0] == "run" else []
        done = cli(*words, *short)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 13
    assert cli("config", "validate", "baseline.yaml").returncode == 0


def test_the_tutorial_works_as_written(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for words in commands(DOCS / "tutorial.md"):
        short = [f"--set={change}" for change in [*SHORT, "baselines=[]"]] if words[0] == "run" else []
        done = cli(*words, *short)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    assert {"curves.png", "summary.json", "metrics.jsonl", "config.yaml", "manifest.json"} <= {
        path.name for path in (tmp_path / "runs" / "first").iterdir()
    }


def test_the_embedded_config_works_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLFRAME_CACHE", environment["MPLFRAME_CACHE"])
    (code,) = blocks(DOCS / "how-to" / "embed.md", "python").values()
    exec(compile(code, "embed.md", "exec"), {})
    assert 0.0 <= float(capsys.readouterr().out) <= 1.0
    assert (tmp_path / "runs" / "embedded" / "summary.json").exists()
