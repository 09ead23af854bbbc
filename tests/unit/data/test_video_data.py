"""Folders of videos become shards that train, are looked at and are judged like those of images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_support import decoded_video, encoded_video, frames

from mplframe.contracts.batch import Batch, Samples
from mplframe.contracts.data import Clips
from mplframe.data.damaged import Damaged, tolerant, usable
from mplframe.data.decoding.video import clip_frames
from mplframe.data.inspecting.inspection import contact_sheet, inspect, verify_shards
from mplframe.data.inspecting.sheets import preview_sheet
from mplframe.data.packing.pack import pack_folders
from mplframe.data.packing.packing import PackOptions
from mplframe.data.readers.files import unlabeled_folder
from mplframe.data.readers.split import ReaderSplit
from mplframe.data.shards.source import WebDataset
from mplframe.data.sources.small import CLASSES, MovingReader
from mplframe.errors import DamageError, DataError

CLIPS = Clips(3, 2, (0.0, 0.99))
KINDS = {"wave/1": "mp4", "wave/2": "webm", "jump/a": "avi", "jump/b": "mkv"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for each of two classes, with four videos in as many containers."""
    for seed, (name, kind) in enumerate(KINDS.items()):
        path = tmp_path / "videos" / f"{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded_video(frames(12 + seed, seed=seed), kind))
    return tmp_path / "videos"


def packed(folder: Path, out: Path) -> WebDataset.Config:
    pack_folders(out, labeled=folder, options=PackOptions(order="as_is"))
    return WebDataset.Config(labeled=f"{out}/labeled-*.tar", classes=f"{out}/classes.txt", cache=str(out / "cache"))


def test_a_folder_is_packed_and_read_as_it_was(folder: Path, tmp_path: Path) -> None:
    split = WebDataset(packed(folder, tmp_path / "packed")).split("labeled")
    assert split is not None
    assert split.media == {"video"}
    order = ["jump/a.avi", "jump/b.mkv", "wave/1.mp4", "wave/2.webm"]
    direct = ReaderSplit(unlabeled_folder(folder))
    assert direct.media == {"video"}
    found = [split.read_clips(range(4), [CLIPS] * 4), direct.read_clips(range(4), [CLIPS] * 4)]
    for name, sample, other in zip(order, *found, strict=True):
        everything = decoded_video((folder / name).read_bytes())
        assert np.array_equal(sample.image, everything[clip_frames(len(everything), CLIPS).ravel()])
        assert np.array_equal(sample.image, other.image)
    assert [sample.label for sample in found[0]] == [0, 0, 1, 1]


def test_it_can_be_looked_at(folder: Path, tmp_path: Path) -> None:
    config = packed(folder, tmp_path / "packed")
    found = inspect(WebDataset(config)).splits["labeled"]
    assert (found.videos, dict(found.image_sizes)) == (4, {(32, 32, 3): 4})
    assert found.class_counts == {"jump": 2, "wave": 2}
    split = WebDataset(config).split("labeled")
    assert split is not None
    with Image.open(contact_sheet(split, ["jump", "wave"], tmp_path / "sheet.png", 3)) as sheet:
        assert sheet.width > 2 * sheet.height  # three rows of eight frames
    assert verify_shards(config) == []


def test_previews_show_the_frames_of_each_view(tmp_path: Path) -> None:
    clips = torch.randint(0, 256, (3, 4, 1, 8, 8), dtype=torch.uint8)
    batch = Batch(Samples(clips, clips.flip(1), torch.tensor([0, 1, 0])))
    rows = preview_sheet(batch, ["a", "b"], tmp_path / "sheet.png", n=2)
    assert rows == ["labeled 0 weak", "labeled 0 strong", "labeled 1 weak", "labeled 1 strong"]


def test_a_damaged_video_is_named_counted_and_left_out(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "wave/1.mp4").read_bytes()
    (folder / "wave/1.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"wave/1.mp4: the video can't be decoded"):
        packed(folder, tmp_path / "refused")
    direct = ReaderSplit(unlabeled_folder(folder))
    with pytest.raises(DamageError, match=r"^wave/1.mp4: the video can't be decoded"):
        direct.read_clips([0, 2], [CLIPS, CLIPS])
    damaged = Damaged(1)
    damaged.keep(tmp_path / "damaged.jsonl")
    split = tolerant(direct, "unlabeled", damaged)
    found = split.read_clips([1, 2], [CLIPS, Clips(2, 1, (0.5,))])
    assert [sample.key for sample in found] == ["jump/b.mkv", "wave/2.webm"]  # the next one stands in
    assert [len(sample.image) for sample in found] == [6, 2]
    assert [number for number, _ in usable(split, range(4), CLIPS)] == [0, 1, 3]
    assert damaged.counts == {"unlabeled": 1}
    assert json.loads((tmp_path / "damaged.jsonl").read_text())["reason"].startswith("wave/1.mp4: ")


def test_an_image_among_videos_is_damage(folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "jump/c.png")
    split = ReaderSplit(unlabeled_folder(folder))
    with pytest.raises(DamageError, match=r"jump/c.png: it is an image, and clips of videos are asked for"):
        split.read_clips([2], [CLIPS])


def test_of_an_image_beside_a_video_each_run_takes_what_it_asks_for(tmp_path: Path) -> None:
    import webdataset as wds

    video, picture = encoded_video(frames(9)), frames(1, seed=5)[0]
    with wds.TarWriter(str(tmp_path / "a.tar"), encoder=True) as writer:
        writer.write({"__key__": "a", "mp4": video, "png": picture, "cls": 0})
    config = WebDataset.Config(labeled=str(tmp_path / "a.tar"), classes=2, cache=str(tmp_path / "cache"))
    split = WebDataset(config).split("labeled")
    assert split is not None
    assert split.media == {"image", "video"}
    assert np.array_equal(split.read([0])[0].image, picture)
    assert np.array_equal(split.read_clips([0], [Clips(9, 1, (0.0,))])[0].image, decoded_video(video))


def test_moving_digits_differ_in_their_motion_alone() -> None:
    reader = MovingReader()
    labels = reader.labels
    assert np.bincount(labels, minlength=len(CLASSES)).min() >= 87
    for direction, step in (("left", -1), ("right", 1)):
        record = reader.read(int(np.flatnonzero(labels == CLASSES.index(f"3 {direction}"))[0]))
        assert isinstance(record.payload, bytes)
        seen = decoded_video(record.payload)[..., 0].astype(int)
        errors = [abs(np.roll(seen[0], by, axis=1) - seen[1]).mean() for by in (-step, step)]
        assert errors[1] < 0.2 * errors[0]
