"""How far a run is, and how fast it is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

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
