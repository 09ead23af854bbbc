"""Counting scored images and what the rules drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mplframe.errors import DataError
from mplframe.selection import ranking
from mplframe.selection.config import SelectionConfig
from mplframe.selection.engine import Engine
from mplframe.selection.report import BINS, Tally
from mplframe.selection.score_reader import ScoreFolder


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
