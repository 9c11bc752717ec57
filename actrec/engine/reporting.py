"""What a training run tells: its result, each epoch, and who shows its progress."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from actrec.engine.evaluate import Result

_SHOWN = {"top1": "top-1", "top5": "top-5", "map": "mAP"}


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        epochs: Number of completed epochs.
        interrupted: A signal stopped the run; the same command with --resume continues it.
        best: Best validation score in percent, measured by `metric`; nan without validation.
        metric: "top-1", or "mAP" if videos have several labels.
        num_videos: Rows of the training list.
        num_skipped: Rows of the training list that are not drawn, because their videos cannot be used.
        skipped: The ids of these videos, with the reasons.
        clips_per_second: Training speed of the last epoch in this process; 0 if it trained no epoch.
        waiting: Fraction of that time in which the net waited for clips.
    """

    epochs: int
    interrupted: bool
    best: float
    metric: str
    num_videos: int
    num_skipped: int
    skipped: dict[str, str]
    clips_per_second: float
    waiting: float


@dataclass(frozen=True)
class EpochReport:
    """One epoch, as it is logged and printed.

    Args:
        epoch: Counted from 0.
        num_epochs: Epochs of the whole run.
        lr: Learning rate of the last step.
        train_top1: In percent.
        clips_per_second, waiting: As in `TrainResult`; None if this process took no step of the epoch.
        skipped: Number of clips that could not be decoded.
        clamped: Number of planned frames after the last frame of their video.
        validation: None if the epoch was not validated.
        time_left: Of the whole run; None after the last epoch.
    """

    epoch: int
    num_epochs: int
    lr: float
    train_loss: float
    train_top1: float
    clips_per_second: float | None
    waiting: float | None
    skipped: int
    clamped: int
    validation: Result | None
    time_left: timedelta | None

    def row(self) -> dict[str, Any]:
        """The row of `log.jsonl`."""
        row = {
            "epoch": self.epoch,
            "lr": self.lr,
            "train_loss": self.train_loss,
            "train_top1": self.train_top1,
            "clips_per_second": round(self.clips_per_second, 2) if self.clips_per_second is not None else None,
            "waiting": round(self.waiting, 4) if self.waiting is not None else None,
            "skipped": self.skipped,
            "clamped": self.clamped,
        }
        if (result := self.validation) is not None:
            row |= {"val_loss": result.loss, **{f"val_{name}": value for name, value in result.accuracies.items()}}
            row |= {"val_videos": result.num_videos, "val_missing": len(result.missing)}
        return row

    def __str__(self) -> str:
        """The line that is printed."""
        line = f"epoch {self.epoch + 1}/{self.num_epochs}  lr {self.lr:.4g}"
        line += f"  train loss {self.train_loss:.4f} top-1 {self.train_top1:.2f}"
        if (result := self.validation) is not None:
            shown = " ".join(f"{_SHOWN[name]} {value:.2f}" for name, value in result.accuracies.items())
            line += f"  val loss {result.loss:.4f} {shown}"
        if self.clips_per_second is not None and self.waiting is not None:
            line += f"  {self.clips_per_second:.1f} clips/s, waiting {100 * self.waiting:.0f} %"
        return line + (f", {self.time_left} left" if self.time_left is not None else "")


class Reporter(Protocol):
    """Shows the progress of a run."""

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """An epoch starts, or continues after `done` of its steps."""

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None:
        """A step was taken. `loss` and `top1` are means over the epoch so far, nan until they are read from the GPU."""

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...


class SilentReporter:
    """The reporter of every process but the first."""

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None: ...

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...
