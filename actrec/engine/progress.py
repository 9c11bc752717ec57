"""How a run is going, and who is told."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True)
class Trained:
    """How a run ended.

    Args:
        interrupted: stopped by a signal; the same command with --resume continues it.
        best: of validation, in percent, by `metric` (top-1, or mAP where videos have several labels); nan without.
        skipped: reason by id of training videos that could not be decoded, since this process began.
        clips_per_second: of the last epoch's training in this process; 0 where it trained none.
        waiting: share of it that the net waited for clips.
    """

    epochs: int
    interrupted: bool
    best: float
    metric: str
    skipped: dict[str, str]
    clips_per_second: float
    waiting: float


class Reporter(Protocol):
    """Who shows a run's progress."""

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None:
        """A step was taken. loss and top1 (of the epoch so far) are nan until they are read from the device."""

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...


class Silent:
    """A reporter of every process but the first."""

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None: ...

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...


@dataclass
class Progress:
    """Where a run stands: the epoch in hand, the steps done, the sums so far, the best epoch. A checkpoint keeps it."""

    epoch: int = 0
    steps: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    clips: int = 0
    clamped: int = 0
    recent_loss: float = 0.0
    recent_hits: int = 0
    recent_clips: int = 0
    lr: float = 0.0
    best: float = math.nan

    def add(self, loss: float, hits: float, clips: int, clamped: int) -> None:
        self.loss_sum += loss
        self.hits += int(hits)
        self.clips += clips
        self.clamped += clamped
        self.recent_loss += loss
        self.recent_hits += int(hits)
        self.recent_clips += clips

    def next_epoch(self) -> None:
        self.epoch += 1
        self.loss_sum, self.hits, self.clips, self.clamped = 0.0, 0, 0, 0


class Pace:
    """How long the rest of a run will take at the pace so far.

    Args:
        epochs: done when it begins, with the part of the one in hand.
    """

    def __init__(self, epochs: float):
        self._epochs, self._began = epochs, time.monotonic()

    def left(self, done: float, epochs: int) -> timedelta | None:
        """To the second, validation and saving included. None while there is no pace.

        Args:
            done: epochs.
            epochs: of the whole run.
        """
        if done <= self._epochs:
            return None
        each = (time.monotonic() - self._began) / (done - self._epochs)
        return timedelta(seconds=round(each * (epochs - done)))


@dataclass
class Clock:
    """Of an epoch's training, as far as this process trained it."""

    clips: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def rate(self) -> float:
        """Clips per second."""
        return self.clips / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """Share of the time."""
        return self.waited / self.seconds if self.seconds else 0.0
