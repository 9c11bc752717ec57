"""Renders the toy dataset: eight actions in four time-reversed pairs, so that the demo needs no download.

See toy_scenes for what the videos show, and why no single frame distinguishes the two actions of a pair.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actrec.config import ToyOptions
from actrec.data.video.encode import VideoWriter
from actrec.files import atomic_write
from actrec.tools.make.toy_scenes import CLASSES, FLIPS, MOTIONS, Scene, draw_scene, frames

GOP_SECONDS = 2
SPLITS = ("train", "val")
# In the order in which they are removed. They are written in reverse order, so that labels.txt identifies the folder.
LISTS = ("videos_train.txt", "videos_val.txt", "flips.txt", "labels.txt")


@dataclass(frozen=True)
class Toy:
    """The dataset that was made."""

    root: Path
    num_train: int
    num_val: int
    classes: tuple[str, ...]


def make_toy(
    root: Path,
    options: ToyOptions = ToyOptions(),  # noqa: B008 - frozen
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Toy:
    """Renders the videos, then writes the lists, labels.txt and flips.txt.

    A folder that contains its lists is complete: they are removed first and written last. The same options give the
    same videos on any number of cores, so an interrupted call can simply be repeated.

    Args:
        root: the folder; created if missing.
        progress: called with (videos done, videos in all) after each video.

    Raises:
        OSError: the folder cannot be written, or contains another dataset.
    """
    root = Path(root)
    counts = dict(zip(SPLITS, (options.train_per_class, options.val_per_class)))
    videos = [(split, name, index) for split in SPLITS for name in CLASSES for index in range(counts[split])]
    _make_folders(root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(_write_video, root, *video, seed=options.seed) for video in videos]
        try:
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                if progress:
                    progress(done, len(videos))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _write_lists(root, videos)
    return Toy(root, options.train_per_class * len(CLASSES), options.val_per_class * len(CLASSES), CLASSES)


def _make_folders(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{root} is a file: expected a folder, or a name that is free")
    found = [name for name in LISTS if (root / name).exists()]
    labels = root / "labels.txt"
    if found and not (labels.exists() and labels.read_text(encoding="utf-8").split() == list(CLASSES)):
        raise FileExistsError(f"{root} holds {found[0]} of another dataset: expected a new folder, or one made here")
    try:
        for name in CLASSES:
            (root / "videos" / name).mkdir(parents=True, exist_ok=True)
        for name in found:
            (root / name).unlink()
    except OSError as error:
        raise type(error)(f"{root} cannot be written ({error.strerror}): expected a folder of your own") from None


def _video_name(split: str, name: str, index: int) -> str:
    return f"videos/{name}/{split}_{index:03d}.mp4"


def scene_of(split: str, name: str, index: int, *, seed: int) -> Scene:
    """The scene of one video: it depends on these four and on nothing else."""
    rng = np.random.default_rng([seed, SPLITS.index(split), CLASSES.index(name), index])
    motion = next(motion for motion in MOTIONS if name in (motion.forwards, motion.backwards))
    return draw_scene(motion, rng)


def _write_video(root: Path, split: str, name: str, index: int, *, seed: int) -> None:
    scene = scene_of(split, name, index, seed=seed)
    with VideoWriter(
        root / _video_name(split, name, index),
        width=scene.width,
        height=scene.height,
        rate=scene.rate,
        options={"preset": "veryfast", "crf": "23"},
        gop=GOP_SECONDS * scene.rate,
        bframes=2,
        color=("bt601", "bt709")[index % 2],
    ) as video:
        for rgb in frames(name, scene):
            video.write(rgb)


def _write_lists(root: Path, videos: list[tuple[str, str, int]]) -> None:
    texts = {
        "labels.txt": [f"{name}\n" for name in CLASSES],
        "flips.txt": [f"{one} {other}\n" for one, other in FLIPS],
    }
    for split in SPLITS:
        rows = [(_video_name(*video), CLASSES.index(video[1])) for video in videos if video[0] == split]
        texts[f"videos_{split}.txt"] = [f"{name} {label}\n" for name, label in rows]
    for name in reversed(LISTS):
        with atomic_write(root / name) as file:
            file.writelines(texts[name])
