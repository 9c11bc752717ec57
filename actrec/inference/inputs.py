"""Finds the videos that the arguments of a command name: files, folders of videos, frame folders, lists."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from actrec.data.lists import Video, find_labels, read_labels, read_list
from actrec.data.lists.find import find_stored_videos, find_videos, is_archive, is_frame_folder
from actrec.data.storage import is_local, is_remote
from actrec.data.storage.faults import RemoteError
from actrec.files import ListError

_LISTS = (".txt", ".csv")


def find_inputs(inputs: Sequence[Path | str], *, labels: bool = False) -> list[Video]:
    """The videos that some paths name, each once. The content of the videos is not checked.

    Args:
        inputs: Video files; frame folders; folders that contain such files and folders at any depth; tar archives of
            video files; lists. URLs and members of archives are texts. A URL that ends with a slash is a folder.
        labels: Keep the labels of lists.

    Returns:
        Rows whose ids are the paths as given, for a list the ids of its rows. Where two lists have the same id for
        different videos, the second one gets its path as its id. A path that does not exist is a row too: it fails when
        it is opened.

    Raises:
        ValueError: A folder contains no video, a list is malformed, or a file cannot be a video.
        OSError: A folder or list cannot be read.
    """
    found: dict[str, Video] = {}
    for path in inputs:
        try:
            videos = _videos_of(path)
        except (FileNotFoundError, PermissionError, RemoteError):
            if is_local(path) or len(inputs) == 1:
                raise
            videos = [Video.of(os.fspath(path))]  # it fails when it is opened; the others are used
        for video in videos:
            _add(found, video if labels else video._replace(labels=()))
    return list(found.values())


def classes_of(inputs: Sequence[Path | str]) -> list[str] | None:
    """The names of the labels of lists, from the files of class names next to them. None if a list has no such file, or
    if the names of two lists differ.

    Raises:
        ListError, OSError: A file of class names is malformed, or cannot be read.
    """
    files = {find_labels(Path(path).parent) for path in inputs if is_list(path)}
    names = [None if file is None else read_labels(file) for file in files]
    return names[0] if names and all(other == names[0] for other in names) else None


def _add(found: dict[str, Video], video: Video) -> None:
    """Adds a video, unless it is there already, under an id of its own."""
    for id_ in itertools.chain((video.id, video.path), (f"{video.path}#{n}" for n in itertools.count(2))):
        known = found.setdefault(id_, video._replace(id=id_))
        if known[1:4] == video[1:4]:  # whatever their labels
            return


def _videos_of(path: Path | str) -> Sequence[Video]:
    name = os.fspath(path)
    if is_archive(name) or (is_remote(name) and name.endswith("/")):
        return _videos_stored(name)
    if not is_local(name):
        return [Video.of(name)]
    path = Path(path)
    if path.is_dir():
        return _videos_in(path)
    if not is_list(path):
        return [Video.of(path)]
    try:
        return read_list(path)
    except ListError as error:
        raise ListError(f"{path}, which was read as a list, is malformed:\n{error}") from None


def _videos_stored(place: str) -> list[Video]:
    """The videos in a tar archive, or in a folder at a URL."""
    try:
        found = find_stored_videos(place)
    except OSError as error:
        raise type(error)(f"{place}: {error.strerror or error}") from None
    names = sorted([*found.names, *found.unreadable])  # the last ones fail when they are opened
    if not names:
        raise ValueError(f"{place}: contains no video: expected video files")
    before = f"{place}::" if is_archive(place) else f"{place.rstrip('/')}/"
    return [Video.of(before + name) for name in names]


def is_list(path: Path | str) -> bool:
    """Whether a path is read as a list of videos: by the end of its name."""
    if not is_local(path):
        return False
    path = Path(path)
    return path.suffix.lower() in _LISTS and path.is_file()


def _videos_in(folder: Path) -> list[Video]:
    """The videos in a folder, or the folder itself if it holds frames."""
    if is_frame_folder(os.listdir(folder)):
        return [Video.of(folder)]
    found = find_videos(folder, frame_folders=True)
    names = sorted([*found.names, *found.dangling, *found.unreadable])  # the last two fail when they are opened
    if not names:
        raise ValueError(f"{folder}: contains no video: expected video files, or images of the frames of one video")
    return [Video.of(folder / name) for name in names]
