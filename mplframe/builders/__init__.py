"""Config in, live objects out: the only modules that join everything."""

from mplframe.builders.context import Context, check_stage, image_spec
from mplframe.builders.datasets import open_dataset, open_images
from mplframe.builders.maker import Maker
from mplframe.builders.run import Run, build_run
from mplframe.builders.stored import StoredConfig, vouch

__all__ = [
    "Context",
    "Maker",
    "Run",
    "StoredConfig",
    "build_run",
    "check_stage",
    "image_spec",
    "open_dataset",
    "open_images",
    "vouch",
]
