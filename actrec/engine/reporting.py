"""What a training run tells: its header, each epoch, its result, and who shows its progress."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from actrec.engine.classes import ClassResult
from actrec.engine.evaluate import Result
from actrec.engine.runwarnings import RunWarning
from actrec.files import show
from actrec.words import counted

_COARSE = 100  # validation videos, of which one changes the top-1 by at least a point
_HUGE = 1e6  # a loss from which only its magnitude matters
_OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}
_SHOWN = {"top1": "top-1", "top5": "top-5", "map": "mAP"}


def _shown_loss(loss: float) -> str:
    """`1.8221`, or `9.619e+28` for a loss that has exploded."""
    return f"{loss:.3e}" if loss >= _HUGE else f"{loss:.4f}"


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Args:
        epochs: Number of completed epochs.
        interrupted: A signal stopped the run; the same command with --resume continues it.
        best: Best validation score in percent, measured by `metric`; nan without validation.
        metric: "top-1", or "mAP" if videos have several labels.
        best_loss: Validation loss of the epoch of `best.pt`; nan without validation.
        best_epoch: That epoch, from 0 as in `log.jsonl`; None without validation.
        tied: Number of other epochs with the same score. Their loss is not lower, or they are later.
        stopped_early: There was no better result for as many epochs as `early_stopping` says.
        classes: How the videos of each class were scored by `best.pt`. Empty for more than 20 classes, and without
            validation.
        warnings: What the run has warned of, also before it was continued.
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
    best_loss: float
    best_epoch: int | None
    tied: int
    stopped_early: bool
    classes: tuple[ClassResult, ...]
    warnings: tuple[RunWarning, ...]
    num_videos: int
    num_skipped: int
    skipped: dict[str, str]
    clips_per_second: float
    waiting: float

    def describe_best(self) -> str:
        """Which epoch `best.pt` is from, and why."""
        if self.best_epoch is None:
            return f"best.pt is from epoch {self.epochs}, the last one, because there is no validation list"
        text = f"best.pt is from epoch {self.best_epoch + 1}: {self.metric} {self.best:.2f}, "
        text += f"validation loss {_shown_loss(self.best_loss)}"
        if not self.tied:
            return text
        lowest = ", the lowest" if math.isfinite(self.best_loss) else ""
        return f"{text}{lowest} of the {self.tied + 1} epochs with this {self.metric}"


def shown_seconds(seconds: float) -> str:
    """`0.012 s`, `4.3 s`, `350 s`"""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


@dataclass(frozen=True)
class RunHeader:
    """What a run is, before it trains.

    Args:
        net: Its name.
        parameters, trained: Number of its parameters, and of those that are trained.
        frames, size: Of a clip: number of frames, height and width in pixels.
        device: The name of the GPU, or `CPU` with the number of threads.
        precision: Arithmetic of the net.
        processes: How many train together.
        classes: Number of classes.
        train_videos, skipped: Rows of the training list, and how many of them cannot be used.
        val_videos: Rows of the validation list; None without one.
        chance: Validation score of answers that ignore the video, in percent (`metrics.chance_level`); nan without
            validation.
        metric: What `chance` measures: "top-1" or "mAP".
        frequent: The most frequent class of the validation list; None with several labels or without validation.
        epochs, batches, batch_size: Of the run, of an epoch, and clips of a batch over all processes.
        optimizer, lr: Its name, and the learning rate after warm-up, for this batch size.
        run_dir: The run folder.
        weights: From which weights it starts; None if they are random.
    """

    net: str
    parameters: int
    trained: int
    frames: int
    size: int
    device: str
    precision: str
    processes: int
    classes: int
    train_videos: int
    skipped: int
    val_videos: int | None
    chance: float
    metric: str
    frequent: str | None
    epochs: int
    batches: int
    batch_size: int
    optimizer: str
    lr: float
    run_dir: Path
    weights: str | None = None

    def lines(self) -> list[str]:
        trained = f", {self.trained:,} of them trained" if self.trained != self.parameters else ""
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        skipped = f" ({self.skipped:,} skipped)" if self.skipped else ""
        val = f"{counted(self.val_videos, 'validation video')}" if self.val_videos is not None else "no validation list"
        rows = {
            "net": f"{self.net}, {self.parameters:,} parameters{trained}; "
            f"clips of {counted(self.frames, 'frame')}, {self.size}x{self.size}",
            **({"weights": self.weights} if self.weights is not None else {}),
            "device": f"{self.device}, {self.precision}{processes}",
            "data": f"{counted(self.classes, 'class')}; {counted(self.train_videos, 'training video')}{skipped}, {val}",
        }
        if not math.isnan(self.chance):
            always = f" (a net that always answers {show(self.frequent)})" if self.frequent is not None else ""
            rows["chance"] = f"{self.metric} {self.chance:.2f}{always}"
        if self.val_videos:
            rows["best.pt"] = f"the epoch with the best validation {self.metric}, and of equal ones the lowest loss"
            if self.val_videos <= _COARSE and self.metric == "top-1":
                rows["best.pt"] += f"; one video is {100 / self.val_videos:.2g} points"
        rows["epochs"] = (
            f"{counted(self.epochs, 'epoch')} of {counted(self.batches, 'batch')} "
            f"with {counted(self.batch_size, 'clip')}; {_OPTIMIZERS[self.optimizer]} with learning rate {self.lr:.4g}"
        )
        rows["run"] = str(self.run_dir)
        return [f"{name:<8}{text}" for name, text in rows.items()]


@dataclass(frozen=True)
class Measured:
    """What a run would need, as measured in its first steps.

    Args:
        step: Seconds of an optimizer step.
        validation: Seconds of a validation; None without a validation list.
        checkpoint: Seconds that it takes to write a checkpoint.
        total: Seconds of the whole run, if each validation is better than the one before, so that it writes `best.pt`.
        memory: Bytes of memory that this process has used at most; None where the system does not tell.
        gpu_memory: Bytes of memory that it has reserved on the GPU at most; None without a GPU.
        processes: How many train together.
    """

    step: float
    validation: float | None
    checkpoint: float
    total: float
    memory: int | None
    gpu_memory: int | None
    processes: int = 1

    def lines(self) -> list[str]:
        time = f"about {timedelta(seconds=round(self.total))} ({shown_seconds(self.step)} per step"
        time += f", {shown_seconds(self.validation)} per validation" if self.validation is not None else ""
        time += f", {shown_seconds(self.checkpoint)} per checkpoint)"
        each = " in each process" if self.processes > 1 else ""
        used = [f"{self.memory / 1e9:.1f} GB{each}"] if self.memory is not None else []
        used += [f"{self.gpu_memory / 1e9:.1f} GB on the GPU"] if self.gpu_memory is not None else []
        return [f"time    {time}", *([f"memory  {', '.join(used)}"] if used else [])]


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
        best: Why `best.pt` is from this epoch: by its score, or by its loss among epochs with the same score. None if
            it is not.
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
    best: Literal["score", "loss"] | None = None

    def row(self) -> dict[str, Any]:
        """The row of `log.jsonl`."""
        row: dict[str, Any] = {
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
            row |= {"val_videos": result.num_videos, "val_missing": len(result.missing), "best": self.best}
        return row

    def __str__(self) -> str:
        """The line that is printed."""
        line = f"epoch {self.epoch + 1}/{self.num_epochs}  lr {self.lr:.4g}"
        line += f"  train loss {_shown_loss(self.train_loss)} top-1 {self.train_top1:.2f}"
        if (result := self.validation) is not None:
            shown = " ".join(f"{_SHOWN[name]} {value:.2f}" for name, value in result.accuracies.items())
            line += f"  val loss {_shown_loss(result.loss)} {shown}"
            line += {"score": " (best)", "loss": " (best, by its loss)", None: ""}[self.best]
        if self.clips_per_second is not None and self.waiting is not None:
            line += f"  {self.clips_per_second:.1f} clips/s, waiting {100 * self.waiting:.0f} %"
        return line + (f", {self.time_left} left" if self.time_left is not None else "")


class Reporter(Protocol):
    """Shows the progress of a run."""

    def header(self, header: RunHeader) -> None:
        """The run begins, or continues."""

    def line(self, text: str) -> None:
        """A result, such as that of an epoch."""

    def note(self, text: str) -> None:
        """Something about the work itself, such as the estimated time."""

    def warning(self, warning: RunWarning) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """An epoch starts, or continues after `done` of its steps."""

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None:
        """A step was taken. `loss` and `top1` are means over the epoch so far, nan until they are read from the GPU."""

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...


class SilentReporter:
    """The reporter of every process but the first."""

    def header(self, header: RunHeader) -> None: ...

    def line(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def warning(self, warning: RunWarning) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None: ...

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...


class LogReporter(SilentReporter):
    """The reporter of the library: sends what a run tells to the logger `actrec`, and prints nothing itself."""

    _log = logging.getLogger("actrec")

    def header(self, header: RunHeader) -> None:
        for line in header.lines():
            self._log.info(line)

    def line(self, text: str) -> None:
        self._log.info(text)

    def note(self, text: str) -> None:
        self._log.info(text)

    def warning(self, warning: RunWarning) -> None:
        self._log.warning(warning.message)
