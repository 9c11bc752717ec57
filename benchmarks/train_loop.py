"""What the training loop costs: steps per second of `actrec train` and of a bare loop, over the same net and clips.

    python benchmarks/train_loop.py --backbone resnet3d_10 --size 64 --frames 8 --batch-size 4

Both are fed one batch that lies in memory, in turns in one process. The bare loop is forward, loss, backward, step,
zero_grad; the other everything that a run does between its first step and its last: seeds, sums, log rows, progress.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import torch

from actrec import config
from actrec.engine import trainer
from actrec.engine.build import build_net
from actrec.engine.devices import autocast, choose_device, choose_precision, memory_format
from actrec.engine.optim import make_optimizer
from actrec.engine.runfolder import Data, Recipe
from actrec.pipelines.loader import Batch


class OneBatch:
    """A loader that gives the same batch again and again."""

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
    """A reporter that notes when the first and the last step were done."""

    def __init__(self):
        self.times: list[float] = []

    def line(self, text: str) -> None: ...

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None: ...

    def step(self, **shown: float) -> None:
        self.times.append(time.perf_counter())

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
def main(backbone: str, size: int, frames: int, batch_size: int, steps: int, turns: int, device: str) -> None:
    device = torch.device(choose_device(device))
    recipe = Recipe(
        config.Net(backbone=backbone),
        config.Clip(frames=frames),
        config.Augment(),
        config.Loader(batch_size=batch_size),
        config.Optim(epochs=1),
        config.Loss(),
        config.Run(device=device.type, tensorboard=False),
    )
    precision = choose_precision("auto", device)
    net = build_net(recipe.net, num_classes=10, weights=None, new_head=False)
    net = net.to(device, memory_format=memory_format(net, True)).train()
    clips = torch.randn(batch_size, frames, size, size, 3, device=device).permute(0, 4, 1, 2, 3)
    batch = Batch(clips, torch.arange(batch_size, device=device) % 10, [str(i) for i in range(batch_size)])
    ratios, rates = [], []
    for turn in range(turns + 1):
        measured = _bare(net, batch, recipe, precision, steps), _actrec(recipe, batch, steps, net.input, size)
        if turn:  # the first warms up
            rates.append(measured)
            ratios.append(measured[1] / measured[0])
    bare, ours = (statistics.median(column) for column in zip(*rates))
    print(
        f"{backbone}, {batch_size} clips of {frames} x {size} x {size}, {precision}, {device}, {turns} turns of {steps}"
    )
    print(f"bare loop   {bare:8.2f} steps/s")
    print(f"actrec      {ours:8.2f} steps/s")
    print(f"ratio       {statistics.median(ratios):8.3f}  (turns: {', '.join(f'{ratio:.3f}' for ratio in ratios)})")


def _bare(net: torch.nn.Module, batch: Batch, recipe: Recipe, precision: str, steps: int) -> float:
    optimizer = make_optimizer(net, recipe.optim, len(batch))
    times = []
    for _ in range(steps):
        with autocast(batch.clips.device.type, precision):
            logits = net(batch.clips)
        loss = torch.nn.functional.cross_entropy(logits.float(), batch.labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter())
    _wait(batch)
    return (steps - 1) / (time.perf_counter() - times[0])


def _actrec(recipe: Recipe, batch: Batch, steps: int, net_input: config.Input, size: int) -> float:
    trainer.make_loaders = lambda *_: (OneBatch(batch, steps, recipe.clip), None)
    watch = Watch()
    data = Data([], _Index(), None, None, [str(i) for i in range(10)])
    with tempfile.TemporaryDirectory() as folder:
        run = trainer.Trainer(recipe, data, Path(folder), watch, None, False, replace(net_input, size=size))
        run.start(resume=False)
        assert run._train_epoch([])
        _wait(batch)
        done = time.perf_counter()
        run.close()
    return (steps - 1) / (done - watch.times[0])


def _wait(batch: Batch) -> None:
    if batch.clips.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
