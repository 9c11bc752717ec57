"""Optical flow on disk: two grayscale JPEGs per pair of neighboring frames, as in IBM's action-recognition-pytorch.

`00001_x.jpg` and `00001_y.jpg` hold the flow from frame 1 to frame 2 in pixels: 0 means -bound, 128 no motion, and 255
+bound. M frames have M - 1 such pairs of images. Lists count frames in any case, so one list serves both modalities.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from actrec.data.lists import Video

FLOW_IMAGE = re.compile(r"(.*?)(\d{1,18})(_x\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)  # an x image
FOLDER = "flow"  # folder next to a list: the flow of its video files
UNFINISHED = ".flow-unfinished"  # file in a folder to which flow is being written


def y_of(path: str) -> str:
    """The path of the y image that belongs to an x image."""
    stem, extension = os.path.splitext(path)
    return f"{stem[:-1]}{'y' if stem[-1] == 'x' else 'Y'}{extension}"


def flow_folder(path: str, root: str | os.PathLike[str]) -> str:
    """The folder with the flow of a list row: the frame folder itself, or `flow/<path>` for a video file.

    Args:
        path: Path of the row, as `read_list` returns it.
        root: Folder of the list.
    """
    if os.path.isdir(path):
        return path
    inside = os.path.relpath(path, root)
    return os.path.join(root, FOLDER, os.path.abspath(path)[1:] if inside.startswith("..") else inside)


def flow_videos(videos: Sequence[Video], root: str | os.PathLike[str]) -> list[Video]:
    """The rows of a list with their flow folders as paths. Ids, ranges and labels stay the same."""
    return [video._replace(path=flow_folder(video.path, root)) for video in videos]
