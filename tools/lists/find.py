"""Which video files and frame folders lie below a folder, and which of them an annotation means."""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from actrec.data.lists.splits import PART_NAMES, PARTS
from actrec.tools.datasets.annotations import Annotation
from actrec.tools.make.frame_lists import NOT_VIDEOS

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PEEK = 8  # a folder is a frame folder if most of its first entries are images
PART_FOLDERS = {part: {name for name, of in PART_NAMES.items() if of == part} for part in PARTS}
PART_FOLDERS["train"].add("trainval")
PART_FOLDERS["val"].add("trainval")
_TOLD = 1000  # entries between two calls of `progress`


def find_media(root: Path, *, progress: Callable[[int], None] | None = None) -> tuple[list[str], list[str]]:
    """Paths below a folder, sorted, of all files that may be videos and of all frame folders. Links are followed.

    Every folder is read once, a frame folder only to its first images, and no file is opened or asked for its size.

    Args:
        progress: called now and then with how many were found.

    Returns:
        (paths with `/`, those of folders that could not be read)

    Raises:
        FileNotFoundError, NotADirectoryError: `root` is no folder.
    """
    found, unreadable, queue = [], [], [""]
    visited = {os.path.realpath(root)}
    while queue:
        below = queue.pop()
        try:
            with os.scandir(Path(root, below)) as scan:
                entries = (entry for entry in scan if not entry.name.startswith("."))
                first = list(itertools.islice(entries, PEEK))
                if below and 2 * sum(_extension(entry.name) in IMAGES for entry in first) > len(first):
                    found.append(below)
                    continue
                for entry in itertools.chain(first, entries):
                    path = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir():
                        if _is_new(entry, visited):
                            queue.append(path)
                    elif _extension(entry.name) not in NOT_VIDEOS and entry.is_file():
                        found.append(path)
                        if progress and len(found) % _TOLD == 0:
                            progress(len(found))
        except OSError:
            if not below:
                raise
            unreadable.append(below)
    return sorted(found), sorted(unreadable)


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_new(entry: os.DirEntry, visited: set[str]) -> bool:
    """Whether a folder was not seen before: links may lead in circles."""
    real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.abspath(entry.path)
    if real in visited:
        return False
    visited.add(real)
    return True


class Found:
    """What lies below a folder, by name.

    Args:
        paths: as `find_media` gives them.
        classes: names of all classes: a file in the folder of another class is not meant.
    """

    def __init__(self, paths: Iterable[str], classes: Iterable[str]):
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            name = path.rpartition("/")[2]
            for key in {name, os.path.splitext(name)[0]}:
                self._by_name.setdefault(key, []).append(path)
        self._classes = {_plain(name) for name in classes} - set().union(*PART_FOLDERS.values())
        self.several: dict[str, list[str]] = {}
        self.renamed: dict[str, str] = {}

    def find(self, row: Annotation) -> str | None:
        """The path of a row's file or folder.

        Of several, those in a folder of its class and of its part (`train`, `validation`, …) come first; what remains
        to choose between is kept in `several`, by id, and in `renamed` what has another name than the likeliest.
        """
        for name in row.names:
            scores = {path: score for path in self._by_name.get(name, ()) if (score := self._score(row, path))}
            if scores:
                best = [path for path, score in scores.items() if score == max(scores.values())]
                if len(best) > 1:
                    self.several[row.id] = best
                if name != row.names[0]:
                    self.renamed[row.names[0]] = best[0]
                return best[0]
        return None

    def _score(self, row: Annotation, path: str) -> int:
        """0 if the path cannot be meant."""
        folders = _folders(path.rpartition("/")[0])
        label = _plain(row.label) if row.label else None
        if label and folders and folders[-1] in self._classes and folders[-1] != label:
            return 0
        return 1 + 2 * (label in folders) + any(folder in PART_FOLDERS[row.part] for folder in folders)


@functools.lru_cache(10_000)
def _folders(path: str) -> list[str]:
    return [_plain(name) for name in path.split("/")] if path else []


@functools.lru_cache(10_000)
def _plain(name: str) -> str:
    """A class's name as folders have it: `air drumming`, `air_drumming` and `AirDrumming` are one."""
    return re.sub(r"[\W_]+", "", name).casefold()
