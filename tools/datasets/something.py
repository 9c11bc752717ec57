"""Something-Something: files with lines `id;class` in V1, JSON lists of objects with a template in V2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actrec.config import Clip, Views
from actrec.files import read_json, show
from actrec.tools.datasets.annotations import Published, choose, entries, lines_of, read_ids
from actrec.tools.datasets.table import Dataset, register

PATTERNS = {
    "train": r"(.*[-_])?train",
    "val": r"(.*[-_])?val(idation)?",
    "test": r"(.*[-_])?test",
    "labels": r"(.*[-_])?labels",
}


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    notes, first = Published(), dataset.name == "ssv1"
    patterns = {part: rf"{name}\.{'csv' if first else 'json'}" for part, name in PATTERNS.items()}
    files = choose(paths, patterns if first else patterns | {"answers": r"(.*[-_])?test[-_]answers\.csv"}, dataset)
    for file in files.pop("labels", []):
        names = lines_of(file, notes) if first else ((f"key {show(key)}", key) for key in read_json(file, dict))
        notes.add_classes(file, ((at, _plain_name(name)) for at, name in names))
    answers = _read_answers(files.pop("answers", []), notes)
    for part, found in files.items():
        for file in found:
            if first:
                read_ids(file, part, notes)
            else:
                _read_objects(file, part, answers, notes)
    return notes


def _read_objects(file: Path, part: str, answers: dict[str, str], notes: Published) -> None:
    for at, entry in entries(file, notes, "id"):
        template = entry.get("template")
        if template is None and part == "test":
            template = answers.get(str(entry.get("id")))
        notes.add(part, entry.get("id"), _plain(template), file, at)


def _read_answers(files: Sequence[Path], notes: Published) -> dict[str, str]:
    """{id: class} of the test set. These classes were published after the dataset."""
    answers = {}
    for file in files:
        for line, text in lines_of(file, notes):
            id, separator, label = text.partition(";")
            if not separator or not label.strip():
                notes.fault(file, line, f"{show(text)}: expected id;class")
            answers[id.strip()] = label.strip()
    return answers


def _plain(template: object) -> object:
    """The class of a template; a value that is not text stays as it is and is reported later."""
    return _plain_name(template) if isinstance(template, str) else template


def _plain_name(template: str) -> str:
    """The class of a template, which is the template without brackets: `Holding [something]` -> `Holding something`."""
    return template.replace("[", "").replace("]", "")


_SECOND = Dataset(
    name="ssv2",
    title="Something-Something V2",
    source="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    num_classes=174,
    read=read,
    annotations="something-something-v2-train.json, -validation.json, -test.json and -labels.json, "
    "or labels/train.json and so on",
    videos="<id>.webm",
    min_frames=3,
    mirror=(("left", "right"),),
    clip=Clip(frames=8, sampling="uniform"),
    views=Views(crops=3),
)
register(_SECOND)
register(
    replace(
        _SECOND,
        name="mini-ssv2",
        title="mini-Something-Something V2",
        num_classes=87,
        subset=True,
        class_file=Path(__file__).with_name("mini_ssv2.txt"),
    )
)
register(
    replace(
        _SECOND,
        name="ssv1",
        title="Something-Something V1",
        source="",  # no longer published
        annotations="something-something-v1-train.csv, -validation.csv, -test.csv and -labels.csv",
        videos="<id>/00001.jpg",
    )
)
