"""What is suspicious about the labels of lists: how many videos each class has, contradictions, repetitions."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from actrec.data.lists.row import Video
from actrec.data.lists.videos import Videos, label_columns, number_files
from actrec.data.storage.paths import is_url, split_member
from actrec.files import show
from actrec.words import column_width, counted, none_usable, padded

_LISTED = 20  # classes that are listed one by one
_COMPARED_FILES = 200_000  # files that are compared by what they are, not by name; more would take seconds
_SPARSE = 20  # labels without a video that are not suspicious


def class_counts(lists: Mapping[str, Sequence[Video]], classes: Sequence[str]) -> list[str]:
    """A table of the videos of each class in each list. With more than 20 classes: the range of these numbers.

    Args:
        lists: {part: rows}.
    """
    parts = [part for part, videos in lists.items() if videos]
    if not parts:
        return []
    counts = {part: np.bincount(label_columns(lists[part])[0], minlength=len(classes)) for part in parts}
    if len(classes) > _LISTED:
        return [f"{part}: {range_of_counts(counts[part].tolist(), classes)}" for part in parts]
    width = column_width(["class", *classes])
    lines = [f"{'class':<{width}}" + "".join(f"{part:>8}" for part in parts)]
    return lines + [
        padded(name, width) + "".join(f"{counts[part][label]:>8}" for part in parts)
        for label, name in enumerate(classes)
    ]


def range_of_counts(counts: Sequence[int], classes: Sequence[str]) -> str:
    """`101 classes with 80 to 130 videos; the fewest: 'run'`, or `8 classes with 40 videos each`."""
    if min(counts) == max(counts):
        each = " each" if len(counts) > 1 else ""
        return f"{counted(len(counts), 'class')} with {counted(counts[0], 'video')}{each}"
    least = min(range(len(counts)), key=counts.__getitem__)
    found = f"{len(counts)} classes with {counts[least]} to {counted(max(counts), 'video')}"
    return f"{found}; the fewest: {show(classes[least])}"


def refuse_gaps(labels: np.ndarray, where: str) -> None:
    """Raises ValueError for labels of unnamed classes most of which do not occur: one of them is likely a mistake.

    Args:
        labels: All labels of the lists.
        where: For the message.
    """
    small = len(labels) and labels.max() < len(labels)
    found = np.flatnonzero(np.bincount(labels)) if small else np.unique(labels)
    if len(found) and found[-1] >= 2 * len(found) + _SPARSE:
        raise ValueError(
            f"{where}: label {found[-1]}, but only {len(found)} different labels occur: expected labels from 0 to "
            f"about {len(found) - 1}, or the names of all classes in a labels.txt next to the list"
        )


def refuse_contradictions(videos: Sequence[Video]) -> None:
    """Raises ValueError for two rows with the same frames of a video and different labels, and names them."""
    files, first = number_files(videos)
    copies = videos.files_with_copies() if isinstance(videos, Videos) else None
    if len(first) <= _COMPARED_FILES:
        numbers: dict[object, int] = {}
        same = [numbers.setdefault(_file_of(videos[row].path), len(numbers)) for row in first.tolist()]
        files = np.array(same, np.int64)[files]
        copies = copies if len(numbers) == len(first) else None
    times = np.bincount(files)
    if copies is not None:
        without = np.ones(len(times), bool)
        without[copies] = False
        times[without] = 0
    known: dict[tuple[int, float | None, float | None], tuple[str, tuple[int, ...]]] = {}
    for row in np.flatnonzero(times[files] > 1).tolist():
        video = videos[row]
        id_, labels = known.setdefault((int(files[row]), video.start, video.stop), (video.id, video.labels))
        if labels != video.labels:
            one, other = (",".join(map(str, found)) or "-" for found in (labels, video.labels))
            again = "" if id_ == video.id else f" (the other one is {video.id})"
            raise ValueError(
                f"{id_}: two rows with the same frames{again} have the labels {one} and {other}: expected one label"
            )


def refuse_lost_classes(videos: Sequence[Video], unusable: Mapping[int, str], classes: Sequence[str]) -> None:
    """Raises ValueError if no video of a class can be used, and names the class.

    Args:
        videos: The rows of a training list.
        unusable: The rows that cannot be used, with the reasons.
        classes: The name of each label.
    """
    if not unusable:
        return
    lost = np.zeros(len(videos), bool)
    lost[list(unusable)] = True
    labels, counts = label_columns(videos)
    rows = np.arange(len(videos)).repeat(counts)
    total, num_lost = (np.bincount(found, minlength=len(classes)) for found in (labels, labels[lost[rows]]))
    for label in np.flatnonzero((total > 0) & (num_lost == total))[:1].tolist():
        first = int(rows[labels == label][0])
        of_class = f" of the class {show(classes[label])}"
        raise ValueError(f"{none_usable(int(total[label]), 'training video', of_class)}{unusable[first]}")


def shared_videos(train: Sequence[Video], val: Sequence[Video]) -> Iterator[tuple[Video, Video]]:
    """The rows of `val` that show frames of a row of `train`, also where a file has several names.

    Yields:
        The row of `val`, and such a row of `train`: if there are several, one that contradicts it.
    """
    file_of = functools.cache(_file_of if len(train) + len(val) <= _COMPARED_FILES else _name_of)
    rows: dict[object, list[Video]] = {file_of(video.path): [] for video in val}
    for video in train:
        if (file := file_of(video.path)) in rows:
            rows[file].append(video)
    for video in val:
        if found := [other for other in rows[file_of(video.path)] if _overlap(video, other)]:
            yield video, next((other for other in found if contradict(video, other)), found[0])


def contradict(one: Video, other: Video) -> bool:
    """Whether two rows of one file have the same range and different labels."""
    return (one.start, one.stop) == (other.start, other.stop) and one.labels != other.labels


def _file_of(path: str) -> object:
    """Equal for the names of one file or folder: `a.mp4`, `./a.mp4`, symbolic and hard links.

    Also for a member of an archive under several names of the archive. Different URLs are different files.
    """
    if is_url(path):
        return path
    archive, member = split_member(path)
    if member is not None:
        return _file_of(archive), os.path.normpath(member)
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return os.path.normpath(path)
    return found.st_dev, found.st_ino


def _name_of(path: str) -> str:
    return path if is_url(path) else os.path.normpath(path)


def _overlap(one: Video, other: Video) -> bool:
    """Whether two rows of a video have frames in common. Frames and seconds cannot be compared here."""
    if one.start is None or one.stop is None or other.start is None or other.stop is None:
        return True
    return type(one.start) is type(other.start) and one.start < other.stop and other.start < one.stop
