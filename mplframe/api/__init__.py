"""Load, plan, run: what the command line does, for programs.

config = mplframe.load("quickstart.yaml", overrides=["method.steps=100"])
summary = mplframe.run(config, out="runs/quickstart")
"""

from mplframe.api.configs import components, from_dict, load, schema
from mplframe.api.datasets import (
    data_collect,
    data_index,
    data_inspect,
    data_pack,
    data_preview,
    data_split,
    data_verify,
)
from mplframe.api.doctor import doctor
from mplframe.api.networks import evaluate, export, predict, transfer
from mplframe.api.runs import plan, run
from mplframe.api.selecting import duplicates, label, select
from mplframe.api.trained import Trained, load_trained

__all__ = [
    "Trained",
    "components",
    "data_collect",
    "data_index",
    "data_inspect",
    "data_pack",
    "data_preview",
    "data_split",
    "data_verify",
    "doctor",
    "duplicates",
    "evaluate",
    "export",
    "from_dict",
    "label",
    "load",
    "load_trained",
    "plan",
    "predict",
    "run",
    "schema",
    "select",
    "transfer",
]
