"""Small tables of scores, and selection from them by brute force."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.score_files import ScoreFolder, ScoreWriter
from mplframe.selection.scores import ScoreBatch, ScoreFormat

SMALL = ResourceConfig(memory_gib=0.5, threads=1)


@dataclass(frozen=True)
class Scored:
    """One scored image."""

    key: str
    shard: str
    index: int
    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    tags: tuple[int, ...] = ()
    label: int = -1


def scored(
    seed: int, shards: Sequence[int], *, classes: int = 5, top_p: int = 3, levels: int = 8, keys: int = 10**6
) -> list[Scored]:
    """Random images; few `levels` of probability make ties, few `keys` make repeated keys. Numbers have gaps."""
    rng = np.random.default_rng(seed)
    images = []
    for shard, count in enumerate(shards):
        numbers = np.sort(rng.choice(3 * count + 1, count, replace=False))
        for index in numbers.tolist():
            chances = -np.sort(-rng.integers(0, levels + 1, top_p) / levels)
            images.append(
                Scored(
                    key=f"k{rng.integers(keys)}",
                    shard=f"s3://bucket/{shard:02d}/part.tar",
                    index=index,
                    classes=tuple(rng.permutation(classes)[:top_p].tolist()),
                    probabilities=tuple(np.float32(chances).tolist()),
                    tags=tuple(rng.choice(classes, rng.integers(0, 3), replace=False).tolist()),
                    label=int(rng.integers(-1, classes)),
                )
            )
    return images


def batch(images: Sequence[Scored], form: ScoreFormat) -> ScoreBatch:
    """The arrays of images of one shard. A distribution and an embedding tell whose they are."""
    numbers = np.array([image.index for image in images], np.int64)
    return ScoreBatch(
        keys=[image.key for image in images],
        index=numbers,
        classes=np.array([image.classes for image in images]).reshape(-1, form.top_p),
        probabilities=np.array([image.probabilities for image in images]).reshape(-1, form.top_p),
        distribution=numbers[:, None] + np.arange(form.classes) / 16 if form.distribution else None,
        embedding=numbers[:, None] + np.ones(form.embedding) if form.embedding else None,
        label=np.array([image.label for image in images], np.int64) if form.label else None,
        tags=[image.tags for image in images] if form.tags else None,
    )


def form(classes: int = 5, top_p: int = 3, **settings: object) -> ScoreFormat:
    return ScoreFormat.model_validate(
        {"classes": classes, "top_p": top_p, "checkpoint": "sha256:0", "label": True, "tags": True, **settings}
    )


def write(folder: Path | str, images: Sequence[Scored], like: ScoreFormat) -> ScoreFolder:
    """A folder with the scores of these images."""
    writer = ScoreWriter(str(folder), like)
    for shard in sorted({image.shard for image in images}):
        with writer.shard(shard) as scores:
            scores.add(batch([image for image in images if image.shard == shard], like))
    return ScoreFolder(str(folder))


def rows(manifest: Path | str) -> list[tuple[object, ...]]:
    """(shard, index, label, key, probability, rank, repeat) of each row."""
    names = ("shard", "index", "label", "key", "probability", "rank", "repeat")
    return [tuple(row[name] for name in names) for row in pq.read_table(manifest).to_pylist()]


Candidate = tuple[Scored, int, float | None]


def by_hash(seed: int, purpose: str, image: Scored, label: int) -> int:
    text = f"{purpose}/{seed}/{label}/{image.index}/{image.shard}"
    return int(hashlib.md5(text.encode()).hexdigest()[:16], 16)


def brute_force(
    images: Sequence[Scored], config: SelectionConfig, lists: dict[str, set[object]] | None = None, classes: int = 5
) -> tuple[list[tuple[object, ...]], Counter[str]]:
    """The rows that the manifest must have, and how many images each rule must drop: everything sorted, in Python."""
    dropped: Counter[str] = Counter()
    eligible: list[list[Candidate]] = []
    tags: Counter[int] = Counter()
    first = {}
    for image in sorted(images, key=lambda image: (image.shard, image.index)):
        first.setdefault(image.key, image)
    for image in images:
        rule, candidates = _judge(image, config, lists or {}, first)
        if rule:
            dropped[rule] += 1
        else:
            eligible.append(candidates)
            tags.update(image.tags)
    ranked = sorted((c for candidates in eligible for c in candidates), key=lambda c: _order(c, config))
    best = _limit(ranked, config, tags, classes)
    if config.limit:
        dropped[config.limit] = len(eligible) - len({(c[0].shard, c[0].index) for c in best})
    return sorted(_with_repeats(best, config), key=lambda row: row[:3]), dropped


def _judge(
    image: Scored, config: SelectionConfig, lists: dict[str, set[object]], first: dict[str, Scored]
) -> tuple[str | None, list[Candidate]]:
    for name, listed in lists.items():
        if image.key in listed or (image.shard, image.index) in listed:
            return name, []
    if config.repeated_keys == "first" and first[image.key] is not image:
        return "repeated_key", []
    known = dict(zip(image.classes, image.probabilities, strict=True))
    labels = image.tags if config.candidates == "tagged" else image.classes[: config.top_p]
    candidates: list[Candidate] = [(image, label, known.get(label)) for label in labels]
    if not candidates:
        return "untagged", []
    if not config.needs_probability:
        return None, candidates
    candidates = [c for c in candidates if c[2] is not None]
    if not candidates:
        return "unscored_tag", []
    candidates = [c for c in candidates if c[2] >= np.float32(config.threshold)]  # type: ignore[operator]
    return (None, candidates) if candidates else ("threshold", [])


def _order(candidate: Candidate, config: SelectionConfig) -> tuple[object, ...]:
    image, label, probability = candidate
    score = probability if config.order == "probability" else by_hash(config.seed, "order", image, label)
    assert score is not None
    return (-score, image.shard, image.index, label)


def _limit(ranked: list[Candidate], config: SelectionConfig, tags: Counter[int], classes: int) -> list[Candidate]:
    if config.pooled:
        return ranked[: config.total]
    if config.total is not None:
        exact = [config.total * tags[c] / sum(tags.values()) for c in range(classes)]
        most = [int(share) for share in exact]
        for c in sorted(range(classes), key=lambda c: (most[c] - exact[c], c))[: config.total - sum(most)]:
            most[c] += 1
    elif config.top_k is None:
        return ranked
    else:
        most = list(config.top_k) if isinstance(config.top_k, tuple) else [config.top_k] * classes
    by_class: dict[int, list[Candidate]] = defaultdict(list)
    for candidate in ranked:
        by_class[candidate[1]].append(candidate)
    return [c for label, those in by_class.items() for c in those[: most[label]]]


def _with_repeats(best: list[Candidate], config: SelectionConfig) -> list[tuple[object, ...]]:
    found = []
    for label in {c[1] for c in best}:
        those = sorted((c for c in best if c[1] == label), key=lambda c: _order(c, config))
        repeat = dict.fromkeys(range(len(those)), 1)
        if config.balance:
            most = config.top_k[label] if isinstance(config.top_k, tuple) else config.top_k
            assert most is not None
            drawn = sorted(
                range(len(those)),
                key=lambda n: (
                    by_hash(config.seed, "repeat", those[n][0], label),
                    those[n][0].shard,
                    those[n][0].index,
                ),
            )
            repeat = {n: most // len(those) + (place < most % len(those)) for place, n in enumerate(drawn)}
        found += [
            (image.shard, image.index, label, image.key, probability, rank, repeat[rank])
            for rank, (image, label, probability) in enumerate(those)
        ]
    return found
