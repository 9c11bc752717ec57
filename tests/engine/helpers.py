"""Small training runs for the tests."""

from __future__ import annotations

from pathlib import Path

import torch

import actrec
from actrec import config
from actrec.config import Input, Recipe
from actrec.engine import checkpoint
from actrec.engine import train as engine

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=5, size=32)
SGD = {"optimizer": "sgd", "lr": 0.01, "norm_decay": True, "warmup": 0.0}  # options of `config.Optim`
TINY = config.Net(backbone="resnet3d_10", widen=0.125, dropout=0.0)


class Notes:
    """A reporter that remembers what it was told, and may do something at a step."""

    def __init__(self, at_step=None):
        self.lines, self.rates, self.steps, self._at_step = [], [], 0, at_step
        self.notes, self.warnings, self.shown_header = [], [], None

    def line(self, text):
        self.lines.append(text)

    def header(self, header):
        self.shown_header = header

    def note(self, text):
        self.notes.append(text)

    def warning(self, warning):
        self.warnings.append(warning)

    def epoch(self, epoch, epochs, steps, done):
        pass

    def validation(self, videos, done):
        assert 0 <= done <= videos

    def step(self, **shown):
        self.steps += 1
        assert 0 <= shown["waiting"] <= 1
        self.rates.append(shown["clips_per_second"])
        if self._at_step:
            self._at_step(self.steps)

    def close(self):
        pass


def recipe(**optim) -> Recipe:
    return Recipe(
        config.Net(backbone="resnet3d_10", widen=0.125, dropout=0.2),
        config.Clip(frames=5),
        actrec.Augment(),
        config.Loader(batch_size=4),
        config.Optim(**{"epochs": 3, **SGD, **optim}),
        config.Loss(),
        config.Run(device="cpu"),
    )


def run(path, data, made=None, **options):
    reporter = options.pop("reporter", Notes())
    trained = engine.train(made or recipe(), data, path, reporter=reporter, net_input=INPUT, **options)
    return trained, reporter


def break_images(folder: Path) -> Path:
    """Makes every clip of a frame folder fail, although the index can use the folder."""
    for image in sorted(folder.iterdir())[1:]:
        image.write_bytes(b"not an image")
    return folder


def weights(path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)["state_dict"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def tiny(*, precision="float64", batch_size=4, augment=None, loss=None, run_options=None, **optim) -> Recipe:
    """A small net without chance, in float64."""
    return Recipe(
        TINY,
        config.Clip(frames=5),
        augment or actrec.Augment(),
        config.Loader(batch_size=batch_size),
        config.Optim(**{"epochs": 1, **SGD, **optim}),
        loss or config.Loss(),
        config.Run(device="cpu", precision=precision, tensorboard=False, **(run_options or {})),
    )
