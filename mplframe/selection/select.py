"""Select pseudo-labeled samples from scores; merge what several selections found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from mplframe.errors import DataError
from mplframe.io.location import locate
from mplframe.selection import ranking
from mplframe.selection import rules as candidates
from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.database import Engine, engine
from mplframe.selection.manifest import ManifestFormat, read_manifest_format
from mplframe.selection.outcome import finish, tagged, tally
from mplframe.selection.ranking import quotas, score
from mplframe.selection.report import Report
from mplframe.selection.rules import load_exclusions, write_dropped
from mplframe.selection.score_files import ScoreFolder


def select(
    scores: ScoreFolder,
    manifest: str,
    config: SelectionConfig,
    *,
    resources: ResourceConfig | None = None,
    dropped: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Choose images by their scores and write the manifest.

    The result depends on the scores and the config alone: not on the order of files, on threads or on memory.

    Args:
        scores: what the teacher says.
        manifest: where to, on any store that fsspec knows; a file there is replaced.
        config: what is chosen.
        resources: what it may use.
        dropped: where to list the images that weren't selected, with the rule that dropped each; null lists none.
        storage_options: what fsspec's driver takes, for the manifest and for lists in `exclude`.

    Returns:
        What became of every image; the manifest's metadata hold it too.

    Raises:
        ConfigError: the scores lack what the config asks for.
        DataError: scores or a list can't be read, or hold what can't be.
        RunError: memory and scratch folder are full.
    """
    form = scores.form
    candidates.check(config, form)
    with engine(resources or ResourceConfig()) as database:
        database.view("scores", [file.location for file in scores.files])
        listed = load_exclusions(database, config.exclude, storage_options)
        rules = candidates.define(database, config, form)
        counted = tally(database, scores, config, rules, listed)
        limits = quotas(config, form.classes, tagged(database, form.classes) if config.shares == "tags" else ())
        ranking.keep(database, config, limits)
        report = finish(
            database,
            locate(manifest, storage_options),
            form=form,
            config=config,
            tally=counted,
            limits=limits,
            scores=scores,
        )
        if dropped is not None:
            write_dropped(database, locate(dropped, storage_options), rules, config, report)
    return report


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
