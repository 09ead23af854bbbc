"""TensorBoard events."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from torch.utils.tensorboard import SummaryWriter

from mplframe.config.base import ComponentConfig
from mplframe.contracts.watching import Record, Tracker
from mplframe.errors import writing


@final
class TensorBoard(Tracker):
    """Event files in `tensorboard/`, one series a metric: `train/student/loss`, over the steps of all stages."""

    class Config(ComponentConfig):
        """No settings."""

        name: Literal["tensorboard"] = "tensorboard"

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()
        self._writer: SummaryWriter | None = None

    def open(self, folder: Path, *, total_steps: int, done: int) -> None:
        # purge_step hides what a killed run wrote after its last checkpoint.
        with writing(folder / "tensorboard"):
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def log(self, record: Record) -> None:
        assert self._writer is not None
        with writing(Path(self._writer.log_dir)):
            for name, value in {**record.values, **{f"timing/{k}": v for k, v in record.timing.items()}}.items():
                self._writer.add_scalar(f"{record.split}/{name}", value, record.total)

    def close(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with writing(Path(writer.log_dir)):
                writer.close()
