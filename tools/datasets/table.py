"""The public datasets that `actrec lists` knows. The other modules of this package register them.

To add a dataset, write one module: a function that reads the annotation files, and `register(Dataset(...))`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actrec.config import Clip, Views
from actrec.registry import Registry

if TYPE_CHECKING:
    from actrec.tools.datasets.annotations import Published


@dataclass(frozen=True)
class Dataset:
    """A public dataset.

    Args:
        name: Name of the dataset as an argument of `actrec lists`.
        title: Name of the dataset in publications.
        num_classes: Number of classes of the published annotations, or of the subset.
        read: Reads the annotation files. Its arguments are the files and folders that the user named, this `Dataset`,
            and the number of the split, counted from 1. It raises FileNotFoundError or ValueError if the files cannot
            be used, and collects malformed rows in the `Published` that it returns.
        annotations: Names of the annotation files, as published.
        videos: Names of the video files or frame folders.
        min_frames: Videos with fewer frames are usually left out of training and validation; 0 keeps all.
        num_splits: Number of published splits.
        mirror: Pairs of words that are exchanged in a class name when a video is mirrored.
        subset: Whether the dataset consists of some classes of another dataset, which a list of class names selects.
        class_file: File of the class names, one on each line, if it comes with actrec.
        clip: How clips are usually sampled.
        views: How the dataset is usually evaluated.
        source: Page on which the annotation files are published.
    """

    name: str
    title: str
    num_classes: int
    read: Callable[[Sequence[Path], Dataset, int], Published]
    annotations: str
    videos: str
    min_frames: int = 0
    num_splits: int = 1
    mirror: tuple[tuple[str, str], ...] = ()
    subset: bool = False
    class_file: Path | None = None
    clip: Clip = Clip(frames=16, stride=1, sampling="dense")
    views: Views = Views(clips=10, crops=3)
    source: str = ""

    def flips(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """The lines of `flips.txt`: pairs of classes that become each other when a video is mirrored.

        The second name is `-` if the mirrored videos of a class belong to no class.
        """
        words = {one: other for pair in self.mirror for one, other in (pair, pair[::-1])}
        if not words:
            return []
        pattern = re.compile(rf"\b({'|'.join(words)})\b")
        lines, known = [], set(classes)
        for name in classes:
            other = pattern.sub(lambda match: words[match[0]], name)
            if other not in known:
                lines.append((name, "-"))
            elif name < other:
                lines.append((name, other))
        return lines


DATASETS: Registry[Dataset] = Registry("dataset", "actrec.tools.datasets")


def register(dataset: Dataset) -> None:
    """Adds a dataset to `DATASETS`. Raises ValueError if its name is taken."""
    DATASETS.add(dataset.name, dataset)
