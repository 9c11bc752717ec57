"""A straight loop over epochs and steps, and everything of it that a checkpoint holds."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from actrec.config import Input, Recipe
from actrec.engine import checkpoint, dist, runfolder, runlog
from actrec.engine.build import build_net, make_loaders
from actrec.engine.devices import choose_device, choose_precision, memory_format
from actrec.engine.ema import Average
from actrec.engine.evaluate import Result, check_scored, merge, score
from actrec.engine.freeze import freeze, train_mode
from actrec.engine.optim import Schedule, make_optimizer
from actrec.engine.progress import Clock, Pace, Progress, Reporter, Trained
from actrec.engine.runfolder import BEST, LAST, Data
from actrec.engine.step import Stepper, Taken, read

_SHOWN = {"top1": "top-1", "top5": "top-5", "map": "mAP"}


class _Stopped(Exception):
    """A signal came while a list was scored."""


class Trainer:
    """A run in hand; see `train`.

    Args:
        saved: the checkpoint that it continues.
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
        self._device = torch.device(choose_device(recipe.run.device))
        self._precision = choose_precision(recipe.run.precision, self._device)
        if saved is not None and recipe.run.precision == "auto":
            self._precision = saved["precision"]
        torch.backends.cudnn.benchmark = recipe.run.cudnn_benchmark
        torch.manual_seed(recipe.run.seed)
        net = build_net(
            recipe.net,
            num_classes=len(data.classes),
            modality=recipe.clip.modality,
            weights=weights if saved is None else None,
            new_head=new_head,
            log=reporter.line,
        )
        begun = weights is not None and saved is None
        self._origin = runfolder.describe_weights(weights, new_head) if begun else None
        net.input = net_input if net_input is not None else net.input
        net = net.to(self._device, memory_format=memory_format(net, recipe.run.channels_last))
        net = net.double() if self._precision == "float64" else net
        net = dist.sync_batch_norm(net) if recipe.run.sync_bn else net
        dist.share_state(net)
        freeze(net, recipe.optim)
        self._net = net
        self._loader, self._val_loader = make_loaders(recipe, data, net.input, self._device)
        self._optimizer = make_optimizer(net, recipe.optim, recipe.loader.batch_size)
        steps = -(-len(self._loader) // recipe.optim.accumulate)
        self._schedule = Schedule(self._optimizer, recipe.optim, steps)
        self._ema = Average(net, recipe.optim.ema) if recipe.optim.ema is not None else None
        if recipe.run.compile:
            net.compile()
        self._stepper = Stepper(
            net,
            recipe,
            num_classes=len(data.classes),
            optimizer=self._optimizer,
            schedule=self._schedule,
            ema=self._ema,
            device=self._device,
            precision=self._precision,
        )
        self._saved, self._state, self._clock = saved, Progress(), Clock()
        self._pending: list[tuple[Taken, float]] = []
        self._read_every = recipe.run.log_every if self._device.type == "cuda" else 1
        self._saved_at = time.monotonic()
        self._log: runlog.RunLog | None = None
        self._pace = Pace(0)

    def start(self) -> None:
        """Goes to where the run stands, or begins it."""
        recipe, run_dir, saved = self._recipe, self._dir, self._saved
        if saved is None:
            arguments = (run_dir, recipe, self._data, self._net.input, self._device, self._precision, self._origin)
            dist.by_first(lambda: runfolder.begin(*arguments))
        else:
            dist.by_first(lambda: runfolder.refuse_other_config(run_dir, saved["config"], recipe, self._net.input))
            dist.by_first(lambda: runfolder.refuse_other_data(run_dir, self._data))
            self._restore(saved)
            self._saved = None
            self._say_where(saved["world"])
            self._keep()
        if not dist.rank() and self._state.epoch < recipe.optim.epochs:
            runfolder.tidy(run_dir)
            runlog.cut(run_dir, epoch=self._state.epoch, step=self._state.steps)
            self._log = runlog.RunLog(run_dir, tensorboard=recipe.run.tensorboard, step=self._state.steps)

    def _say_where(self, world: int) -> None:
        state, place, say = self._state, self._loader.state_dict(), self._reporter.line
        if state.epoch >= self._recipe.optim.epochs:
            say(f"{self._dir} is finished: {self._recipe.optim.epochs} epochs are done")
            return
        where = f"step {place['step'] + 1}" if place["epoch"] == state.epoch else "its validation"
        say(f"continuing {self._dir} at epoch {state.epoch + 1}, {where}")
        if world != dist.world():
            say(f"begun by {world} processes, now {dist.world()}: the same batches, but sums are rounded differently")

    def run(self, stop: list[int]) -> bool:
        """To the last epoch. False if a signal stopped it; it is saved then."""
        epochs, place = self._recipe.optim.epochs, self._loader.state_dict()
        self._pace = Pace(place["epoch"] + place["step"] / len(self._loader))
        while self._state.epoch < epochs:
            if not self._train_epoch(stop):
                self._save(LAST)
                return False
            result = None
            if self._validation_due():
                self._save(LAST)  # whoever is killed from now on has only the validation to repeat
                result = self._validate(stop)
                if result is None:
                    return False
            improved = self._end_epoch(result)
            if improved:
                self._save(BEST)  # first: a crash in between repeats the epoch, and loses nothing
            self._save(LAST)
            self._keep()
            if self._state.epoch < epochs and any(dist.total([bool(stop)])):
                return False
        return True

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def trained(self, *, interrupted: bool) -> Trained:
        skipped: dict[str, str] = {}
        for reasons in dist.gather(self._loader.skipped):
            skipped |= reasons
        metric = "mAP" if self._recipe.loss.multi_label else "top-1"
        state = self._state
        return Trained(state.epoch, interrupted, state.best, metric, skipped, self._clock.rate, self._clock.waiting)

    def _train_epoch(self, stop: list[int]) -> bool:
        """The rest of an epoch. False if a signal stopped it; the state is then that after its last whole step."""
        state, loader, accumulate = self._state, self._loader, self._recipe.optim.accumulate
        if loader.epoch > state.epoch:  # it was stopped in its validation
            return True
        train_mode(self._net)
        clock = self._clock = Clock()
        step = loader.state_dict()["step"]
        self._reporter.epoch(state.epoch, self._recipe.optim.epochs, -(-len(loader) // accumulate), step // accumulate)
        batches = iter(loader)
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            waited = time.perf_counter() - begun
            if batch is None:
                break
            self._stepper.add(batch, state.epoch, step)
            clock.clips += len(batch) * dist.world()
            step += 1
            whole = step % accumulate == 0 or step == len(loader)
            if whole:
                stopped, due = self._take_step(stop)
                if stopped and step < len(loader):  # else it stops in the validation, or behind it
                    position = loader.state_dict()
                    batches.close()  # which moves the loader to the next epoch
                    loader.load_state_dict(position)
                    return False
                if due and step < len(loader):  # else it is saved anyway
                    self._save(LAST)
            clock.seconds += time.perf_counter() - begun
            clock.waited += waited
            if whole:
                self._report()
        begun = time.perf_counter()
        self._read()  # waits for what a GPU still has to do
        clock.seconds += time.perf_counter() - begun
        self._reporter.close()
        if not state.clips:
            reasons = [reason for part in dist.gather(loader.skipped) for reason in part.items()]
            raise ValueError(f"no training video could be decoded; {reasons[0][0]}: {reasons[0][1]}")
        return True

    def _take_step(self, stop: list[int]) -> tuple[bool, bool]:
        """Updates the weights. (whether to stop, whether to save)."""
        state = self._state
        state.lr = self._optimizer.param_groups[0]["lr"]
        taken, (stopped, due) = self._stepper.finish(bool(stop), self._due())
        self._pending.append((taken, state.lr))
        state.steps += 1
        if len(self._pending) >= self._read_every or state.steps % self._recipe.run.log_every == 0:
            self._read()
        return stopped, due

    def _report(self) -> None:
        state = self._state
        self._reporter.step(
            loss=state.loss_sum / state.clips if state.clips else math.nan,
            top1=100 * state.hits / state.clips if state.clips else math.nan,
            clips_per_second=self._clock.rate,
            waiting=self._clock.waiting,
        )

    def _due(self) -> bool:
        """Whether it is time to save."""
        interval = self._recipe.run.save_interval
        if interval is None:
            return False
        number, unit = interval
        if unit == "steps":
            return (self._state.steps + 1) % number == 0
        return not dist.rank() and time.monotonic() - self._saved_at > 60 * number

    def _read(self) -> None:
        """Adds up the steps that were taken since the last time.

        Raises:
            ValueError: the loss of one of them is no number.
        """
        state, pending, self._pending = self._state, self._pending, []
        first = state.steps - len(pending)
        for i, ((loss, hits), (taken, lr)) in enumerate(zip(read([taken for taken, _ in pending]), pending), first + 1):
            if not math.isfinite(loss):
                self._explain(loss, i, taken)
            state.add(loss, hits, taken.clips, taken.clamped)
            if i % self._recipe.run.log_every == 0 and state.recent_clips:
                row = {"step": i, "epoch": state.epoch, "lr": lr, "loss": state.recent_loss / state.recent_clips}
                row["top1"] = 100 * state.recent_hits / state.recent_clips
                if self._log is not None:
                    self._log.step(row)
                state.recent_loss, state.recent_hits, state.recent_clips = 0.0, 0, 0

    def _explain(self, loss: float, step: int, taken: Taken) -> None:
        """Raises the ValueError of a loss that is no number, and leaves the names of its videos in the run folder."""
        videos = [video for part in dist.gather(taken.videos) for video in part]
        path = self._dir / runfolder.NAN
        if not dist.rank():
            with suppress(OSError):
                runlog.write_json(path, {"step": step, "epoch": self._state.epoch, "loss": str(loss), "videos": videos})
        raise ValueError(
            f"the loss became {loss} in step {step}, epoch {self._state.epoch + 1}: a lower --lr, --warmup, "
            f"--clip-gradient or --precision float32 may help; the videos of that step are in {path}"
        )

    def _validation_due(self) -> bool:
        epoch, recipe = self._state.epoch + 1, self._recipe
        due = epoch % recipe.run.val_every == 0 or epoch == recipe.optim.epochs
        return self._val_loader is not None and due

    def _validate(self, stop: list[int]) -> Result | None:
        """The scores of the validation list. None if a signal came."""
        scored = 0

        def look(videos: int) -> None:
            nonlocal scored
            scored += videos
            self._reporter.validation(len(self._data.val), min(len(self._data.val), scored * dist.world()))
            if stop:
                raise _Stopped

        net = self._ema.net if self._ema is not None else self._net
        dist.share_buffers(net)
        try:
            own = score(net, self._val_loader, precision=self._precision, progress=look)
        except _Stopped:
            own = None
        self._reporter.close()
        results = dist.gather(own)
        return check_scored(merge(results, self._data.val)) if None not in results else None

    def _end_epoch(self, result: Result | None) -> bool:
        """Logs the epoch, steps the schedule, and turns to the next. Whether it is the best."""
        state, recipe, clock = self._state, self._recipe, self._clock
        train_loss = state.loss_sum / state.clips
        if self._val_loader is None:
            self._schedule.end_epoch(train_loss)
        else:
            self._schedule.end_epoch(result.loss if result is not None and math.isfinite(result.loss) else None)
        row = {
            "epoch": state.epoch,
            "lr": state.lr,
            "train_loss": train_loss,
            "train_top1": 100 * state.hits / state.clips,
            "clips_per_second": round(clock.rate, 2) if clock.seconds else None,
            "waiting": round(clock.waiting, 4) if clock.seconds else None,
            "skipped": self._loader.num_clips - state.clips,
            "clamped": state.clamped,
        }
        text = f"train loss {train_loss:.4f} top-1 {row['train_top1']:.2f}"
        if result is not None:
            row |= {"val_loss": result.loss, **{f"val_{name}": value for name, value in result.accuracies.items()}}
            row |= {"val_videos": result.num_videos, "val_missing": len(result.missing)}
            shown = " ".join(f"{_SHOWN[name]} {value:.2f}" for name, value in result.accuracies.items())
            text += f"  val loss {result.loss:.4f} {shown}"
        improved = result is not None and (math.isnan(state.best) or result.score > state.best)
        if improved:
            state.best = result.score
        if self._log is not None:
            self._log.epoch(row, state.steps)
        if clock.seconds:
            text += f"  {clock.rate:.1f} clips/s, waiting {100 * clock.waiting:.0f} %"
        left = self._pace.left(state.epoch + 1, recipe.optim.epochs)
        if left is not None and state.epoch + 1 < recipe.optim.epochs:
            text += f", {left} left"
        self._reporter.line(f"epoch {state.epoch + 1}/{recipe.optim.epochs}  lr {state.lr:.4g}  {text}")
        state.next_epoch()
        return improved or self._val_loader is None

    def _save(self, name: str) -> None:
        """After reading: no checkpoint follows a loss that is no number."""
        self._read()
        self._saved_at = time.monotonic()
        dist.by_first(lambda: runfolder.save(self._dir, name, self._snapshot()))

    def _keep(self) -> None:
        """Keeps the checkpoint of an epoch that has just ended, if it is to be kept and is not yet."""
        every, epoch = self._recipe.run.keep_every, self._state.epoch
        ended = self._loader.state_dict() == {"epoch": epoch, "step": 0}
        if every and epoch and epoch % every == 0 and ended:
            dist.by_first(lambda: runfolder.keep(self._dir, f"epoch_{epoch:03d}.pt"))

    def _snapshot(self) -> dict[str, Any]:
        net, recipe = self._net, self._recipe
        return {
            "net": checkpoint.describe_net(net, net.input),
            "state_dict": (self._ema.net if self._ema is not None else net).state_dict(),  # what is evaluated
            "trained": net.state_dict() if self._ema is not None else None,
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
        self._net.load_state_dict(saved["state_dict"] if self._ema is None else saved["trained"])
        if self._ema is not None:
            self._ema.net.load_state_dict(saved["state_dict"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._schedule.load_state_dict(saved["schedule"])
        self._stepper.scaler.load_state_dict(saved["scaler"])
        self._loader.load_state_dict(saved["loader"])
        self._state = Progress(**saved["progress"])
