"""One manifest from those of partitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from mplframe.errors import DataError
from mplframe.selection.config import ResourceConfig
from mplframe.selection.engine import Engine, engine
from mplframe.selection.manifest import ManifestFormat, read_manifest_format
from mplframe.selection.outcome import finish
from mplframe.selection.quota import quotas
from mplframe.selection.ranking import score
from mplframe.selection.report import Report
from mplframe.selection.score_reader import ScoreFolder
from mplframe.stores.location import locate


def merge(
    manifests: Sequence[str],
    manifest: str,
    *,
    scores: ScoreFolder | None = None,
    resources: ResourceConfig | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Join the manifests of parts of the scores into what `select` makes of all of them, exactly.

    What is among the best of all is among the best of its part, so that no scores are needed again.

    Args:
        manifests: one or more, made with one config from scores of one teacher; no shard is in two of them.
        manifest: where to; a file there is replaced.
        scores: of all shards; needed where the config asks for distributions.
        resources: what it may use.
        storage_options: what fsspec's driver takes.

    Returns:
        What became of every image.

    Raises:
        DataError: manifests that don't belong together, or whose config needs all scores at once.
        RunError: memory and scratch folder are full.
    """
    forms = [read_manifest_format(url, storage_options=storage_options) for url in manifests]
    _check(manifests, forms, scores)
    config, form = forms[0].config, forms[0].scores
    with engine(resources or ResourceConfig()) as database:
        database.view("parts", [locate(url, storage_options) for url in manifests])
        _check_apart(database)
        truth = "truth" if form.label else "null::int"
        database.run(f"""
            create temp table kept as select *, {score(config)} as score from (
                select key, shard, "index", label as class, probability, {truth} as truth from parts
            )
        """)
        return finish(
            database,
            locate(manifest, storage_options),
            form=form,
            config=config,
            tally=reduce(add, (form.report.tally for form in forms)),
            limits=quotas(config, form.classes, ()),
            scores=scores,
        )


def _check(manifests: Sequence[str], forms: Sequence[ManifestFormat], scores: ScoreFolder | None) -> None:
    config = forms[0].config
    for url, form in zip(manifests, forms, strict=True):
        if different := forms[0].scores.differences(form.scores):
            raise DataError(f"{url} comes from scores with {different} ({manifests[0]}); merge those of one teacher")
        if form.config != config:
            raise DataError(f"{url} was selected with another config than {manifests[0]}; select with one config")
    if config.shares == "tags":
        raise DataError(
            "shares: tags divides by the tags of all images, so that parts can't be merged; select from all scores at "
            "once, or give each class its number by a list as top_k"
        )
    if config.repeated_keys == "first":
        raise DataError("repeated_keys: first compares the keys of all images; select from all scores at once")
    if config.distribution and scores is None:
        raise DataError("the config asks for distributions; give the folder of scores too")


def _check_apart(engine: Engine) -> None:
    twice = engine.rows("""
        select shard, list_sort(list(filename)) from (select distinct shard, filename from parts)
        group by shard having count(*) > 1 order by shard limit 1
    """)
    if twice:
        [(shard, files)] = twice
        raise DataError(f"{' and '.join(files[:2])} both hold images of {shard}; give each part of the scores once")
