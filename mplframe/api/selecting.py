"""Selection as a product of its own: label, select, find duplicates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mplframe.api.configs import components
from mplframe.api.trained import load_trained
from mplframe.builders import open_dataset, open_images
from mplframe.config.load import overridden
from mplframe.config.resolve import resolve
from mplframe.contracts.data import Split, SplitName
from mplframe.data.damaged import Damaged, tolerant
from mplframe.errors import DataError
from mplframe.plugins import Components
from mplframe.selection.config import DeduplicationConfig, ResourceConfig, SelectionConfig
from mplframe.selection.deduplicate import closest_pairs, copies, write_pairs
from mplframe.selection.score_reader import ScoreFolder
from mplframe.selection.score_writer import ScoreWriter
from mplframe.selection.scores import ScoreFormat
from mplframe.selection.select import select as select_images
from mplframe.selection.storage import locate
from mplframe.tasks.scoring import Done, digest, embedding_size, score


def label(
    target: str | Path,
    images: str,
    out: str,
    *,
    split: SplitName = "unlabeled",
    checkpoint: str = "last",
    role: str | None = None,
    overrides: Sequence[str] = (),
    top_p: int = 10,
    distribution: Literal["float16", "float32"] | None = None,
    embedding: bool = False,
    installed: Components | None = None,
    done: Done | None = None,
) -> dict[str, Any]:
    """Score images with a trained network, shard by shard. Run again, it goes on with the shards that aren't there yet.

    Under torchrun every process takes its own shards.

    Args:
        target, checkpoint, overrides, installed: as of `load_trained`.
        images: a config file or a packed folder, whose `split` is scored; a folder of images; or the URL of shards.
        out: the folder for the scores, on any store.
        split: which, of a dataset that has several.
        role: which network; the one that the run is for by default.
        top_p: how many of the most probable classes are kept.
        distribution: type in which the whole distribution is kept; None leaves it out.
        embedding: keep what the last linear layer is given, to find duplicates by.
        done: told how far it is.

    Returns:
        `shards` scored by this process just now, and `damaged` samples by split.
    """
    trained = load_trained(target, checkpoint=checkpoint, overrides=overrides, installed=installed)
    name, network = trained.network(role)
    live, classes = trained.live, len(trained.classes)
    form = ScoreFormat(
        classes=classes,
        top_p=min(top_p, classes),
        checkpoint=digest(network.state_dict()),
        distribution=distribution,
        embedding=embedding_size(network) if embedding else None,
        label=True,
    )
    damaged = Damaged(live.config.input.max_damaged)
    shards = score(
        network,
        tolerant(_images(images, split, trained.classes, installed), split, damaged),
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
    resources: ResourceConfig | None = None,
) -> dict[str, Any]:
    """Choose images by their scores and write a manifest; see `mplframe.selection`.

    Args:
        scores: the folder that `label` wrote.
        out: the manifest.
        overrides: settings of the selection, such as `top_k=16000`.
        dropped: where to list what wasn't selected, with the reason of each.
        resources: what it may use.

    Returns:
        The report: what became of every image.
    """
    config = resolve(SelectionConfig, overridden({}, overrides), components().config)
    report = select_images(ScoreFolder(scores), out, config, resources=resources, dropped=dropped)
    return {**report.dump(), "out": out}


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


def _images(images: str, split: SplitName, classes: Sequence[str], installed: Components | None) -> Split:
    packed = Path(images).is_dir() and any(Path(images).glob("*-*.tar"))
    if not images.endswith((".yaml", ".yml")) and not packed:
        return open_images(images, classes)
    source, _ = open_dataset(images, (), installed or components())
    found = source.split(split)
    if found is None:
        raise DataError(f"{images} has no {split} split; choose another one (--split)")
    return found
