"""Divides videos into training and validation by lists, by folders, or at random.

The docstring of `actrec.tools.make.extract_frames` describes the rules.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from actrec.config import OptionError, SplitOptions
from actrec.data.lists import Video, find_labels, read_labels, read_list
from actrec.data.lists.labels import why_no_class_name
from actrec.data.lists.spelling import existing_spelling
from actrec.data.lists.splits import PARTS
from actrec.data.storage import absolute, may_exist
from actrec.files import ListError, show
from actrec.tools.lists.from_folders import divide, tell_unusable_classes
from actrec.tools.lists.layout import class_of, layout_of
from actrec.tools.make.record import shown, who_wrote
from actrec.tools.make.source import Source
from actrec.words import counted


@dataclass(frozen=True)
class Split:
    """Videos by part.

    Args:
        origin: Description of where the split comes from, for messages.
        rows: {part: rows}. The path of a row is its name in SRC, or an absolute path if the videos come from lists.
        labels: Names of the classes.
        folder: Folder of the lists or of the file of class names; None if there is neither.
        missing: (path, reason) of rows for which there is no file.
        outside: Number of rows for which the file exists, but not in SRC.
        refused: {name of a video in SRC: why no list can contain it}.
    """

    origin: str
    rows: dict[str, list[Video]]
    labels: list[str]
    folder: Path | None
    missing: tuple[tuple[str, str], ...] = ()
    outside: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)


def choose_split(
    src: Source,
    dst: Path,
    names: list[str],
    options: SplitOptions,
    log: Callable[[str], None],
    known: Mapping[str, str],
    broken: Collection[str],
) -> Split:
    """Splits the videos of SRC by lists in DST, SRC or its parent; otherwise by folders; otherwise at random.

    Args:
        names: Names of the videos in SRC.
        log: Called with each message.
        known: {name of a video: its part in the lists that an earlier run wrote}.
        broken: Names of videos that cannot be used: they take no place in a split by folders or at random.

    Raises:
        ValueError: A list or a file of class names is malformed, or contradicts the videos.
        OptionError: A new split of all videos is asked for, but the split comes from lists.
    """
    classes = layout_of(src.text, names, options.class_level, strict=False).classes
    for folder in _search_path(src, dst):
        if lists := _split_lists(folder, src):
            if options.reshuffle:
                raise OptionError(
                    f"`reshuffle`: the split comes from {' and '.join(map(str, lists.values()))}, and a list that is "
                    "given is not divided anew: move these files away to draw a new split from the class folders"
                )
            split = _split_by_lists(
                lists, src, names, sorted(name for name in set(classes) if not why_no_class_name(name))
            )
            break
    else:
        usable = [name for name in names if name not in broken] or names
        split = _split_by_folders(src, dst, usable, options, log, known)
    log(f"split: {split.origin}")
    return split


def _search_path(src: Source, dst: Path) -> list[Path]:
    places = [folder for folder in (dst, src.folder, src.parent) if folder is not None]
    folders = {os.path.realpath(folder): folder for folder in reversed(places)}
    return [folders[key] for key in dict.fromkeys(map(os.path.realpath, places))]


def _split_lists(folder: Path, src: Source) -> dict[str, Path]:
    """{part: list} of a folder; empty if the folder contains neither a training nor a validation list."""
    kept = {part: folder / f"videos_{part}.txt" for part in PARTS}
    plain = {part: folder / f"{part}.txt" for part in PARTS}
    for lists in (kept, plain):
        found = {part: path for part, path in lists.items() if path.is_file() and _tells_of(path, src)}
        if "train" in found or "val" in found:
            return found
    return {}


def _split_by_lists(lists: dict[str, Path], src: Source, names: list[str], classes: list[str]) -> Split:
    folder = next(iter(lists.values())).parent
    labels_file = find_labels(folder)
    labels = read_labels(labels_file) if labels_file else None
    by_path = {absolute(src / name): name for name in names}
    rows: dict[str, list[Video]] = {}
    missing, outside, respelled, bases = [], 0, 0, (Source(folder), src)
    for part, path in lists.items():
        rows[part] = []
        for video in _read_videos(path, labels, classes):
            if other := existing_spelling(video.path, lambda text: any(_in(by_path, bases, text))):
                video, respelled = video._replace(path=other), respelled + 1
            places = [absolute(base / video.path) for base in bases]
            if name := next(_in(by_path, bases, video.path), None):
                rows[part].append(Video("", name, video.start, video.stop, video.labels))
            elif any(map(may_exist, places)):
                outside += 1
            else:
                missing.append((video.path, f"missing: {path.name} lists it, but the file does not exist"))
    if not any(rows.values()):
        first = f", not even {missing[0][0]!r}" if missing else ""
        raise ValueError(f"{' and '.join(map(str, lists.values()))}: none of the listed videos is in {src}{first}; "
                         "expected paths of video files, relative to the folder of the list. If the list is for other "
                         "videos, move or rename it; then the videos are divided at random")  # fmt: skip
    origin = " and ".join(map(shown, lists.values()))
    if respelled:
        origin += f" ({counted(respelled, 'path')} read in the spelling that exists)"
    labels = labels or _names_of(rows, classes)
    return Split(origin, rows, labels, folder, tuple(missing), outside)


def _in(by_path: Mapping[str, str], bases: Sequence[Source], text: str) -> Iterator[str]:
    """The names of the videos that a path of a list can mean."""
    places = (absolute(base / text) for base in bases)
    return (by_path[place] for place in places if place in by_path)


def _read_videos(path: Path, labels: list[str] | None, classes: list[str]) -> Sequence[Video]:
    """Reads a list. If there is no file of class names, labels are names of class folders, or numbers."""
    if labels is not None or not classes:
        return read_list(path, root="", labels=labels or ())
    try:
        return read_list(path, root="", labels=classes)
    except ListError as error:
        try:
            return read_list(path, root="", labels=())
        except ListError:
            raise error from None


def _names_of(rows: Mapping[str, list[Video]], classes: list[str]) -> list[str]:
    """Names of classes for which a list contains only numbers.

    A class is called like its folder if all its videos are in one folder, and this folder contains no other class.
    Otherwise its name is its number.
    """
    folders: dict[int, set[str]] = {}
    for row in (row for part in rows.values() for row in part):
        for label in row.labels:
            folders.setdefault(label, set()).add(row.path.split("/")[0] if "/" in row.path else "")
    if not folders:
        return classes
    times = Counter(name for found in folders.values() for name in found)
    single = {label: min(found) for label, found in folders.items() if len(found) == 1}
    return [single[i] if times[single.get(i, "")] == 1 and single[i] else str(i) for i in range(max(folders) + 1)]


def _split_by_folders(
    src: Source,
    dst: Path,
    names: list[str],
    options: SplitOptions,
    log: Callable[[str], None],
    known: Mapping[str, str],
) -> Split:
    layout = layout_of(src.text, names, options.class_level)
    hint = "; `actrec lists shards` makes a list of its labels, for --list" if src.is_archive else ""
    classes = class_of(layout, src.text, names, otherwise=f", or a train.txt with `path label` in each line{hint}")
    reasons = [why_no_class_name(name) for name in classes]
    refused = {name: f"the name of its class {reason}" for name, reason in zip(names, reasons) if reason}
    if len(refused) == len(names):
        raise ValueError(f"{src}: the name of the class {show(classes[0])} {reasons[0]}: expected other names")
    if refused:
        tell_unusable_classes(classes, log)
        kept = [i for i, reason in enumerate(reasons) if not reason]
        names, classes = [names[i] for i in kept], [classes[i] for i in kept]
        parts = [layout.parts[i] for i in kept] if layout.parts is not None else None
        layout = replace(layout, classes=classes, parts=parts)
    labels, folder = _labels_without_lists(src, dst, sorted(set(classes)))
    numbers = [labels.index(name) for name in classes]
    chosen, origin = divide(src.text, names, layout, numbers, options, log, known)
    rows: dict[str, list[Video]] = {part: [] for part in PARTS if part in chosen}
    for name, part, number in zip(names, chosen, numbers):
        rows[part].append(Video("", name, None, None, (number,)))
    return Split(origin, rows, labels, folder, refused=refused)


def _labels_without_lists(src: Source, dst: Path, classes: list[str]) -> tuple[list[str], Path | None]:
    for folder in _search_path(src, dst):
        file = find_labels(folder)
        if file is None or not _tells_of(file, src):
            continue
        labels = read_labels(file)
        if unknown := [name for name in classes if name not in labels]:
            raise ValueError(f"{file} does not contain the class {unknown[0]!r}: expected every class folder of {src}")
        return labels, folder
    return classes, None


def _tells_of(path: Path, src: Source) -> bool:
    """Whether a file can describe the videos of SRC. A list that a tool wrote describes its results only."""
    kind = who_wrote(path)
    if kind is None or src.is_remote:
        return kind is None
    return Path(os.path.realpath(src.text)).is_relative_to(os.path.realpath(path.parent / kind.folder))


def split_of_lists(lists: Sequence[Path], dst: Path) -> Split:
    """The rows of lists. Each list is one part, called like the list. The paths of the rows are absolute.

    Raises:
        FileNotFoundError: A list does not exist.
        ValueError: A list is malformed (ListError), no video exists, two lists have the same name or different class
            names, or a new list would replace a list.
    """
    rows: dict[str, list[Video]] = {}
    missing, labels = [], {}
    for path in lists:
        part = path.stem
        if part in rows:
            raise ValueError(f"{path}: another list is also named {part}: expected lists with different names")
        if os.path.realpath(path) == os.path.realpath(dst / f"{part}.txt"):
            raise ValueError(f"{path}: the new list would replace this list: expected another DST")
        rows[part] = []
        for video in read_list(path):
            name = absolute(video.path)
            if may_exist(name):
                rows[part].append(Video("", name, video.start, video.stop, video.labels))
            else:
                missing.append((video.path, f"missing: {path.name} lists it, but the file does not exist"))
        file = find_labels(path.parent)
        labels[path] = read_labels(file) if file else []
    if len({tuple(names) for names in labels.values()}) > 1:
        raise ValueError(
            f"{' and '.join(map(str, lists))}: the class names in their folders differ: expected the same labels.txt"
        )
    if not any(rows.values()):
        raise ValueError(
            f"{' and '.join(map(str, lists))}: none of the listed videos exists, not even {missing[0][0]!r}; expected "
            "paths of video files, relative to the folder of the list"
        )
    return Split(" and ".join(map(shown, lists)), rows, labels[lists[0]], lists[0].parent, tuple(missing))
