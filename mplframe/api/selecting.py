"""Selection as a product of its own: label, select, find duplicates."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, Literal

from mplframe.api.configs import components
from mplframe.api.trained import load_trained
from mplframe.builders import open_dataset, open_images
from mplframe.config.load import overridden
from mplframe.config.resolve import resolve
from mplframe.contracts.data import Split, SplitName
from mplframe.data.damaged import Damaged, tolerant
from mplframe.data.inspecting.sheets import TILE, Tile, tile_sheet
from mplframe.data.manifests import check_key
from mplframe.data.shards.members import class_names
from mplframe.data.shards.source import WebDataset
from mplframe.errors import DataError, UserError, writing
from mplframe.inference.scoring import Done, digest, embedding_size, score
from mplframe.io.location import locate
from mplframe.plugins import Components
from mplframe.selection.config import DeduplicationConfig, ResourceConfig, SelectionConfig
from mplframe.selection.duplicates import closest_pairs, copies, write_pairs
from mplframe.selection.examples import Example, examples
from mplframe.selection.score_files import ScoreFolder, ScoreWriter
from mplframe.selection.scores import ScoreFormat
from mplframe.selection.select import select as select_images

JSON, FIGURE, EXAMPLES = "report.json", "selection.png", "examples.png"


def write_report(
    report: Mapping[str, Any],
    manifest: str,
    folder: Path,
    *,
    names: Sequence[str] = (),
    resources: ResourceConfig | None = None,
) -> str:
    """Write `report.json`, `selection.png` and, where the images can be reached, `examples.png`.

    Args:
        report: of the selection.
        manifest: where it lies.
        folder: made if need be; what an earlier selection has left there is replaced.
        names: of the classes, in index order; numbers where there are none.
        resources: what it may use.

    Returns:
        What is there, and why there are no examples where there are none: one line.

    Raises:
        UserError: the folder can't be written.
        RunError: the disk is full.
    """
    from mplframe.report.figures import selection_figure  # matplotlib, slow to import

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        selection_figure(report, folder / FIGURE, names)
        (folder / EXAMPLES).unlink(missing_ok=True)
    chosen = examples(manifest, resources=resources)
    if not chosen:
        return f"{folder} has {JSON} and {FIGURE}; there is no image with a probability to show"
    try:
        rows = _tiles(chosen, names or [str(c) for c in range(len(report["rows_by_class"]))])
    except UserError as error:
        return f"{folder} has {JSON} and {FIGURE}, but no examples, because the images can't be read: {error}"
    tile_sheet(rows, folder / EXAMPLES)
    with_rows = sum(map(bool, report["rows_by_class"]))
    return (
        f"{folder} has {JSON}, {FIGURE} and {EXAMPLES}: a row for each of {len(rows)} of {with_rows} classes, "
        "the most probable images first, the least probable ones last"
    )


def _tiles(chosen: Sequence[Sequence[Example]], names: Sequence[str]) -> list[list[Tile]]:
    wanted = list(chain.from_iterable(chosen))
    shards = sorted({example.shard for example in wanted})
    split = WebDataset(WebDataset.Config(unlabeled=shards, classes=list(names))).split("unlabeled")
    assert split is not None, "it has a URL"
    starts = dict(zip(split.group_names, accumulate(split.group_sizes, initial=0), strict=False))
    numbers = [starts[example.shard] + example.index for example in wanted]
    if max(numbers) >= len(split):
        raise DataError("the shards have changed since; label and select again")
    samples = split.scaled(TILE).read(numbers)
    for example, sample in zip(wanted, samples, strict=True):
        check_key(sample.key, example.key, example.shard)
    tiles = (Tile(s.image, _caption(e, names)) for e, s in zip(wanted, samples, strict=True))
    return [list(islice(tiles, len(row))) for row in chosen]


def _caption(example: Example, names: Sequence[str]) -> str:
    """The class and its probability; an exclamation mark where it is known to be wrong."""
    wrong = "!" if example.truth not in (None, example.label) else ""
    return f"{example.probability:.2f}{wrong} {names[example.label]}"


def label(
    target: str | Path,
    images: str,
    out: str,
    *,
    split: SplitName = "unlabeled",
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    trust: bool = False,
    top_p: int = 10,
    distribution: Literal["float16", "float32"] | None = None,
    embedding: bool = False,
    tags: str | None = None,
    tag_classes: str | None = None,
    installed: Components | None = None,
    done: Done | None = None,
) -> dict[str, Any]:
    """Score images with a trained network, shard by shard; under torchrun every process takes its own shards.

    Run again, it goes on with the shards that aren't there yet.

    Args:
        target, checkpoint, overrides, trust, installed: as of `load_trained`.
        images: a config file or a packed folder, whose `split` is scored; a folder of images; or the URL of shards.
        out: the folder for the scores, on any store.
        split: which, of a dataset that has several.
        role: which network; the one that the run is for by default.
        top_p: how many of the most probable classes are kept.
        distribution: type in which the whole distribution is kept; None leaves it out.
        embedding: keep what the last linear layer is given, to find duplicates by.
        tags, tag_classes: as of `data.tag_key` and `data.tag_classes`: tags are kept, to select by.
        done: told how far it is.

    Returns:
        `shards` scored by this process just now, and `damaged` samples by split.
    """
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, trust=trust, installed=installed)
    (name, network), live, classes = trained.network(role), trained.live, len(trained.classes)
    damaged = Damaged(live.config.input.max_damaged)
    scored = tolerant(_images(images, split, trained.classes, installed, tags, tag_classes), split, damaged)
    form = ScoreFormat(
        classes=classes,
        top_p=min(top_p, classes),
        checkpoint=digest(live.backend.host(network.state_dict())),
        distribution=distribution,
        embedding=embedding_size(network) if embedding else None,
        label=True,
        tags=scored.tags([]) is not None,
    )
    shards = score(
        network,
        scored,
        ScoreWriter(out, form),
        inputs=lambda part, numbers: live.streams.inputs(part, trained.size, numbers),
        backend=live.backend,
        share=(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))),
        done=done,
    )
    return {"shards": shards, "role": name, "damaged": damaged.counts, "out": out}


def select(
    scores: str,
    out: str,
    *,
    overrides: Sequence[str] = (),
    dropped: str | None = None,
    report: str | Path | None = None,
    classes: str | None = None,
    resources: ResourceConfig | None = None,
) -> dict[str, Any]:
    """Choose images by their scores and write a manifest; see `mplframe.selection`.

    Args:
        scores: the folder that `label` wrote.
        out: the manifest.
        overrides: settings of the selection, such as `top_k=16000`.
        dropped: where to list what wasn't selected, with the reason of each.
        report: a folder for the report, a figure and examples; see `selection_report.write_report`.
        classes: the path or URL of the names of the classes; numbers by default.
        resources: what it may use.

    Returns:
        The report: what became of every image. With `classes` also the `names`, with `report` also what is in it.
    """
    config = resolve(SelectionConfig, overridden({}, overrides), components().config)
    names = () if classes is None else class_names(classes)
    opened = ScoreFolder(scores)
    if names and len(names) != opened.form.classes:
        raise DataError(f"{scores} are about {opened.form.classes} classes, but {classes} names {len(names)}")
    found = select_images(opened, out, config, resources=resources, dropped=dropped).dump()
    told = (
        {} if report is None else {"report": write_report(found, out, Path(report), names=names, resources=resources)}
    )
    return {**found, "out": out, "names": list(names), **told}


def duplicates(scores: str, test: str, out: str, *, threshold: float = 0.95, threads: int = 1) -> dict[str, Any]:
    """Find unlabeled images that are copies of test images, by their embeddings.

    Args:
        scores: of the unlabeled images, with embeddings.
        test: scores of the test images, by the same network.
        out: Parquet, for `exclude` of a selection.
        threshold: cosine similarity from which an image is a copy.
        threads: of the search.

    Returns:
        `copies`, and the similarity of the closest pair, `closest`.
    """
    config = DeduplicationConfig(threshold=threshold)
    pairs = closest_pairs(ScoreFolder(scores), ScoreFolder(test), config, threads=threads)
    found = copies(pairs, config)
    write_pairs(found, locate(out))
    closest: Mapping[str, Any] = pairs.slice(0, 1).to_pylist()[0] if len(pairs) else {}
    return {"copies": len(found), "closest": closest.get("similarity"), "out": out}


def _images(
    images: str,
    split: SplitName,
    classes: Sequence[str],
    installed: Components | None,
    tags: str | None,
    tag_classes: str | None,
) -> Split:
    if tag_classes is not None and tags is None:
        raise UserError("--tag-classes says what tags mean; say with --tags KEY where they are")
    packed = Path(images).is_dir() and any(Path(images).glob("*-*.tar"))
    if not images.endswith((".yaml", ".yml")) and not packed:
        return open_images(images, classes, tag_key=tags, tag_classes=tag_classes)
    source, config = open_dataset(images, (), installed or components())
    if tags is not None:
        if not isinstance(config, WebDataset.Config):
            raise UserError(f"{images}: tags are read from shards, and the dataset {config.name!r} isn't made of them")
        source = WebDataset(config.model_copy(update={"tag_key": tags, "tag_classes": tag_classes}))
    found = source.split(split)
    if found is None:
        raise DataError(f"{images} has no {split} split; choose another one (--split)")
    return found
