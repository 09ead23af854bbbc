"""Whether a checkpoint belongs to a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mplframe.contracts.method import Stage
from mplframe.errors import CheckpointError


def check_identity(saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """See that a checkpoint was made by the same configuration on the same data.

    Raises:
        CheckpointError: lists what differs, each with its path and both values.
    """
    found = list(differences(saved, present))
    if found:
        shown = "\n".join(f"  {line}" for line in found[:10])
        more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
        raise CheckpointError(
            f"the checkpoint was made by another configuration, so it can't go on from there:\n{shown}{more}\n"
            "give the configuration that it was made with, another folder (--out DIR), or --resume never to start over"
        )


def restore(stage: Stage, state: Mapping[str, Any]) -> None:
    """Give a stage the state of a checkpoint.

    Raises:
        CheckpointError: it is the state of other networks; says what doesn't fit.
    """
    try:
        stage.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError) as error:
        # torch lists every key and shape that doesn't fit; the first of them say enough.
        reason = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"the checkpoint's networks aren't those of this configuration: {reason}. Give the configuration that it "
            "was made with, or start over with --resume never"
        ) from error


def differences(saved: Any, present: Any, path: str = "") -> Iterator[str]:
    """`path: saved -> present` for every leaf that differs."""
    if isinstance(saved, Mapping) and isinstance(present, Mapping):
        for key in [*saved, *(key for key in present if key not in saved)]:
            yield from differences(saved.get(key), present.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(saved, list | tuple) and isinstance(present, list | tuple) and len(saved) == len(present):
        for i, (a, b) in enumerate(zip(saved, present, strict=True)):
            yield from differences(a, b, f"{path}.{i}")
    elif saved != present:
        yield f"{path}: {saved!r} then, {present!r} now"
