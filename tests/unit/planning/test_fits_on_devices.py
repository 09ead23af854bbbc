import numpy as np

from mplframe.contracts.method import Streams
from mplframe.planning.devices import Device, Devices
from mplframe.planning.fit import Case, Remedy
from mplframe.planning.meta import Timeline
from mplframe.planning.rehearsal import UNIT, Footprint, Variant

WEIGHTS, ACTIVATIONS, INPUT = 400, 1600, 64


def attempt(variant: Variant) -> Footprint:
    """Activations of half the size in bfloat16; none where they are computed again."""
    kept = ACTIVATIONS // (2 if variant.precision == "bf16" else 1) * (not variant.recompute)
    return Footprint(Timeline(np.array([[WEIGHTS, 0, kept * UNIT]])), input=INPUT, unit=100)


def case(room: int, *, devices: int = 1, streams: Streams | None = None) -> Case:
    device = Device("card", room * 10 // 9 + 1, 1.0, 1.0, 1.0, "made up")
    return Case(streams or Streams(8, 16), Devices(device, devices), Variant(), False, attempt)


def test_each_change_is_tried_as_far_as_it_takes() -> None:
    assert case(1300).remedies() == (
        Remedy("precision=bf16", WEIGHTS + 800 + INPUT, True),
        Remedy("accumulate=2", WEIGHTS + 800 + INPUT, True),
        Remedy("backend fsdp over 2 devices", WEIGHTS // 2 + 800 + INPUT // 2 + 100, True),
        Remedy("backend fsdp, recompute=true over 2 devices", WEIGHTS // 2 + INPUT // 2 + 100, True),
    )


def test_changes_are_joined_where_none_suffices() -> None:
    # Eight devices can share a batch of 8 labeled samples, and then there is nothing left to accumulate.
    remedies = case(160).remedies()
    assert [(r.change, r.fits) for r in remedies[:3]] == [
        ("precision=bf16", False), ("accumulate=8", False), ("backend fsdp over 8 devices", False)
    ]  # fmt: skip
    assert remedies[3] == Remedy("backend fsdp, recompute=true over 8 devices", 50 + 8 + 100, True)
    joined = case(155).remedies()[-1]
    assert joined.change == "precision=bf16, accumulate=1, backend fsdp, recompute=true over 8 devices"
    assert not joined.fits


def test_micro_batches_are_shared_equally() -> None:
    assert case(1).factors(1) == [2, 4, 8]
    assert case(1, streams=Streams(12, 24, accumulate=2)).factors(3) == [2]
    assert case(1).factors(3) == []
    # A stage that looks at no labeled samples is fed one for each micro-batch.
    assert case(1, streams=Streams(1, 9)).factors(1) == [3, 9]
