"""The common form of all list formats, and what the formats share."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from actrec.data.lists.labels import Bad
from actrec.data.lists.line import MAX_FRAME
from actrec.data.lists.spelling import existing_spelling
from actrec.data.lists.splits import PART_NAMES
from actrec.data.storage import join, may_exist, split_member
from actrec.files import SHOWN, ListError, show
from actrec.registry import Registry, did_you_mean

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts")
_WHOLE = re.compile(r"([+-]?\d{1,18})(\.0*)?", re.ASCII)


class Entry(NamedTuple):
    """One row of a list in any format.

    It is a `Video` without an id, which only a row of a list that was read as a whole has, and with the frame rate
    that some formats state.

    Args:
        path: Absolute path of the file or frame folder.
        start, stop, labels: As in `Video`.
        fps: Frames per second, if the list states it.
    """

    path: str
    start: int | float | None
    stop: int | float | None
    labels: tuple[int, ...]
    fps: float | None = None


@dataclass(frozen=True)
class Annotations:
    """The lists of one dataset.

    Args:
        parts: Rows by `train`, `val` or `test`; by "" if nothing says which part they belong to.
        names: Class names in the order of their labels; empty if unknown.
        notes: What reading had to leave out or assume, one line each.
    """

    parts: Mapping[str, Sequence[Entry]]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How to read or write a file.

    Args:
        root: Folder that relative paths start from.
        names: Class names, for formats that do not hold them or their order.
        part: The part of the file, if the file does not state it.
        separator: Separator between columns, if the format leaves a choice. None: the one found in the file, or the
            usual one of the format.
    """

    root: str
    names: tuple[str, ...] = ()
    part: str = ""
    separator: str | None = None


@dataclass(frozen=True)
class Format:
    """A format of lists, and what it can represent.

    Args:
        title: What a row looks like.
        suffix: Suffix of its files.
        read: Reads the annotations of a file. Raises ListError with all bad rows, or OSError.
        write: Writes annotations to a file. They must be such that the format can represent them.
        ranges: Units of ranges: "frames", "seconds".
        needs_range: Rows that must have a range: "all", those that are "labeled", or all if "any" row has one.
        decimals: Number of decimals of times.
        names_range: Matches the names of files that state their range. Such rows have no other range.
        first, last: Lowest and highest start, in frames.
        several_labels: Whether a row can have several labels.
        class_names: How rows state classes: "numbers", names in the "rows", "either", or names from a "table" that the
            file holds, in the order of their labels.
        parts: Whether a file "may" or "must" state the part of each row.
        fps: Whether rows can state a frame rate.
        separators: Possible separators between columns, the usual one first.
    """

    name: str
    title: str
    suffix: str
    read: Callable[[Path, Options], Annotations]
    write: Callable[[Path, Annotations, Options], None]
    ranges: frozenset[str] = frozenset()
    needs_range: str = ""
    decimals: int = 20
    names_range: re.Pattern[str] | None = None
    first: int = 0
    last: int = MAX_FRAME
    several_labels: bool = False
    class_names: str = "numbers"
    parts: str = ""
    fps: bool = False
    separators: tuple[str, ...] = ()


FORMATS: Registry[Format] = Registry("list format", "actrec.data.lists.formats")


def register(list_format: Format) -> None:
    """Adds a format to `FORMATS`. Raises ValueError if its name is taken."""
    FORMATS.add(list_format.name, list_format)


def kind_of(entry: Entry) -> str:
    """The unit of the range of a row: "frames" or "seconds"; "" if the row is a whole video."""
    if entry.start is None:
        return ""
    return "seconds" if isinstance(entry.start, float) else "frames"


def frames_of(entry: Entry) -> tuple[int, int]:
    """The range of a row that has one in frames."""
    assert isinstance(entry.start, int)
    assert isinstance(entry.stop, int)
    return entry.start, entry.stop


def times_of(entry: Entry) -> tuple[float, float]:
    """The range of a row that has one in seconds."""
    assert isinstance(entry.start, float)
    assert isinstance(entry.stop, float)
    return entry.start, entry.stop


# ---- paths ----


def below(root: str, text: str) -> str:
    """The absolute path of a path in a list, in the spelling that exists."""
    return join(root, existing_spelling(text, lambda name: may_exist(join(root, name))) or text)


def inside(root: str, path: str) -> str:
    """The path as a list has it: relative if it is located below the root."""
    text = path.removeprefix(os.path.join(root, ""))
    return path if text.startswith("/") else text


def stem_of(path: str) -> str:
    """The name of a frame folder, or of a video file without its suffix."""
    name = (split_member(path)[1] or path).rsplit("/", 1)[-1]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name


class Finder:
    """Finds the folder or file that a list names without a suffix. Each folder is listed only once."""

    def __init__(self, root: str):
        self._root = root
        self._folders: dict[str, dict[str, str]] = {}

    def find(self, folder: str, name: str) -> str | None:
        """The path of `folder/name` below the root, or of `folder/name.mp4` and so on; None if nothing is found."""
        if folder not in self._folders:
            self._folders[folder] = self._list(os.path.join(self._root, folder))
        found = self._folders[folder].get(name)
        return found and os.path.join(self._root, folder, found)

    def _list(self, folder: str) -> dict[str, str]:
        try:
            names = os.listdir(folder)
        except (OSError, ValueError):
            return {}
        files = [name for name in names if stem_of(name) != name]
        files.sort(key=lambda name: VIDEO_SUFFIXES.index(os.path.splitext(name)[1].lower()), reverse=True)
        return {stem_of(name): name for name in files} | {name: name for name in names}


# ---- values ----


def raise_faults(path: str | os.PathLike[str], faults: Sequence[str]) -> None:
    """Raises a ListError that lists all faults, if there are any. For files with rows that have names but no lines."""
    if faults:
        more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise ListError("\n".join([*(f"{os.fspath(path)}: {fault}" for fault in faults[:SHOWN]), *more]))


def whole(text: str, what: str, least: int = 0) -> int:
    """The whole number in a cell, which may be `3.0`, as pandas writes columns with gaps. Raises Bad."""
    if not (match := _WHOLE.fullmatch(text.strip())):
        raise Bad(lambda: f"{what} {show(text)}: expected a whole number")
    if not least <= (number := int(match[1])) <= MAX_FRAME:
        raise Bad(lambda: f"{what} {text.strip()}: expected {least} to {MAX_FRAME}")
    return number


def rate(value: str | float) -> float:
    """The value as frames per second. Raises Bad."""
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise Bad(lambda: f"fps {show(str(value))}: expected a number of frames per second")
    return number


def part_of(text: str) -> str:
    """The part that a published name means. Raises Bad."""
    part = PART_NAMES.get(text.strip().lower())
    if part is None:
        raise Bad(lambda: f"part {show(text)}{did_you_mean(text, PART_NAMES)}")
    return part


def checked_path(root: str, text: object) -> str:
    """The absolute path of a value in a list. Raises Bad if the value is not a path."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise Bad(lambda: f"path {show(str(text))}: expected the name of a file or folder")
    return below(root, text)


def label_of(name: object, numbers: Mapping[str, int]) -> int:
    """The label of a class name. Raises Bad."""
    if not isinstance(name, str) or name not in numbers:
        raise Bad(lambda: f"unknown class {show(str(name))}{did_you_mean(str(name), numbers)}")
    return numbers[name]
