"""How often each selected image is repeated (Noisy Student, section 3.1: classes with few images get copies)."""

from __future__ import annotations

from mplframe.selection.config import SelectionConfig
from mplframe.selection.ranking import hashed


def repeats(config: SelectionConfig) -> str:
    """How many times an image is seen, in SQL over selected images and their columns class and most (its top_k).

    A class with n images of at most K has each of them K // n times; K % n of them, drawn by the seed, once more. So
    the class has K in all, and copies within it differ by one at most.
    """
    drawn = f'row_number() over (partition by class order by {hashed(config.seed, "repeat")}, shard, "index")'
    images = "count(*) over (partition by class)"
    return f"most // {images} + ({drawn} <= most % {images})::int"
