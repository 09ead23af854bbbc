"""A model axis of 16 divides what a device holds, weights and activations alike; parts exchange their edges only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .test_meshes import launched

pytestmark = [pytest.mark.xla, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Step:
    """One compiled step.

    Attributes:
        said: what the program printed.
        program: text of the optimised step.
        temporary: bytes of a device's temporaries.
    """

    said: dict[str, Any]
    program: str
    temporary: int


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Step]:
    """By length of the model axis."""
    found = {}
    for model in (1, 16):
        dump = tmp_path_factory.mktemp(f"model{model}")
        flags = f"--xla_dump_to={dump} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=SyncTensors.*"
        said = launched(model, devices=model, module="tests.xla.memory", flags=flags)
        found[model] = Step(json.loads(said.splitlines()[-1]), *compiled(dump))
    return found


def compiled(dump: Path) -> tuple[str, int]:
    """The longest program that was compiled, and the bytes of its temporaries."""
    end = "after_optimizations"
    longest = max(dump.glob(f"*{end}.txt"), key=lambda path: path.stat().st_size)
    buffers = longest.with_name(longest.name.replace(end, f"{end}-buffer-assignment")).read_text()
    sizes = re.findall(r"^allocation \d+: size (\d+), preallocated-temp", buffers, re.MULTILINE)
    return longest.read_text(), sum(map(int, sizes))


def collectives(program: str, kind: str) -> int:
    return len(re.findall(rf" {kind}(?:-start)?\(", program))


def test_a_device_holds_a_sixteenth_of_weights_and_momenta(steps: dict[int, Step]) -> None:
    assert steps[1].said["held"] == steps[1].said["all"] == steps[16].said["all"]
    assert steps[16].said["held"] <= steps[16].said["all"] / 16 * 1.01


def test_temporaries_shrink_too(steps: dict[int, Step]) -> None:
    assert 0 < steps[16].temporary < 0.2 * steps[1].temporary


def test_parts_exchange_their_edges_and_nothing_is_shuffled(steps: dict[int, Step]) -> None:
    assert collectives(steps[16].program, "collective-permute") > 0
    assert collectives(steps[16].program, "all-to-all") == 0
    assert collectives(steps[1].program, "collective-permute") == 0


def test_the_loss_is_the_same(steps: dict[int, Step]) -> None:
    assert steps[16].said["loss"] == pytest.approx(steps[1].said["loss"], rel=1e-5)
