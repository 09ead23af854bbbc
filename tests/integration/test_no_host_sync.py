"""A step asks the device for nothing: no value of a tensor is read on the host, whatever the method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import mplframe
from mplframe.builders import build_run
from mplframe.plugins import discover

pytestmark = pytest.mark.integration

READS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal", "aten::masked_select"}
"""Operations that wait for the device: `.item()`, `if tensor:`, and results whose shape depends on values."""


class NoReads(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func._schema.name not in READS, f"{func._schema.name} in a step waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("feedback", ["off", "dot", "cosine", "{name: baseline, inner: dot}"])
@pytest.mark.parametrize("optimizer", ["{name: sgd, lr: 0.05, weight_decay: 1e-4}", "{name: rmsprop, lr: 0.01}"])
def test_no_step_reads_a_value(small: Path, feedback: str, optimizer: str) -> None:
    changes = [
        f"method.feedback={feedback}",
        f"method.student.optimizer={optimizer}",
        f"method.teacher.optimizer={optimizer}",
        "method.teacher.clip=0.5",
        "method.student.clip=0.5",
        "method.finetune=null",
        "input.workers=0",
    ]
    run = build_run(mplframe.load(small, overrides=changes), discover())
    for stage in run.stages:
        live = stage.plan.build(stage.context)
        for step, batch in zip(range(2), run.streams.batches(stage, 0), strict=False):
            micro = batch.split(stage.plan.streams.accumulate)
            with NoReads():
                live.step(micro, step)
