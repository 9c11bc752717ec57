"""Optical flow on disk: two grayscale JPEGs per pair of neighboring frames, as in IBM's action-recognition-pytorch.

`00001_x.jpg` and `00001_y.jpg` hold the flow from frame 1 to frame 2 in pixels: 0 means -bound, 128 no motion, and 255
+bound. M frames have M - 1 such pairs of images. Lists count frames in any case, so one list serves both modalities.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from actrec.data.lists import Video
from actrec.data.storage import is_local, is_remote, split_member

# An x image: prefix, digits, suffix. Other tools call the images `flow_x_00001.jpg` or `u_00001.jpg`.
FLOW_IMAGE = re.compile(r"(.*?)([0-9]+)(\)?_x\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)
PREFIXED_FLOW_IMAGE = re.compile(r"((?:.*[_-])?[xu][_-]?)([0-9]+)(\.(?:jpe?g|png))", re.IGNORECASE | re.DOTALL)
_Y_IMAGE = re.compile(r"[^.].*[0-9]\)?_y\.(?:jpe?g|png)", re.IGNORECASE | re.DOTALL)
_PREFIXED_Y_IMAGE = re.compile(r"(?:[^.].*[_-])?[yv][_-]?[0-9]+\.(?:jpe?g|png)", re.IGNORECASE | re.DOTALL)
_AXIS = re.compile(r"((?:.*[_-])?)([xyuv])([_-]?)", re.IGNORECASE | re.DOTALL)
_OTHER = dict(zip("xyuvXYUV", "yxvuYXVU"))
FOLDER = "flow"  # folder next to a list: the flow of its video files
UNFINISHED = ".flow-unfinished"  # file in a folder to which flow is being written


def y_of(path: str) -> str:
    """The path of the y image that belongs to an x image."""
    stem, extension = os.path.splitext(path)
    if stem[-1] in "xX":
        return f"{stem[:-1]}{_OTHER[stem[-1]]}{extension}"
    folder, name = os.path.split(stem)
    prefix = name.rstrip("0123456789")
    return os.path.join(folder, f"{other_axis(prefix) or prefix}{name[len(prefix) :]}{extension}")


def is_y(name: str, *, prefixed: bool) -> bool:
    """Whether an image is called like a y image.

    Args:
        prefixed: As in other tools.
    """
    return (_PREFIXED_Y_IMAGE if prefixed else _Y_IMAGE).fullmatch(name) is not None


def other_axis(prefix: str) -> str | None:
    """The prefix of the y images for that of the x images, and vice versa: `flow_y_` for `flow_x_`, `v_` for `u_`.

    None if the images of other tools' optical flow are not called so.
    """
    match = _AXIS.fullmatch(prefix)
    return match and f"{match[1]}{_OTHER[match[2]]}{match[3]}"


def flow_folder(path: str, root: str | os.PathLike[str]) -> str:
    """The folder with the flow of a list row: the frame folder itself, or `flow/<path>` for a video file.

    The flow of a member of an archive is in `flow/shards/000.tar/walk/a.mp4`, that of an object in
    `flow/s3/bucket/walk/a.mp4`.

    Args:
        path: Path of the row, as `read_list` returns it.
        root: Folder of the list.
    """
    if not is_local(path):
        archive, member = split_member(path)
        top = os.path.join(root, FOLDER) if is_remote(path) else flow_folder(archive, root)
        names = f"{archive.replace('://', '/') if is_remote(path) else ''}/{member or ''}".split("/")
        return os.path.join(top, *(name for name in names if name not in ("", ".", "..")))
    if os.path.isdir(path):
        return path
    inside = os.path.relpath(path, root)
    return os.path.join(root, FOLDER, os.path.abspath(path)[1:] if inside.startswith("..") else inside)


def flow_videos(videos: Sequence[Video], root: str | os.PathLike[str]) -> list[Video]:
    """The rows of a list with their flow folders as paths. Ids, ranges and labels stay the same."""
    return [video._replace(path=flow_folder(video.path, root)) for video in videos]
