"""Diving48 V2: JSON lists of {vid_name, label, start_frame, end_frame}.

A label is a position in the vocabulary, another JSON list.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actrec.config import Clip, Views
from actrec.files import ListError, read_json
from actrec.tools.datasets.annotations import Published, choose, entries
from actrec.tools.datasets.table import Dataset, register

PATTERNS = {
    "train": r"Diving48_V2_train\.json",
    "val": r"Diving48_V2_test\.json",
    "vocabulary": r"Diving48_vocab\.json",
    "other": r"Diving48_(train|test)\.json",  # the first version
}


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    """Reads the files. The test list becomes the validation list, because no validation list is published."""
    notes = Published()
    files = choose(paths, PATTERNS, dataset)
    if "vocabulary" not in files:
        raise FileNotFoundError(f"{', '.join(map(str, paths))}: no Diving48_vocab.json, which contains the class names")
    names = _names(files["vocabulary"][0])
    notes.add_classes(files["vocabulary"][0], [(f"entry {i}", name) for i, name in enumerate(names, 1)])
    for part in ("train", "val"):
        for file in files.get(part, []):
            for at, entry in entries(file, notes, "vid_name"):
                _add(notes, part, entry, names, file, at)
    if not any(row.start for row in notes.rows):
        # Every row starts at frame 0, so each video file contains one dive. The end is dropped, so that it
        # does not matter whether it includes the last frame.
        notes.rows = [row._replace(start=None, stop=None) for row in notes.rows]
    return notes


def _names(file: Path) -> list[str]:
    """A class name consists of take-off, somersaults, twists and position."""
    words = read_json(file, list)
    if not all(isinstance(name, list) and name and all(isinstance(word, str) for word in name) for name in words):
        raise ListError(f"{file}: expected a list of lists of words, such as ['Back', '15som', '05Twis', 'FREE']")
    return [" ".join(name) for name in words]


def _add(notes: Published, part: str, entry: dict, names: list[str], file: Path, at: str) -> None:
    label: Any = entry.get("label")
    start: Any = entry.get("start_frame")
    stop: Any = entry.get("end_frame")
    if not _is_count(label) or label >= len(names):
        notes.fault(file, at, f"label {label!r}: expected 0 to {len(names) - 1}")
    elif not _is_count(start) or not _is_count(stop) or start >= stop:
        notes.fault(file, at, f"start_frame {start!r}, end_frame {stop!r}: expected two numbers, the smaller one first")
    else:
        notes.add(part, entry.get("vid_name"), names[label], file, at, start=start, stop=stop)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


register(
    Dataset(
        name="diving48",
        title="Diving48 V2",
        source="http://www.svcl.ucsd.edu/projects/resound/dataset.html",
        num_classes=48,
        read=read,
        annotations="Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json",
        videos="<vid_name>.mp4",
        clip=Clip(frames=16, sampling="uniform"),
        views=Views(crops=3),
    )
)
