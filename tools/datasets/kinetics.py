"""Kinetics: CSV files with a header, or JSON files that contain an object for each YouTube id.

If a folder has both files of a part, the CSV file is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actrec.config import Clip
from actrec.data.lists.splits import PART_NAMES, PARTS
from actrec.files import read_json, show
from actrec.tools.datasets.annotations import Published, choose, table
from actrec.tools.datasets.table import Dataset, register

WHOLE = re.compile(r"(\d{1,6})(\.0*)?", re.ASCII)  # seconds
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    notes = Published()
    names = {part: [name for name, of in PART_NAMES.items() if of == part] for part in PARTS}
    patterns = {part: rf"(.*[-_ ])?({'|'.join(words)})\.(csv|json)" for part, words in names.items()}
    for part, files in choose(paths, patterns, dataset).items():
        for file in files:
            if file.suffix.lower() == ".csv":
                _read_csv(file, part, notes)
            elif not any(other.suffix.lower() == ".csv" and other.stem == file.stem for other in files):
                _read_json(file, part, notes)
    return notes


def _read_csv(file: Path, part: str, notes: Published) -> None:
    rows = table(file, notes)
    line, header = next(rows, (1, []))
    if missing := [name for name in COLUMNS[part == "test" :] if name not in header]:
        wanted = f"{','.join(COLUMNS)},split"
        notes.fault(file, line, f"the first line has no {' and no '.join(missing)}: expected the columns {wanted}")
        return
    for line, values in rows:
        if len(values) != len(header):
            notes.fault(file, line, f"{len(values)} columns: expected {len(header)} as in the first line")
        else:
            row = dict(zip(header, values))
            _add(
                notes, part, row.get("split"), row["youtube_id"], row["time_start"], row["time_end"], row.get("label"),
                file, line,
            )  # fmt: skip


def _read_json(file: Path, part: str, notes: Published) -> None:
    for id, entry in read_json(file, dict).items():
        at = f"key {show(id)}"
        details = entry.get("annotations") if isinstance(entry, dict) else None
        segment = details.get("segment") if isinstance(details, dict) else None
        if details is None or not isinstance(segment, list) or len(segment) != 2:
            notes.fault(file, at, "expected annotations with a segment [start, end] and a label")
        else:
            start, end = map(str, segment)
            _add(notes, part, entry.get("subset"), id, start, end, details.get("label"), file, at)


def _add(
    notes: Published,
    part: str,
    split: object,
    id: str,
    start: str,
    end: str,
    label: object,
    file: Path,
    at: int | str,
) -> None:
    """Adds a row. If the row states its split, this takes precedence over the name of the file."""
    times = [int(match[1]) for match in map(WHOLE.fullmatch, (start, end)) if match]
    row_part = PART_NAMES.get(str(split).strip().lower()) if split else part
    if row_part is None:
        notes.fault(file, at, f"split {show(str(split))}: expected train, val or test")
    elif len(times) < 2:
        notes.fault(file, at, f"from {show(start)} to {show(end)}: expected whole seconds")
    elif times[0] >= times[1]:
        notes.fault(file, at, f"from second {times[0]} to {times[1]}: expected a start before the end")
    else:
        name = f"{id}_{times[0]:06d}_{times[1]:06d}" if id else ""
        notes.add(row_part, name, label, file, at, names=(name, id))


_400 = Dataset(
    name="kinetics400",
    title="Kinetics-400",
    source="https://github.com/cvdfoundation/kinetics-dataset",
    num_classes=400,
    read=read,
    annotations="train.csv, val.csv (or validate.csv) and test.csv, or the .json files of these names",
    videos="<youtube id>_000012_000022.mp4",
    min_frames=30,
    clip=Clip(frames=32, stride=2, sampling="dense"),
)
register(_400)
register(replace(_400, name="kinetics600", title="Kinetics-600", num_classes=600))
register(replace(_400, name="kinetics700", title="Kinetics-700", num_classes=700))
register(
    replace(
        _400,
        name="mini-kinetics",
        title="mini-Kinetics",
        num_classes=200,
        subset=True,
        class_file=Path(__file__).with_name("mini_kinetics400.txt"),
    )
)
