"""From scores to a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mplframe.selection import candidates, ranking
from mplframe.selection.config import ResourceConfig, SelectionConfig
from mplframe.selection.dropped import write_dropped
from mplframe.selection.engine import engine
from mplframe.selection.exclusion import load_exclusions
from mplframe.selection.outcome import finish
from mplframe.selection.quota import quotas
from mplframe.selection.report import Report
from mplframe.selection.score_reader import ScoreFolder
from mplframe.selection.tally import tagged, tally
from mplframe.stores.location import locate


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
