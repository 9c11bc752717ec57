"""Steps whose losses are still on the device."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from actrec.engine import dist, runfolder, runlog
from actrec.engine.state import TrainState
from actrec.engine.step import StepResult, read_sums
from actrec.files import write_json


class PendingSteps:
    """Collects steps and reads their losses together, so that training does not wait for the GPU at every step.

    Args:
        state: Gets the sums of the steps that are read.
        log: Gets a row for every `log_every` steps; None in processes other than the first.
        log_every: Steps from one row of `steps.jsonl` to the next.
        read_every: Steps that are read together. A row of the log reads them earlier.
    """

    def __init__(self, state: TrainState, run_dir: Path, log: runlog.RunLog | None, *, log_every: int, read_every: int):
        self._state, self._dir, self._log = state, run_dir, log
        self._log_every, self._read_every = log_every, read_every
        self._steps: list[tuple[StepResult, float]] = []

    def add(self, step: StepResult, lr: float) -> None:
        """Counts a step, and reads the pending ones if it is time to."""
        self._steps.append((step, lr))
        self._state.steps += 1
        if len(self._steps) >= self._read_every or self._state.steps % self._log_every == 0:
            self.read()

    def read(self) -> None:
        """Adds all pending steps to the state and to the log. Waits for the device.

        Raises:
            ValueError: The loss of one of them is not a finite number.
        """
        state, steps, self._steps = self._state, self._steps, []
        first = state.steps - len(steps) + 1
        sums = read_sums([step for step, _ in steps])
        for number, (loss, hits), (step, lr) in zip(range(first, state.steps + 1), sums, steps):
            if not math.isfinite(loss):
                self._raise_not_finite(loss, number, step)
            state.add(loss, hits, step.clips, step.clamped)
            if number % self._log_every == 0 and state.recent_clips:
                self._log_row(number, lr)

    def _log_row(self, number: int, lr: float) -> None:
        state = self._state
        row = {"step": number, "epoch": state.epoch, "lr": lr, "loss": state.recent_loss / state.recent_clips}
        row["top1"] = 100 * state.recent_hits / state.recent_clips
        if self._log is not None:
            self._log.step(row)
        state.clear_recent()

    def _raise_not_finite(self, loss: float, number: int, step: StepResult) -> None:
        """Writes the names of the step's videos to the run folder, and raises ValueError."""
        videos = [video for part in dist.gather(step.videos) for video in part]
        path, epoch = self._dir / runfolder.NAN, self._state.epoch
        if not dist.rank():
            with contextlib.suppress(OSError):
                write_json(path, {"step": number, "epoch": epoch, "loss": str(loss), "videos": videos}, indent=2)
        raise ValueError(
            f"the loss became {loss} in step {number}, epoch {epoch + 1}: a lower --lr, --warmup, --clip-gradient or "
            f"--precision float32 may help; the videos of that step are listed in {path}"
        )
