"""What all list formats are read into and written from, and what they share."""

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
from actrec.data.lists.splits import PART_NAMES
from actrec.files import SHOWN, ListError, show
from actrec.registry import did_you_mean

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts")
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)


class Entry(NamedTuple):
    """One row of any list.

    Args:
        path: what to open, absolute.
        start, stop: as of a `Video`: half-open from 0, integers are frames, floats are seconds; None for all.
        labels: none, one or several.
        fps: frames a second, where the list says it.
    """

    path: str
    start: int | float | None
    stop: int | float | None
    labels: tuple[int, ...]
    fps: float | None = None


@dataclass(frozen=True)
class Annotations:
    """Lists of one dataset.

    Args:
        parts: rows by `train`, `val` or `test`; by "" where nothing says which part it is.
        names: of the classes, in the order of their labels; empty: unknown.
        notes: what reading had to leave out or assume, a line each.
    """

    parts: Mapping[str, Sequence[Entry]]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a file is read or written.

    Args:
        root: folder that relative paths start from.
        names: of the classes, for formats that do not hold them or their order.
        part: which part the file is, where it does not say so itself.
        separator: between columns, where the format leaves a choice; None: found, or the format's usual one.
    """

    root: str
    names: tuple[str, ...] = ()
    part: str = ""
    separator: str | None = None


@dataclass(frozen=True)
class Format:
    """A format of lists, and what it can hold.

    Args:
        title: what a row is.
        read: gives the annotations of a file; raises ListError with all bad rows, OSError.
        write: writes annotations that it can hold to a file.
        suffix: of its files.
        ranges: the kinds of ranges: "frames", "seconds".
        needs_range: which rows must have one: "all", those "labeled", or all if "any" has one.
        decimals: of times.
        names_range: matches names of files that say their range, so that no other is held.
        first, last: the lowest and the highest start, in frames.
        class_names: whether labels are "numbers", names in the "rows" or "either", or names that the file has a
            "table" of, in their order.
        parts: whether a file "may" or "must" say of each row which part it belongs to.
        separators: between columns, the usual one first.
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


def kind_of(entry: Entry) -> str:
    """What its range counts: "frames" or "seconds"; "" where a row is a whole video."""
    if entry.start is None:
        return ""
    return "seconds" if isinstance(entry.start, float) else "frames"


# ---- paths ----


def below(root: str, text: str) -> str:
    """The path that a list means."""
    return os.path.join(root, text)


def inside(root: str, path: str) -> str:
    """The path as a list has it: relative where it lies below the root."""
    text = path.removeprefix(os.path.join(root, ""))
    return path if text.startswith("/") else text


def stem_of(path: str) -> str:
    """Name of a frame folder, or of a video file without its suffix."""
    name = path.rsplit("/", 1)[-1]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name


class Finder:
    """Finds the folder or file that a list names without its suffix. Every folder is listed once."""

    def __init__(self, root: str):
        self._root = root
        self._folders: dict[str, dict[str, str]] = {}

    def find(self, folder: str, name: str) -> str | None:
        """The path of `folder/name` below the root, or of `folder/name.mp4` and so on; None if there is neither."""
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
    """Raises a ListError of all of them, if there are any: for files whose rows have names, and no lines."""
    if faults:
        more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise ListError("\n".join([*(f"{os.fspath(path)}: {fault}" for fault in faults[:SHOWN]), *more]))


def whole(text: str, what: str, least: int = 0) -> int:
    """The number that a cell holds. Raises Bad."""
    if not _WHOLE.fullmatch(text.strip()):
        raise Bad(lambda: f"{what} {show(text)}: expected a whole number")
    if not least <= (number := int(text)) <= MAX_FRAME:
        raise Bad(lambda: f"{what} {text.strip()}: expected {least} to {MAX_FRAME}")
    return number


def rate(value: str | float) -> float:
    """Frames a second. Raises Bad."""
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise Bad(lambda: f"fps {show(str(value))}: expected a number of frames a second")
    return number


def part_of(text: str) -> str:
    """Raises Bad."""
    part = PART_NAMES.get(text.strip().lower())
    if part is None:
        raise Bad(lambda: f"part {show(text)}{did_you_mean(text, PART_NAMES)}")
    return part


def checked_path(root: str, text: object) -> str:
    """Raises Bad for what is no path."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise Bad(lambda: f"path {show(str(text))}: expected the name of a file or folder")
    return below(root, text)


def label_of(name: object, numbers: Mapping[str, int]) -> int:
    """The label of a class name. Raises Bad."""
    if not isinstance(name, str) or name not in numbers:
        raise Bad(lambda: f"unknown class {show(str(name))}{did_you_mean(str(name), numbers)}")
    return numbers[name]
