"""Finds the video file or frame folder of an annotation."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable

from actrec.data.lists.splits import PART_NAMES, PARTS
from actrec.tools.datasets.annotations import Annotation

PART_FOLDERS = {part: {name for name, of in PART_NAMES.items() if of == part} for part in PARTS}
PART_FOLDERS["train"].add("trainval")
PART_FOLDERS["val"].add("trainval")


class VideosByName:
    """The video files and frame folders below a folder, by name.

    Args:
        paths: The names that `find_videos` finds.
        classes: Names of all classes. A file in the folder of another class is never chosen.
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
        """The path of a row's file or folder; None if there is none.

        Of several files, one in a folder of its class and of its part (`train`, `validation`, …) is preferred. If
        several remain, they are added to `several`, by id. A file that has another name than the most likely one is
        added to `renamed`.
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
        """How well a path fits a row; 0 if it cannot be its file."""
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
    """Makes equal what folder names make of a class: `air drumming`, `air_drumming` and `AirDrumming`."""
    return re.sub(r"[\W_]+", "", name).casefold()
