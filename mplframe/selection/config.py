"""Which images a student learns from, and what choosing them may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from mplframe.config.base import BaseConfig

RULES = ("repeated_key", "untagged", "unscored_tag", "threshold", "top_k", "total")
"""Names that the report gives to what selection drops by itself; lists in `exclude` bring names of their own."""


class SelectionConfig(BaseConfig):
    """What becomes of scored images. With nothing set, every image is kept, with its most probable class.

    Billion-scale SSL (section 4): `top_p: 10, top_k: 16000`. Noisy Student (section 3.1): `threshold: 0.3,
    top_k: 130000, balance: true`. Table 5 of Billion-scale SSL: balanced-ranked is `top_p: 10, top_k: 8000`;
    unbalanced-ranked is `top_p: 10, total: 8000000, shares: tags`; balanced-with-tags is `candidates: tagged,
    order: random, top_k: 8000`.

    Attributes:
        candidates: the classes that an image is a candidate for: its `top_p` most probable, or those its tags name.
        top_p: how many classes an image is a candidate for, with `candidates: predicted`.
        threshold: a candidate needs at least this probability (compared as float32).
        order: the best candidates are the most probable ones, or random ones.
        top_k: the most images that a class gets; a list gives each class its own number. Null: no limit.
        total: in place of `top_k`, how many candidates are kept in all.
        shares: who gets how much of `total`: `none` keeps the best whatever their class, `tags` gives each class a
            part proportional to the images that are tagged with it.
        balance: repeat images of classes that have fewer than `top_k` until they have as many.
        repeated_keys: whether a key that occurs several times names several images, or one, of which the first copy
            (by shard and number) counts.
        exclude: lists of images that can't be selected, by the reason that the report gives: a text file with one key
            a line, or Parquet with a column `key`, or with `shard` and `index`. The first list with an image counts.
        distribution: copy the distribution over all classes into the manifest, for soft pseudo labels.
        seed: of everything random.
    """

    candidates: Literal["predicted", "tagged"] = "predicted"
    top_p: PositiveInt = 1
    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    order: Literal["probability", "random"] = "probability"
    top_k: PositiveInt | tuple[NonNegativeInt, ...] | None = None
    total: PositiveInt | None = None
    shares: Literal["none", "tags"] = "none"
    balance: bool = False
    repeated_keys: Literal["keep", "first"] = "keep"
    exclude: dict[str, str] = Field(default_factory=dict)
    distribution: bool = False
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _consistent(self) -> SelectionConfig:
        if self.top_k is not None and self.total is not None:
            raise ValueError("top_k limits each class and total all of them together; set one of the two")
        if self.shares == "tags" and self.total is None:
            raise ValueError("shares: tags divides a total; set total")
        if self.balance and self.top_k is None:
            raise ValueError("balance repeats images until a class has top_k; set top_k")
        if self.candidates == "tagged" and self.top_p != 1:
            raise ValueError("top_p counts predicted classes; leave it out with candidates: tagged")
        if taken := sorted(set(self.exclude) & set(RULES)):
            raise ValueError(f"{taken[0]!r} is the name of a rule; give the list in exclude another one")
        return self

    @property
    def limit(self) -> str | None:
        """Which setting limits how many are kept: `top_k`, `total`, or None."""
        if self.total is not None:
            return "total"
        return None if self.top_k is None else "top_k"

    @property
    def pooled(self) -> bool:
        """Whether candidates of all classes compete with each other."""
        return self.total is not None and self.shares == "none"

    @property
    def needs_tags(self) -> bool:
        """Whether scores without tags can't be selected from."""
        return self.candidates == "tagged" or self.shares == "tags"

    @property
    def needs_probability(self) -> bool:
        """Whether a candidate without a known probability can't be judged."""
        return self.order == "probability" or self.threshold > 0


class ResourceConfig(BaseConfig):
    """What selection may use. The result doesn't depend on it.

    Attributes:
        memory_gib: memory of the process, in GiB; what doesn't fit goes to `scratch`.
        threads: threads that compute.
        scratch: a folder on a disk with room for what doesn't fit into memory; null for the system's temporary folder.
    """

    memory_gib: PositiveFloat = 4.0
    threads: PositiveInt = 2
    scratch: str | None = None


class DeduplicationConfig(BaseConfig):
    """Which images count as copies of test images (Billion-scale SSL, supplement 5).

    Attributes:
        threshold: cosine similarity of the embeddings from which an image is a copy. The squared Euclidean distance of
            normalised embeddings is 2 - 2 times it.
        closest: how many of the closest pairs are listed for review, at least; the paper removed the 5,000 closest.
        batch: embeddings compared at a time.
    """

    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    closest: PositiveInt = 5000
    batch: PositiveInt = 4096
