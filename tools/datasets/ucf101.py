"""UCF101: lines `class/file.avi number` in training lists and `class/file.avi` in test lists.

The lines of classInd.txt are `number class`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from actrec.files import show
from actrec.tools.datasets.annotations import Published, choose, lines_of
from actrec.tools.datasets.table import Dataset, register


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    """Reads the files of a split. Its test list becomes the validation list, because no other list is published."""
    notes = Published()
    patterns = {"train": rf"trainlist0?{split}\.txt", "val": rf"testlist0?{split}\.txt"}
    others = {"other": r"(train|test)list0?\d\.txt", "classes": r"classInd\.txt"}
    dataset = replace(dataset, annotations=dataset.annotations.replace("list01", f"list0{split}"))
    files = choose(paths, patterns | others, dataset)
    names: dict[int, str] = {}
    for file in files.get("classes", []):
        notes.add_classes(file, _classes(file, names, notes))
    for part in ("train", "val"):
        for file in files.get(part, []):
            for line, text in lines_of(file, notes):
                _add(notes, part, text, names, file, line)
    return notes


def _classes(file: Path, names: dict[int, str], notes: Published) -> Iterator[tuple[int, str]]:
    """Yields (line number, name) for each class, and adds {number of the class: name} to `names`."""
    for line, text in lines_of(file, notes):
        number, _, name = text.partition(" ")
        if not number.isdecimal() or int(number) in names:
            notes.fault(file, line, f"{show(text)}: expected number class, each number once")
        else:
            names[int(number)] = name.strip()
            yield line, name


def _add(notes: Published, part: str, text: str, names: dict[int, str], file: Path, line: int) -> None:
    path, *number = text.rsplit(" ", 1)
    if number and not number[0].isdecimal():
        path, number = text, []
    label, _, name = path.strip().rpartition("/")
    if not label or not name or (part == "train" and not number):
        notes.fault(file, line, f"{show(text)}: expected class/file.avi{' number' * (part == 'train')}")
    elif number and names and names.get(int(number[0])) != label:
        notes.fault(file, line, f"{show(text)}: number {number[0]} is {names.get(int(number[0]))!r} in classInd.txt")
    else:
        place = PurePosixPath(path.strip())
        notes.add(part, str(place), label, file, line, names=(place.stem,))


register(
    Dataset(
        name="ucf101",
        title="UCF101",
        source="https://www.crcv.ucf.edu/data/UCF101.php",
        num_classes=101,
        read=read,
        annotations="trainlist01.txt, testlist01.txt and classInd.txt",
        videos="v_<class>_g01_c01.avi",
        num_splits=3,
    )
)
