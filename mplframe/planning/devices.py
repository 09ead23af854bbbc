"""Devices that a run can be planned for, as their vendors describe them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from mplframe.errors import UserError, nearest

Rate = Literal["fp32", "tf32", "bf16"]
GIB = 2**30
TERA = 1e12


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: as `mplframe plan --device` takes it.
        memory: bytes. Vendors write GB for what is closer to GiB; GDDR6 keeps a sixteenth for error correction.
        fp32: dense peak, FLOP/s; None where the vendor gives none.
        tf32: likewise, of float32 in tensor cores' shorter format, which torch takes for convolutions.
        bf16: likewise.
        source: of the numbers.
    """

    name: str
    memory: int
    fp32: float | None
    tf32: float | None
    bf16: float | None
    source: str

    @property
    def gpu(self) -> bool:
        """Whether torch drives it as a GPU."""
        return not self.name.startswith("tpu")

    def rate(self, precision: str) -> tuple[Rate, float] | None:
        """The format that a run of this precision computes convolutions in, and its peak; None where there is none.

        Args:
            precision: `fp32` or `bf16`.
        """
        if precision == "bf16":
            return None if self.bf16 is None else ("bf16", self.bf16)
        if self.tf32 is not None:
            return "tf32", self.tf32
        # XLA multiplies float32 in bfloat16 passes; by default it takes one.
        return ("fp32", self.fp32) if self.fp32 is not None else self.rate("bf16")


def _gpu(name: str, memory: int, fp32: float, tf32: float | None, bf16: float | None, source: str) -> Device:
    short, half = (None if peak is None else peak * TERA for peak in (tf32, bf16))
    return Device(name, memory * GIB, fp32 * TERA, short, half, source)


def _tpu(name: str, memory: int, bf16: float, source: str) -> Device:
    return Device(name, memory * GIB, None, None, bf16 * TERA, source)


_H100 = "NVIDIA H100 data sheet, SXM; tensor cores at half of its figures, which are with sparsity"
_A100 = "NVIDIA A100 data sheet, SXM, dense"
_TPU = "Google Cloud TPU documentation, system architecture of TPU"
_TPUV2 = "Jouppi et al., A Domain-Specific Supercomputer for Training Deep Neural Networks, 2020"
_ECC = "memory less error correction, as nvidia-smi shows it"
DEVICES = {
    device.name: device
    for device in (
        _gpu("h100", 80, 67.0, 494.5, 989.5, _H100),
        _gpu("h200", 141, 67.0, 494.5, 989.5, _H100.replace("H100", "H200")),
        _gpu("a100-80", 80, 19.5, 156.0, 312.0, _A100),
        _gpu("a100-40", 40, 19.5, 156.0, 312.0, _A100),
        _gpu("l4", 22, 30.3, 60.0, 121.0, f"NVIDIA L4 data sheet; tensor cores at half its figures (sparsity); {_ECC}"),
        _gpu("rtx4090", 24, 82.6, 82.6, 165.2, "NVIDIA Ada GPU architecture white paper, appendix A, dense"),
        _gpu("v100-32", 32, 15.7, None, None, "NVIDIA V100 data sheet, SXM2; it has neither TF32 nor BF16"),
        _gpu("t4", 15, 8.1, None, None, f"NVIDIA T4 data sheet; it has neither TF32 nor BF16; {_ECC}"),
        _tpu("tpu-v2-core", 8, 23.0, f"{_TPUV2}: a chip of two cores has 16 GiB and 46 TFLOPS"),
        _tpu("tpu-v3-core", 16, 61.5, f"{_TPU} v3: a chip of two cores has 32 GiB and 123 TFLOPS"),
        _tpu("tpu-v4", 32, 275.0, f"{_TPU} v4, a chip"),
        _tpu("tpu-v5e", 16, 197.0, f"{_TPU} v5e, a chip"),
        _tpu("tpu-v5p", 95, 459.0, f"{_TPU} v5p, a chip"),
    )
}


@dataclass(frozen=True)
class Devices:
    """Equal devices that share a run.

    Attributes:
        device: of which kind.
        count: how many.
        utilisation: share of the peak that training reaches.
    """

    device: Device
    count: int = 1
    utilisation: float = 0.4

    def __post_init__(self) -> None:
        if not 0.0 < self.utilisation <= 1.0:
            raise UserError(f"utilisation is {self.utilisation:g}; it is a share of the peak, above 0 and at most 1")

    @property
    def room(self) -> int:
        """Bytes of a device that tensors may take: nine tenths. The rest is for the driver's context, libraries'
        workspaces and what the allocator loses to gaps."""
        return self.device.memory * 9 // 10

    def to_json(self, precision: str) -> dict[str, Any]:
        """Plain values, for a run of this precision."""
        rate = self.device.rate(precision)
        return {
            "name": self.device.name,
            "count": self.count,
            "memory_bytes": self.device.memory,
            "room_bytes": self.room,
            "format": None if rate is None else rate[0],
            "peak_flops": None if rate is None else rate[1],
            "utilisation": self.utilisation,
            "source": self.device.source,
        }

    def days(self, flops: float, precision: str) -> float | None:
        """Of computing so many FLOPs on all of them; None where the device doesn't compute in this precision."""
        rate = self.device.rate(precision)
        return None if rate is None else flops / (self.count * self.utilisation * rate[1]) / 86_400


def find_devices(
    text: str | None, *, memory: str | None = None, flops: float | None = None, utilisation: float = 0.4
) -> Devices | None:
    """What a user asks for.

    Args:
        text: `NAME` or `NAME:COUNT`; None for a device of one's own, given by `memory` and `flops`.
        memory: of a device instead of the named one's, such as `24GiB`.
        flops: peak per second of a device, likewise, in any precision.
        utilisation: share of the peak that training reaches.

    Returns:
        None where neither device nor memory nor FLOPs were given.

    Raises:
        UserError: the name isn't known, or a value isn't one.
    """
    if text is None and memory is None and flops is None:
        return None
    name, _, count = (text or "own").partition(":")
    if text is None:
        if memory is None or flops is None:
            raise UserError("a device of your own needs both --memory and --flops; or name one with --device")
        device = Device("own", 0, None, None, None, "given by --memory and --flops")
    elif name.lower() in DEVICES:
        device = DEVICES[name.lower()]
    else:
        raise UserError(
            f"no device is named {name!r}{nearest(name.lower(), DEVICES)} (known: {', '.join(DEVICES)}; for another "
            "one give --memory and --flops)"
        )
    if not re.fullmatch(r"([1-9]\d*)?", count) or (":" in (text or "") and not count):
        raise UserError(f"--device {text}: {count!r} isn't a number of devices; write {name}:8")
    return Devices(_changed(device, memory, flops), int(count or 1), utilisation)


def _changed(device: Device, memory: str | None, flops: float | None) -> Device:
    if flops is not None and not (math.isfinite(flops) and flops > 0):
        raise UserError(f"--flops {flops:g} isn't a rate; give FLOP/s, such as 100e12")
    own = [name for name, given in (("--memory", memory), ("--flops", flops)) if given is not None]
    return Device(
        device.name,
        device.memory if memory is None else parse_size(memory),
        device.fp32 if flops is None else flops,
        device.tf32 if flops is None else None,
        device.bf16 if flops is None else flops,
        device.source if not own or device.name == "own" else f"{device.source}; but {' and '.join(own)} as given",
    )


def parse_size(text: str) -> int:
    """Bytes of `24GiB`, `40 GB` or `17e9`.

    Raises:
        UserError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*(?:([KMGT])(i?))?B?\s*", text, re.IGNORECASE | re.ASCII)
    size = (
        0
        if found is None
        else float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index((found[2] or " ").upper())
    )
    if not 0 < size < 2**60:
        raise UserError(f"--memory {text!r} isn't a size; give one such as 24GiB")
    return int(size)
