"""The folder of everything that is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(given: str | None = None) -> Path:
    """Where copies and indexes lie: `given`, else `MPLFRAME_CACHE`, else `mplframe` in the XDG cache folder."""
    if given or os.environ.get("MPLFRAME_CACHE"):
        return Path(given or os.environ["MPLFRAME_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mplframe"
