"""A sweep removes and goes on with what is its own alone."""

from pathlib import Path

import pytest

from mplframe.errors import UserError
from mplframe.io.files import MARKER
from mplframe.search.folder import SweepFolder


def trial(path: Path) -> Path:
    path.mkdir()
    (path / MARKER).write_text("run\n")
    return path


def test_only_its_own_trials_are_removed(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path / "sweep")
    with sweep.held():
        own = trial(sweep.trial(0))
        (sweep.path / "trial-2023").mkdir()
        (sweep.path / "trial-2023/thesis.tex").write_text("mine")
        (sweep.path / "trial-0007").symlink_to(trial(tmp_path / "other"))
        sweep.clear()
    assert not own.exists()
    assert (sweep.path / "trial-2023/thesis.tex").read_text() == "mine"
    assert (tmp_path / "other" / MARKER).exists()


def test_a_folder_that_is_not_a_sweeps_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("mine")
    with pytest.raises(UserError, match="files that no sweep of mplframe has left"), SweepFolder(tmp_path).held():
        pytest.fail("it was taken")
    assert (tmp_path / "study.db").read_text() == "mine"


def test_a_search_that_begins_takes_no_trials_of_another(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    with sweep.held():
        (tmp_path / "trial-2023").mkdir()
        sweep.check_new()
        trial(sweep.trial(0))
        with pytest.raises(UserError, match=r"1 trials, such as trial-0000, of a sweep whose study.db is gone"):
            sweep.check_new()
        sweep.clear()
        sweep.check_new()
