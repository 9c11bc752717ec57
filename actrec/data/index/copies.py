"""Finds videos of two lists that have the same content under different names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable

from actrec.data.errors import MediaError
from actrec.data.index.index import Index
from actrec.data.storage import open_bytes
from actrec.data.storage.paths import is_remote

_MOST = 2000  # files and folders that are read; more would delay the start of training
_WHOLE = 1 << 20  # bytes: of a larger file, blocks are compared that are spread over it
_BLOCKS, _BLOCK = 16, 1 << 16

_Paths = dict[str, bool]  # path: whether it is in the second list


def find_copies(one: Index, other: Index) -> list[tuple[str, str]]:
    """The files and frame folders of `other` with the content of one in `one`, under another name.

    Files of equal size are compared: all of their content up to 1 MB, 16 blocks of 64 KB of a larger file. Frame
    folders with the same names of images are compared if their first images have the same size: by the sizes of all
    images and the content of the first and the middle image. Files at URLs and files that this process has not probed
    (see `LAZY`) are not compared. At most 2,000 files and folders are read.

    Returns:
        The path in `other`, and a path in `one`.
    """
    first, second = one.sizes(), other.sizes()
    paths = {path: False for path in first} | {path: True for path in second if path not in first}
    sizes = first | second
    groups = _split({path: found for path, found in paths.items() if not is_remote(path)}, sizes.__getitem__)
    groups = [part for group in groups for part in _split(group, _outline)]
    found, num_read = [], 0
    for group in groups:
        if (num_read := num_read + len(group)) > _MOST:
            break
        for copies in _split(group, _content):
            original = next(path for path, is_other in copies.items() if not is_other)
            found += [(path, original) for path, is_other in copies.items() if is_other and not _same(path, original)]
    return found


def _split(paths: _Paths, key: Callable[[str], Hashable]) -> list[_Paths]:
    """The groups of paths with equal keys that contain paths of both lists. A path that cannot be read is in none."""
    groups: dict[Hashable, _Paths] = {}
    for path, is_other in paths.items():
        try:
            groups.setdefault(key(path), {})[path] = is_other
        except (OSError, MediaError):
            continue
    return [group for group in groups.values() if len(set(group.values())) > 1]


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
    """Whether two paths name the same file: those are found by `labeling.shared_videos`."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
