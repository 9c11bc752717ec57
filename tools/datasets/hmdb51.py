"""HMDB51: one file for each class and split, with lines `file.avi N`.

N is 1 for training videos, 2 for test videos, and 0 for videos that the split does not use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from actrec.files import show
from actrec.tools.datasets.annotations import Published, choose, lines_of
from actrec.tools.datasets.table import Dataset, register

PARTS = {"1": "train", "2": "val"}


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    """Reads the files of a split. Its test videos are used for validation, because no others are published."""
    notes = Published()
    patterns = {"train": rf".+_test_split{split}\.txt", "other": r".+_test_split\d\.txt"}
    dataset = replace(dataset, annotations=dataset.annotations.replace("split1", f"split{split}"))
    for file in choose(paths, patterns, dataset)["train"]:
        label = re.sub(r"_test_split\d\.txt", "", file.name, flags=re.I)
        notes.add_classes(file, [("name", label)])
        for line, text in lines_of(file, notes):
            name, _, number = text.rpartition(" ")
            if number not in ("0", "1", "2") or not name.strip():
                notes.fault(file, line, f"{show(text)}: expected file.avi and 0, 1 or 2")
            elif number != "0":
                path = PurePosixPath(name.strip())
                notes.add(PARTS[number], f"{label}/{path}", label, file, line, names=(path.stem,))
    return notes


register(
    Dataset(
        name="hmdb51",
        title="HMDB51",
        source="https://serre.lab.brown.edu/hmdb51.html",
        num_classes=51,
        read=read,
        annotations="<class>_test_split1.txt, one for each class",
        videos="<name>.avi",
        num_splits=3,
    )
)
