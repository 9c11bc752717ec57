"""Training: one run, which can be stopped and continued at any step."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actrec import config
from actrec.config import Input, OptionError, Recipe
from actrec.data.lists import Video, check_labels, label_columns
from actrec.data.lists.labeling import refuse_contradictions
from actrec.engine import dist, runfolder
from actrec.engine.build import settled
from actrec.engine.reporting import LogReporter, Measured, Reporter, RunHeader, SilentReporter, TrainResult
from actrec.engine.runfolder import Data
from actrec.engine.runwarnings import RunWarning
from actrec.engine.trainer import Trainer

_STARTED = "started"  # a note for the next attempt of this torchrun: continue the run


def train(
    recipe: Recipe,
    data: Data,
    run_dir: Path,
    *,
    reporter: Reporter | None = None,
    weights: str | None = None,
    new_head: bool = False,
    net_input: Input | None = None,
    resume: bool = False,
) -> TrainResult:
    """Trains a net, and writes `last.pt`, `best.pt`, the log and a description of the run to `run_dir`.

    On the CPU the same recipe, data, number of threads and number of processes give the same weights bit for bit, also
    if the run is stopped and continued. A process that `torchrun` started (see `dist.joined`) computes its part of
    every batch.

    Args:
        reporter: Shows the progress. By default, lines and warnings go to the logger `actrec` (see `logging`).
        weights: The file that the run starts from.
        new_head: The weights are of other classes: the last layer is initialized afresh.
        net_input: Replaces the net's own size, mean, std and number of frames.
        resume: Continue from `last.pt`, or begin if there is no checkpoint.

    Raises:
        ValueError: Something that the user gave does not fit, or the loss became infinite or nan.
        OSError: The run folder cannot be written. The previous checkpoint is intact.
    """
    reporter = (reporter or LogReporter()) if not dist.rank() else SilentReporter()
    resume = resume or dist.has_note(_STARTED)
    recipe = settled(recipe)
    check(recipe, data)
    with ExitStack() as stack:
        stack.enter_context(_interrupted_at_sigterm())
        dist.by_first(lambda: stack.enter_context(runfolder.held(run_dir)))
        saved = dist.by_first(lambda: runfolder.newest(run_dir, reporter.line)) if resume else None
        if resume and saved is None:
            reporter.line(f"{run_dir} has no checkpoint to continue from: beginning a new run")
        if saved is not None:
            stored = dist.by_first(lambda: runfolder.stored_flips(run_dir, data))
            data = replace(data, flip_map=stored)
        if saved is None:
            dist.by_first(lambda: runfolder.refuse_existing(run_dir))
        if saved is None and not dist.rank():
            stack.enter_context(runfolder.removed_if_set_up_fails(run_dir))
        trainer = Trainer(
            recipe, data, run_dir, reporter, saved=saved, weights=weights, new_head=new_head, net_input=net_input
        )
        del saved
        stack.callback(trainer.close)
        dist.leave_note(_STARTED)
        return trainer.run(stack.enter_context(_stop_at_signal()))


def dry_run(
    recipe: Recipe,
    data: Data,
    run_dir: Path,
    *,
    reporter: Reporter | None = None,
    weights: str | None = None,
    new_head: bool = False,
    net_input: Input | None = None,
    seconds: float = 10.0,
) -> tuple[RunHeader, Measured]:
    """What `train` would do with the same arguments, without training: its header, and the time and memory it needs.

    Takes a few steps on the first batches, with a net that is then dropped. Writes nothing to `run_dir`.

    Args:
        reporter: Gets the header and the warnings.
        seconds: How long steps are measured.

    Raises:
        ValueError, OSError: As `train`.
    """
    shown = (reporter or LogReporter()) if not dist.rank() else SilentReporter()
    recipe = settled(recipe)
    check(recipe, data)
    dist.by_first(lambda: runfolder.refuse_existing(run_dir))
    recipe = replace(recipe, run=replace(recipe.run, tensorboard=False))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            recipe,
            data,
            Path(scratch) / "run",
            _Elsewhere(shown, run_dir),
            weights=weights,
            new_head=new_head,
            net_input=net_input,
        )
        try:
            return replace(trainer.header, run_dir=run_dir), trainer.measure(seconds)
        finally:
            trainer.close()


class _Elsewhere(SilentReporter):
    """Passes on header, lines and warnings of a run that would be in another folder."""

    def __init__(self, reporter: Reporter, run_dir: Path):
        self._reporter, self._run_dir = reporter, run_dir

    def header(self, header: RunHeader) -> None:
        self._reporter.header(replace(header, run_dir=self._run_dir))

    def line(self, text: str) -> None:
        self._reporter.line(text)

    def warning(self, warning: RunWarning) -> None:
        self._reporter.warning(warning)


def check(recipe: Recipe, data: Data) -> None:
    """Raises ValueError for options and data that do not fit each other, before anything is built."""
    if recipe.loader.batch_size % dist.world():
        raise OptionError(
            f"`batch_size` {recipe.loader.batch_size} over {dist.world()} processes: "
            "expected a multiple of their number"
        )
    check_mixing(recipe.augment, recipe.loader)
    if recipe.run.early_stopping and data.val is None:
        raise OptionError(f"`early_stopping` {recipe.run.early_stopping} without a validation list: expected one")
    if data.val is not None and not label_columns(data.val)[1].any():
        raise ValueError(
            "no validation video has a label: expected labels to compare the predictions with; to train without "
            "validation, pass the training list alone"
        )
    for videos in (data.train, data.val or ()):
        check_labels(videos, len(data.classes), multi_label=recipe.loss.multi_label)
    if not recipe.loss.multi_label:
        check_labeled(data.train)
        for videos in (data.train, data.val or ()):
            refuse_contradictions(videos)


def check_mixing(augment: config.Augment, loader: config.Loader) -> None:
    """Raises OptionError for mixup and cutmix with batches that they cannot mix."""
    share = loader.batch_size // dist.world()
    for name in ("mixup", "cutmix"):
        if getattr(augment, name) and share % (2 * loader.repeats):
            each = " in each process" if dist.world() > 1 else ""
            if loader.repeats == 1:
                raise OptionError(f"`{name}` with batches of {share} clips{each}: expected an even number")
            raise OptionError(
                f"`{name}` with `repeats` {loader.repeats} and batches of {share} clips{each}: expected a multiple of "
                f"{2 * loader.repeats}, because clips of different videos are mixed"
            )


def check_labeled(videos: Sequence[Video]) -> None:
    """Raises ValueError for a video without a label."""
    for row in np.flatnonzero(label_columns(videos)[1] == 0)[:1].tolist():
        raise ValueError(f"{videos[row].id} has no label: training needs one per video")


@contextmanager
def _interrupted_at_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, so that what was begun is removed. By default it would end the process."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # only the main thread may handle signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stop_at_signal() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets. A second SIGINT raises KeyboardInterrupt."""
    stop, caught = threading.Event(), False

    def handle(number: int, frame: Any) -> None:
        nonlocal caught
        # Not `stop.is_set()`: this signal may have interrupted `stop.set()`, which must not be entered twice.
        if caught:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        caught = True
        stop.set()

    try:
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread may handle signals
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
