"""Measure the cost of the training loop: steps per second of `actrec train` and of a bare loop.

    python benchmarks/train_loop.py --backbone resnet3d_10 --size 64 --frames 8 --batch-size 4

Both loops take turns in one process. They get the same batch from memory again and again, and each turn starts with the
same new net. The bare loop is forward, loss, backward, step and zero_grad. The loop of `actrec train` includes
everything between the first step and the last: seeds, sums, log rows, progress. The ratio is also shown in processor
time, which other work on the machine disturbs less (set OMP_NUM_THREADS=1). With --compile only the net of `actrec
train` is compiled, so the ratio shows the gain of compiling.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import click
import torch

import actrec
from actrec import config
from actrec.config import Recipe
from actrec.engine import trainer
from actrec.engine.build import build_net
from actrec.engine.devices import autocast, choose_device, choose_precision, memory_format
from actrec.engine.optim import make_optimizer
from actrec.engine.runfolder import Data
from actrec.nets import NETS
from actrec.pipelines.loader import Batch


class OneBatch:
    """A loader that returns the same batch again and again."""

    def __init__(self, batch: Batch, steps: int, clip: config.Clip):
        self.clip, self.epoch, self.skipped, self.num_clips = clip, 0, {}, steps * len(batch)
        self._batch, self._steps, self._step = batch, steps, 0

    def __len__(self) -> int:
        return self._steps

    def __iter__(self):
        for _ in range(self._steps):
            self._step += 1
            yield self._batch
        self.epoch, self._step = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "step": self._step}


class Watch:
    """A reporter that stores the time of the first step."""

    def __init__(self):
        self.first: tuple[float, float] | None = None

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, **shown: float) -> None:
        self.first = self.first or _now()

    def validation(self, videos: int, done: int) -> None: ...

    def close(self) -> None: ...


class _Index:
    def fingerprint(self) -> dict:
        return {}


@click.command()
@click.option("--backbone", default="resnet3d_10", show_default=True)
@click.option("--size", default=64, show_default=True)
@click.option("--frames", default=8, show_default=True)
@click.option("--batch-size", default=4, show_default=True)
@click.option("--steps", default=40, show_default=True, help="Of a turn.")
@click.option("--turns", default=7, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--compile", "compiled", is_flag=True)
def main(
    backbone: str,
    size: int,
    frames: int,
    batch_size: int,
    steps: int,
    turns: int,
    device: str,
    precision: str,
    compiled: bool,
) -> None:
    device = torch.device(choose_device(device))
    recipe = Recipe(
        config.Net(backbone=backbone),
        config.Clip(frames=frames),
        actrec.Augment(),
        config.Loader(batch_size=batch_size),
        config.Optim(epochs=1),
        config.Loss(),
        config.Run(device=device.type, precision=precision, compile=compiled, tensorboard=False),
    )
    precision = choose_precision(precision, device)
    own_input = NETS.get(backbone).input
    clips = torch.randn(batch_size, frames, size, size, 3, device=device).permute(0, 4, 1, 2, 3)
    batch = Batch(clips, torch.arange(batch_size, device=device) % 10, [str(i) for i in range(batch_size)])
    measured = []
    for turn in range(turns + 1):
        pair = _bare(batch, recipe, precision, steps), _actrec(recipe, batch, steps, replace(own_input, size=size))
        if turn:  # the first warms up
            measured.append(pair)
    bare, ours = (statistics.median(turn[which][0] for turn in measured) for which in (0, 1))
    print(
        f"{backbone}, {batch_size} clips of {frames} x {size} x {size}, {precision}, {device}, {turns} turns of {steps}"
    )
    print(f"bare loop   {bare:8.2f} steps/s")
    print(f"actrec      {ours:8.2f} steps/s")
    for i, name in enumerate(("time", "processor time")):
        ratios = [ours[i] / bare[i] for bare, ours in measured]
        turns_shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"speed relative to the bare loop, by {name}: {statistics.median(ratios):.3f} (turns: {turns_shown})")


def _bare(batch: Batch, recipe: Recipe, precision: str, steps: int) -> tuple[float, float]:
    device = batch.clips.device
    torch.manual_seed(recipe.run.seed)
    net = build_net(recipe.net, num_classes=10, weights=None, new_head=False)
    net = net.to(device, memory_format=memory_format(net, True)).train()
    optimizer = make_optimizer(net, recipe.optim, len(batch))
    first = None
    for _ in range(steps):
        with autocast(device.type, precision):
            logits = net(batch.clips)
        loss = torch.nn.functional.cross_entropy(logits.float(), batch.labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        first = first or _now()
    _wait(batch)
    return _rates(steps - 1, first)


def _actrec(recipe: Recipe, batch: Batch, steps: int, net_input: config.Input) -> tuple[float, float]:
    trainer.make_loaders = lambda *_: (OneBatch(batch, steps, recipe.clip), None)
    watch = Watch()
    data = Data([], _Index(), None, None, [str(i) for i in range(10)])
    with tempfile.TemporaryDirectory() as folder:
        run = trainer.Trainer(recipe, data, Path(folder), watch, net_input=net_input)
        run._train_epoch(threading.Event())
        _wait(batch)
        rates = _rates(steps - 1, watch.first)
        run.close()
    return rates


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _rates(steps: int, since: tuple[float, float]) -> tuple[float, float]:
    """Steps per second by the clock, and per second of the processor."""
    return tuple(steps / (now - then) for now, then in zip(_now(), since))


def _wait(batch: Batch) -> None:
    if batch.clips.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
