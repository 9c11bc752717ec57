"""The training loop. Start reading at `Trainer.run`."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from actrec import nets
from actrec.config import Input, Recipe
from actrec.data.index.notices import surprises_line
from actrec.data.lists import label_columns
from actrec.data.lists.labeling import refuse_lost_classes
from actrec.engine import checkpoint, dist, runfolder, runlog
from actrec.engine.build import build_net, make_loaders, weights_line
from actrec.engine.classes import ClassResult, class_results
from actrec.engine.devices import choose_device, choose_precision, move, name_of_device
from actrec.engine.ema import WeightAverage
from actrec.engine.evaluate import Result, check_scored, merge, score
from actrec.engine.failures import skipped_lines, with_name
from actrec.engine.freeze import freeze, train_mode
from actrec.engine.metrics import chance_level
from actrec.engine.optim import Schedule, lr_scale, make_optimizer
from actrec.engine.pending import PendingSteps
from actrec.engine.reporting import EpochReport, Measured, Reporter, RunHeader, TrainResult, shown_seconds
from actrec.engine.runfolder import BEST, LAST, Data
from actrec.engine.runwarnings import RunWarning, of_data, of_validation
from actrec.engine.state import EpochTimer, FirstSteps, TimeLeft, TrainState
from actrec.engine.step import Stepper, read_sums
from actrec.leftovers import remove_leftovers
from actrec.nets.weights import Account
from actrec.pipelines.loader import Batch
from actrec.system import peak_memory
from actrec.words import counted

_STEPS, _PASSES = 3, 4  # of a measurement: steps at least, and passes over the training list at most
_MOST_LISTED = 20  # classes of which the results are kept, and shown one by one


class _Stopped(Exception):
    """A process was asked to stop. The run can be continued from its last checkpoint."""


class Trainer:
    """A run: builds all of its parts, trains epoch by epoch, and saves checkpoints.

    Args:
        saved: The checkpoint that the run continues; None begins a run.
        weights: The file that a new run starts from.
        new_head: The weights are of other classes: the last layer is initialized afresh.
        net_input: Replaces the net's own input.

    Raises:
        ValueError: Options, data, weights and checkpoint do not fit each other.
        OSError: The run folder cannot be written.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        run_dir: Path,
        reporter: Reporter,
        *,
        saved: dict[str, Any] | None = None,
        weights: str | None = None,
        new_head: bool = False,
        net_input: Input | None = None,
    ):
        self._recipe, self._data, self._dir, self._reporter = recipe, data, run_dir, reporter
        weights = weights if saved is None else None
        self._device = torch.device(choose_device(recipe.run.device))
        self._precision = choose_precision(recipe.run.precision, self._device)
        if saved is not None and recipe.run.precision == "auto":
            self._precision = saved["precision"]
        torch.backends.cudnn.benchmark = recipe.run.cudnn_benchmark
        torch.manual_seed(recipe.run.seed)
        self._net = self._build_net(weights, new_head, net_input)
        if saved is not None and (eps_of := saved["net"]["options"].get("eps_of")):  # set by the first weights
            nets.set_eps(self._net, eps_of)
        self._loader, self._val_loader = make_loaders(
            data, recipe.clip, self._net.input, recipe.augment, recipe.loader, recipe.loss, recipe.run, self._device
        )
        self._surprises: dict[str, str] = {}  # of which the user was told: see `Index.surprises`
        self._told: set[int] = set()  # unusable rows that all processes know of, and the user
        self._num_listed = 0
        if saved is None:
            self._share_unusable()
            self._check_usable()
        self._optimizer = make_optimizer(self._net, recipe.optim, recipe.loader.batch_size)
        self._schedule = Schedule(self._optimizer, recipe.optim, self._steps_of_epoch())
        self._average = WeightAverage(self._net, recipe.optim.ema) if recipe.optim.ema is not None else None
        if recipe.run.compile:
            self._net.compile()
        self._stepper = Stepper(
            self._net,
            augment=recipe.augment,
            loss=recipe.loss,
            run=recipe.run,
            num_classes=len(data.classes),
            repeats=recipe.loader.repeats,
            clips_per_step=recipe.loader.batch_size * recipe.optim.accumulate,
            clip_gradient=recipe.optim.clip_gradient,
            optimizer=self._optimizer,
            schedule=self._schedule,
            average=self._average,
            device=self._device,
            precision=self._precision,
        )
        self._state, self._timer = TrainState(), EpochTimer()
        self._warnings: list[RunWarning] = []
        if saved is None:
            self._begin(weights, new_head)
        else:
            self._continue(saved)
        self._log = self._open_log()
        self._pending = PendingSteps(
            self._state,
            run_dir,
            self._log,
            log_every=recipe.run.log_every,
            read_every=recipe.run.log_every if self._device.type == "cuda" else 1,
        )
        position = self._loader.state_dict()
        fraction = position["step"] / len(self._loader) if position["step"] else 0.0
        self._time_left, self._first_steps = TimeLeft(position["epoch"] + fraction), FirstSteps()
        self._saved_at = time.monotonic()
        if not self._finished:
            self._reporter.header(self.header)
        if saved is None:
            self._warn(dist.by_first(lambda: list(self._warnings_of_data())))

    def run(self, stop: threading.Event) -> TrainResult:
        """Trains to the last epoch, or until `stop` is set in any process; the run is saved then."""
        interrupted = False
        try:
            while not self._finished:
                self._train_epoch(stop)
                result = self._validate(stop) if self._validation_due() else None
                self._end_epoch(result)
                self._stop_between_epochs(stop)
        except _Stopped:
            interrupted = True
        return self._result(interrupted)

    def measure(self, seconds: float = 10.0) -> Measured:
        """Takes training steps and scores validation videos for some seconds. The run cannot be continued after it.

        Raises:
            ValueError: No training video could be decoded.
        """
        num_steps, num_clips, began, took = 0, 0, None, 0.0
        train_mode(self._net)
        for _ in range(_PASSES):
            batches, done, stopping = iter(self._loader), 0, False
            for batch in batches:
                self._stepper.add(batch, self._state.epoch, done)
                num_clips, done = num_clips + len(batch), done + 1
                if done % self._recipe.optim.accumulate and done < len(self._loader):
                    continue
                over = began is not None and num_steps >= _STEPS and time.perf_counter() - began > seconds
                result, (stopping,) = self._stepper.finish(over)
                read_sums([result])  # waits for the GPU
                now = time.perf_counter()
                if began is None:  # the first step waits for the first batch, and allocates memory
                    began = now
                else:
                    num_steps, took = num_steps + 1, now - began
                if stopping:
                    break
            batches.close()
            if stopping:
                break
        if not any(dist.total([num_clips])):
            reasons = self._loader.unreachable | self._loader.unusable
            raise ValueError(f"no training video could be decoded; {with_name(*next(iter(self._named(reasons))))}")
        step = took / num_steps if num_steps else time.perf_counter() - began if began is not None else 0.0
        validation = self._measure_validation(seconds / 2)
        memory, checkpoint = peak_memory(), self._measure_checkpoint()
        epochs = self._recipe.optim.epochs
        validations = -(-epochs // self._recipe.run.val_every) if validation is not None else 0
        # last.pt before each validation and after each epoch, and best.pt
        checkpoints = epochs + (2 * validations if validation is not None else epochs)
        return Measured(
            step=step,
            validation=validation,
            checkpoint=checkpoint,
            total=epochs * self._steps_of_epoch() * step + validations * (validation or 0.0) + checkpoints * checkpoint,
            memory=memory,
            gpu_memory=torch.cuda.max_memory_reserved() if self._device.type == "cuda" else None,
            processes=dist.world(),
        )

    def _measure_checkpoint(self) -> float:
        """The seconds in which a checkpoint is written; 0 if there is no space for it."""
        began = time.perf_counter()
        try:
            self._save(LAST)
        except OSError:
            return 0.0
        return time.perf_counter() - began

    def _measure_validation(self, seconds: float) -> float | None:
        """The seconds of a validation, judged by its first videos; None without a validation list."""
        if self._val_loader is None or self._data.val is None:
            return None
        scored, began, took = 0, time.perf_counter(), 0.0

        def count(videos: int) -> None:
            nonlocal scored, took
            scored, took = scored + videos, time.perf_counter() - began
            if took > seconds:
                raise _Stopped

        with contextlib.suppress(_Stopped):
            score(self._net, self._val_loader, precision=self._precision, progress=count)
        share = -(-len(self._data.val) // dist.world())
        return took * share / scored if scored else 0.0

    @property
    def header(self) -> RunHeader:
        """What the run is."""
        recipe, data, val = self._recipe, self._data, self._data.val
        parameters = list(self._net.parameters())
        multi_label, num_classes = recipe.loss.multi_label, len(data.classes)
        counts = np.bincount(label_columns(val if val is not None else [])[0], minlength=num_classes)
        return RunHeader(
            net=recipe.net.backbone,
            parameters=sum(parameter.numel() for parameter in parameters),
            trained=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            frames=self._loader.clip.frames or self._net.input.frames,
            size=self._net.input.side,
            device=name_of_device(self._device),
            precision=self._precision,
            processes=dist.world(),
            classes=num_classes,
            train_videos=len(data.train),
            skipped=len(self._loader.unusable),
            val_videos=len(val) if val is not None else None,
            chance=chance_level(counts, len(val) if val is not None else 0, multi_label=multi_label),
            metric=self._metric,
            frequent=data.classes[int(counts.argmax())] if counts.max() > counts.min() and not multi_label else None,
            epochs=recipe.optim.epochs,
            batches=len(self._loader),
            batch_size=recipe.loader.batch_size,
            optimizer=recipe.optim.optimizer,
            lr=recipe.optim.initial_lr * lr_scale(recipe.optim, recipe.loader.batch_size),
            run_dir=self._dir,
            weights=self._weights,
        )

    @property
    def _metric(self) -> str:
        return "mAP" if self._recipe.loss.multi_label else "top-1"

    @property
    def _finished(self) -> bool:
        state = self._state
        return state.epoch >= self._recipe.optim.epochs or state.is_stopped_early(self._recipe.run.early_stopping)

    def close(self) -> None:
        """Closes the log."""
        if self._log is not None:
            self._log.close()

    # One epoch

    def _train_epoch(self, stop: threading.Event) -> None:
        """Trains the rest of the current epoch.

        Raises:
            _Stopped: Before the last step of the epoch, after a whole step.
            ValueError: No video could be decoded, or the loss is not a finite number.
        """
        if self._loader.epoch > self._state.epoch:  # the run was stopped after the last step, in the validation
            return
        loader, accumulate = self._loader, self._recipe.optim.accumulate
        num_batches, done = len(loader), loader.state_dict()["step"]
        num_steps = self._steps_of_epoch()
        self._schedule.begin_epoch(num_steps)
        self._state.planned = loader.num_clips
        self._reporter.epoch(self._state.epoch, self._recipe.optim.epochs, num_steps, done // accumulate)
        train_mode(self._net)
        self._timer = EpochTimer()
        with self._timer:
            batches = iter(loader)
            for batch in self._timer.measure_waiting(batches):
                self._stepper.add(batch, self._state.epoch, done)
                self._timer.clips += len(batch) * dist.world()
                done += 1
                if done % accumulate and done < num_batches:
                    continue
                stopping, save_due = self._update_weights(stop)
                if done < num_batches:  # after the last step the epoch ends, which saves, or stops, anyway
                    if stopping:
                        self._stop_in_epoch(batches)
                    if save_due:
                        self._save(LAST)
                self._show_step()
            self._pending.read()
        self._reporter.close()
        self._check_that_clips_came()
        self._leave_out_unusable()
        self._tell_unreachable()
        self._tell_surprises()

    def _update_weights(self, stop: threading.Event) -> tuple[bool, bool]:
        """Takes an optimizer step. Returns whether any process was asked to stop, and whether it is time to save."""
        self._state.lr = self._optimizer.param_groups[0]["lr"]
        result, (stopping, save_due) = self._stepper.finish(stop.is_set(), self._save_due())
        self._pending.add(result, self._state.lr)
        return stopping, save_due

    def _validate(self, stop: threading.Event) -> Result:
        """Scores the validation list. Every process scores its share of the videos.

        Raises:
            _Stopped: `stop` was set in a process.
            ValueError: No video could be scored.
        """
        assert self._val_loader is not None
        assert self._data.val is not None
        num_videos, num_scored = len(self._data.val), 0

        def show(videos: int) -> None:
            nonlocal num_scored
            num_scored = min(num_videos, num_scored + videos * dist.world())
            self._reporter.validation(num_videos, num_scored)
            if stop.is_set():
                raise _Stopped

        self._save(LAST)  # a run that is killed from here on has only its validation to repeat
        net = self._average.net if self._average is not None else self._net
        dist.share_buffers(net)
        share: Result | None
        try:
            share = score(net, self._val_loader, precision=self._precision, progress=show)
        except _Stopped:
            share = None
        self._reporter.close()
        shares = [result for result in dist.gather(share) if result is not None]
        if len(shares) < dist.world():
            raise _Stopped
        return check_scored(merge(shares, self._data.val))

    def _end_epoch(self, result: Result | None) -> None:
        """Adapts the learning rate, reports the epoch, moves to the next one, and saves."""
        self._schedule.end_epoch(self._loss_to_watch(result))
        self._first_steps.forget()
        best = self._state.compare(result.score, result.loss) if result is not None else None
        if result is not None and best and len(self._data.classes) <= _MOST_LISTED:
            self._state.classes = [vars(one) for one in class_results(result.scores, result.labels, self._data.classes)]
        report = self._report(result, best)
        if self._log is not None:
            self._log.epoch(report.row(), self._state.steps)
        self._reporter.line(str(report))
        epoch = self._state.epoch
        self._state.next_epoch()
        if result is not None:
            last = self._finished
            self._warn(of_validation(result, self._data.classes, epoch, self._state.steps, last=last))
        if best or self._val_loader is None:
            self._save(BEST)  # before last.pt: a crash between the two repeats the epoch, and loses nothing
        self._save(LAST)
        self._keep_epoch()

    def _stop_between_epochs(self, stop: threading.Event) -> None:
        if not self._finished and any(dist.total([stop.is_set()])):
            raise _Stopped

    # Parts of an epoch

    def _show_step(self) -> None:
        self._reporter.step(
            loss=self._state.loss,
            top1=self._state.top1,
            clips_per_second=self._timer.clips_per_second,
            waiting=self._timer.waited,
        )
        if (seconds := self._first_steps.step()) is not None:
            self._tell_estimate(seconds)

    def _tell_estimate(self, seconds: float) -> None:
        """Tells how long the run takes, from the time of its first steps."""
        recipe, done = self._recipe, self._loader.state_dict()["step"] // self._recipe.optim.accumulate
        epochs = recipe.optim.epochs - self._state.epoch
        steps = epochs * self._steps_of_epoch() - done
        left = seconds * steps
        if self._data.val is not None:  # without the backward pass, a video takes about a third of the time
            videos = len(self._data.val) * -(-epochs // recipe.run.val_every)
            left += seconds * videos / (3 * recipe.loader.batch_size * recipe.optim.accumulate)
        self._reporter.note(
            f"estimated time: {timedelta(seconds=round(left))} for {counted(epochs, 'epoch')} "
            f"({shown_seconds(seconds)} per step, measured in the first steps)"
        )

    def _warnings_of_data(self) -> Iterator[RunWarning]:
        return of_data(self._data, self._loader.unusable, flips=self._recipe.augment.flip)

    def _warn(self, warnings: Iterable[RunWarning]) -> None:
        """Tells warnings of kinds that the run has not warned of before, and logs them."""
        for warning in warnings:
            if warning.kind in self._state.warned:
                continue
            self._state.warned[warning.kind] = warning.epoch
            self._warnings.append(warning)
            self._reporter.warning(warning)
            if self._log is not None:
                self._log.warning(vars(warning))

    def _stop_in_epoch(self, batches: Generator[Batch, None, None]) -> None:
        position = self._loader.state_dict()
        batches.close()  # this moves the loader to the next epoch
        self._loader.load_state_dict(position)
        self._save(LAST)
        raise _Stopped

    def _check_that_clips_came(self) -> None:
        if not self._state.clips:
            self._share_unusable()
            reasons = self._loader.unreachable | self._loader.unusable
            raise ValueError(f"no training video could be decoded; {with_name(*next(iter(self._named(reasons))))}")

    def _validation_due(self) -> bool:
        epoch, recipe = self._state.epoch + 1, self._recipe
        due = epoch % recipe.run.val_every == 0 or epoch == recipe.optim.epochs
        return self._val_loader is not None and due

    def _loss_to_watch(self, result: Result | None) -> float | None:
        """The loss that the schedule `plateau` watches: of validation, or of training if there is no validation list.

        None if this epoch has none.
        """
        if self._val_loader is None:
            return self._state.loss
        return result.loss if result is not None and math.isfinite(result.loss) else None

    def _report(self, result: Result | None, best: Literal["score", "loss"] | None) -> EpochReport:
        state, timer, epochs = self._state, self._timer, self._recipe.optim.epochs
        trained = timer.clips > 0
        return EpochReport(
            epoch=state.epoch,
            num_epochs=epochs,
            lr=state.lr,
            train_loss=state.loss,
            train_top1=state.top1,
            clips_per_second=timer.clips_per_second if trained else None,
            waiting=timer.waited if trained else None,
            skipped=state.planned - state.clips,
            clamped=state.clamped,
            validation=result,
            time_left=self._time_left.after(state.epoch + 1, epochs) if state.epoch + 1 < epochs else None,
            best=best,
        )

    def _result(self, interrupted: bool) -> TrainResult:
        self._share_unusable()  # also what was found in the epoch in which the run was stopped
        state = self._state
        return TrainResult(
            epochs=state.epoch,
            interrupted=interrupted,
            best=state.best,
            metric=self._metric,
            best_loss=state.best_loss,
            best_epoch=state.best_epoch if state.best_epoch >= 0 else None,
            tied=state.tied,
            stopped_early=self._finished and state.epoch < self._recipe.optim.epochs,
            classes=tuple(ClassResult(**one) for one in state.classes),
            warnings=tuple(self._warnings),
            num_videos=len(self._data.train),
            num_skipped=len(self._loader.unusable),
            skipped=self._loader.skipped,
            clips_per_second=self._timer.clips_per_second,
            waiting=self._timer.waited,
        )

    # Videos that cannot be used

    def _share_unusable(self) -> None:
        """Gives every process the unusable rows that any process has found, so that all draw the same."""
        own = self._loader.unusable
        for reasons in dist.gather({row: own[row] for row in sorted(own.keys() - self._told)}):
            self._loader.add_unusable(reasons)

    def _check_usable(self) -> None:
        """Raises ValueError if no video of a class is left for the next epoch, or fewer than one batch of videos."""
        refuse_lost_classes(self._data.train, self._loader.unusable, self._data.classes)
        len(self._loader)

    def _leave_out_unusable(self) -> None:
        """Makes all processes leave out of the next epoch what was found to be unusable in this one, and tells it.

        Raises:
            ValueError: Too little is left for another epoch. Nothing was saved since the last save in the epoch, so
                that the run can be continued if the files can be read again.
        """
        self._share_unusable()
        unusable = self._loader.unusable
        if not (new := sorted(unusable.keys() - self._told)):
            return
        if self._state.epoch + 1 < self._recipe.optim.epochs:
            self._check_usable()
        where, before = f"training list after epoch {self._state.epoch + 1}", len(self._told)
        named = self._named({row: unusable[row] for row in new})
        for line in skipped_lines(where, len(self._data.train), named, before=before):
            self._reporter.line(line)
        self._told = set(unusable)

    def _tell_unreachable(self) -> None:
        """Tells which videos at URLs could not be fetched in the epoch. The next epoch tries them again."""
        found: dict[int, str] = {}
        for reasons in dist.gather(dict(sorted(self._loader.unreachable.items()))):
            found |= reasons
        if found:
            where = f"training list in epoch {self._state.epoch + 1}, videos that could not be fetched this time"
            for line in skipped_lines(where, len(self._data.train), self._named(found)):
                self._reporter.line(line)

    def _tell_surprises(self) -> None:
        """Tells which videos were not what their certificates say, as far as that is new."""
        found: dict[str, str] = {}
        loaders = (self._loader, self._val_loader) if self._val_loader else (self._loader,)
        for surprises in dist.gather({path: why for one in loaders for path, why in one.index.surprises.items()}):
            found |= {path: why for path, why in surprises.items() if path not in self._surprises}
        if found:
            self._surprises.update(found)
            self._reporter.line(surprises_line(found))

    def _list_unusable(self) -> None:
        """Lists the unusable videos in the run folder."""
        if (number := len(self._loader.unusable)) != self._num_listed:
            videos = self._data.train
            listed = [
                (videos[row].id, reason.removeprefix(f"{videos[row].path}: "))
                for row, reason in sorted(self._loader.unusable.items())
            ]
            dist.by_first(lambda: runfolder.write_skipped(self._dir, listed))
            self._num_listed = number

    def _named(self, reasons: Mapping[int, str]) -> list[tuple[str, str]]:
        return [(self._data.train[row].id, reason) for row, reason in reasons.items()]

    def _steps_of_epoch(self) -> int:
        """Optimizer steps of the epoch that begins next, or continues."""
        return -(-len(self._loader) // self._recipe.optim.accumulate)

    # Beginning and continuing

    def _build_net(self, weights: str | None, new_head: bool, net_input: Input | None) -> Any:
        """The net on its device, with its first weights, the same in all processes."""
        recipe = self._recipe
        accounts: list[Account] = []
        net: Any = build_net(
            recipe.net,
            num_classes=len(self._data.classes),
            modality=recipe.clip.modality,
            frames=net_input.frames if net_input is not None else recipe.clip.frames,
            size=net_input.size if net_input is not None else None,
            weights=weights,
            new_head=new_head,
            log=self._reporter.line,
            receive=accounts.append,
        )
        self._weights = weights_line(weights, net, accounts[0]) if weights is not None else None
        net.input = net_input if net_input is not None else net.input
        net = move(net, self._device, channels_last=recipe.run.channels_last)
        net = net.double() if self._precision == "float64" else net
        net = dist.sync_batch_norm(net) if recipe.run.sync_bn else net
        dist.share_state(net)
        freeze(net, recipe.optim)
        return net

    def _begin(self, weights: str | None, new_head: bool) -> None:
        origin = runfolder.describe_weights(weights, new_head) if weights is not None else None
        arguments = (self._dir, self._recipe, self._data, self._net.input, self._device, self._precision, origin)
        dist.by_first(lambda: runfolder.begin(*arguments))
        self._list_unusable()
        self._told = set(self._loader.unusable)

    def _continue(self, saved: dict[str, Any]) -> None:
        recipe, run_dir = self._recipe, self._dir
        dist.by_first(lambda: runfolder.refuse_other_config(run_dir, saved["config"], recipe, self._net.input))
        lost = dist.by_first(lambda: runfolder.refuse_other_data(run_dir, self._data))
        if lost is not None:
            self._reporter.line(lost)
        changed = dist.by_first(lambda: runfolder.change_epochs(run_dir, saved, recipe.optim))
        if changed is not None:
            self._reporter.line(changed)
        patience_before = saved["config"].get("run", {}).get("early_stopping", 0)
        is_new = changed is not None or patience_before != recipe.run.early_stopping
        arguments = (run_dir, recipe, self._net.input, self._data)
        dist.by_first(lambda: runfolder.renew_config(*arguments, changed=is_new))
        self._restore(saved)
        if changed is not None and self._finished:  # it was stopped early, and is to train more epochs now
            self._state.patience_from = self._state.validated
        self._replace_lost_best()
        rows = dist.by_first(lambda: runlog.keep_warnings(run_dir, self._state.warned))
        self._warnings = [RunWarning(**row) for row in rows]
        self._report_position(saved["world"])
        if saved["format"] < 4 and self._loader.task.changes_pixels:
            self._reporter.line("WARNING: an earlier version began this run: color changes are drawn differently now")
        self._keep_epoch()

    def _replace_lost_best(self) -> None:
        """If `best.pt` was removed, writes it again from the same epoch, or else looks for a new best epoch."""
        state, path = self._state, self._dir / BEST
        if state.best_epoch < 0 or dist.by_first(path.exists):
            return
        what = f"WARNING: {path}: the file is missing"
        if state.epoch == state.best_epoch + 1 and self._loader.state_dict() == {"epoch": state.epoch, "step": 0}:
            dist.by_first(lambda: runfolder.save(self._dir, BEST, self._snapshot()))
            self._reporter.line(f"{what}; it is written again from {LAST}")
        elif self._finished:
            self._reporter.line(f"{what}; it was from epoch {state.best_epoch + 1}, and {LAST} is from another epoch")
        else:
            self._reporter.line(f"{what}; the best one of the epochs from now on is written to it")
            state.best, state.best_loss, state.best_epoch, state.tied = math.nan, math.nan, -1, 0
            state.classes, state.patience_from = [], state.validated

    def _report_position(self, world: int) -> None:
        state, position, line = self._state, self._loader.state_dict(), self._reporter.line
        if state.epoch >= self._recipe.optim.epochs:
            epochs = self._recipe.optim.epochs
            line(f"{self._dir} is finished: {counted(epochs, 'epoch')} {'is' if epochs == 1 else 'are'} done")
            return
        if self._finished:
            line(
                f"{self._dir} is finished: it was stopped early after {counted(state.epoch, 'epoch')}. To continue it, "
                "pass a larger --early-stopping, or --early-stopping 0"
            )
            return
        if others := self._told - self._data.train_index.broken.keys():
            videos = counted(len(others), "video")
            line(f"{self._dir} leaves out {videos} that could not be used before: {runfolder.SKIPPED} has the reasons")
        where = f"step {position['step'] + 1}" if position["epoch"] == state.epoch else "its validation"
        line(f"continuing {self._dir} at epoch {state.epoch + 1}, {where}")
        if world != dist.world():
            line(
                f"the run was started with {world} processes and continues with {dist.world()}: batches stay the same, "
                "but sums are rounded differently"
            )

    def _open_log(self) -> runlog.RunLog | None:
        """None in all processes but the first, and if the run is finished."""
        if dist.rank() or self._finished:
            return None
        remove_leftovers([self._dir])
        runlog.cut(self._dir, epoch=self._state.epoch, step=self._state.steps)
        return runlog.RunLog(self._dir, tensorboard=self._recipe.run.tensorboard, step=self._state.steps)

    # Checkpoints

    def _save_due(self) -> bool:
        """Whether to save after this step: `--checkpoint-every`."""
        interval = self._recipe.run.save_interval
        if interval is None:
            return False
        number, unit = interval
        if unit == "steps":
            return (self._state.steps + 1) % number == 0
        return not dist.rank() and time.monotonic() - self._saved_at > 60 * number

    def _save(self, name: str) -> None:
        self._pending.read()  # so that no checkpoint is written after a loss that is not a finite number
        self._share_unusable()
        self._list_unusable()
        self._saved_at = time.monotonic()
        dist.by_first(lambda: runfolder.save(self._dir, name, self._snapshot()))

    def _keep_epoch(self) -> None:
        """Keeps the checkpoint of the epoch that has just ended: `--keep-every`."""
        every, epoch = self._recipe.run.keep_every, self._state.epoch
        just_ended = self._loader.state_dict() == {"epoch": epoch, "step": 0}
        if every and epoch and epoch % every == 0 and just_ended:
            dist.by_first(lambda: runfolder.keep(self._dir, f"epoch_{epoch:03d}.pt"))

    def _snapshot(self) -> dict[str, Any]:
        net, recipe = self._net, self._recipe
        return {
            "net": checkpoint.describe_net(net, net.input),
            "state_dict": (self._average.net if self._average is not None else net).state_dict(),  # to be evaluated
            "trained": net.state_dict() if self._average is not None else None,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._stepper.scaler.state_dict(),
            "loader": self._loader.state_dict(),
            "progress": asdict(self._state),
            "world": dist.world(),
            "precision": self._precision,
            "config": runfolder.plain_config(recipe, net.input),
            "clip": asdict(replace(recipe.clip, frames=self._loader.clip.frames)),
            "channels_last": recipe.run.channels_last,
            "crop_ratio": recipe.run.crop_ratio,
            "multi_label": recipe.loss.multi_label,
            "classes": list(self._data.classes),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        if self._average is None:
            self._net.load_state_dict(saved["state_dict"])
        else:
            self._net.load_state_dict(saved["trained"])
            self._average.net.load_state_dict(saved["state_dict"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._restore_loader(saved["loader"])
        # Checkpoints of earlier versions do not have `done` and `planned`: their epochs were equally long.
        done = saved["loader"]["step"] // self._recipe.optim.accumulate
        self._schedule.load_state_dict({"done": done, **saved["schedule"]})
        self._stepper.scaler.load_state_dict(saved["scaler"])
        self._state = TrainState(**{"planned": self._loader.task.num_clips, **saved["progress"]})
        if "best_epoch" not in saved["progress"]:  # of an earlier version, which only stored the score
            found = dist.by_first(lambda: runlog.find_best(self._dir, self._state.best, self._state.epoch))
            self._state.best_epoch, self._state.best_loss, self._state.tied, self._state.validated = found

    def _restore_loader(self, saved: dict[str, Any]) -> None:
        """The loader's place, and the rows that it leaves out: those of the checkpoint, whatever is usable now."""
        loader, broken = self._loader, self._loader.unusable
        loader.load_state_dict(saved)
        listed = dist.by_first(lambda: runfolder.read_skipped(self._dir))
        names = {row: self._data.train[row].id for row in loader.unusable.keys() - broken.keys()}
        loader.add_unusable({row: listed[name] for row, name in names.items() if name in listed})
        self._told = set(saved.get("left_out", ()))
