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
    """What is known of a dataset before its files are read.

    Args:
        name: as `actrec lists` takes it.
        title: as its authors call it.
        num_classes: of the published annotations, or of the subset.
        read: reads the annotation files. It is called with the files and folders that the user named, with this row,
            and with the number of the split, from 1. It raises FileNotFoundError or ValueError if the files cannot be
            used, and collects malformed rows in the `Published` that it returns.
        annotations: names of these files, as published.
        videos: names of its video files or frame folders.
        min_frames: shorter videos are usually left out of training and validation; 0 keeps all.
        num_splits: how many splits are published.
        mirror: pairs of words that change places in a class name when its videos are mirrored.
        subset: whether the dataset is the part of another one that a list of class names selects.
        class_file: the list of class names that comes with actrec, one on each line.
        clip: how its videos are usually sampled.
        views: how it is usually evaluated.
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

    def flips(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """The lines of `flips.txt`: classes that are mirror images of each other; `-` for a class without one."""
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
