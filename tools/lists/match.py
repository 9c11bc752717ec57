"""Which video file or frame folder an annotation means."""

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
        paths: as `find_videos` finds them.
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
