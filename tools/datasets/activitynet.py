"""ActivityNet: one JSON file.

Each annotated segment of a training or validation video becomes a row with times in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actrec.data.lists.splits import PART_NAMES
from actrec.files import ListError, read_json, show
from actrec.tools.datasets.annotations import Annotation, Published, choose
from actrec.tools.datasets.table import Dataset, register

MAX_SECONDS = 10**6


def read(paths: Sequence[Path], dataset: Dataset, split: int) -> Published:
    notes = Published()
    for file in choose(paths, {"train": r"activity_?net.*1[-._]3.*\.json"}, dataset)["train"]:
        content = read_json(file, dict)
        database, taxonomy = content.get("database"), content.get("taxonomy")
        if not isinstance(database, dict):
            raise ListError(f"{file}: the file has no object 'database': expected {dataset.annotations}")
        if taxonomy is not None:
            notes.add_classes(file, [("taxonomy", name) for name in _leaves(taxonomy, file)])
        for id, entry in database.items():
            _add(notes, id, entry, file)
    return notes


def _leaves(taxonomy: Any, file: Path) -> list[str]:
    """The class names: the names of the nodes that have no children."""
    try:
        parents = {node["parentId"] for node in taxonomy}
        return [str(node["nodeName"]) for node in taxonomy if node["nodeId"] not in parents]
    except (TypeError, KeyError):
        raise ListError(f"{file}: taxonomy: expected a list of objects with nodeId, parentId and nodeName") from None


def _add(notes: Published, id: str, entry: object, file: Path) -> None:
    at = f"key {show(id)}"
    entry = entry if isinstance(entry, dict) else {}
    part, segments = PART_NAMES.get(str(entry.get("subset"))), entry.get("annotations", [])
    if part is None:
        notes.fault(file, at, f"subset {show(str(entry.get('subset')))}: expected training, validation or testing")
    elif not isinstance(segments, list) or not all(isinstance(one, dict) for one in segments):
        notes.fault(file, at, "annotations: expected a list of objects with segment and label")
    elif part == "test":
        notes.add(part, id, None, file, at, names=(f"v_{id}", id))
    else:
        for number, one in enumerate(segments, 1):
            _add_segment(notes, part, id, one.get("segment"), one.get("label"), file, f"{at}, segment {number}")


def _add_segment(notes: Published, part: str, id: str, times: object, label: object, file: Path, at: str) -> None:
    if not isinstance(times, list) or len(times) != 2 or not all(map(_is_time, times)):
        notes.fault(file, at, f"{show(str(times))}: expected [start, end] in seconds")
        return
    start, stop = map(float, times)
    if start < stop:
        notes.add(part, id, label, file, at, names=(f"v_{id}", id), start=start, stop=stop)
    else:  # the published file contains such segments
        row = Annotation(part, id, (f"v_{id}",), str(label), file, at, start, stop)
        notes.unusable.append((row, f"its segment is empty ({start:g} to {stop:g} s)"))


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS


register(
    Dataset(
        name="activitynet",
        title="ActivityNet 1.3",
        source="http://activity-net.org/download.html",
        num_classes=200,
        read=read,
        annotations="activity_net.v1-3.min.json",
        videos="v_<youtube id>.mp4",
        min_frames=8,
    )
)
