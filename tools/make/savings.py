"""Measures how preparing a video changes its size, decode time and quality (PSNR)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from actrec.data.sampling import samplers
from actrec.data.video.certificate import Certificate
from actrec.data.video.read import decode_frames, iter_pictures, read_frames
from actrec.tools.make.frame_rate import resampled
from actrec.tools.make.jobs import local_size, size_of

_CLIPS = 3  # number of clips, from different places of a video
_REPEATS = 3  # number of times that each clip is decoded
_Path = TypeVar("_Path", Path, str, Path | str)
_COMPARED = 300  # largest number of frames that are compared for the PSNR


@dataclass(frozen=True)
class Cost:
    """Size and decode time of one video file.

    Args:
        width, height: Displayed size in pixels.
        bytes: Size of the file.
        sparse, dense: Milliseconds to decode 8 frames spread over the video, and 32 frames with stride 2, on one core.
            Decoding starts at keyframes where the file allows it.
    """

    width: int
    height: int
    bytes: int
    sparse: float
    dense: float


@dataclass(frozen=True)
class Trade:
    """A video before and after preparing.

    Args:
        psnr: PSNR in dB of the luma against the resized original.
    """

    name: str
    before: Cost
    after: Cost
    psnr: float


def cost(path: Path | str) -> Cost:
    """Measures a video file.

    Raises:
        FileNotFoundError, MediaError: The file cannot be used.
    """
    shapes = []
    found = read_frames(path, [0], lambda _, rgb: shapes.append(rgb.shape), certify=True)
    height, width, _ = shapes[0]
    sparse = samplers.uniform(num_frames=found.decoded, frames=8, clips=_CLIPS)
    dense = samplers.dense(num_frames=found.decoded, frames=32, stride=2, clips=_CLIPS)
    times = (_decode_ms(path, [np.unique(clip) for clip in clips], found.certificate) for clips in (sparse, dense))
    return Cost(width, height, size_of(path), *times)


def _decode_ms(path: Path | str, clips: Sequence[np.ndarray], certificate: Certificate | None) -> float:
    """Milliseconds per clip in the fastest of `_REPEATS` rounds."""
    rounds = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        for clip in clips:
            decode_frames(path, clip, certificate)
        rounds.append(time.perf_counter() - begun)
    return 1000 * min(rounds) / len(clips)


def psnr(
    path: Path | str, made: Path, fps: float | None = None, image_range: tuple[float, float] | None = None
) -> float:
    """PSNR in dB of the luma of a prepared video against the resized original, over the first frames."""
    errors = []
    pictures = resampled(iter_pictures(path, image_range), path=path, fps=fps)
    shown = (picture for picture, copies in pictures for _ in range(copies))
    for picture, after in zip(shown, iter_pictures(made)):
        size = (after.width, after.height)
        luma, wanted = (p.yuv420(*size)[: size[1]].astype(np.float32) for p in (after, picture))
        errors.append(np.mean((luma - wanted) ** 2))
        if len(errors) == _COMPARED:
            break
    return float(10 * np.log10(255**2 / max(np.mean(errors), 1e-3)))


def pick_sample(paths: Sequence[_Path], count: int) -> list[_Path]:
    """Chooses `count` files, evenly spaced in the order of file sizes."""
    by_size = sorted(paths, key=lambda path: (local_size(path), str(path)))
    count = min(count, len(by_size))
    return [by_size[(2 * i + 1) * len(by_size) // (2 * count)] for i in range(count)]


def table(trades: Iterable[Trade]) -> Iterator[str]:
    """The lines of a table with sizes and times before and after preparing, and speedups."""
    yield f"{'sample':30} {'size':>22} {'MB':>16} {'ms, 8 sparse frames':>25} {'ms, 32 dense frames':>25} {'PSNR':>5}"
    for trade in trades:
        a, b = trade.before, trade.after
        size = f"{a.width}x{a.height} -> {b.width}x{b.height}"
        weight = f"{a.bytes / 1e6:.2f} -> {b.bytes / 1e6:.2f}"
        speeds = (f"{x:.1f} -> {y:.1f} ({x / y:.1f}x)" for x, y in ((a.sparse, b.sparse), (a.dense, b.dense)))
        yield " ".join(
            [f"{_short(trade.name):30} {size:>22} {weight:>16}", *(f"{s:>25}" for s in speeds), f"{trade.psnr:5.1f}"]
        )


def printable(text: str) -> str:
    """The text with `?` for every character that a terminal cannot show."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 30 else f"…{name[-29:]}"
