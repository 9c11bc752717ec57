"""Optical flow on disk: two gray JPEGs for each two neighboring frames, as in IBM's action-recognition-pytorch.

`00001_x.jpg` and `00001_y.jpg` are the flow from frame 1 to frame 2, in pixels: -bound is 0, no motion 128 and +bound
255. M frames have M - 1 of them. Lists count frames, whatever is read: one list serves both modalities.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from actrec.data.lists import Video

FLOW_IMAGE = re.compile(r"(.*?)(\d{1,18})(_x\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)  # its y is `y_of`
FOLDER = "flow"  # beside a list: the flow of its video files
UNFINISHED = ".flow-unfinished"  # in a folder while its flow is being put there


def y_of(path: str) -> str:
    """The y image that belongs to an x image."""
    stem, extension = os.path.splitext(path)
    return f"{stem[:-1]}{'y' if stem[-1] == 'x' else 'Y'}{extension}"


def flow_folder(path: str, root: str | os.PathLike[str]) -> str:
    """Where the flow of a list's row lies: in the folder, beside its frames; of a video file in `flow/<path>`.

    Args:
        path: of the row, as `read_list` gives it.
        root: the list's folder.
    """
    if os.path.isdir(path):
        return path
    inside = os.path.relpath(path, root)
    return os.path.join(root, FOLDER, os.path.abspath(path)[1:] if inside.startswith("..") else inside)


def flow_videos(videos: Sequence[Video], root: str | os.PathLike[str]) -> list[Video]:
    """The rows of a list with the folders of their flow as paths; ids and ranges stay."""
    return [video._replace(path=flow_folder(video.path, root)) for video in videos]
