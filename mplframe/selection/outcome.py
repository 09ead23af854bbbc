"""What was chosen, counted by class and confidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mplframe.errors import DataError
from mplframe.io.location import Location
from mplframe.selection import ranking
from mplframe.selection.config import SelectionConfig
from mplframe.selection.database import Engine
from mplframe.selection.manifest import ManifestFormat, write_manifest
from mplframe.selection.ranking import quota_table, rank, repeats
from mplframe.selection.report import BINS, Report, Tally
from mplframe.selection.score_files import ScoreFile, ScoreFolder
from mplframe.selection.scores import ScoreFormat


def with_distribution(rows: Iterable[pa.RecordBatch], scores: ScoreFolder) -> Iterator[pa.RecordBatch]:
    """The same rows with the column `distribution`; one shard's distributions are in memory at a time.

    Args:
        rows: sorted by `shard`, with `index`.
        scores: of these shards.
    """
    files = {file.shard: file for file in scores.files}
    current, table = None, pa.table({})
    for batch in rows:
        shards = batch.column("shard").to_numpy(zero_copy_only=False)
        starts = [0, *(np.flatnonzero(shards[1:] != shards[:-1]) + 1), len(shards)]
        for start, stop in pairwise(starts):
            part = batch.slice(start, stop - start)
            if shards[start] != current:
                current = shards[start]
                table = _read(files[current])
            places = np.searchsorted(table["index"].to_numpy(), part.column("index").to_numpy())
            found = table["distribution"].take(pa.array(places)).combine_chunks()
            yield part.append_column("distribution", found)


def _read(file: ScoreFile) -> pa.Table:
    with file.location.reading(), file.location.fs.open(file.location.path, "rb") as stream:
        return pq.read_table(stream, columns=["index", "distribution"])


def tally(
    engine: Engine, scores: ScoreFolder, config: SelectionConfig, rules: Sequence[str], listed: Mapping[str, int]
) -> Tally:
    """Count the view `images`, and the view `candidates` into the table `histogram`.

    Args:
        engine: has the views.
        scores: what they are over.
        config: of the selection.
        rules: the names of the rules in force, by number.
        listed: how many images each list names.

    Raises:
        DataError: the scores hold classes or probabilities that can't be.
    """
    classes = scores.form.classes
    dropped, predicted, confidence = [0] * (len(rules) + 1), [0] * classes, [0] * BINS
    counts = engine.rows(f"select rule, top, {histogram_bin('confidence')} as bin, count(*) from images group by all")
    for rule, top, at, n in counts:
        if top is None or not 0 <= top < classes or at is None:
            raise DataError(
                f"the scores of {n} images can't be right: their most probable class is {top}, of 0 to {classes - 1}, "
                "or its probability isn't in [0, 1]; label again"
            )
        dropped[-1 if rule is None else rule] += n
        predicted[top] += n
        confidence[at] += n
    assert sum(dropped) == scores.images, "the database sees other images than the metadata of the files count"
    return Tally(
        images=scores.images,
        listed=dict(listed),
        dropped=dict(zip(rules, dropped, strict=False)),
        predicted=tuple(predicted),
        candidates=tuple(ranking.count(engine, config, classes)),
        confidence=tuple(confidence),
    )


def tagged(engine: Engine, classes: int) -> list[int]:
    """[C] images, of those that no rule drops, by the classes that their tags name."""
    counts = [0] * classes
    for tag, n in engine.rows("""
        select tag, count(*) from (select unnest(list_distinct(tags)) tag from images where rule is null) group by tag
    """):
        if not 0 <= tag < classes:
            raise DataError(f"{n} images are tagged with class {tag}, of 0 to {classes - 1}; label again")
        counts[tag] = n
    return counts


def histogram_bin(probability: str) -> str:
    """The bin of a probability, in SQL: equal bins of [0, 1], 1 in the last; null where it is no probability."""
    at = f"least(floor({probability}::double * {BINS}), {BINS - 1})::int"
    return f"case when {ranking.is_probability(probability)} then {at} end"


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
