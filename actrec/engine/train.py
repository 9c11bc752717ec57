"""Training: a run from its first epoch to its last, that can be stopped and continued anywhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from actrec.config import Input, Recipe
from actrec.engine import dist, runfolder
from actrec.engine.evaluate import check_labels
from actrec.engine.progress import Reporter, Silent, Trained
from actrec.engine.runfolder import Data
from actrec.engine.trainer import Trainer

_BEGUN = "begun"  # for the next attempt of a torchrun, which then continues


def train(
    recipe: Recipe,
    data: Data,
    run_dir: Path,
    *,
    reporter: Reporter,
    weights: str | None = None,
    new_head: bool = False,
    net_input: Input | None = None,
    resume: bool = False,
) -> Trained:
    """Trains a net and leaves `last.pt` and `best.pt` in `run_dir`, with the log and what made it.

    On the CPU the same recipe, data, number of threads and of processes give the same weights bit for bit, stopped and
    continued or not. In a process that `torchrun` started (see `dist.joined`) it does its part of every batch.

    Args:
        weights: file to start from.
        new_head: of other classes: the last layer starts afresh.
        net_input: in place of the net's own (size, mean, std, frames).
        resume: continue from `last.pt`, or begin if there is none.

    Raises:
        ValueError: something the user gave does not fit, or the loss is no number any more.
        OSError: the run folder cannot be written; the previous checkpoint is whole.
    """
    reporter = reporter if not dist.rank() else Silent()
    resume = resume or dist.noted(_BEGUN)
    check(recipe, data)
    with ExitStack() as stack:
        dist.by_first(lambda: stack.enter_context(runfolder.held(run_dir)))
        saved = dist.by_first(lambda: runfolder.newest(run_dir, reporter.line)) if resume else None
        if resume and saved is None:
            reporter.line(f"nothing to continue in {run_dir}: beginning")
        trainer = Trainer(
            recipe, data, run_dir, reporter, saved=saved, weights=weights, new_head=new_head, net_input=net_input
        )
        del saved
        trainer.start()
        dist.note(_BEGUN)
        stack.callback(trainer.close)
        interrupted = not trainer.run(stack.enter_context(_stop_at_signal()))
        return trainer.trained(interrupted=interrupted)


def check(recipe: Recipe, data: Data) -> None:
    """Raises ValueError for what can be told before anything is built."""
    if recipe.loader.batch_size % dist.world():
        raise ValueError(
            f"batch_size {recipe.loader.batch_size} over {dist.world()} processes: expected a multiple of their number"
        )
    share = recipe.loader.batch_size // dist.world()
    for name in ("mixup", "cutmix"):
        if getattr(recipe.augment, name) and share % 2:
            raise ValueError(f"{name} with batches of {share} clips in each process: expected an even number")
        if getattr(recipe.augment, name) and recipe.loader.repeats > 1:
            raise ValueError(
                f"{name} with repeats {recipe.loader.repeats}: it would mix clips of the same video: give one"
            )
    for videos in (data.train, data.val or ()):
        check_labels(videos, len(data.classes), multi_label=recipe.loss.multi_label)
    if not recipe.loss.multi_label and not all(video.labels for video in data.train):
        raise ValueError(f"{next(v.id for v in data.train if not v.labels)} has no label: training needs one per video")


@contextmanager
def _stop_at_signal() -> Iterator[list[int]]:
    """The yielded list becomes true at the first SIGINT or SIGTERM; a second SIGINT stops at once."""
    caught: list[int] = []

    def note(number: int, frame: Any) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are someone else's
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
