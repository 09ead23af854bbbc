"""A pack that is stopped goes on; what comes out is the same whoever made it and however often it was stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from data_support import encoded, image

from mplframe.data.packing.pack import PackOptions, ShardLimits, pack_folders, pack_splits
from mplframe.data.readers.arrays import ArrayReader
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.index_files import read_sidecar, sidecar_bytes
from mplframe.errors import DataError, UserError

FIVE = ShardLimits(max_count=5)


def reader(count: int, seed: int = 0) -> ArrayReader:
    images = np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 3), dtype=np.uint8)
    return ArrayReader(images, np.arange(count) % 3, classes=["ant", "bee", "cow"], where="memory")


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def stop_after(samples: int):
    def progress(done: int, total: int) -> None:
        if done >= samples:
            raise KeyboardInterrupt

    return progress


def pack(out: Path, *, count: int = 23, progress=None, **options: object) -> None:
    chosen = PackOptions(**{"limits": FIVE, **options})
    pack_splits(out, labeled=reader(count), test=reader(7, 1), options=chosen, progress=progress)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    pack(tmp_path / "alone", workers=0)
    pack(tmp_path / "many", workers=workers)
    assert contents(tmp_path / "alone") == contents(tmp_path / "many")


def test_every_shard_has_its_index_beside_it(tmp_path: Path) -> None:
    pack(tmp_path / "out")
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert len(shards) == 7
    for shard in shards:
        kept = shard.with_name(f"{shard.name}.idx").read_bytes()
        assert kept == sidecar_bytes(index_shard(shard))
        assert len(read_sidecar(kept)) == len(index_shard(shard))


def test_it_goes_on_at_the_first_unfinished_shard(tmp_path: Path) -> None:
    pack(tmp_path / "whole")
    out, unfinished = tmp_path / "out", tmp_path / ".out.partial"
    finished = {}
    for stop, expected in ((4, 0), (13, 2), (18, 3), (27, 5)):
        with pytest.raises(KeyboardInterrupt):
            pack(out, progress=stop_after(stop))
        shards = {path.name: path.stat().st_ino for path in unfinished.glob("*.tar")}
        assert len(shards) == expected
        assert finished.items() <= shards.items()  # what was finished isn't made again
        finished = shards
        assert not out.exists()
    first: list[int] = []
    pack(out, progress=lambda done, total: first.append(done))
    assert first[0] == 23
    assert contents(out) == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


def test_a_killed_process_leaves_nothing_half_done(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_resume_pack import pack
pack(Path(sys.argv[1]), count=400, progress=lambda done, total: time.sleep(0.002))
"""
    root = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "out"), root])
    journal = tmp_path / ".out.partial/journal.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") > 20):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with journal.open("a") as file:
        file.write('{"split": "labeled", "sha')  # as if it had been killed while it wrote
    done: list[int] = []
    pack(tmp_path / "out", count=400, progress=lambda count, total: done.append(count))
    assert done[0] >= 100
    pack(tmp_path / "whole", count=400)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_images_or_options_do_not_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        pack(out, progress=stop_after(13))
    for changed in ({"count": 24}, {"seed": 1}, {"limits": ShardLimits(max_count=6)}, {"order": "as_is"}):
        with pytest.raises(UserError, match=r"unfinished pack of other images.*--overwrite"):
            pack(out, **changed)
    assert len(list((tmp_path / ".out.partial").glob("*.tar"))) == 2  # still there to go on from
    pack(out, count=24, overwrite=True)
    pack(tmp_path / "whole", count=24)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    for i in range(8):
        path = tmp_path / f"photos/{'ab'[i % 2]}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image(i)))
    options = PackOptions(limits=ShardLimits(max_count=2))
    with pytest.raises(KeyboardInterrupt):
        pack_folders(tmp_path / "out", labeled=tmp_path / "photos", options=options, progress=stop_after(5))
    (tmp_path / "photos/a/0.png").write_bytes(encoded(image(99, (9, 9))))
    with pytest.raises(UserError, match="unfinished pack of other images"):
        pack_folders(tmp_path / "out", labeled=tmp_path / "photos", options=options)


def test_skipping_what_is_damaged_goes_on_from_the_error(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / f"photos/{'ab'[i % 2]}/{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image(i))[: 60 if i in (6, 7) else None])
    settings = {"limits": ShardLimits(max_count=2), "order": "as_is"}
    with pytest.raises(DataError, match="--skip-damaged"):
        pack_folders(tmp_path / "out", labeled=tmp_path / "photos", options=PackOptions(**settings))
    assert [path.name for path in (tmp_path / ".out.partial").glob("*.tar")] == ["labeled-00000.tar"]
    reports = []
    for name in ("out", "at-once"):
        options = PackOptions(**settings, damaged="skip")
        reports.append(pack_folders(tmp_path / name, labeled=tmp_path / "photos", options=options))
    assert contents(tmp_path / "out") == contents(tmp_path / "at-once")
    assert reports[0].notes == reports[1].notes
    assert sum("left out" in note for note in reports[0].notes) == 2
    assert reports[0].splits["labeled"].labels == (5, 5)


def test_what_was_left_out_is_remembered(tmp_path: Path) -> None:
    """The damaged image lies in a shard that was finished before the pack was stopped."""
    for i in range(12):
        path = tmp_path / f"photos/{'ab'[i % 2]}/{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if i == 2 else encoded(image(i)))
    options = PackOptions(limits=ShardLimits(max_count=2), order="as_is", damaged="skip")
    with pytest.raises(KeyboardInterrupt):
        pack_folders(tmp_path / "out", labeled=tmp_path / "photos", options=options, progress=stop_after(8))
    report = pack_folders(tmp_path / "out", labeled=tmp_path / "photos", options=options)
    assert [note for note in report.notes if "left out" in note]
    assert report.splits["labeled"].labels == (5, 6)
    assert json.loads((tmp_path / "out/dataset.json").read_text())["notes"] == list(report.notes)


def test_two_packs_at_once(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(done: int, total: int) -> None:
        begun.set()
        assert go_on.wait(30)

    first = threading.Thread(target=pack, args=(tmp_path / "out",), kwargs={"progress": wait})
    first.start()
    try:
        assert begun.wait(30)
        with pytest.raises(UserError, match="another process is writing it"):
            pack(tmp_path / "out")
    finally:
        go_on.set()
        first.join()
    pack(tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
