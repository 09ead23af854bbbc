"""`KEY.assigned.json`: what was assigned to a sample, beside its image in a shard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mplframe.contracts.batch import UNKNOWN
from mplframe.errors import DamageError

ASSIGNED = "assigned.json"
"""The extension."""

ANY_CLASS = 100_000
"""Classes to allow for where only shards are given: then nothing can be held against a list of names."""


def one_hot(label: int, classes: int) -> npt.NDArray[np.float32]:
    """[C] all on one class."""
    row = np.zeros(classes, np.float32)
    row[label] = 1.0
    return row


def write_assigned(
    label: int, *, truth: int, probabilities: npt.NDArray[np.floating[Any]] | None, **facts: Any
) -> bytes:
    """The member's content.

    Args:
        label: the class that the sample is taken for.
        truth: its true class, or `UNKNOWN`.
        probabilities: [C] that the sample is taken for instead; float16 or float32.
        facts: what else to tell of it, plain JSON values.
    """
    said: dict[str, Any] = {"class": label, "truth": None if truth == UNKNOWN else truth, **facts}
    if probabilities is not None:
        # As short as single precision can be told exactly.
        said["probabilities"] = [float(str(value)) for value in np.asarray(probabilities, np.float32)]
    return json.dumps(said).encode()


def read_assigned(content: bytes, name: str, classes: Sequence[str]) -> tuple[int, npt.NDArray[np.float32]]:
    """The true class, or `UNKNOWN`, and [C] the probabilities that the sample is taken for.

    Args:
        content: of the member.
        name: of the sample and where it lies, for errors.
        classes: names, in index order.

    Raises:
        DamageError: it isn't what `write_assigned` writes, or has other classes.
    """
    try:
        said = json.loads(content)
        label, truth, probabilities = int(said["class"]), said["truth"], said.get("probabilities")
        target = one_hot(label, len(classes)) if probabilities is None else np.array(probabilities, np.float32)
        known = UNKNOWN if truth is None else int(truth)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DamageError(f"{name}: its .{ASSIGNED} can't be used ({error!r}); collect the shard again") from error
    if max(label, known) >= len(classes) or min(label, known) < UNKNOWN:
        raise DamageError(f"{name}: its .{ASSIGNED} names class {label} (truth {known}) of {len(classes)} classes")
    if len(target) != len(classes) != ANY_CLASS:
        raise DamageError(
            f"{name}: its .{ASSIGNED} has {len(target)} probabilities, but data.classes gives {len(classes)} classes"
        )
    return known, target
