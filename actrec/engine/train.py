"""One training run: a straight loop from the first epoch to the last, that can be stopped and continued anywhere."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from actrec import config, nets
from actrec.config import Input
from actrec.data.files import atomic_write
from actrec.data.index import Index
from actrec.data.lists import Video
from actrec.engine import checkpoint, runlog
from actrec.engine.environment import environment
from actrec.engine.evaluate import Result, autocast, check_labels, evaluate
from actrec.engine.optim import Schedule, make_optimizer
from actrec.nets.weights import load_weights
from actrec.pipelines.loader import EvalLoader, TrainLoader, eval_loader, train_loader

LAST, BEST, CONFIG, DATA = "last.pt", "best.pt", "config.json", "data.json"


@dataclass(frozen=True)
class Recipe:
    """All that decides a run's result besides the data, as the dataclasses of `actrec.config`."""

    net: config.Net
    clip: config.Clip
    augment: config.Augment
    loader: config.Loader
    optim: config.Optim
    loss: config.Loss
    run: config.Run


@dataclass(frozen=True)
class Data:
    """The lists of a run.

    Args:
        val: None trains without validation; the last epoch is the best then.
        classes: names by label.
        flip_map: for each class the label of its mirror image, -1 where it has none.
    """

    train: Sequence[Video]
    train_index: Index
    val: Sequence[Video] | None
    val_index: Index | None
    classes: Sequence[str]
    flip_map: Sequence[int] | None = None


@dataclass(frozen=True)
class Trained:
    """How a run ended.

    Args:
        interrupted: stopped by a signal; the same command with --resume continues it.
        best_top1: of validation, in percent; nan without.
        skipped: reason by id of training videos that could not be decoded.
        clips_per_second: of the last epoch's training.
        waiting: share of the last epoch that the net waited for clips.
    """

    epochs: int
    interrupted: bool
    best_top1: float
    skipped: dict[str, str]
    clips_per_second: float
    waiting: float


class Reporter(Protocol):
    """Who shows a run's progress."""

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None: ...

    def close(self) -> None: ...


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

    On the CPU the same recipe, data and number of threads give the same weights bit for bit, stopped and continued or
    not.

    Args:
        weights: file to start from.
        new_head: of other classes: the last layer starts afresh.
        net_input: in place of the net's own (size, mean, std, frames).
        resume: continue from `last.pt`, or begin if there is none.

    Raises:
        ValueError: something the user gave does not fit.
        OSError: the run folder cannot be written; the previous checkpoint is whole.
    """
    device = torch.device(choose_device(recipe.run.device))
    precision = choose_precision(recipe.run.precision, device)
    torch.manual_seed(recipe.run.seed)
    net = build_net(
        recipe.net,
        num_classes=len(data.classes),
        modality=recipe.clip.modality,
        weights=weights,
        new_head=new_head,
        log=reporter.line,
    )
    net.input = net_input if net_input is not None else net.input
    for videos in (data.train, data.val or ()):
        check_labels(videos, len(data.classes))
    if not all(video.labels for video in data.train):
        raise ValueError(f"{next(v.id for v in data.train if not v.labels)} has no label: training needs one per video")
    net = net.to(device, memory_format=memory_format(net, recipe.run.channels_last))
    loader, val_loader = make_loaders(recipe, data, net.input, device)
    optimizer = make_optimizer(net, recipe.optim, recipe.loader.batch_size)
    schedule = Schedule(optimizer, recipe.optim, len(loader))

    state = Progress()
    saved = checkpoint.load(run_dir / LAST) if resume and (run_dir / LAST).exists() else None
    if saved is not None:
        refuse_other_config(run_dir, recipe, net.input)
        refuse_other_data(run_dir, data)
        if saved["progress"]["epoch"] >= recipe.optim.epochs:
            reporter.line(f"{run_dir} is finished: {recipe.optim.epochs} epochs are done")
        _restore(saved, net, optimizer, schedule, loader, state)
        runlog.cut(run_dir, state.epoch)
        if state.epoch < recipe.optim.epochs:
            reporter.line(f"continuing {run_dir} at epoch {state.epoch + 1}, step {loader.state_dict()['step'] + 1}")
    else:
        if resume:
            reporter.line(f"nothing to continue in {run_dir}: beginning")
        _begin(run_dir, recipe, data, net.input, device, precision)

    def save(name: str) -> None:
        checkpoint.save(run_dir / name, _snapshot(net, optimizer, schedule, loader, state, recipe, data))

    with _stop_at_signal() as stop:
        while state.epoch < recipe.optim.epochs:
            if not _train_epoch(net, loader, optimizer, schedule, recipe, state, device, precision, reporter, stop):
                save(LAST)
                return _trained(state, loader, interrupted=True)
            result = evaluate(net, val_loader, precision=precision) if val_loader is not None else None
            _end_epoch(run_dir, recipe, optimizer, schedule, state, loader, result, reporter)
            if state.improved:
                save(BEST)  # first: a crash in between repeats the epoch, and loses nothing
            save(LAST)
            if stop and state.epoch < recipe.optim.epochs:
                return _trained(state, loader, interrupted=True)
    return _trained(state, loader, interrupted=False)


@dataclass
class Progress:
    """Where a run stands: the epoch in hand, its sums so far, the best epoch."""

    epoch: int = 0
    loss_sum: float = 0.0
    hits: int = 0
    clips: int = 0
    best_top1: float = math.nan
    improved: bool = False
    seconds: float = 0.0
    waited: float = 0.0
    last_rate: float = 0.0
    last_waiting: float = 0.0
    clamped_before: int = 0

    def saved(self) -> dict[str, Any]:
        """What a checkpoint keeps: nothing that a clock decided."""
        return {k: getattr(self, k) for k in ("epoch", "loss_sum", "hits", "clips", "best_top1")}

    def next_epoch(self) -> None:
        self.last_rate, self.last_waiting = self.rate, self.waiting
        self.epoch += 1
        self.loss_sum, self.hits, self.clips, self.seconds, self.waited = 0.0, 0, 0, 0.0, 0.0

    @property
    def rate(self) -> float:
        return self.clips / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        return self.waited / self.seconds if self.seconds else 0.0


def build_net(
    choice: config.Net,
    *,
    num_classes: int,
    modality: str = "rgb",
    weights: str | None,
    new_head: bool,
    log: Callable[[str], None] | None = None,
) -> torch.nn.Module:
    """The chosen net, with the options that the user set and, if given, the weights of a file.

    Args:
        log: told if the weights are those of another modality, and what became of them.

    Raises:
        ValueError: as `actrec.net` and `load_weights` do.
        FileNotFoundError: there is no such weights file.
    """
    options = {k: v for k, v in asdict(choice).items() if k != "backbone" and v is not None}
    in_channels = config.FLOW_CHANNELS if modality == "flow" else 3
    net = nets.net(choice.backbone, num_classes=num_classes, in_channels=in_channels, **options)
    if weights is not None:
        account = load_weights(net, weights, new_head=new_head)
        for name, done in account.reshaped.items():
            if log and "channels" in done:
                log(f"{weights}: {name} {done}")
    return net


def make_loaders(
    recipe: Recipe, data: Data, net_input: Input, device: torch.device
) -> tuple[TrainLoader, EvalLoader | None]:
    """The training loader, and the validation loader (one clip, one crop) where there is a validation list."""
    common = {
        "device": device,
        "workers": recipe.loader.workers,
        "prefetch": recipe.loader.prefetch,
        "channels_last": recipe.run.channels_last,
        "batch_size": recipe.loader.batch_size,
    }
    loader = train_loader(
        data.train,
        recipe.clip,
        net_input,
        augment=recipe.augment,
        seed=recipe.run.seed,
        index=data.train_index,
        flip_map=data.flip_map,
        **common,
    )
    if data.val is None:
        return loader, None
    return loader, eval_loader(data.val, recipe.clip, net_input, index=data.val_index, **common)


def memory_format(net: nets.Backbone, channels_last: bool) -> torch.memory_format:
    """Of the net's weights."""
    return net.channels_last if channels_last else torch.contiguous_format


def choose_device(device: str) -> str:
    """auto is the GPU where torch finds one. Raises ValueError for cuda without one."""
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError("device cuda: torch finds no GPU; --device cpu works without one")
    return ("cuda" if found else "cpu") if device == "auto" else device


def choose_precision(precision: str, device: torch.device) -> str:
    """auto is bfloat16 where the hardware multiplies in it, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def _train_epoch(net, loader, optimizer, schedule, recipe, state, device, precision, reporter, stop) -> bool:
    """The rest of an epoch. False if a signal stopped it; the state is then that after its last whole step."""
    net.train()
    reporter.epoch(state.epoch, recipe.optim.epochs, len(loader), loader.state_dict()["step"])
    batches = iter(loader)
    while True:
        begun = time.perf_counter()
        batch = next(batches, None)
        waited = time.perf_counter() - begun
        if batch is None:
            break
        if len(batch):
            loss, hits = _step(net, batch, optimizer, recipe.optim.clip_gradient, device, precision)
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss became {loss} in epoch {state.epoch + 1}: a lower --lr, --clip-gradient or --precision "
                    f"float32 may help; videos of the batch: {', '.join(batch.videos[:4])} …"
                )
            schedule.step()
            state.loss_sum += loss * len(batch)
            state.hits += hits
            state.clips += len(batch)
        state.seconds += time.perf_counter() - begun
        state.waited += waited
        if state.clips:
            reporter.step(
                loss=state.loss_sum / state.clips,
                top1=100 * state.hits / state.clips,
                clips_per_second=state.rate,
                waiting=state.waiting,
            )
        if stop and loader.state_dict()["step"]:  # an epoch's last step is left to the end of the epoch
            position = loader.state_dict()
            batches.close()  # which moves the loader to the next epoch
            loader.load_state_dict(position)
            return False
    reporter.close()
    if not state.clips:
        reason = next(iter(loader.skipped.items()))
        raise ValueError(f"no training video could be decoded; {reason[0]}: {reason[1]}")
    return True


def _step(net, batch, optimizer, clip_gradient, device, precision) -> tuple[float, int]:
    """One optimiser step. (mean loss, clips whose best class is right)."""
    with autocast(device.type, precision):
        logits = net(batch.clips)
    loss = torch.nn.functional.cross_entropy(logits.float(), batch.labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip_gradient is not None:
        torch.nn.utils.clip_grad_norm_(net.parameters(), clip_gradient)
    optimizer.step()
    return loss.item(), int((logits.argmax(1) == batch.labels).sum())


def _end_epoch(run_dir, recipe, optimizer, schedule, state, loader, result: Result | None, reporter) -> None:
    """Logs the epoch, steps the schedule, decides whether it is the best, and turns to the next."""
    lr = optimizer.param_groups[0]["lr"]
    train_loss = state.loss_sum / state.clips
    schedule.end_epoch(result.loss if result is not None else train_loss)
    row = {
        "epoch": state.epoch,
        "lr": lr,
        "train_loss": train_loss,
        "train_top1": 100 * state.hits / state.clips,
        "clips_per_second": round(state.rate, 2),
        "waiting": round(state.waiting, 4),
        "skipped": len(loader.skipped),
        "clamped": loader.clamped - state.clamped_before,
    }
    text = f"train loss {train_loss:.4f} top-1 {row['train_top1']:.2f}"
    if result is not None:
        row |= {"val_loss": result.loss, "val_top1": result.top1, "val_top5": result.top5}
        row |= {"val_videos": result.num_videos, "val_missing": len(result.missing)}
        text += f"  val loss {result.loss:.4f} top-1 {result.top1:.2f} top-5 {result.top5:.2f}"
    state.improved = result is None or not result.top1 <= state.best_top1  # the first, nan, is always beaten
    if result is not None and state.improved:
        state.best_top1 = result.top1
    runlog.append(run_dir, row)
    _tensorboard(run_dir, row)
    speed = f"{state.rate:.1f} clips/s, waiting {100 * state.waiting:.0f} %"
    reporter.line(f"epoch {state.epoch + 1}/{recipe.optim.epochs}  lr {lr:.4g}  {text}  {speed}")
    state.clamped_before = loader.clamped
    state.next_epoch()


def _tensorboard(run_dir: Path, row: dict[str, Any]) -> None:
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    with SummaryWriter(run_dir / "tensorboard") as writer:
        for name, value in row.items():
            if name != "epoch":
                writer.add_scalar(name.replace("_", "/", 1), value, row["epoch"] + 1)


def _snapshot(net, optimizer, schedule, loader, state, recipe, data) -> dict[str, Any]:
    return {
        "net": checkpoint.describe_net(net, net.input),
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "loader": loader.state_dict(),
        "progress": state.saved(),
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state() if loader.device.type == "cuda" else None,
        "clip": asdict(replace(recipe.clip, frames=loader.clip.frames)),
        "channels_last": recipe.run.channels_last,
        "classes": list(data.classes),
    }


def _restore(saved, net, optimizer, schedule, loader, state) -> None:
    net.load_state_dict(saved["state_dict"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    loader.load_state_dict(saved["loader"])
    for name, value in saved["progress"].items():
        setattr(state, name, value)
    torch.set_rng_state(saved["rng"])
    if saved["rng_cuda"] is not None and loader.device.type == "cuda":
        torch.cuda.set_rng_state(saved["rng_cuda"])


def _trained(state: Progress, loader: TrainLoader, *, interrupted: bool) -> Trained:
    return Trained(state.epoch, interrupted, state.best_top1, dict(loader.skipped), state.last_rate, state.last_waiting)


def _begin(run_dir, recipe: Recipe, data: Data, net_input: Input, device: torch.device, precision: str) -> None:
    """A fresh run folder with what the run is made of.

    Raises:
        ValueError: it holds a run already.
    """
    if (run_dir / CONFIG).exists() and (run_dir / LAST).exists():
        raise ValueError(f"{run_dir} holds a run already: --resume continues it, another --run begins a new one")
    run_dir.mkdir(parents=True, exist_ok=True)
    with atomic_write(run_dir / runlog.NAME):
        pass
    runlog.write_json(run_dir / CONFIG, {**asdict(recipe), "input": asdict(net_input)})
    runlog.write_json(run_dir / "environment.json", environment(device, precision))
    runlog.write_json(run_dir / DATA, _describe_data(data))


def _describe_data(data: Data) -> dict[str, Any]:
    return {
        "classes": list(data.classes),
        "flip_map": list(data.flip_map) if data.flip_map is not None else None,
        "train": data.train_index.fingerprint(),
        "val": data.val_index.fingerprint() if data.val_index is not None else None,
    }


def refuse_other_data(run_dir: Path, data: Data) -> None:
    """Raises ValueError if the folder's run was begun with other lists, classes or mirror images, and names them."""
    begun = json.loads((run_dir / DATA).read_text(encoding="utf-8"))
    different = [name for name, value in _describe_data(data).items() if not _same(begun.get(name), value)]
    if different:
        raise ValueError(
            f"{run_dir} was begun with other data ({', '.join(different)}): expected the same lists and labels to "
            "continue it"
        )


def _same(begun: Any, now: Any) -> bool:
    """Contents that were not looked at then, or have not been now, are believed to be the same."""
    if isinstance(begun, dict) and isinstance(now, dict) and None in (begun.get("contents"), now["contents"]):
        return {**begun, "contents": None} == {**now, "contents": None}
    return begun == now


def refuse_other_config(run_dir: Path, recipe: Recipe, net_input: Input) -> None:
    """Raises ValueError if the folder's run was begun with other options, and names them."""
    begun = json.loads((run_dir / CONFIG).read_text(encoding="utf-8"))
    now = json.loads(json.dumps({**asdict(recipe), "input": asdict(net_input)}))
    free = {("loader", "workers"), ("loader", "prefetch"), ("run", "device")}  # decide nothing random
    different = [
        f"{name} {begun[part].get(name)} (now {value})"
        for part, values in now.items()
        for name, value in values.items()
        if (part, name) not in free and begun.get(part, {}).get(name) != value
    ]
    if different:
        raise ValueError(f"{run_dir} was begun with {', '.join(different)}: expected the same options to continue it")


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
