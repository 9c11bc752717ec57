"""Moments in Time: CSV files without a header, with lines `class/file.mp4,class,yes,no`.

The last two columns are votes of annotators. Another file lists the classes, with lines `class,number`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from actrec.config import Clip
from actrec.files import show
from actrec.tools.datasets.annotations import Published, choose, table
from actrec.tools.datasets.table import Dataset, register

PATTERNS = {
    "train": r"trainingSet\.csv",
    "val": r"validationSet\.csv",
    "categories": r"moments_categories\.txt",
}


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    notes = Published()
    files = choose(paths, PATTERNS, dataset)
    for file in files.pop("categories", []):
        notes.add_classes(file, _categories(file, notes))
    for part, found in files.items():
        for file in found:
            for line, values in table(file, notes):
                _add(notes, part, values, file, line)
    return notes


def _categories(file: Path, notes: Published) -> Iterator[tuple[int, str]]:
    for line, values in table(file, notes):
        if len(values) == 2 and values[1].isdecimal():
            yield line, values[0]
        else:
            notes.fault(file, line, f"{show(','.join(values))}: expected class,number")


def _add(notes: Published, part: str, values: list[str], file: Path, line: int) -> None:
    if len(values) not in (2, 4) or not all(vote.isdecimal() for vote in values[2:]):
        notes.fault(file, line, f"{show(','.join(values))}: expected class/file.mp4,class,yes,no")
    else:
        notes.add(part, values[0], values[1], file, line, names=(PurePosixPath(values[0]).stem,))


_FULL = Dataset(
    name="moments",
    title="Moments in Time",
    source="http://moments.csail.mit.edu",
    num_classes=339,
    read=read,
    annotations="trainingSet.csv, validationSet.csv and moments_categories.txt",
    videos="<class>/<name>.mp4",
    clip=Clip(frames=8, sampling="uniform"),
)
register(_FULL)
register(replace(_FULL, name="mini-moments", title="mini-Moments in Time", num_classes=200, subset=True))
