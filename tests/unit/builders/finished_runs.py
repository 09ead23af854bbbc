"""Small finished runs on the digits, to begin networks with."""

from pathlib import Path
from typing import Any

import mplframe

SMALL: dict[str, Any] = {"name": "small_cnn", "channels": 4, "blocks": 2}


def finish(out: Path, *, network: Any = SMALL, **more: Any) -> Path:
    """A run of two steps, whose student keeps an average."""
    student = {"network": network, "optimizer": {"name": "sgd", "lr": 0.5}, "schedule": "constant", "ema": 0.5}
    method = {"name": "supervised", "steps": 2, "batch": 8, "student": student}
    settings = {
        "data": {"name": "digits", "cache": str(out.parent / "cache")},
        "input": {"size": 8, "channels": 1, "workers": 0},
        "method": method,
        "backend": {"name": "single", "device": "cpu"},
        "trackers": [],
        **more,
    }
    mplframe.run(mplframe.from_dict(settings), out=out)
    return out
