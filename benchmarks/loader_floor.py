"""Compare the loader with decoding alone, in one run. Run it with two versions in turns to see whether one is slower.

    python benchmarks/loader_floor.py FOLDER

FOLDER has `videos/` (files) and `frames/` (frame folders of the same videos). The floor of videos is
`decode_frames` of the same frames in two threads, that of frame folders is OpenCV's `imread`. Every figure is the
median of several turns; each turn measures the floor before and after the loader.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

import actrec
from actrec.data.index import build_index
from actrec.data.video.read import decode_frames
from actrec.pipelines.loader import Loader

INPUT = actrec.Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=8, size=224)
ROWS, WORKERS = 40, 2


def main(folder: Path) -> None:
    """Print the ratios of the loader to the floor as JSON."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as copies:  # each row has a file of its own: rows of one file are decoded once
        videos = copied(sorted((folder / "videos").iterdir()), Path(copies))
        clips = {
            "8 uniform frames": actrec.Clip(frames=8),
            "32 frames, stride 2": actrec.Clip(frames=32, stride=2, sampling="dense"),
        }
        ratios = {}
        for name, clip in clips.items():
            loader = train_loader(videos, clip)
            ratios[name] = ratio(loader, decoding(loader), turns=4)
        views = actrec.Views(clips=10, crops=3)
        scored = actrec.eval_loader(
            videos[:20], actrec.Clip(frames=8), INPUT, views=views, batch_size=2, workers=WORKERS
        )
        ratios["evaluation, 10 x 3"] = ratio(scored, decoding(train_loader(videos, actrec.Clip(frames=8))), turns=2)
        folders = rows([path for path in sorted((folder / "frames").iterdir())] * 8)
        ratios["frame folders"] = ratio(train_loader(folders, actrec.Clip(frames=8)), reading(folders[:40]), turns=4)
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


def rows(paths: list[Path]) -> list[actrec.Video]:
    return [actrec.Video(str(i), str(path), None, None, (0,)) for i, path in enumerate(paths)]


def copied(files: list[Path], to: Path) -> list[actrec.Video]:
    paths = [to / f"{i}{files[i % len(files)].suffix}" for i in range(ROWS)]
    for i, path in enumerate(paths):
        shutil.copyfile(files[i % len(files)], path)
    return rows(paths)


def train_loader(videos: list[actrec.Video], clip: actrec.Clip) -> Loader:
    return actrec.train_loader(videos, clip, INPUT, batch_size=8, index=build_index(videos), workers=WORKERS)


def ratio(loader: Loader, floor: Callable[[], float], *, turns: int) -> float:
    """Clips (or videos) per second of the loader, as a fraction of the floor's."""
    rate(loader)  # the first pass certifies the files
    rate(loader)
    found = []
    for _ in range(turns):
        before, measured, after = floor(), rate(loader), floor()
        found.append(measured / ((before + after) / 2))
    return statistics.median(found)


def rate(loader: Loader) -> float:
    start = time.perf_counter()
    return sum(len(batch) for batch in loader) / (time.perf_counter() - start)


def decoding(loader: Loader) -> Callable[[], float]:
    """The floor of videos: decode the frames of the loader's next plans, and nothing else."""
    rate(loader)

    def decode(row: int) -> None:
        plan = loader.plan(loader.epoch, row)
        decode_frames(loader.videos[row].path, np.unique(plan.frames), loader.index.certificate(row)[1])

    return lambda: in_threads(decode, list(range(len(loader.videos)))) * len(loader.videos)


def reading(videos: list[actrec.Video]) -> Callable[[], float]:
    """The floor of frame folders: read eight images of each."""
    files = [f"{video.path}/{number:05d}.jpg" for video in videos for number in range(1, 9)]
    return lambda: in_threads(cv2.imread, files) * len(videos)


def in_threads(function: Callable, jobs: list) -> float:
    """One divided by the seconds that all jobs take."""
    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(function, jobs))
    return 1 / (time.perf_counter() - start)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
