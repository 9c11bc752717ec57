"""The two JSON formats of Hara's 3D-ResNets: for Kinetics, UCF101, HMDB51, Moments in Time; and for ActivityNet."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from actrec.data.lists.formats.annotations import (
    Annotations,
    Entry,
    Finder,
    Format,
    Options,
    checked_path,
    frames_of,
    inside,
    label_of,
    part_of,
    raise_faults,
    rate,
    register,
    stem_of,
)
from actrec.data.lists.labels import Bad
from actrec.data.lists.line import MAX_FRAME
from actrec.files import ListError, atomic_write, read_json, read_text, show
from actrec.words import counted

_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


# ---- Kinetics, UCF101, HMDB51, Moments in Time ----


def _read(path: Path, options: Options) -> Annotations:
    """Frame folders are `<label>/<id>` below the root, or at `video_path`. `segment` counts images from 1."""
    data, faults = _load(path), []
    names = data.get("labels")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ListError(f'{path}: expected "labels", a list of class names')
    faults += [f"class name {show(name)} occurs twice" for name, times in Counter(names).items() if times > 1]
    numbers, finder = {name: i for i, name in enumerate(names)}, Finder(options.root)

    def entries_of(key: str, value: dict[str, Any]) -> Iterator[Entry | None]:
        annotation = value.get("annotations", {})
        if not isinstance(annotation, dict):
            raise Bad(lambda: 'annotations: expected {"label": …, "segment": […]}')
        labels = (label_of(annotation["label"], numbers),) if "label" in annotation else ()
        place = _place(key, value, options, finder, annotation.get("label", "test"), (key,))
        span = _segment(annotation.get("segment"), place)
        yield span and Entry(place, *span, labels)

    return _annotations(path, data, faults, entries_of, tuple(names))


def _segment(segment: Any, place: str) -> tuple[int | None, int | None] | None:
    """The range; None if it is empty, as in published files for videos that could not be downloaded."""
    if segment is None:
        num_frames = _value_file(place, "n_frames")
        segment = None if num_frames is None else [1, int(num_frames) + 1]
    if segment is None:
        return None, None
    if not isinstance(segment, list) or len(segment) != 2 or not all(type(bound) is int for bound in segment):
        raise Bad(lambda: f"segment {show(str(segment))}: expected two frame numbers")
    begin, end = segment
    if begin == 0:
        raise Bad(lambda: f"segment {segment} counts from 0, as for HDF5 files, which are not read: expected frame "
                          "folders, numbered from 1")  # fmt: skip
    if end == begin:
        return None
    if not 0 < begin < end <= MAX_FRAME:
        raise Bad(lambda: f"segment {segment}: expected the first frame, from 1, and the one after the last")
    return begin - 1, end - 1


def _write(path: Path, annotations: Annotations, options: Options) -> None:
    database: dict[str, Any] = {}
    finder = Finder(options.root)
    for part, entries in annotations.parts.items():
        for entry in entries:
            name = annotations.names[entry.labels[0]] if entry.labels else None
            key = _free(database, stem_of(entry.path), inside(options.root, entry.path))
            start, stop = frames_of(entry)
            annotation = ({} if name is None else {"label": name}) | {"segment": [start + 1, stop + 1]}
            value = {"subset": _SUBSETS[part], "annotations": annotation}
            if _place(key, {}, options, finder, name or "test", (key,)) != entry.path:
                value["video_path"] = entry.path
            database[key] = value
    _dump(path, {"labels": list(annotations.names), "database": database})


# ---- ActivityNet ----


def _read_activitynet(path: Path, options: Options) -> Annotations:
    """Frame folders are `v_<id>` below the root. Each annotation is a row, and segments are in seconds."""
    data = _load(path)
    names = _leaves(data.get("taxonomy"), data["database"])
    numbers, finder = {name: i for i, name in enumerate(names)}, Finder(options.root)

    def entries_of(key: str, value: dict[str, Any]) -> Iterator[Entry | None]:
        annotations = value.get("annotations", [])
        if not isinstance(annotations, list) or not all(isinstance(found, dict) for found in annotations):
            raise Bad(lambda: 'annotations: expected [{"label": …, "segment": […]}, …]')
        place = _place(key, value, options, finder, "", (f"v_{key}", key))
        fps = value["fps"] if "fps" in value else _value_file(place, "fps")
        fps = None if fps is None else rate(fps)
        if not annotations:
            yield Entry(place, None, None, (), fps)
        for annotation in annotations:
            times = _times(annotation.get("segment"))
            labels = (label_of(annotation.get("label"), numbers),)
            yield times and Entry(place, *times, labels, fps)

    return _annotations(path, data, [], entries_of, tuple(names))


def _leaves(taxonomy: Any, database: dict[str, Any]) -> list[str]:
    """Class names: the leaves of the taxonomy; without a taxonomy, the names that occur, sorted."""
    if isinstance(taxonomy, list) and all(isinstance(node, dict) for node in taxonomy):
        parents = [node.get("parentId") for node in taxonomy]
        names = [node.get("nodeName") for node in taxonomy if node.get("nodeId") not in parents]
    else:
        lists = (value.get("annotations") for value in database.values() if isinstance(value, dict))
        found = (a.get("label") for annotations in lists if isinstance(annotations, list)
                 for a in annotations if isinstance(a, dict))  # fmt: skip
        names = sorted({name for name in found if isinstance(name, str)})
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def _times(segment: Any) -> tuple[float, float] | None:
    ok = isinstance(segment, list) and len(segment) == 2 and all(type(time) in (int, float) for time in segment)
    if not ok or not all(0 <= time < 1e9 for time in segment) or segment[1] < segment[0]:
        raise Bad(lambda: f"segment {show(str(segment))}: expected where it starts and stops, in seconds")
    return (float(segment[0]), float(segment[1])) if segment[0] < segment[1] else None


def _write_activitynet(path: Path, annotations: Annotations, options: Options) -> None:
    database: dict[str, Any] = {}
    keys: dict[tuple[str, str], str] = {}
    finder, names = Finder(options.root), annotations.names
    for part, entries in annotations.parts.items():
        for entry in entries:
            if (part, entry.path) not in keys:
                key = _free(database, stem_of(entry.path).removeprefix("v_"), inside(options.root, entry.path))
                keys[part, entry.path] = key
                value: dict[str, Any] = {"subset": _SUBSETS[part], "annotations": []}
                value |= {} if entry.fps is None else {"fps": entry.fps}
                if _place(key, {}, options, finder, "", (f"v_{key}", key)) != entry.path:
                    value["video_path"] = entry.path
                database[key] = value
            if entry.labels:
                found = {"segment": [entry.start, entry.stop], "label": names[entry.labels[0]]}
                database[keys[part, entry.path]]["annotations"].append(found)
    root = {"nodeId": 0, "nodeName": "Root", "parentId": None, "parentName": None}
    nodes = [{"nodeId": i, "nodeName": name, "parentId": 0, "parentName": "Root"} for i, name in enumerate(names, 1)]
    _dump(path, {"taxonomy": [root, *nodes], "database": database})


# ---- both ----


def _load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = read_json(path, dict)
    if not isinstance(data.get("database"), dict):
        raise ListError(f'{path}: expected {{"database": {{id: …}}}}, as Hara\'s tools and ActivityNet have it')
    return data


def _annotations(
    path: Path,
    data: dict[str, Any],
    faults: list[str],
    entries_of: Callable[[str, dict[str, Any]], Iterator[Entry | None]],
    names: tuple[str, ...],
) -> Annotations:
    parts: dict[str, list[Entry]] = {}
    empty: list[str] = []
    for key, value in data["database"].items():
        try:
            if not isinstance(value, dict):
                raise Bad(partial(_no_object, value))
            part = part_of(str(value.get("subset")))
            for entry in entries_of(key, value):
                if entry is None:
                    empty.append(key)
                else:
                    parts.setdefault(part, []).append(entry)
        except Bad as bad:
            faults.append(f"{show(key)}: {bad.explain()}")
    if not parts and not faults:
        faults.append("there is no row with frames: expected one or more")
    raise_faults(path, faults)
    notes = (f"{counted(len(empty), 'row')} without a frame left out, such as {empty[0]}",) if empty else ()
    return Annotations(parts, names, notes)


def _no_object(value: Any) -> str:
    return f'{show(str(value))}: expected {{"subset": …, "annotations": …}}'


def _place(key: str, value: dict[str, Any], options: Options, finder: Finder, folder: str, stems: Iterable[str]) -> str:
    """The path of a row: `video_path`, or what is found at one of the stems; the first stem if nothing is found."""
    if "video_path" in value:
        return checked_path(options.root, value["video_path"])
    stems = list(stems)
    found = next((found for stem in stems if (found := finder.find(folder, stem))), None)
    return found or checked_path(options.root, os.path.join(folder, stems[0]) if key else "")


def _value_file(place: str, name: str) -> float | None:
    """The number in the `n_frames` or `fps` file of a frame folder; None without such a file.

    Raises Bad if it is not a number.
    """
    try:
        text = read_text(Path(place, name))
    except (OSError, ValueError):
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_FRAME:
        raise Bad(lambda: f"{os.path.join(place, name)} holds {show(text)}: expected a number")
    return number


def _free(database: dict[str, Any], *choices: str) -> str:
    numbered = (f"{choices[-1]}#{i}" for i in itertools.count(2))
    return next(key for key in itertools.chain(choices, numbered) if key not in database)


def _dump(path: Path, data: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        json.dump(data, file, indent=1)


register(
    Format(
        "hara",
        "JSON of Hara's 3D-ResNets: kinetics, ucf101, hmdb51, mit",
        ".json",
        _read,
        _write,
        ranges=frozenset({"frames"}),
        needs_range="all",
        class_names="table",
        parts="must",
    )
)
register(
    Format(
        "activitynet",
        "JSON with segments in seconds",
        ".json",
        _read_activitynet,
        _write_activitynet,
        ranges=frozenset({"seconds"}),
        needs_range="labeled",
        class_names="table",
        parts="must",
        fps=True,
    )
)
