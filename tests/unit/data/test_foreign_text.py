"""Names that come from data are text: not markup, not patterns, not ends of lines, and not always UTF-8."""

import json
import os
import pwd
from pathlib import Path

import cv2
import numpy as np
import pytest

from mplframe.builders.datasets import open_dataset, open_images
from mplframe.cli.shared import answer
from mplframe.data.packing.pack import pack_folders
from mplframe.data.readers.files import unlabeled_folder
from mplframe.data.readers.split import ReaderSplit
from mplframe.data.readers.table import table
from mplframe.data.shards.listing import expand, inside
from mplframe.errors import UserError
from mplframe.io.files import cache_folder, lines_of, readable
from mplframe.io.stores import Stores
from mplframe.plugins import discover
from mplframe.report.tables import plain_table

PIXELS = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize("name", ["set [v2]", "a{b}c", "what?*", "[0-9]", "back\\slash"])
def test_a_folders_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for shard in ("x-0.tar", "x-1.tar", "y-0.tar"):
        (folder / shard).write_bytes(b"")
    found = expand(inside(folder, "x-*.tar"), Stores())
    assert [Path(url).name for url in found] == ["x-0.tar", "x-1.tar"]
    assert all(Path(url).exists() for url in found)


def test_a_file_is_named_as_it_is(tmp_path: Path) -> None:
    odd = tmp_path / "a[1].tar"
    odd.write_bytes(b"")
    assert list(expand(str(odd), Stores())) == [str(odd)]


def test_what_was_packed_beside_brackets_is_read(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_bytes(PIXELS)
    out = tmp_path / "set [v2]" / "s"
    pack_folders(str(out), labeled=tmp_path / "src")
    source, _ = open_dataset(str(out), [], discover())
    labeled = source.split("labeled")
    assert labeled is not None
    assert len(labeled) == 4


@pytest.mark.parametrize("text", ["a[/b]", "dog [black]", "[bold]x", ":smile:"])
def test_tables_show_names_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = plain_table("class")
    shown.add_row(text)
    answer({}, False, lambda: shown)
    assert text in capsys.readouterr().out


def test_other_signs_than_newlines_end_no_line() -> None:
    assert lines_of("a\u2028b\u0085c\x0bd\r\ne\n") == ["a\u2028b\u0085c\x0bd", "e"]
    assert lines_of("") == []
    assert lines_of("a\n\nb") == ["a", "", "b"]


def test_a_json_line_may_hold_other_line_separators(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(PIXELS)
    captions = ["\u2028", "\x85", "x"]
    rows = [{"path": f"{n}.png", "label": f"c{n % 2}", "caption": text} for n, text in enumerate(captions)]
    lines = tmp_path / "l.jsonl"
    lines.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert len(table(lines)) == 3


def test_names_that_are_not_utf8_are_kept_apart(tmp_path: Path) -> None:
    for name in (b"caf\xe9.png", b"caf\xe8.PNG", "café.png".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(PIXELS)
    keys = {sample.key for sample in ReaderSplit(unlabeled_folder(tmp_path)).read(range(3))}
    assert keys == {r"caf\xe9.png", r"caf\xe8.PNG", "café.png"}
    assert all(key.encode() for key in keys)
    assert readable("plain.png") == "plain.png"


def test_keys_are_the_files_own_paths(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.gif", "c/d.e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PIXELS)
    keys = [sample.key for sample in open_images(str(tmp_path), ["x", "y"]).read(range(3))]
    assert keys == ["a.JPG", "b.gif", "c/d.e.png"]
    assert all((tmp_path / key).is_file() for key in keys)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise KeyError("getpwuid(): uid not found: 1000620000")

    for name in ("HOME", "MPLFRAME_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(UserError, match="MPLFRAME_CACHE"):
        cache_folder()
