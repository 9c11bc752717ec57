"""One row of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Video(NamedTuple):
    """One row of a list.

    Args:
        id: unique in its list: the path as written; ` start-end` as written and `#2` where rows share it.
        path: what to open.
        start, stop: what counts of the video, half-open, from 0; None for all. Integers are frames: position p of a
            frame folder is the image file numbered p + 1, so a folder numbered from 0 starts at -1. Floats are seconds.
        labels: none, one or several.
    """

    id: str
    path: str
    start: int | float | None
    stop: int | float | None
    labels: tuple[int, ...]

    @property
    def label(self) -> int:
        """The only label; -1 if there is none, or more than one."""
        return self.labels[0] if len(self.labels) == 1 else -1


def check_labels(videos: Sequence[Video], num_classes: int, *, multi_label: bool = False) -> None:
    """Raises ValueError if a video has a label that there is no class for, or several where one is expected."""
    for video in videos:
        if len(video.labels) > 1 and not multi_label:
            raise ValueError(
                f"{video.id} has {len(video.labels)} labels: expected one; --multi-label trains on several, or none"
            )
        if (largest := max(video.labels, default=-1)) >= num_classes:
            raise ValueError(
                f"{video.id} has label {largest}: expected at most {num_classes - 1} for {num_classes} classes"
            )


def bounds(start: float, stop: float) -> tuple[str, str]:
    """Start and end as a list has them."""
    if isinstance(start, float):
        return tuple(f"{np.format_float_positional(time, trim='-')}s" for time in (start, stop))
    return str(start + 1), str(stop)
