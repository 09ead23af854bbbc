"""The best of each class: ranking, quotas, balance by repetition.

Two passes. The first counts candidates by class and by bin of their score; that tells in which bin the last one that
is kept lies. The second takes along the candidates from that bin up, few more than are kept, and sorts only those.
"""

from __future__ import annotations

from collections.abc import Sequence

from mplframe.errors import DataError
from mplframe.selection.config import SelectionConfig
from mplframe.selection.database import Engine

_BINS = 32
"""Bins for each factor e in the odds p / (1 - p): about 3 % of the odds each, however close to 0 or 1 they lie."""

_ORDER = 'score desc, shard, "index", class'


def score(config: SelectionConfig) -> str:
    """What candidates are ranked by, greater first, in SQL over their columns."""
    if config.order == "probability":
        return "probability"
    return hashed(config.seed, "order")


def hashed(seed: int, purpose: str) -> str:
    """An SQL expression: 64 bits that look random, the same on any machine.

    They are the first 16 hexadecimal digits of the MD5 of `purpose/seed/class/index/shard`.
    """
    return f"""('0x' || md5(concat_ws('/', '{purpose}', {seed}, class, "index", shard))[:16])::ubigint"""


def is_probability(column: str) -> str:
    """Whether a value lies in [0, 1], in SQL."""
    # Alone the second is taken for granted where a file's statistics, which leave NaN out, promise it.
    return f"(isfinite({column}) and {column} between 0 and 1)"


def count(engine: Engine, config: SelectionConfig, classes: int) -> list[int]:
    """Make the table `histogram` (class, bin, n, floor) of the view `candidates`.

    Returns:
        [C] candidates of each class.

    Raises:
        DataError: a class or probability can't be.
    """
    engine.run(f"""
        create temp table histogram as
        select class, {_bin(config)} as bin, count(*) as n, min(score) as floor,
               count(*) filter (where not ({is_probability("probability")})) as wrong
        from (select class, probability, {score(config)} as score from candidates) group by all
    """)
    counts = [0] * classes
    for c, n, wrong in engine.rows("select class, sum(n)::bigint, sum(wrong)::bigint from histogram group by class"):
        if wrong or c is None or not 0 <= c < classes:
            raise DataError(
                f"the scores hold {wrong} probabilities outside [0, 1]"
                if wrong
                else f"the scores hold class {c}, but their metadata say that there are {classes} classes"
            )
        counts[c] = n
    return counts


def keep(engine: Engine, config: SelectionConfig, limits: Sequence[int] | None) -> None:
    """Make the table `kept`: candidates and their score, without most of those that can't be among the best.

    Args:
        engine: has the view `candidates` and the table `histogram`.
        config: of the selection.
        limits: how many each pool keeps; see `quotas`.
    """
    scored = f"select *, {score(config)} as score from candidates"
    if limits is None:
        engine.run(f"create temp table kept as {scored}")
        return
    engine.run(f"""
        create temp table floors as
        select pool, min(floor) as floor from (
            select *, sum(n) over (partition by pool order by bin desc) - n as better from (
                select {_pool(config)} as pool, bin, sum(n) as n, min(floor) as floor from histogram group by all
            )
        ) join ({quota_table(limits)}) using (pool) where better < most group by pool
    """)
    engine.run(f"""
        create temp table kept as
        select scored.* from ({scored}) as scored join floors on {_pool(config)} = pool where score >= floor
    """)


def rank(engine: Engine, config: SelectionConfig, limits: Sequence[int] | None) -> None:
    """Make the table `ranked`: the best of the table `kept`, with their rank (0 is the best) within their class.

    The order is total: by score, then by shard, number and class.
    """
    by_class = f"row_number() over (partition by class order by {_ORDER}) - 1 as rank"
    if limits is None:
        engine.run(f"create temp table ranked as select *, {by_class} from kept")
        return
    # In one pool the places of a class's candidates are in the order of their ranks, so that cutting keeps ranks dense.
    place = f"row_number() over (order by {_ORDER}) - 1" if config.pooled else "rank"
    engine.run(f"""
        create temp table ranked as
        select * exclude (place, pool, most) from (
            select *, {place} as place, {_pool(config)} as pool from (select *, {by_class} from kept)
        ) join ({quota_table(limits)}) using (pool) where place < most
    """)


def _pool(config: SelectionConfig) -> str:
    return "0" if config.pooled else "class"


def quota_table(limits: Sequence[int]) -> str:
    """A query for the columns pool and most, of every pool."""
    return f"select unnest(range({len(limits)})) as pool, unnest({list(limits)}::bigint[]) as most"


def _bin(config: SelectionConfig) -> str:
    if config.order == "random":
        return "(score >> 48)::int"
    # Doubles: exact enough that the logarithm ascends from each float32 to the next. The odds of 0 and 1 are finite.
    odds = "greatest(probability::double, 1e-45) / greatest(1 - probability::double, 1e-8)"
    return f"try_cast(floor({_BINS} * ln({odds})) as int)"


def quotas(config: SelectionConfig, classes: int, tagged: Sequence[int]) -> list[int] | None:
    """The most candidates that each pool keeps: one pool for each class, or a single one where classes compete.

    Args:
        config: of the selection.
        classes: how many there are.
        tagged: [C] images tagged with each class; only looked at for `shares: tags`.

    Returns:
        None where nothing limits them.
    """
    if config.total is not None:
        return shares(tagged, config.total) if config.shares == "tags" else [config.total]
    if config.top_k is None:
        return None
    return list(config.top_k) if isinstance(config.top_k, tuple) else [config.top_k] * classes


def shares(counts: Sequence[int], total: int) -> list[int]:
    """Divide a total in proportion to counts, by largest remainders (ties: the lower class).

    Returns:
        Integers that sum to `total`.

    Raises:
        DataError: all counts are 0.

    Example:
        >>> shares([5, 3, 2], 7)
        [4, 2, 1]
    """
    everything = sum(counts)
    if not everything:
        raise DataError("shares: tags divides the total by how often each class is tagged, but no image has a tag")
    parts = [total * count // everything for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda c: -(total * counts[c] % everything))
    for c in by_remainder[: total - sum(parts)]:
        parts[c] += 1
    return parts


def repeats(config: SelectionConfig) -> str:
    """How many times an image is seen, in SQL over selected images and their columns class and most (its top_k).

    A class with n images of at most K has each of them K // n times; K % n of them, drawn by the seed, once more. So
    the class has K in all, and copies within it differ by one at most.
    """
    drawn = f'row_number() over (partition by class order by {hashed(config.seed, "repeat")}, shard, "index")'
    images = "count(*) over (partition by class)"
    return f"most // {images} + ({drawn} <= most % {images})::int"
