"""For each line of stdin, trains in a forked process. Prints its process id, and then its exit code (-9: killed).

Importing everything takes longer than a small run, so it is done once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch._dynamo  # noqa: F401 # torch's optimizers import it when the first one is made, which takes a second

import actrec
from actrec import config
from actrec.config import Input, Recipe
from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.engine.reporting import SilentReporter
from actrec.engine.runfolder import Data
from actrec.engine.train import train


def recipe() -> Recipe:
    """With everything that has a state: augmentation, mixup, dropout, accumulation, an average of weights, warm-up."""
    return Recipe(
        config.Net(backbone="resnet3d_10", dropout=0.3, widen=0.125),
        config.Clip(frames=5),
        actrec.Augment(mixup=0.4, cutmix=0.4, color_jitter=(0.4, 0.4, 0.4, 0.1), erasing=0.3),
        config.Loader(batch_size=2, balanced=True),
        config.Optim(epochs=12, optimizer="adamw", lr=0.001, accumulate=2, ema=0.9, warmup=1, clip_gradient=5.0),
        config.Loss(label_smoothing=0.1),
        config.Run(device="cpu", checkpoint_every="1", log_every=1, tensorboard=False),
    )


def main(dataset: Path, run: Path, timeout: int) -> None:
    lists = [read_list(dataset / f"{name}.txt") for name in ("train", "val")]
    indices = [build_index(videos) for videos in lists]
    data = Data(lists[0], indices[0], lists[1], indices[1], ["dark", "bright"])
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=5, size=32)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            signal.alarm(timeout)  # SIGALRM ends a run that hangs
            trained = train(recipe(), data, run, reporter=SilentReporter(), net_input=net_input, resume=True)
            os._exit(1 if trained.interrupted else 0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
