"""What became of every scored image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, model_validator

from mplframe.config.base import BaseConfig

BINS = 20
"""Bins of the histograms of confidence, equally wide in [0, 1]."""

Counts = tuple[NonNegativeInt, ...]
Histogram = Annotated[Counts, Field(min_length=BINS, max_length=BINS)]


class Tally(BaseConfig):
    """Scored images before the best are chosen; those of partitions add up.

    Attributes:
        images: scored images.
        listed: how many images each list in `exclude` names, whether they were scored or not.
        dropped: images that each rule has dropped; an image counts for the first that does.
        predicted: [C] images by their most probable class.
        candidates: [C] candidates by class: images that no rule has dropped, each counted for each of its classes.
        confidence: images by the probability of their most probable class, in equal bins of [0, 1].
    """

    images: NonNegativeInt
    listed: dict[str, NonNegativeInt]
    dropped: dict[str, NonNegativeInt]
    predicted: Counts
    candidates: Counts
    confidence: Histogram

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            images=self.images + other.images,
            listed=self.listed,
            dropped={rule: n + other.dropped[rule] for rule, n in self.dropped.items()},
            predicted=_added(self.predicted, other.predicted),
            candidates=_added(self.candidates, other.candidates),
            confidence=_added(self.confidence, other.confidence),
        )

    @property
    def eligible(self) -> int:
        """Images that no rule has dropped."""
        return self.images - sum(self.dropped.values())


class Report(BaseConfig):
    """The account of a selection: images = selected + everything dropped.

    Attributes:
        tally: the images before the best were chosen.
        dropped: images that each rule has dropped, now with those that weren't among the best (`top_k` or `total`).
        selected: images in the manifest.
        rows: rows of the manifest: an image has one for each class that it was selected for.
        copies: how many samples the manifest stands for: rows, each counted as often as it is repeated.
        rows_by_class: [C].
        copies_by_class: [C].
        confidence: rows by their probability, in equal bins of [0, 1]; rows without a probability are in none.
        known: rows whose true class is known.
        correct: rows whose true class is their label.
    """

    tally: Tally
    dropped: dict[str, NonNegativeInt]
    selected: NonNegativeInt
    rows: NonNegativeInt
    copies: NonNegativeInt
    rows_by_class: Counts
    copies_by_class: Counts
    confidence: Histogram
    known: NonNegativeInt
    correct: NonNegativeInt

    @model_validator(mode="after")
    def _every_image_is_accounted_for(self) -> Report:
        assert self.tally.images == self.selected + sum(self.dropped.values()), "an image is unaccounted for"
        assert self.tally.images == sum(self.tally.predicted), "an image has no class"
        assert self.tally.images == sum(self.tally.confidence), "an image has no confidence"
        assert all(self.dropped.get(rule) == n for rule, n in self.tally.dropped.items()), "a rule is unaccounted for"
        assert self.rows == sum(self.rows_by_class), "a row is unaccounted for"
        assert self.copies == sum(self.copies_by_class), "a copy is unaccounted for"
        repeated = zip(self.copies_by_class, self.rows_by_class, strict=True)
        assert all(copies >= rows for copies, rows in repeated), "a class has fewer copies than rows"
        return self

    @property
    def empty_classes(self) -> list[int]:
        """Classes that got no image."""
        return [c for c, n in enumerate(self.rows_by_class) if not n]


def _added(one: Counts, other: Counts) -> Counts:
    return tuple(a + b for a, b in zip(one, other, strict=True))
