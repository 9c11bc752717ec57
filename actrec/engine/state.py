"""How far a run is, and how fast it is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

T = TypeVar("T")


@dataclass
class TrainState:
    """How far a run is. Checkpoints store it.

    Args:
        epoch: The current epoch, from 0.
        steps: Optimizer steps of the whole run.
        loss_sum, hits, clips, clamped: Sums over the current epoch.
        planned: Clips that the batches of the current epoch should have; `clips` of them could be decoded.
        recent_loss, recent_hits, recent_clips: Sums since the last row of `steps.jsonl`.
        lr: Learning rate of the last step.
        best: Best validation score in percent; nan before the first one.
        best_loss: Validation loss of the epoch of `best.pt`; nan before the first validation.
        best_epoch: The epoch of `best.pt`, from 0; -1 before the first validation.
        tied: Number of other epochs that have the same score as `best.pt`.
        classes: How the videos of each class were scored by `best.pt`, as dicts of `ClassResult`; empty if there are
            many classes.
        validated: The epoch of the last validation, from 0; -1 before the first one.
        patience_from: Early stopping counts no epochs up to this one, from 0.
        warned: The kinds of warnings that the run has given, and the epoch of each, None before the first epoch.
    """

    epoch: int = 0
    steps: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    clips: int = 0
    clamped: int = 0
    planned: int = 0
    recent_loss: float = 0.0
    recent_hits: int = 0
    recent_clips: int = 0
    lr: float = 0.0
    best: float = math.nan
    best_loss: float = math.nan
    best_epoch: int = -1
    tied: int = 0
    classes: list[dict[str, Any]] = field(default_factory=list)
    validated: int = -1
    patience_from: int = -1
    warned: dict[str, int | None] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Mean over the clips of the current epoch; nan without clips."""
        return self.loss_sum / self.clips if self.clips else math.nan

    @property
    def top1(self) -> float:
        """Of the current epoch, in percent; nan without clips."""
        return 100 * self.hits / self.clips if self.clips else math.nan

    def add(self, loss: float, hits: float, clips: int, clamped: int) -> None:
        """Adds the sums of one step."""
        self.loss_sum += loss
        self.hits += int(hits)
        self.clips += clips
        self.clamped += clamped
        self.recent_loss += loss
        self.recent_hits += int(hits)
        self.recent_clips += clips

    def compare(self, score: float, loss: float) -> Literal["score", "loss"] | None:
        """Takes over the validation result of the current epoch if it is the best one.

        Returns:
            Whether the epoch is the best one by its score, or has the score of the best one and a lower loss; None if
            it is not the best one. Of epochs with the same score and loss, the first one is the best.
        """
        reason: Literal["score", "loss"] | None = None
        self.validated = self.epoch
        if math.isnan(self.best) or score > self.best:
            reason, self.tied = "score", 0
        elif score == self.best:
            self.tied += 1
            reason = "loss" if loss < self.best_loss or (math.isnan(self.best_loss) and loss == loss) else None
        if reason is not None:
            self.best, self.best_loss, self.best_epoch = score, loss, self.epoch
        return reason

    def is_stopped_early(self, patience: int) -> bool:
        """Whether the last validation is at least `patience` epochs later than the best one. 0 never stops."""
        return patience > 0 and self.validated - max(self.best_epoch, self.patience_from) >= patience

    def clear_recent(self) -> None:
        self.recent_loss, self.recent_hits, self.recent_clips = 0.0, 0, 0

    def next_epoch(self) -> None:
        self.epoch += 1
        self.loss_sum, self.hits, self.clips, self.clamped = 0.0, 0, 0, 0


class EpochTimer:
    """Measures the training of one epoch: `with timer:` around all of it, its batches through `measure_waiting`."""

    def __init__(self) -> None:
        self.clips = 0
        self._started: float | None = None
        self._seconds = self._waited = 0.0

    def __enter__(self) -> EpochTimer:
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds, self._started = self._elapsed, None

    def measure_waiting(self, batches: Iterator[T]) -> Iterator[T]:
        """The same batches, and measures how long each one took to arrive."""
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += time.perf_counter() - started
            yield batch

    @property
    def clips_per_second(self) -> float:
        """0 before the first clip."""
        return self.clips / self._elapsed if self.clips else 0.0

    @property
    def waited(self) -> float:
        """The fraction of the time that was spent waiting for batches."""
        return self._waited / self._elapsed if self.clips else 0.0

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._started if self._started is not None else self._seconds


class FirstSteps:
    """Measures how long a step takes, without the first one, which waits for the first batch."""

    _STEPS, _SECONDS = 3, 5.0  # what is measured at least

    def __init__(self) -> None:
        self._steps, self._began, self._is_known = 0, 0.0, False

    def step(self) -> float | None:
        """Counts a step. Returns the seconds of a step once, when enough steps were taken."""
        now = time.perf_counter()
        if self._is_known:
            return None
        if not self._began:
            self._began = now
            return None
        self._steps += 1
        self._is_known = self._steps >= self._STEPS and now - self._began >= self._SECONDS
        return (now - self._began) / self._steps if self._is_known else None

    def forget(self) -> None:
        """The epoch has ended: what it took is known better than from its first steps."""
        self._is_known = True


class TimeLeft:
    """Predicts how long the rest of a run takes, validation and saving included.

    Args:
        epochs: Number of epochs that are done already, with the fraction of the current one.
    """

    def __init__(self, epochs: float):
        self._epochs, self._started = epochs, time.monotonic()

    def after(self, done: float, epochs: int) -> timedelta | None:
        """The time left after `done` of `epochs` epochs, to the second; None if nothing was measured yet."""
        if done <= self._epochs:
            return None
        seconds_per_epoch = (time.monotonic() - self._started) / (done - self._epochs)
        return timedelta(seconds=round(seconds_per_epoch * (epochs - done)))
