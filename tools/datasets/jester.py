"""Jester: files without a header, with lines `id;class`, or `id` in the test set.

Another file lists the classes, one on each line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actrec.config import Clip, Views
from actrec.tools.datasets.annotations import Published, choose, lines_of, read_ids
from actrec.tools.datasets.table import Dataset, register

PATTERNS = {
    "train": r"(.*[-_])?train\.csv",
    "val": r"(.*[-_])?validation\.csv",
    "test": r"(.*[-_])?test\.csv",
    "labels": r"(.*[-_])?labels\.csv",
}


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    notes = Published()
    files = choose(paths, PATTERNS, dataset)
    for file in files.pop("labels", []):
        notes.add_classes(file, lines_of(file, notes))
    for part, found in files.items():
        for file in found:
            read_ids(file, part, notes)
    return notes


register(
    Dataset(
        name="jester",
        title="Jester",
        source="https://www.qualcomm.com/developer/software/jester-dataset",
        num_classes=27,
        read=read,
        annotations="jester-v1-train.csv, -validation.csv, -test.csv and -labels.csv",
        videos="<id>/00001.jpg",
        mirror=(("Left", "Right"), ("Clockwise", "Counterclockwise")),
        clip=Clip(frames=8, sampling="uniform"),
        views=Views(crops=3),
    )
)
