"""Whether a stage fits on devices, how long it takes there, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mplframe.contracts.method import Streams
from mplframe.planning.devices import Devices
from mplframe.planning.rehearsal import Footprint, Variant

MOST_DEVICES = 1024
Try = Callable[[Variant], Footprint | None]
"""A stage rehearsed; None where it can't be."""


@dataclass(frozen=True)
class Remedy:
    """Something that would lower the memory of a stage.

    Attributes:
        change: what to do, in words and settings.
        peak_bytes: of one device then.
        fits: whether that is little enough.
    """

    change: str
    peak_bytes: int
    fits: bool


@dataclass(frozen=True)
class OnDevice:
    """A stage on given devices.

    Attributes:
        peak_bytes: of one of them.
        fits: whether a device has room for them.
        days: of all steps; None where the device doesn't compute in the run's precision.
        remedies: where it doesn't fit: what would help.
    """

    peak_bytes: int
    fits: bool
    days: float | None
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Case:
    """A stage that is tried in variants.

    Attributes:
        streams: of the stage.
        devices: that share its batches.
        variant: as configured.
        sharded: whether they share weights too.
        attempt: rehearses it.
    """

    streams: Streams
    devices: Devices
    variant: Variant
    sharded: bool
    attempt: Try

    def peak(self, variant: Variant, *, accumulate: int = 1, world: int = 1, sharded: bool = False) -> int | None:
        """Bytes of one device.

        Args:
            variant: how the stage computes.
            accumulate: micro-batches where there is one as configured.
            world: devices.
            sharded: whether they share weights too.
        """
        parts = 2 if accumulate > 1 else variant.parts
        found = self.attempt(replace(variant, parts=parts))
        return None if found is None else found.peak(micro=1 / accumulate, world=world, sharded=sharded)

    def remedies(self) -> tuple[Remedy, ...]:
        """Each change that helps by itself; where none suffices, all of them together."""
        found = [*self._precision(), *self._accumulation(), *self._sharding()]
        if not any(remedy.fits for remedy in found):
            found += self._everything()
        return tuple(found)

    def _remedy(self, change: str, peak: int | None) -> Iterator[Remedy]:
        if peak is not None:
            yield Remedy(change, peak, peak <= self.devices.room)

    def _precision(self) -> Iterator[Remedy]:
        if self.variant.precision == "fp32" and self.devices.device.bf16 is not None:
            peak = self.peak(replace(self.variant, precision="bf16"), world=self.devices.count, sharded=self.sharded)
            yield from self._remedy("precision=bf16", peak)

    def _accumulation(self) -> Iterator[Remedy]:
        factors, last = self.factors(self.devices.count), None
        for factor in factors:
            last = factor, self.peak(self.variant, accumulate=factor, world=self.devices.count, sharded=self.sharded)
            if last[1] is None or last[1] <= self.devices.room:
                break
        if last is not None:
            yield from self._remedy(f"accumulate={last[0] * self.streams.accumulate}", last[1])

    def _sharding(self) -> Iterator[Remedy]:
        if not self.devices.device.gpu:
            return
        for recompute in (False, True):
            variant = replace(self.variant, recompute=recompute)
            last = None
            for world in self._worlds():
                last = world, self.peak(variant, world=world, sharded=True)
                if last[1] is None or last[1] <= self.devices.room:
                    break
            if last is not None:
                also = ", recompute=true" if recompute else ""
                yield from self._remedy(f"backend fsdp{also} over {last[0]} devices", last[1])

    def _everything(self) -> Iterator[Remedy]:
        device, gpu = self.devices.device, self.devices.device.gpu
        variant = replace(self.variant, recompute=gpu, precision="fp32" if device.bf16 is None else "bf16")
        best: tuple[int, int, int] | None = None
        for world in self._worlds() if gpu else (self.devices.count,):
            for factor in self.factors(world) or [1]:
                peak = self.peak(variant, accumulate=factor, world=world, sharded=gpu)
                if peak is None:
                    return
                best = min(best or (peak, world, factor), (peak, world, factor))
                if peak <= self.devices.room:
                    break
            if best is not None and best[0] <= self.devices.room:
                break
        if best is not None and (gpu or best[2] > 1):
            peak, world, factor = best
            parts = [f"precision={variant.precision}", f"accumulate={factor * self.streams.accumulate}"]
            parts += [f"backend fsdp, recompute=true over {world} devices"] if gpu else []
            yield from self._remedy(", ".join(parts), peak)

    def factors(self, world: int) -> list[int]:
        """By how much more the step can be cut, devices sharing each micro-batch equally."""
        streams = self.streams
        # A stage that looks at no labeled samples is fed one for each micro-batch.
        fed = [streams.labeled] if streams.labeled > streams.accumulate or not streams.unlabeled else []
        fed += [streams.unlabeled] if streams.unlabeled else []
        cut = [n // (streams.accumulate * world) for n in fed if n % (streams.accumulate * world) == 0]
        if len(cut) < len(fed):
            return []
        return [factor for factor in range(2, min(cut) + 1) if all(n % factor == 0 for n in cut)]

    def _worlds(self) -> Iterator[int]:
        world = max(self.devices.count, 2)
        while world <= max(MOST_DEVICES, self.devices.count):
            shared = [n for n in (self.streams.labeled, self.streams.unlabeled) if n > self.streams.accumulate]
            if all(n % (self.streams.accumulate * world) == 0 for n in shared):
                yield world
            world *= 2
