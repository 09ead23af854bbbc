"""From the best candidates to the manifest and its report."""

from __future__ import annotations

from collections.abc import Sequence

from mplframe.selection.balance import repeats
from mplframe.selection.config import SelectionConfig
from mplframe.selection.distribution import with_distribution
from mplframe.selection.engine import Engine
from mplframe.selection.manifest import ManifestFormat, write_manifest
from mplframe.selection.ranking import quota_table, rank
from mplframe.selection.report import BINS, Report, Tally
from mplframe.selection.score_reader import ScoreFolder
from mplframe.selection.scores import ScoreFormat
from mplframe.selection.tally import histogram_bin
from mplframe.stores.location import Location

_ROWS = 100_000


def finish(
    engine: Engine,
    manifest: Location,
    *,
    form: ScoreFormat,
    config: SelectionConfig,
    tally: Tally,
    limits: Sequence[int] | None,
    scores: ScoreFolder | None,
) -> Report:
    """Rank and repeat the candidates in the table `kept`, into the table `selected`, and write the manifest.

    Args:
        engine: has the table.
        manifest: where to.
        form: of the scores.
        config: of the selection.
        tally: the images before this.
        limits: how many each pool keeps; see `quotas`.
        scores: where distributions come from; only looked at where the config asks for them.
    """
    rank(engine, config, limits)
    engine.run("drop table kept")
    if config.balance and limits:
        engine.run(f"""
            create temp table selected as
            select *, {repeats(config)} as repeat from ranked join ({quota_table(limits)}) on class = pool
        """)
        engine.run("drop table ranked")
    else:
        engine.run("create temp view selected as select *, 1 as repeat from ranked")
    report = _report(engine, config, form.classes, tally, limits)
    rows = engine.batches(
        'select key, shard, "index", class as label, probability, rank, repeat, truth from selected '
        'order by shard, "index", label',
        _ROWS,
    )
    if config.distribution:
        assert scores is not None, "distributions come from scores"
        rows = with_distribution(rows, scores)
    write_manifest(manifest, ManifestFormat(scores=form, config=config, report=report), rows)
    return report


def _report(
    engine: Engine, config: SelectionConfig, classes: int, tally: Tally, limits: Sequence[int] | None
) -> Report:
    rows, copies = [0] * classes, [0] * classes
    known = correct = 0
    for c, n, seen, having, right in engine.rows("""
        select class, count(*), sum(repeat)::bigint, count(truth), count(*) filter (where truth = class)
        from selected group by class
    """):
        rows[c], copies[c], known, correct = n, seen, known + having, correct + right
    confidence = [0] * BINS
    for at, n in engine.rows(f"select {histogram_bin('probability')} as bin, count(*) from selected group by bin"):
        if at is not None:
            confidence[at] = n
    _check(config, rows, tally, limits)
    [(selected,)] = engine.rows('select count(*) from (select distinct shard, "index" from selected)')
    beyond = {} if config.limit is None else {config.limit: tally.eligible - selected}
    return Report(
        tally=tally,
        dropped={**tally.dropped, **beyond},
        selected=selected,
        rows=sum(rows),
        copies=sum(copies),
        rows_by_class=tuple(rows),
        copies_by_class=tuple(copies),
        confidence=tuple(confidence),
        known=known,
        correct=correct,
    )


def _check(config: SelectionConfig, rows: Sequence[int], tally: Tally, limits: Sequence[int] | None) -> None:
    """Each pool has as many as it may, or as there are."""
    if limits is None:
        limits = tally.candidates
    pools = (sum(rows),) if config.pooled else rows
    there = (sum(tally.candidates),) if config.pooled else tally.candidates
    expected = [min(most, n) for most, n in zip(limits, there, strict=True)]
    assert list(pools) == expected, "a class has more or fewer images than its candidates allow"
