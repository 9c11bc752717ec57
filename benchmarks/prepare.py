"""Measure the gain of `actrec prepare`: originals, prepared videos with several GOPs, and JPEG folders in one run.

    python benchmarks/prepare.py VIDEO... [--out docs/numbers]

Each GOP is measured twice: at the default CRF, and at the smallest CRF that makes the videos no larger than the
originals. Decode time is measured on one core. For each clip the file is opened and decoded, from the nearest keyframe
if the file has a certificate. For JPEG folders the images are read and decoded to RGB; videos are not converted to RGB.
The ways take turns. Times are medians, and ratios are medians of the ratios within a turn. PSNR compares luma with the
resized originals, over the first 300 frames of a video.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import cv2
import numpy as np

import actrec
from actrec.config import CRF, ExtractOptions, Input, PrepareOptions
from actrec.data.index import build_index
from actrec.data.sampling import samplers
from actrec.data.video.read import decode_frames, iter_pictures, read_frames
from actrec.tools.make.extract_frames import extract_video
from actrec.tools.make.prepared_video import prepare_video
from actrec.tools.make.savings import psnr

sys.path.insert(0, str(Path(__file__).parent))
import pages

GOPS = (1, 8, 16, 32)
SIZE = 224
CLIPS = {"8 sparse": actrec.Clip(frames=8), "32 dense": actrec.Clip(frames=32, stride=2, sampling="dense")}
TARGETS = {"8 sparse": 4, "32 dense": 3}
PLACES = 5  # of a video, from where a clip is decoded


@dataclass
class Way:
    """The same videos in one form.

    Args:
        paths: one file or folder for each.
        psnr: mean over the videos; None for the originals.
        decode: milliseconds per clip, by kind of clip and turn.
        loader: clips per second, by kind of clip and turn.
    """

    name: str
    paths: list[Path]
    bytes: int
    psnr: float | None = None
    decode: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in CLIPS})
    loader: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in CLIPS})
    decoders: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    loaders: dict[str, Callable[[], int]] = field(default_factory=dict)

    def turn(self) -> None:
        for kind in CLIPS:
            begun = time.perf_counter()
            for decode in self.decoders[kind]:
                decode()
            self.decode[kind].append(1000 * (time.perf_counter() - begun) / len(self.decoders[kind]))
            begun = time.perf_counter()
            count = self.loaders[kind]()
            self.loader[kind].append(count / (time.perf_counter() - begun))


@click.command(help=__doc__)
@click.argument("paths", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--codec", type=click.Choice(list(CRF)), default="h264", show_default=True)
@click.option("--clips", default=80, show_default=True, help="That a loader makes in a turn.")
@click.option("--workers", default=len(os.sched_getaffinity(0)), show_default=True)
@click.option("--turns", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for prepare_<hardware>_<yyyymm>.md.")
def main(paths, codec, clips, workers, turns, out) -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(workers) as pool:
        ways = [Way("originals", list(paths), _bytes(paths))]
        click.echo(f"originals: {ways[0].bytes / 1e6:.2f} MB")
        for gop in GOPS:
            ways += _prepared(ways[0], PrepareOptions(gop=gop, codec=codec, encoder="cpu"), Path(work), pool)
        ways.append(_folders(paths, Path(work) / "frames", pool))
        for way in ways:
            _ready(way, clips, workers)
        for i in range(turns + 1):
            for way in ways:
                way.turn()
                if i == 0:  # warm: certificates, page cache
                    way.decode, way.loader = ({kind: [] for kind in CLIPS} for _ in range(2))
            click.echo(f"turn {i} of {turns}")
    text = "\n".join(_markdown(ways))
    click.echo(text)
    if out:
        page = pages.page(out, "prepare")
        title = f"# `actrec prepare`: what it gains, {os.cpu_count()} CPU cores"
        versions = pages.versions(("torch", "av", "opencv-python-headless", "numpy"))
        page.write_text(f"{title}\n\n{versions}\n\n    {pages.command()}\n\n{text}\n", encoding="utf-8")
        click.echo(page)


# ---- the ways ----


def _prepared(originals: Way, options: PrepareOptions, work: Path, pool: ThreadPoolExecutor) -> list[Way]:
    """Prepare at the default CRF, and at the smallest CRF that needs no more bytes than the originals."""
    made: dict[int, Way] = {}

    def make(crf: int) -> Way:
        if crf not in made:
            folder = work / f"{options.gop}_{crf}"
            targets = [folder / f"{i}.mp4" for i in range(len(originals.paths))]
            one = replace(options, crf=crf)
            list(pool.map(lambda pair: prepare_video(*pair, folder / "bad.mp4", one), zip(originals.paths, targets)))
            made[crf] = Way(f"GOP {options.gop}, CRF {crf}", targets, _bytes(targets))
            click.echo(f"{made[crf].name}: {made[crf].bytes / 1e6:.2f} MB")
        return made[crf]

    first = make(options.crf)
    crf = min(max(options.crf + round(6 * math.log2(first.bytes / originals.bytes)), 1), 51)
    while crf < 51 and make(crf).bytes > originals.bytes:
        crf += 1
    while crf > 1 and make(crf - 1).bytes <= originals.bytes:
        crf -= 1
    ways = [first] if crf == options.crf else [first, make(crf)]
    for way in ways:
        way.psnr = statistics.mean(pool.map(psnr, originals.paths, way.paths))
    return ways


def _folders(paths: Sequence[Path], work: Path, pool: ThreadPoolExecutor) -> Way:
    """Short side 256, quality 90."""
    folders = [work / str(i) for i in range(len(paths))]
    list(pool.map(lambda pair: extract_video(*pair, ExtractOptions()), zip(paths, folders)))
    weight = _bytes(file for folder in folders for file in folder.iterdir())
    return Way("JPEG folders", folders, weight, statistics.mean(map(_psnr_of_images, paths, folders)))


def _psnr_of_images(path: Path, folder: Path) -> float:
    errors = []
    for picture, file in zip(iter_pictures(path), sorted(folder.iterdir())[:300]):
        image = cv2.imread(str(file))
        pair = (image, picture.bgr(image.shape[1], image.shape[0]))
        made, wanted = (cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.float32) * (219 / 255) for bgr in pair)
        errors.append(np.mean((made - wanted) ** 2))
    return float(10 * np.log10(255**2 / np.mean(errors)))


def _bytes(paths) -> int:
    return sum(path.stat().st_size for path in paths)


# ---- the measurements ----


def _ready(way: Way, clips: int, workers: int) -> None:
    videos = []
    for i in range(clips):  # a new spelling each time: rows of one path in a batch are decoded together
        path = way.paths[i % len(way.paths)]
        spelled = f"{path.parent}/{'./' * (i // len(way.paths))}{path.name}"
        videos.append(actrec.Video(str(i), spelled, None, None, (0,)))
    index = build_index(videos)
    for kind, clip in CLIPS.items():
        way.decoders[kind] = [decode for path in way.paths for decode in _decoders(path, kind)]
        net_input = Input((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), clip.frames, SIZE)
        loader = actrec.train_loader(
            videos, clip, net_input, batch_size=8, index=index, workers=workers, channels_last=True
        )
        way.loaders[kind] = _epoch(loader)


def _epoch(loader) -> Callable[[], int]:
    def epoch() -> int:
        loader.load_state_dict({"epoch": 1, "step": 0})  # the same plans in every turn
        return sum(len(batch) for batch in loader)

    return epoch


def _decoders(path: Path, kind: str) -> list[Callable[[], None]]:
    if path.is_dir():
        files = sorted(path.iterdir())
        return [lambda clip=clip: [cv2.imread(str(files[i])) for i in clip] for clip in _clips(len(files), kind)]
    found = read_frames(path, [0], lambda *_: None, certify=True)
    return [lambda clip=clip: decode_frames(path, clip, found.certificate) for clip in _clips(found.decoded, kind)]


def _clips(frames: int, kind: str) -> list[np.ndarray]:
    if kind == "8 sparse":
        clips = samplers.uniform(num_frames=frames, frames=8, clips=PLACES)
    else:
        clips = samplers.dense(num_frames=frames, frames=32, stride=2, clips=PLACES)
    return [np.unique(clip) for clip in clips]


# ---- the page ----


def _markdown(ways: list[Way]) -> list[str]:
    first = ways[0]
    lines = [
        "| form of the videos | size, MB | size relative to the originals | PSNR, dB | "
        + " | ".join(f"decode {kind} frames, ms | **decode speed relative to the originals**" for kind in CLIPS) + " | "
        + " | ".join(f"loader, {kind} frames, clips/s | **loader speed relative to the originals**" for kind in CLIPS)
        + " |",
        "|---" * (4 + 4 * len(CLIPS)) + "|",
    ]  # fmt: skip
    for way in ways:
        cells = [way.name, f"{way.bytes / 1e6:.2f}", f"{way.bytes / first.bytes:.2f}"]
        cells.append("" if way.psnr is None else f"{way.psnr:.1f}")
        for kind in CLIPS:
            cells += [f"{statistics.median(way.decode[kind]):.1f}", f"{_ratio(first.decode, way.decode, kind):.2f}"]
        for kind in CLIPS:
            cells += [f"{statistics.median(way.loader[kind]):.1f}", f"{_ratio(way.loader, first.loader, kind):.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    default = _default(ways)
    found = (
        f"{kind} frames decode **{_ratio(first.decode, default.decode, kind):.2f}x** as fast (target {target})"
        for kind, target in TARGETS.items()
    )
    lines += ["", f"{default.name} is no larger than the originals: {', '.join(found)}."]
    return lines


def _default(ways: list[Way]) -> Way:
    """The form with the default GOP: at the default CRF, or at the one that needs no more bytes than the originals."""
    of_gop = [way for way in ways if way.name.startswith(f"GOP {PrepareOptions().gop},")]
    return next(way for way in of_gop if way.bytes <= ways[0].bytes)


def _ratio(above: dict[str, list[float]], below: dict[str, list[float]], kind: str) -> float:
    return statistics.median(a / b for a, b in zip(above[kind], below[kind]))


if __name__ == "__main__":
    main()
