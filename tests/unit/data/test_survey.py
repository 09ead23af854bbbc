import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from data_support import write_shards

from mplframe.data.shards import survey as surveys
from mplframe.data.shards.access import Access
from mplframe.data.shards.index import index_shard
from mplframe.data.shards.index_files import Indexes
from mplframe.data.shards.listing import list_shards
from mplframe.data.shards.survey import Layouts, Survey, lay_out, survey
from mplframe.errors import DataError
from mplframe.io.stores import Stores

STORES = Stores()


def tar(path: Path, names: Sequence[str]) -> Path:
    with tarfile.open(path, "w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def made(urls: list[str], cache: Path, *, labels_required: bool = True) -> tuple[Survey, Layouts]:
    shards = list_shards(urls, STORES)
    layouts = Layouts(shards, Indexes(cache, STORES), Access(shards, STORES, None), labels_required=labels_required)
    return survey(shards, layouts, cache), layouts


NAMES = ["a.cls", "a.jpg", "b.jpg", "c.cls", "c.txt", "d.JPEG", "d.json", "e.cls", "e.json", "e.png", "f.jpg"]


def test_the_image_and_the_label_of_each_usable_sample(tmp_path: Path) -> None:
    index = index_shard(tar(tmp_path / "a.tar", NAMES))
    layout, out = lay_out(index, "a.tar", labels_required=True)
    kinds = [index.extensions[i] for i in index.extension.tolist()]
    assert layout.keys(np.arange(len(layout))) == ["a", "d", "e"]
    assert [kinds[i] for i in layout.image.tolist()] == ["jpg", "jpeg", "png"]
    assert [kinds[i] for i in layout.label.tolist()] == ["cls", "json", "cls"]
    assert [key for key, _ in out] == ["c", "b", "f"]
    assert out[0][1].startswith("lacks an image or a video: it has .cls, .txt, allowed are .jpg, .jpeg")
    assert out[1][1].startswith("lacks a label: it has .jpg, allowed are .cls, .json; an extension begins at the first")
    layout, out = lay_out(index, "a.tar", labels_required=False)
    assert layout.keys(np.arange(len(layout))) == ["a", "b", "d", "e", "f"]
    assert [kinds[i] if i >= 0 else None for i in layout.label.tolist()] == ["cls", None, "json", "cls", None]
    assert [key for key, _ in out] == ["c"]


@pytest.mark.parametrize(("names", "what"), [(["a.jpg", "b.jpg"], "a label"), (["a.cls", "b.txt"], "an image")])
def test_a_shard_where_no_sample_is_usable_is_refused(tmp_path: Path, names: list[str], what: str) -> None:
    index = index_shard(tar(tmp_path / "a.tar", names))
    with pytest.raises(DataError, match=f"sample 'a' in a.tar, like every other in it: lacks {what}"):
        lay_out(index, "a.tar", labels_required=True)


def test_what_was_found_is_kept_until_a_shard_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, urls = tmp_path / "cache", write_shards(tmp_path / "s", [3, 4])
    damaged_tar = tar(tmp_path / "s" / "x.tar", NAMES)
    urls.append(str(damaged_tar))
    first = made(urls, cache)[0]
    assert first.counts == (3, 4, 3)
    assert first.sizes == tuple(Path(url).stat().st_size for url in urls)
    assert [(one.key, one.where) for one in first.damage] == [(key, str(damaged_tar)) for key in "cbf"]
    assert first.damage[1].reason.startswith(f"sample 'b' in {damaged_tar}: lacks a label: it has .jpg")
    assert made(urls, cache, labels_required=False)[0].counts == (3, 4, 5)
    with monkeypatch.context() as patch:
        patch.setattr(Layouts, "make", lambda *args: pytest.fail("looked again"))
        assert made(urls, cache)[0] == first
    tar(damaged_tar, NAMES[:2])
    assert made(urls, cache)[0].counts == (3, 4, 1)
    (kept, *_) = (cache / "surveys").iterdir()
    for file in (cache / "surveys").iterdir():
        file.write_bytes(file.read_bytes()[:-30])
    assert made(urls, cache)[0].counts == (3, 4, 1)
    assert kept.exists()


def test_layouts_in_memory_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = write_shards(tmp_path / "s", [5] * 6)
    _, layouts = made(urls, tmp_path / "cache")
    one = layouts.get(0).nbytes
    monkeypatch.setattr(surveys, "_IN_MEMORY", 3 * one + 8)
    _, layouts = made(urls, tmp_path / "cache")
    loaded: list[int] = []
    make = Layouts.make
    monkeypatch.setattr(Layouts, "make", lambda self, number: (loaded.append(number), make(self, number))[1])
    for number in (0, 1, 2, 0, 3, 0, 1, 4, 5):
        assert layouts.get(number).keys(np.arange(1)) == [f"{number * 5:05d}"]
    assert loaded == [0, 1, 2, 3, 1, 4, 5]
