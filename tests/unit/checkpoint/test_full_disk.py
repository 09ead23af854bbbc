"""A disk that is really full: a file system of 1 MiB, mounted in a namespace that ends with the process.

Where the system allows no such namespace, a limit on the size of files takes its place.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "full_disk.py"
MOUNT = 'mount -t tmpfs -o size=1m,nr_inodes=60 tmpfs "$1" && shift && exec "$@"'
NAMESPACES = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


@cache
def namespace(folder: Path) -> list[str] | None:
    """The command that gives a process a small disk of its own, or None where there can be none."""
    for prefix in NAMESPACES:
        command = [*prefix, "sh", "-c", MOUNT, "sh", str(folder)]
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None


@pytest.fixture(scope="module", params=["disk", "limit"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What full_disk.py saw; `how` says on what."""
    folder = tmp_path_factory.mktemp("disk")
    prefix = namespace(folder) if request.param == "disk" else None
    how = "limit" if prefix is None else "disk"
    done = subprocess.run(
        [*(prefix or []), sys.executable, str(SCRIPT), str(folder), how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {"how": how, **json.loads(done.stdout)}


def assert_run_error(outcome: dict[str, str], how: str) -> None:
    assert outcome["type"] == "RunError", outcome
    if how == "disk":
        assert "the disk is full" in outcome["message"]
        assert "MiB free" in outcome["message"]


def test_a_checkpoint_that_does_not_fit_fails_the_run(found: dict[str, Any]) -> None:
    assert_run_error(found["checkpoint"], found["how"])


def test_nothing_half_written_is_left_and_the_last_checkpoint_is_whole(found: dict[str, Any]) -> None:
    assert found["after_checkpoint"] == ["config.yaml", "step-000000001.pt"]
    assert found["newest"] == "step-000000001.pt"


def test_a_file_that_does_not_fit_leaves_the_old_one(found: dict[str, Any]) -> None:
    assert_run_error(found["text"], found["how"])
    assert found["after_text"] == "old: 1\n"


@pytest.mark.parametrize("tracker", ["jsonl", "tensorboard"])
def test_metrics_that_do_not_fit_fail_the_run(found: dict[str, Any], tracker: str) -> None:
    assert_run_error(found[tracker], found["how"])


def test_a_disk_without_a_byte_left(found: dict[str, Any]) -> None:
    if found["how"] == "disk":
        assert_run_error(found["to_the_brim"], "disk")
    assert found["at_last"] == ["step-000000001.pt"]


def test_a_disk_that_can_hold_no_more_files(found: dict[str, Any]) -> None:
    if found["how"] == "disk":
        assert found["fill_inodes"]["type"] == "OSError"
        assert_run_error(found["folder"], "disk")
