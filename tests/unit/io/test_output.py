"""A folder that is replaced: the old or the new one is in its place, whatever happens."""

from pathlib import Path

import pytest

from mplframe.io import output
from mplframe.io.output import new_folder

MARKER = "dataset.json"


def write(out: Path, text: str) -> None:
    with new_folder(out, marker=MARKER, overwrite=True) as made:
        (made.folder / MARKER).write_text(text)


@pytest.mark.parametrize("swaps", [True, False])
def test_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool) -> None:
    if not swaps:
        monkeypatch.setattr(output, "_exchange", lambda one, other: False)
    for text in ("old", "new", "newer"):
        write(tmp_path / "[s]", text)
        assert (tmp_path / "[s]" / MARKER).read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["[s]"]


@pytest.mark.parametrize("swaps", [True, False])
def test_killed_at_any_rename_it_is_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool
) -> None:
    out, rename = tmp_path / "s", Path.rename
    if not swaps:
        monkeypatch.setattr(output, "_exchange", lambda one, other: False)
    for nth in range(1, 4):
        write(out, "old")
        count = 0

        def killing(self: Path, target: Path, nth: int = nth) -> Path:
            nonlocal count
            count += 1
            if count == nth:
                raise KeyboardInterrupt
            return rename(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killing)
            patch.setattr(output.shutil, "rmtree", lambda *args, **how: None)  # a killed process tidies nothing
            try:
                write(out, "new")
            except KeyboardInterrupt:
                assert not swaps or (out / MARKER).read_text() == "new"
        with new_folder(tmp_path / "other", marker=MARKER) as made:
            (made.folder / MARKER).write_text("")
        output._recover(out, MARKER)
        assert (out / MARKER).read_text() in ("old", "new")
        write(out, "newer")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "s"]
        output.shutil.rmtree(tmp_path / "other")


def test_what_is_not_ours_beside_it_stays(tmp_path: Path) -> None:
    beside = tmp_path / ".s.replaced-0123456789ab"
    beside.mkdir()
    (beside / "thesis.tex").write_text("mine")
    write(tmp_path / "s", "new")
    assert (beside / "thesis.tex").exists()


def test_everything_is_flushed_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(output, "sync", lambda path: flushed.append(path.name))
    with new_folder(tmp_path / "s", marker=MARKER) as made:
        for name in (MARKER, "classes.txt", "a-00000.tar", "a-00000.tar.idx"):
            (made.folder / name).write_text("x")
    before = flushed[: flushed.index(".s.partial") + 1]
    assert {MARKER, "classes.txt", "a-00000.tar", "a-00000.tar.idx", ".s.partial"} <= set(before)
    assert flushed[-1] == tmp_path.name
