"""The record of one list row."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from actrec.arguments import checked


class Video(NamedTuple):
    """One row of a list.

        actrec.Video("clips/a.mp4", "/data/clips/a.mp4", None, None, (3,))  # the whole file, with label 3
        actrec.Video("b", "/data/b.mp4", 2.0, 4.5, (0,))  # from 2 s to 4.5 s

    Args:
        id: Unique within its list: the path as written in the list. Rows that share a path get ` start-end` appended,
            and `#2`, `#3`, … if they share the range too. Empty for a row that is not part of a list yet.
        path: File or frame folder to open.
        start, stop: Range of the row, half-open and counted from 0; None for the whole video. Integers are frames:
            position p of a frame folder is the image numbered p + 1, so a folder numbered from 0 starts at -1.
            Floats are seconds.
        labels: No label, one, or several.
    """

    id: str
    path: str
    start: int | float | None
    stop: int | float | None
    labels: tuple[int, ...]

    @classmethod
    @checked
    def of(cls, path: str | os.PathLike[str]) -> Video:
        """The row of a whole video file or frame folder, without a label. Its id is the path.

            model.score([actrec.Video.of("a.mp4"), actrec.Video.of("b.mp4")])

        Args:
            path: Also a URL, or a member of an archive.
        """
        return cls(os.fspath(path), os.fspath(path), None, None, ())

    @property
    def label(self) -> int:
        """The label of a row with exactly one; otherwise -1."""
        return self.labels[0] if len(self.labels) == 1 else -1


def bounds(start: float, stop: float) -> tuple[str, str]:
    """Start and end of a range as a list file writes them: frames from 1 and inclusive, or seconds."""
    if isinstance(start, float):
        first, last = (np.format_float_positional(time, trim="-") for time in (start, stop))
        return f"{first}s", f"{last}s"
    return str(start + 1), str(stop)
