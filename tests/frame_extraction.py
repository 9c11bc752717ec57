"""Functions for the tests of frame extraction."""

from __future__ import annotations

import contextlib
import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from actrec.cli.main import main
from actrec.config import ExtractOptions
from actrec.data.video.encode import VideoWriter

SMALL = ExtractOptions(short_side=32)


def make_video(path, *, width=64, height=48, frames=5, rgb=None, **options):
    """A video whose frame i is gray 20 + 10 i, or one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width=width, height=height, rate=10, **options) as video:
        for i in range(frames):
            video.write(np.full((height, width, 3), rgb or 20 + 10 * i, np.uint8))
    return path


def names(*patterns):
    """Brace expansion: `run/{a,b}.mp4` stands for two names."""
    found = []
    for pattern in patterns:
        parts = pattern.replace("}", "{").split("{")
        choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
        found += ["".join(choice) for choice in itertools.product(*choices)]
    return found


def cli(*args):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), pytest.raises(SystemExit) as stop:
        main(["extract-frames", *map(str, args)])
    return SimpleNamespace(exit_code=stop.value.code or 0, output=output.getvalue())


def rows(path):
    return path.read_text(encoding="utf-8").splitlines()


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
