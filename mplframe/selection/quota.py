"""How many images each class may have."""

from __future__ import annotations

from collections.abc import Sequence

from mplframe.errors import DataError
from mplframe.selection.config import SelectionConfig


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
