"""Finds videos of a training list and of a validation list that have the same content under different names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from actrec.data.errors import MediaError
from actrec.data.lists import Video
from actrec.data.storage import open_bytes
from actrec.data.storage.paths import is_remote

_MOST = 2000  # files and folders that are read; more would delay the start of training
_WHOLE = 1 << 20  # bytes: of a larger file, blocks are compared that are spread over it
_BLOCKS, _BLOCK = 16, 1 << 16

Sizes = Mapping[str, tuple[bool, int]]  # see `Index.sizes`
_Paths = dict[str, bool]  # path: whether it is only in the validation list


@dataclass(frozen=True)
class Copies:
    """The files and frame folders that have the same content under different names.

    Args:
        across: The path of a validation video, and the path of a training video with the same content.
        differ: Two rows of the training list with the same content, the same range and different labels.
        same: Two rows of the training list with the same content, the same range and the same labels. The second row
            of such pairs is another one each time.
    """

    across: list[tuple[str, str]]
    differ: list[tuple[Video, Video]]
    same: list[tuple[Video, Video]]


def find_copies(train: Sequence[Video], train_sizes: Sizes, val_sizes: Sizes | None = None) -> Copies:
    """The videos of the training list that have copies in it, and the validation videos that are copies of them.

    Files of equal size are compared: all of their content up to 1 MB, 16 blocks of 64 KB of a larger file. Frame
    folders with the same names of images are compared if their first images have the same size: by the sizes of all
    images and the content of the first and the middle image. Files at URLs and files that this process has not probed
    (see `LAZY`) are not compared. At most 2,000 files and folders are read, first those that may be in both lists.

    Args:
        train_sizes, val_sizes: `Index.sizes()` of both lists; no `val_sizes` without a validation list.
    """
    groups = _equal(train_sizes, val_sizes or {})
    across = []
    for group in groups:
        original = next(path for path, is_val in group.items() if not is_val)
        across += [(path, original) for path, is_val in group.items() if is_val and not _same(path, original)]
    return Copies(across, *_within(train, groups))


def _equal(train: Sizes, val: Sizes) -> list[_Paths]:
    """The groups of paths with the same content."""
    paths = {path: False for path in train} | {path: True for path in val if path not in train}
    sizes = {**train, **val}
    groups = _split({path: is_val for path, is_val in paths.items() if not is_remote(path)}, sizes.__getitem__)
    groups = [part for group in groups for part in _split(group, _outline)]
    groups.sort(key=lambda group: not any(group.values()))
    found, num_read = [], 0
    for group in groups:
        if num_read + len(group) <= _MOST:
            num_read += len(group)
            found += _split(group, _content)
    return found


def _within(
    videos: Sequence[Video], groups: Sequence[_Paths]
) -> tuple[list[tuple[Video, Video]], list[tuple[Video, Video]]]:
    """`differ` and `same` of `Copies`."""
    content = {path: i for i, group in enumerate(groups) for path, is_val in group.items() if not is_val}
    rows: dict[tuple[int, float | None, float | None], dict[tuple[int, ...], Video]] = {}
    differ, same = [], []
    for video in videos if content else ():
        if video.path not in content:
            continue
        known = rows.setdefault((content[video.path], video.start, video.stop), {})  # {labels: the first row}
        if other := next((row for labels, row in known.items() if labels != video.labels), None):
            differ.append((other, video))
        elif (row := known.get(video.labels)) and not _same(row.path, video.path):
            same.append((row, video))
        known.setdefault(video.labels, video)
    return differ, same


def _split(paths: _Paths, key: Callable[[str], Hashable]) -> list[_Paths]:
    """The groups of at least two paths with equal keys, one of them of the training list.

    A path that cannot be read is in none.
    """
    groups: dict[Hashable, _Paths] = {}
    for path, is_val in paths.items():
        try:
            groups.setdefault(key(path), {})[path] = is_val
        except (OSError, MediaError):
            continue
    return [group for group in groups.values() if len(group) > 1 and not all(group.values())]


def _outline(path: str) -> Hashable:
    """Of a folder, the names of its files, and the size of the first one; nothing of a file."""
    if not os.path.isdir(path):
        return None
    names = sorted(os.listdir(path))
    return hash(tuple(names)), os.stat(os.path.join(path, names[0])).st_size if names else 0


def _content(path: str) -> bytes:
    digest = hashlib.blake2b()
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            sizes = sorted((entry.name, entry.stat().st_size) for entry in entries if entry.is_file())
        digest.update(repr(sizes).encode("utf-8", "surrogateescape"))
        files = [os.path.join(path, sizes[place][0]) for place in (0, len(sizes) // 2)] if sizes else []
    else:
        files = [path]
    for name in files:
        with open_bytes(name) as file:
            size = file.seek(0, os.SEEK_END)
            starts = [(size - _BLOCK) * i // (_BLOCKS - 1) for i in range(_BLOCKS)] if size > _WHOLE else [0]
            for start in starts:
                file.seek(start)
                digest.update(file.read(_BLOCK if size > _WHOLE else _WHOLE))
    return digest.digest()


def _same(path: str, other: str) -> bool:
    """Whether two paths name the same file: those are found by `actrec.data.lists.labeling`."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
