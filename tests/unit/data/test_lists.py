"""Lists of images and Hugging Face's layouts, written here as they lie on users' disks, then read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_support import encoded, image
from fsspec.implementations.memory import MemoryFileSystem

from mplframe.data.packing.pack import PackOptions, pack_source
from mplframe.data.packing.split_packing import pack_order
from mplframe.data.readers.base import Chain, Subset, WithoutLabels
from mplframe.data.readers.detect import detect, open_source
from mplframe.data.readers.parquet import Columns, parquet
from mplframe.data.readers.published import stl10
from mplframe.data.readers.table import table
from mplframe.errors import DataError, UserError


def files(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(image(number), "JPEG" if name.endswith("jpg") else "PNG"))


def hf_table(labels: list[int], *, first: int = 0, names: list[str] | None = None, **renamed: str) -> pa.Table:
    """A table as `datasets` writes it: images as structs, features in the schema's metadata."""
    image_column, label_column = renamed.get("image", "image"), renamed.get("label", "label")
    rows = [{"bytes": encoded(image(first + i)), "path": f"{first + i}.png"} for i in range(len(labels))]
    found = pa.table({image_column: rows, label_column: labels})
    features: dict[str, Any] = {image_column: {"_type": "Image"}}
    if names:
        features[label_column] = {"names": names, "_type": "ClassLabel"}
    said = json.dumps({"info": {"features": features}})
    return found.replace_schema_metadata({"huggingface": said})


class TestTables:
    def test_json_lines(self, tmp_path: Path) -> None:
        files(tmp_path, "a.png", "b.jpg", "c.png")
        lines = [{"file_name": "a.png", "label": "dog"}, {"file_name": "b.jpg", "label": "cat"}, {"file_name": "c.png"}]
        (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        reader = open_source(tmp_path / "list.jsonl").train
        assert reader.classes == ("cat", "dog")
        assert reader.labels.tolist() == [1, 0, -1]
        for line, message in (("{", "line 4: isn't valid JSON"), ("[]", "line 4: isn't a JSON object")):
            (tmp_path / "bad.jsonl").write_text("\n".join([*map(json.dumps, lines), line]))
            with pytest.raises(DataError, match=message):
                table(tmp_path / "bad.jsonl")

    def test_a_label_column_of_another_name(self, tmp_path: Path) -> None:
        files(tmp_path, "a.png", "b.png")
        (tmp_path / "list.csv").write_text("path,species\na.png,cat\nb.png,dog\n")
        assert open_source(tmp_path / "list.csv").train.labels.tolist() == [-1, -1]
        columns = Columns(label="species")
        assert open_source(tmp_path / "list.csv", columns=columns).train.labels.tolist() == [0, 1]
        with pytest.raises(DataError, match="no column `specie`; did you mean 'species'"):
            open_source(tmp_path / "list.csv", columns=Columns(label="specie"))
        np.savez(tmp_path / "x.npz", images=np.zeros((1, 2, 2), np.uint8))
        with pytest.raises(UserError, match="columns can be named in a CSV"):
            open_source(tmp_path / "x.npz", columns=columns)

    def test_by_url(self, memory: MemoryFileSystem, tmp_path: Path) -> None:
        jpeg = encoded(image(0, (16, 16)), "JPEG")
        memory.pipe({"/bucket/photos/a.jpg": jpeg, "/bucket/photos/b.png": encoded(image(1))})
        memory.pipe("/bucket/list.csv", b"path,label\nphotos/a.jpg,cat\nmemory://bucket/photos/b.png,dog\n")
        source = open_source("memory://bucket/list.csv")
        assert [record.key for record in source.train] == ["photos/a", "photos/b"]
        assert source.train.read(0).payload == jpeg
        report = pack_source(tmp_path / "out", source="memory://bucket/list.csv")
        assert report.splits["labeled"].labels == (1, 1)
        memory.rm("/bucket/photos/a.jpg")
        with pytest.raises(DataError, match=r"photos/a\.jpg doesn't exist"):
            source.train.read(0)

    def test_other_layouts_are_not_read_by_url(self, memory: MemoryFileSystem) -> None:
        with pytest.raises(UserError, match=r"folder can't be read by URL, only lists \(csv, jsonl, parquet\)"):
            open_source("memory://bucket/photos", "folder")
        with pytest.raises(DataError, match=r"no Parquet files in it|doesn't exist"):
            open_source("memory://bucket/photos")


class TestParquet:
    def test_a_list_of_files(self, tmp_path: Path) -> None:
        files(tmp_path, "a.png", "sub/b.jpg", "c.png")
        paths = ["a.png", "sub/b.jpg", "c.png"]
        pq.write_table(pa.table({"path": paths, "label": [2, 0, None]}), tmp_path / "list.parquet")
        reader = open_source(tmp_path / "list.parquet").train
        assert reader.classes == ("0", "1", "2")
        assert [record.label for record in reader] == [2, 0, None]
        assert reader.read(1).payload == (tmp_path / "sub/b.jpg").read_bytes()
        pq.write_table(pa.table({"path": ["a.png", "x.png"]}), tmp_path / "list.parquet")
        with pytest.raises(DataError, match="row 1: no such file"):
            open_source(tmp_path / "list.parquet")

    def test_images_in_a_column(self, tmp_path: Path) -> None:
        jpeg, bmp = encoded(image(1), "JPEG"), encoded(image(2), "BMP")
        gif = encoded(image(3), "GIF")
        data = pa.table({"image": [jpeg, bmp, gif, b""], "label": ["b", "a", "", "a"]})
        pq.write_table(data, tmp_path / "x.parquet", row_group_size=2)
        reader = parquet([tmp_path / "x.parquet"])
        assert reader.classes == ("a", "b")
        assert reader.labels.tolist() == [1, 0, -1, 0]
        assert [reader.read(i).extension for i in range(3)] == ["jpg", "bmp", "png"]
        assert reader.read(0).payload == jpeg
        assert isinstance(reader.read(2).payload, np.ndarray)
        assert reader.groups.tolist() == [0, 0, 1, 1]
        with pytest.raises(DataError, match="row 3: the column 'image' has no image"):
            reader.read(3)

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "x.parquet"
        path.write_bytes(b"PAR1 but not really")
        with pytest.raises(DataError, match="can't be read as Parquet"):
            parquet([path])
        pq.write_table(pa.table({"a": [encoded(image(0))], "b": [encoded(image(1))]}), path)
        with pytest.raises(DataError, match="several columns hold images: a, b; name one with --image-column"):
            parquet([path])
        assert len(parquet([path], Columns(image="b"))) == 1
        with pytest.raises(DataError, match="no column 'c'"):
            parquet([path], Columns(image="c"))
        pq.write_table(pa.table({"size": [1]}), path)
        with pytest.raises(DataError, match=r"no column `path` \(it has size\)"):
            parquet([path])
        pq.write_table(hf_table([0, 5], names=["cat", "dog"]), path)
        with pytest.raises(DataError, match="row 1: unknown class '5'"):
            parquet([path])
        pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
        with pytest.raises(DataError, match="has no rows"):
            parquet([path])

    def test_a_damaged_row_group(self, tmp_path: Path) -> None:
        path = tmp_path / "x.parquet"
        pq.write_table(hf_table([0, 1, 0, 1]), path, compression="zstd")
        content = bytearray(path.read_bytes())
        content[4:40] = bytes(36)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.parquet: can't be read as Parquet"):
            parquet([path]).read(0)


class TestHuggingFace:
    def layout(self, root: Path, folder: str = "data") -> None:
        (root / folder).mkdir(parents=True)
        for number, labels in enumerate(([0, 1, 2], [2, 1])):
            data = hf_table(labels, first=3 * number, names=["ant", "bee", "cow"], image="img", label="fine")
            pq.write_table(data, root / folder / f"train-0000{number}-of-00002.parquet")
        data = hf_table([1, 1], first=9, names=["ant", "bee", "cow"], image="img", label="fine")
        pq.write_table(data, root / folder / "test-00000-of-00001-0123456789abcdef.parquet")

    def test_splits_and_features(self, tmp_path: Path) -> None:
        self.layout(tmp_path)
        source = open_source(tmp_path)
        assert source.format == "parquet"
        assert source.train.classes == source.test.classes == ("ant", "bee", "cow")
        assert source.train.labels.tolist() == [0, 1, 2, 2, 1]
        assert source.test.labels.tolist() == [1, 1]
        assert source.train.read(4).payload == encoded(image(4))
        assert source.train.read(4).key == "4-4"
        report = pack_source(tmp_path / "out", source=tmp_path, options=PackOptions(workers=2))
        assert report.splits["labeled"].labels == (1, 2, 2)

    def test_by_url(self, memory: MemoryFileSystem, tmp_path: Path) -> None:
        self.layout(tmp_path)
        for path in (tmp_path / "data").iterdir():
            memory.pipe(f"/hub/set/data/{path.name}", path.read_bytes())
        source = open_source("memory://hub/set")
        assert [len(source.train), len(source.test)] == [5, 2]
        assert source.train.read(0).payload == encoded(image(0))
        source = open_source("memory://hub/set/data/train-*.parquet")
        assert [len(source.train), source.test] == [5, None]

    def test_numbered_files_are_named_by_their_folder(self, tmp_path: Path) -> None:
        for part in ("train", "validation", "unsupervised"):
            (tmp_path / "default" / part).mkdir(parents=True)
            pq.write_table(hf_table([0, 1]), tmp_path / "default" / part / "0000.parquet")
        source = open_source(tmp_path)
        assert [len(source.train), len(source.test), len(source.extra)] == [2, 2, 2]

    def test_the_first_test_split_with_labels_is_taken(self, tmp_path: Path) -> None:
        for part, labels in (("train", [0, 1]), ("validation", [1, 0, 1]), ("test", [-1, -1, -1, -1])):
            pq.write_table(hf_table(labels, names=["a", "b"]), tmp_path / f"{part}-00000-of-00001.parquet")
        source = open_source(tmp_path)
        assert len(source.test) == 3
        assert source.notes == ["the split test (4 images) is left out: it has no labels"]
        pq.write_table(hf_table([1, 0], names=["a", "b"]), tmp_path / "test-00000-of-00001.parquet")
        report = pack_source(tmp_path / "out", source=tmp_path)
        assert report.splits["test"].samples == 2
        assert report.notes == ("the split validation (3 images) is left out: test is used for testing",)

    def test_layouts_that_are_ambiguous(self, tmp_path: Path) -> None:
        self.layout(tmp_path, "small")
        self.layout(tmp_path, "large")
        with pytest.raises(DataError, match=r"lies in 2 folders; name one: .*large, .*small"):
            open_source(tmp_path)
        assert len(open_source(tmp_path / "small").train) == 5
        pq.write_table(hf_table([0]), tmp_path / "small/rest.parquet")
        with pytest.raises(DataError, match=r"rest\.parquet: its split can't be told"):
            open_source(tmp_path / "small")
        pq.write_table(hf_table([0]), tmp_path / "only.parquet")
        assert len(open_source(tmp_path / "only.parquet").train) == 1

    def test_image_folder_with_metadata(self, tmp_path: Path) -> None:
        files(tmp_path, "train/0.png", "train/1.png", "train/2.png", "validation/9.png")
        (tmp_path / "train/metadata.csv").write_text("file_name,label,text\n0.png,dog,x\n1.png,cat,y\n")
        (tmp_path / "validation/metadata.jsonl").write_text('{"file_name": "9.png", "label": "dog"}\n')
        source = open_source(tmp_path)
        assert source.format == "imagefolder"
        assert source.train.labels.tolist() == [1, 0]
        assert source.test.labels.tolist() == [1]
        assert "1 image(s) below its folder aren't listed" in source.train.notes[0]
        assert detect(tmp_path / "train") == "imagefolder"


def test_neighbours_in_a_row_group_stay_near_each_other(tmp_path: Path) -> None:
    """Shuffled, but with few row groups in use at a time."""
    data = pa.table({"image": [encoded(image(0, (2, 2)))] * 400, "label": np.arange(400) % 4})
    pq.write_table(data, tmp_path / "x.parquet", row_group_size=10)
    reader = parquet([tmp_path / "x.parquet"])
    half = Subset(reader, np.arange(0, 400, 2))
    for found in (reader, half, WithoutLabels(half), Chain(a=half, b=half)):
        order = pack_order(found, PackOptions(), 0)
        assert sorted(order.tolist()) == list(range(len(found)))
        groups = found.groups[order]
        width = 8 * len(found) // (groups.max() + 1)
        assert max(len(set(groups[at : at + width].tolist())) for at in range(0, len(found), width)) == 8
        assert (np.diff(order) == 1).mean() < 0.2
        assert order.tolist() != pack_order(found, PackOptions(seed=1), 0).tolist()


class TestSTL10:
    def write(self, root: Path, **labels: list[int] | None) -> np.ndarray:
        folder = root / "stl10_binary"
        folder.mkdir()
        (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")
        pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
        for part, values in labels.items():
            count = 3 if values is None else len(values)
            (folder / f"{part}_X.bin").write_bytes(pixels[:count].transpose(0, 3, 2, 1).tobytes())
            if values is not None:
                (folder / f"{part}_y.bin").write_bytes(bytes(values))
        return pixels

    def test_round_trip(self, tmp_path: Path) -> None:
        pixels = self.write(tmp_path, train=[3, 1], test=[2], unlabeled=None)
        source = open_source(tmp_path)
        assert source.format == "stl10"
        assert source.train.classes == ("airplane", "bird", "car")
        assert source.train.labels.tolist() == [2, 0]
        assert source.test.labels.tolist() == [1]
        np.testing.assert_array_equal(source.extra.read(2).payload, pixels[2])
        report = pack_source(tmp_path / "out", source=tmp_path)
        assert {name: split.samples for name, split in report.splits.items()} == {
            "labeled": 2, "unlabeled": 3, "test": 1,
        }  # fmt: skip

    def test_damaged(self, tmp_path: Path) -> None:
        self.write(tmp_path, train=[3, 4], test=[2])
        with pytest.raises(DataError, match="label 4 of image 1 is unknown; labels must be 1 to 3"):
            stl10(tmp_path, "train")
        folder = tmp_path / "stl10_binary"
        (folder / "test_X.bin").write_bytes(b"short")
        with pytest.raises(DataError, match="5 bytes, not a multiple of the 27,648 of an image"):
            stl10(tmp_path, "test")
        (folder / "train_y.bin").unlink()
        with pytest.raises(DataError, match=r"no train_y\.bin"):
            stl10(tmp_path, "train")
        with pytest.raises(DataError, match="no stl10_binary"):
            stl10(tmp_path / "nowhere", "train")
