"""Every layout is written here as it lies on users' disks, then read back."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mplframe.data.readers.arrays import ArrayReader, idx_folder, numpy_file, read_idx
from mplframe.data.readers.base import Chain, Subset, WithoutLabels
from mplframe.data.readers.detect import detect, open_source
from mplframe.data.readers.files import image_folder, labeled_folder, unlabeled_folder
from mplframe.data.readers.published import cifar, safe_unpickle, svhn
from mplframe.data.readers.table import table
from mplframe.errors import DataError, UserError

FASHION = Path("/usr/share/datasets/fashion-mnist")


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def image_file(path: Path, seed: int = 0, **options: Any) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(8, 6, 3, seed=seed)).save(path, **options)
    return path.read_bytes()


class TestFolder:
    def test_labeled(self, tmp_path: Path) -> None:
        jpeg = image_file(tmp_path / "dog/a.JPG")
        image_file(tmp_path / "cat/deeper/b.v1.png")
        (tmp_path / "cat/Thumbs.db").write_bytes(b"x")
        reader = labeled_folder(tmp_path)
        assert reader.classes == ("cat", "dog")
        assert reader.labels.tolist() == [0, 1]
        assert [record.key for record in reader] == ["cat/deeper/b.v1", "dog/a"]
        assert reader.read(1).payload == jpeg
        assert (reader.read(1).extension, reader.read(1).label) == ("jpg", 1)
        assert "1 file(s) without an image or video suffix left out, the first is cat/Thumbs.db" in reader.notes[0]

    def test_unlabeled_at_any_depth(self, tmp_path: Path) -> None:
        for name in ("z.png", "a/1.webp", "a/b/2.bmp", ".hidden.png"):
            image_file(tmp_path / name)
        reader = unlabeled_folder(tmp_path)
        assert [record.key for record in reader] == ["z", "a/1", "a/b/2"]
        assert reader.labels.tolist() == [-1, -1, -1]
        assert reader.read(0).label is None
        assert len(reader.notes) == 1

    def test_flat_folder_is_unlabeled(self, tmp_path: Path) -> None:
        image_file(tmp_path / "a.png")
        assert image_folder(tmp_path).classes == ()

    def test_tiff_is_decoded(self, tmp_path: Path) -> None:
        image_file(tmp_path / "a.tif", seed=3)
        record = unlabeled_folder(tmp_path).read(0)
        assert record.extension == "png"
        np.testing.assert_array_equal(record.payload, pixels(8, 6, 3, seed=3))

    def test_link_upwards_ends(self, tmp_path: Path) -> None:
        image_file(tmp_path / "a/1.png")
        (tmp_path / "a/up").symlink_to(tmp_path)
        assert len(unlabeled_folder(tmp_path)) == 1

    def test_file_that_vanished(self, tmp_path: Path) -> None:
        image_file(tmp_path / "a.png")
        reader = unlabeled_folder(tmp_path)
        (tmp_path / "a.png").unlink()
        with pytest.raises(DataError, match=r"a\.png: can't be read: No such file"):
            reader.read(0)

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ([], "no class folders"),
            (["a.png"], "no class folders"),
            (["cat/1.png", "loose.png", "loose2.png"], r"beside the class folders \(loose.png and 1 more\)"),
            (["cat/1.png", "dog/readme.txt"], "dog: a class without images or videos"),
        ],
    )
    def test_labeled_errors(self, tmp_path: Path, files: list[str], message: str) -> None:
        for name in files:
            if name.endswith("png"):
                image_file(tmp_path / name)
            else:
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_text("x")
        with pytest.raises(DataError, match=message):
            labeled_folder(tmp_path)

    def test_missing_empty_and_unknown(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such folder"):
            unlabeled_folder(tmp_path / "nowhere")
        with pytest.raises(DataError, match="no images or videos in it or below it"):
            unlabeled_folder(tmp_path)
        image_file(tmp_path / "cats/1.png")
        with pytest.raises(DataError, match="a file, where a folder is needed"):
            unlabeled_folder(tmp_path / "cats/1.png")
        with pytest.raises(DataError, match="unknown class 'cats'; did you mean 'cat'"):
            labeled_folder(tmp_path, ["cat", "dog"])


class TestTable:
    def table(self, folder: Path, text: str) -> Path:
        for name in ("a.png", "sub/b.jpg", "c.png"):
            image_file(folder / name)
        (folder / "list.csv").write_text(text)
        return folder / "list.csv"

    def test_names(self, tmp_path: Path) -> None:
        reader = table(self.table(tmp_path, "\ufeffpath, label\na.png, dog\nsub/b.jpg,cat\nc.png,\n"))
        assert reader.classes == ("cat", "dog")
        assert reader.labels.tolist() == [1, 0, -1]
        assert reader.read(1).payload == (tmp_path / "sub/b.jpg").read_bytes()

    def test_numbers_and_no_labels(self, tmp_path: Path) -> None:
        reader = table(self.table(tmp_path, "label,path\n3,a.png\n0,c.png\n"))
        assert reader.classes == ("0", "1", "2", "3")
        assert reader.labels.tolist() == [3, 0]
        assert table(self.table(tmp_path, "path\na.png\n")).labels.tolist() == [-1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "no column `path`"),
            ("paths,label\na.png,1\n", "did you mean 'paths'"),
            ("path,label\n", "lists no images"),
            ("path,label\na.png,x\nd.png,x\n", "line 3: no such file"),
            ("path,label\n,x\n", "line 2: no path"),
            ("path,label\nlist.csv,x\n", "line 2: list.csv has no image suffix"),
            ("path,label\na.png,x\na.png,y\n", "line 3: a.png is already listed in line 2"),
            ('path,label\n"a.png,x\n', "isn't a CSV file"),
        ],
    )
    def test_errors(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            table(self.table(tmp_path, text))

    def test_unknown_class_names_the_line(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="line 2: unknown class 'dgo'; did you mean 'dog'"):
            table(self.table(tmp_path, "path,label\na.png,dgo\n"), ["cat", "dog"])

    def test_not_text_or_missing(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(b"path\n\xff\xfe\n")
        with pytest.raises(DataError, match="UTF-8"):
            table(tmp_path / "x.csv")
        with pytest.raises(DataError, match="No such file"):
            table(tmp_path / "y.csv")


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, labels: dict[str, list[int]], compress: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    for part, values in labels.items():
        for what, array in (("images-idx3", pixels(len(values), 5, 4)), ("labels-idx1", np.array(values, np.uint8))):
            name, data = f"{part}-{what}-ubyte", idx_bytes(array)
            if compress:
                name, data = f"{name}.gz", gzip.compress(data)
            (folder / name).write_bytes(data)


class TestIdx:
    @pytest.mark.parametrize("compress", [True, False])
    def test_round_trip(self, tmp_path: Path, compress: bool) -> None:
        write_idx(tmp_path, {"train": [2, 0, 1], "t10k": [1]}, compress)
        reader = idx_folder(tmp_path, "train")
        assert reader.classes == ("0", "1", "2")
        assert reader.labels.tolist() == [2, 0, 1]
        np.testing.assert_array_equal(reader.read(1).payload, pixels(3, 5, 4)[1][..., None])
        assert open_source(tmp_path).test.classes == ("0", "1", "2")  # though class 2 isn't in it

    @pytest.mark.debian
    def test_the_real_fashion_mnist(self) -> None:
        reader = idx_folder(FASHION, "test")
        assert len(reader) == 10_000
        assert np.bincount(reader.labels).tolist() == [1_000] * 10
        assert reader.read(0).payload.shape == (28, 28, 1)
        assert reader.labels[:5].tolist() == [9, 2, 1, 1, 6]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "not an idx file of unsigned bytes .it starts with nothing"),
            (b"\x89PNG\r\n", "starts with 89 50 4e 47"),
            (b"\0\0\x08\x03\0\0", "within its header"),
            (idx_bytes(pixels(3, 2, 2))[:-1], r"27 bytes, where its header \[3, 2, 2\] needs 28"),
            (idx_bytes(pixels(3, 2, 2)) + b"x", "29 bytes"),
            (gzip.compress(idx_bytes(pixels(9, 9, 9)))[:-30], "damaged gzip"),
        ],
    )
    def test_damaged(self, tmp_path: Path, data: bytes, message: str) -> None:
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(DataError, match=message):
            read_idx(tmp_path / "x")

    def test_missing_and_differing_counts(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no file train-images-idx3-ubyte\.gz"):
            idx_folder(tmp_path, "train")
        write_idx(tmp_path, {"train": [2, 0, 1]}, compress=False)
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(2, np.uint8)))
        with pytest.raises(DataError, match="3 images but 2 labels"):
            idx_folder(tmp_path, "train")


class TestNumpy:
    def test_npz(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", images=pixels(3, 4, 4, 3), labels=np.array([0, 2, -1]), classes=["a", "b", "c"])
        reader = numpy_file(tmp_path / "x.npz")
        assert reader.classes == ("a", "b", "c")
        assert [record.label for record in reader] == [0, 2, None]
        np.testing.assert_array_equal(reader.read(2).payload, pixels(3, 4, 4, 3)[2])

    def test_folder(self, tmp_path: Path) -> None:
        np.save(tmp_path / "images.npy", pixels(3, 4, 4))
        assert numpy_file(tmp_path).labels.tolist() == [-1, -1, -1]
        np.save(tmp_path / "labels.npy", np.array([[1], [0], [1]], np.uint8))
        assert numpy_file(tmp_path).labels.tolist() == [1, 0, 1]

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"image": pixels(1, 2, 2)}, "no array `images`; did you mean 'image'"),
            ({"images": pixels(1, 2, 2) / 255}, "must be uint8 .0 to 255., these are float64"),
            ({"images": pixels(4, 4)}, "must be .N, height, width"),
            ({"images": pixels(2, 3, 4, 4)}, "with 1 or 3 channels"),
            ({"images": pixels(0, 4, 4)}, "holds no images"),
            ({"images": pixels(2, 4, 4), "labels": np.zeros(3, int)}, "2 images but 3 labels"),
            ({"images": pixels(2, 4, 4), "labels": np.zeros(2)}, "whole numbers"),
            ({"images": pixels(2, 4, 4), "labels": np.array([0, -2])}, "label -2 of image 1 is unknown"),
            ({"images": pixels(2, 4, 4), "labels": np.array([0, 2]), "classes": ["a", "b"]}, "in 0 to 1"),
            ({"images": np.array([{}, {}], object)}, "not a plain .npz file"),
        ],
    )
    def test_errors(self, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(DataError, match=message):
            numpy_file(tmp_path / "x.npz")

    def test_damaged_and_missing(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", images=pixels(9, 9, 9))
        (tmp_path / "y.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:300])
        with pytest.raises(DataError, match=r"not a plain \.npz"):
            numpy_file(tmp_path / "y.npz")
        np.save(tmp_path / "z.npy", pixels(1, 2, 2))
        with pytest.raises(DataError, match=r"not an \.npz file"):
            numpy_file(tmp_path / "z.npy")
        with pytest.raises(DataError, match="No such file"):
            numpy_file(tmp_path / "w.npz")
        with pytest.raises(DataError, match=r"no images\.npy"):
            numpy_file(tmp_path)


def python2_batch(data: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 and its numpy pickled it (protocol 2, byte strings): what the official archive holds."""
    number = lambda value: b"J" + struct.pack("<i", value)  # noqa: E731
    text = lambda value: b"U" + bytes([len(value)]) + value  # noqa: E731
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        b"(K\x01(" + number(data.shape[0]) + number(data.shape[1]) + b"t"
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNN"
        + number(-1)
        + number(-1)
        + b"K\x00tb"
        b"\x89T" + struct.pack("<I", data.nbytes) + data.tobytes() + b"tb"
    )
    items = b"".join(number(label) for label in labels)
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](" + items + b"eu."


def write_cifar10(root: Path, per_batch: int = 4) -> np.ndarray:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    rows = pixels(6 * per_batch, 3072)
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = rows[i * per_batch : (i + 1) * per_batch]
        (folder / name).write_bytes(python2_batch(part, [(i + n) % 10 for n in range(per_batch)]))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}, protocol=2))
    return rows


class TestCifar:
    def test_cifar10_as_python_2_wrote_it(self, tmp_path: Path) -> None:
        rows = write_cifar10(tmp_path)
        for root in (tmp_path, tmp_path / "cifar-10-batches-py"):
            reader = cifar(root, "train", kind="cifar10")
            assert len(reader) == 20
            assert reader.classes[3] == "cat"
            assert reader.labels[:6].tolist() == [0, 1, 2, 3, 1, 2]
            # Red plane, green plane, blue plane; row by row.
            np.testing.assert_array_equal(reader.read(5).payload[:, :, 1], rows[5][1024:2048].reshape(32, 32))
        assert len(cifar(tmp_path, "test", kind="cifar10")) == 4
        assert open_source(tmp_path).format == "cifar10"

    @pytest.mark.parametrize("protocol", [0, 2, 4, 5])
    def test_cifar100_from_any_protocol(self, tmp_path: Path, protocol: int) -> None:
        folder = tmp_path / "cifar-100-python"
        folder.mkdir()
        names = [f"class {i}" for i in range(100)]
        contents = {
            "train": {"data": pixels(3, 3072), "fine_labels": [99, 0, 5], "filenames": [b"a", b"b", b"c"]},
            "test": {"data": pixels(1, 3072), "fine_labels": [7]},
            "meta": {"fine_label_names": names},
        }
        for name, content in contents.items():
            (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))
        source = open_source(tmp_path)
        assert source.format == "cifar100"
        assert source.train.labels.tolist() == [99, 0, 5]
        assert list(source.train.classes) == names
        np.testing.assert_array_equal(
            source.train.read(1).payload, pixels(3, 3072)[1].reshape(3, 32, 32).transpose(1, 2, 0)
        )

    def test_a_pickle_that_runs_code_is_refused(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "touched",))

        (tmp_path / "x").write_bytes(pickle.dumps({"data": Evil()}))
        with pytest.raises(DataError, match=r"refers to .*, which isn't allowed"):
            safe_unpickle(tmp_path / "x")
        assert not (tmp_path / "touched").exists()
        (tmp_path / "y").write_bytes(b"\x80\x02c_codecs\nencode\n(U\x01aU\x05rot13tR.")
        with pytest.raises(DataError, match="the encoding rot13 isn't allowed"):
            safe_unpickle(tmp_path / "y")

    def test_damaged(self, tmp_path: Path) -> None:
        write_cifar10(tmp_path)
        batch = tmp_path / "cifar-10-batches-py/data_batch_3"
        whole = batch.read_bytes()
        for data, message in (
            (whole[:5000], r"data_batch_3: not a pickle of plain arrays"),
            (b"", "not a pickle"),
            (pickle.dumps([1]), "has no entry 'data'"),
            (pickle.dumps({"data": pixels(2, 100), "labels": [1, 2]}), "3,072 bytes"),
            (pickle.dumps({"data": pixels(2, 3072), "labels": [1]}), "2 images but labels of shape"),
            (pickle.dumps({"data": pixels(2, 3072), "labels": [1, 10]}), "label 10 of image 9 is unknown"),
        ):
            batch.write_bytes(data)
            with pytest.raises(DataError, match=message):
                cifar(tmp_path, "train", kind="cifar10")
        batch.unlink()
        with pytest.raises(DataError, match="data_batch_3: can't be read"):
            cifar(tmp_path, "train", kind="cifar10")
        with pytest.raises(DataError, match="unpack the python version of cifar100"):
            cifar(tmp_path, "train", kind="cifar100")


def write_svhn(root: Path, **labels: list[int]) -> None:
    for part, values in labels.items():
        content = {"X": pixels(32, 32, 3, len(values)), "y": np.array(values, np.uint8)[:, None]}
        savemat(root / f"{part}_32x32.mat", content, do_compression=True)


class TestSVHN:
    def test_ten_means_zero(self, tmp_path: Path) -> None:
        write_svhn(tmp_path, train=[1, 10, 9], test=[2], extra=[3, 4])
        reader = svhn(tmp_path, "train")
        assert reader.labels.tolist() == [1, 0, 9]
        np.testing.assert_array_equal(reader.read(2).payload, pixels(32, 32, 3, 3)[..., 2])
        source = open_source(tmp_path)
        assert (source.format, len(source.test), len(source.extra)) == ("svhn", 1, 2)

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no train_32x32\.mat"):
            svhn(tmp_path, "train")
        write_svhn(tmp_path, train=[1, 11])
        with pytest.raises(DataError, match="label 11 of image 1 is unknown; labels must be 1 to 10"):
            svhn(tmp_path, "train")
        (tmp_path / "train_32x32.mat").write_bytes((tmp_path / "train_32x32.mat").read_bytes()[:1000])
        with pytest.raises(DataError, match="not a readable Matlab file"):
            svhn(tmp_path, "train")
        savemat(tmp_path / "train_32x32.mat", {"Z": np.zeros(3)})
        with pytest.raises(DataError, match="has no X and y"):
            svhn(tmp_path, "train")


class TestDetect:
    def test_train_and_test_folders_share_their_classes(self, tmp_path: Path) -> None:
        for name in ("train/a/1.png", "train/b/1.png", "val/b/2.png"):
            image_file(tmp_path / name)
        source = open_source(tmp_path)
        assert source.train.labels.tolist() == [0, 1]
        assert source.test.labels.tolist() == [1]
        image_file(tmp_path / "test/a/1.png")
        with pytest.raises(DataError, match="both test and val"):
            open_source(tmp_path)

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        for name in ("train/1.png", "plane/1.png"):
            image_file(tmp_path / name)
        assert open_source(tmp_path).train.classes == ("plane", "train")

    def test_csv_and_numpy(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", images=pixels(1, 2, 2))
        assert detect(tmp_path / "x.npz") == "numpy"
        (tmp_path / "x.CSV").write_text("path\n")
        assert detect(tmp_path / "x.CSV") == "csv"

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="unknown format 'cifar'; did you mean 'cifar10'"):
            open_source(tmp_path, "cifar")
        with pytest.raises(DataError, match="no such file or folder"):
            open_source(tmp_path / "x")
        with pytest.raises(DataError, match="a layout that isn't known"):
            open_source(tmp_path)


class TestViews:
    def reader(self, classes: list[str], labels: list[int]) -> ArrayReader:
        return ArrayReader(pixels(len(labels), 2, 2), np.array(labels), classes=classes, where="here")

    def test_subset_chain_and_without_labels(self) -> None:
        first, second = self.reader(["a", "b"], [0, 1, 0]), self.reader(["a", "b"], [1, 1])
        chain = Chain(one=Subset(first, np.array([2, 1])), two=second)
        assert [record.key for record in chain] == ["one/2", "one/1", "two/0", "two/1"]
        assert [record.label for record in chain] == chain.labels.tolist() == [0, 1, 1, 1]
        bare = WithoutLabels(chain)
        assert [record.label for record in bare] == [None] * 4
        assert bare.labels.tolist() == [-1] * 4
        assert bare.classes == ()

    def test_classes_that_differ(self) -> None:
        one = self.reader(["a", "b"], [0])
        with pytest.raises(DataError, match="'c' is in two and not in one"):
            Chain(one=one, two=self.reader(["a", "b", "c"], [0]))
        with pytest.raises(DataError, match="in different orders"):
            Chain(one=one, two=self.reader(["b", "a"], [0]))

    def test_records_do_not_share_memory_with_the_array(self) -> None:
        images = pixels(2, 2, 2)
        record = ArrayReader(images, where="here").read(0)
        assert isinstance(record.payload, np.ndarray)
        assert not np.shares_memory(record.payload, images)
