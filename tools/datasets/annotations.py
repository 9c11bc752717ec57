"""Finds and reads published annotation files, and reports all their problems together."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from actrec.files import SHOWN, ListError, read_json, read_lines, show
from actrec.tools.datasets.table import Dataset


class Annotation(NamedTuple):
    """One annotated video, or one segment of it.

    Args:
        part: train, val or test.
        id: Identifier of the video, as published.
        names: Possible names of its file or frame folder, without extension, the most likely name first.
        label: Name of its class; None in a test set without labels.
        file, at: Location of the row: the file, and the line number or the position in a JSON file.
        start, stop: As in `Video`; None for the whole video.
    """

    part: str
    id: str
    names: tuple[str, ...]
    label: str | None
    file: Path
    at: int | str
    start: int | float | None = None
    stop: int | float | None = None


@dataclass
class Published:
    """The content of the annotation files of a dataset.

    Args:
        classes: Published names of all classes, sorted; None if no file lists them.
        rows: One row for each annotated video or segment.
        unusable: (row, reason) of published rows that cannot be used, such as empty segments.
    """

    classes: list[str] | None = None
    rows: list[Annotation] = field(default_factory=list)
    unusable: list[tuple[Annotation, str]] = field(default_factory=list)
    _faults: list[Callable[[], str]] = field(default_factory=list)

    def fault(self, file: Path, at: int | str, explain: str | Callable[[], str]) -> None:
        """Records a malformed row. `explain` is called only if the message is shown, because it may be slow."""

        def line() -> str:
            return f"{file}:{at}: {explain if isinstance(explain, str) else explain()}"

        self._faults.append(line)

    def add_faults(self, text: str) -> None:
        """Records messages that already contain the file and the location, one on each line."""
        self._faults += [functools.partial(str, line) for line in text.splitlines()]

    def raise_any(self) -> None:
        """Raises ListError if malformed rows were recorded."""
        if self._faults:
            shown = [fault() for fault in self._faults[:SHOWN]]
            more = len(self._faults) - len(shown)
            raise ListError("\n".join(shown + [f"… and {more} more"] * (more > 0)))

    def add_classes(self, file: Path, names: Iterable[tuple[int | str, str]]) -> None:
        """Adds the class names of a file, each with its location in the file."""
        seen: set[str] = set()
        for at, name in names:
            name = name.strip()
            if not name or any(c in name for c in "\0\n\r"):
                self.fault(file, at, f"class {show(name)}: expected a class name")
            elif name in seen:
                self.fault(file, at, f"class {show(name)} occurs twice: expected each class once")
            seen.add(name)
        self.classes = sorted(seen.union(self.classes or ()))

    def add(
        self,
        part: str,
        id: object,
        label: object,
        file: Path,
        at: int | str,
        *,
        names: tuple[str, ...] | None = None,
        start: int | float | None = None,
        stop: int | float | None = None,
    ) -> None:
        """Adds a row, or records it as malformed.

        A row is malformed if its video has no valid name, or if it has no class and does not belong to a test set.
        """
        id = str(id).strip() if isinstance(id, (str, int)) and not isinstance(id, bool) else ""
        names = names or (id,)
        if not id or not names[0] or any(c in name for name in (id, *names) for c in "\0\n\r") or "/" in names[0]:
            self.fault(file, at, f"video {show(id)}: expected the name of a video")
        elif not isinstance(label, str | None):
            self.fault(file, at, f"class {show(str(label))}: expected a class name")
        elif not (label := (label or "").strip() or None) and part != "test":
            self.fault(file, at, f"video {show(id)} has no class: expected a class name")
        else:
            self.rows.append(Annotation(part, id, names, label, file, at, start, stop))


def choose(paths: Sequence[Path], patterns: Mapping[str, str], dataset: Dataset) -> dict[str, list[Path]]:
    """Finds the annotation files among files and folders. Subfolders are not searched.

    Args:
        patterns: {role of a file: regular expression that matches its whole name, ignoring case}.

    Returns:
        {role: files}, in the order of `patterns`; only roles that were found.

    Raises:
        FileNotFoundError: A file or folder does not exist, or there is no list of videos.
        ValueError: A file is not an annotation file of the dataset.
    """
    found: dict[str, list[Path]] = {}
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder; expected {dataset.annotations}")
        for file in sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]:
            role = next((role for role, name in patterns.items() if re.fullmatch(name, file.name, re.I | re.S)), None)
            if role and file.resolve() not in seen:
                seen.add(file.resolve())
                found.setdefault(role, []).append(file)
            elif not role and not path.is_dir():
                raise ValueError(f"{path} is not an annotation file of {dataset.title}: expected {dataset.annotations}")
    if not set(found) & {"train", "val", "test"}:
        searched = ", ".join(map(str, paths))
        what = f"no such list of {dataset.title}" if "other" in found else f"no annotation files of {dataset.title}"
        raise FileNotFoundError(f"{searched}: {what}; expected {dataset.annotations}")
    return {role: found[role] for role in patterns if role in found}


def lines_of(path: Path, notes: Published) -> Iterator[tuple[int, str]]:
    """Yields (number, line) for each line of a text file that is not blank."""
    lines, problems = read_lines(path)
    try:
        problems.raise_any()
    except ListError as error:
        notes.add_faults(str(error))
    return ((number, line) for number, line in enumerate(lines, 1) if line)


def table(path: Path, notes: Published) -> Iterator[tuple[int, list[str]]]:
    """Yields (number, fields) for each line of a CSV file. A quoted field cannot span lines."""
    for number, line in lines_of(path, notes):
        try:
            yield number, [value.strip() for value in next(csv.reader([line], strict=True))]
        except csv.Error as error:
            notes.fault(path, number, f"{show(line)}: expected values between commas, quotes in pairs ({error})")


def read_ids(path: Path, part: str, notes: Published) -> None:
    """Adds the rows of a file with lines `id;class`, or `id` in a test set."""
    for number, line in lines_of(path, notes):
        id, separator, label = line.partition(";")
        if part != "test" and not separator:
            notes.fault(path, number, f"{show(line)}: expected id;class")
        else:
            notes.add(part, id, label, path, number)


def entries(path: Path, notes: Published, key: str) -> Iterator[tuple[str, dict]]:
    """Yields (location, entry) for each entry of a JSON file that contains a list of objects.

    The location contains the value of `key`.
    """
    for number, entry in enumerate(read_json(path, list), 1):
        if isinstance(entry, dict):
            yield f"entry {number} ({show(str(entry.get(key)))})", entry
        else:
            notes.fault(path, f"entry {number}", f"{show(str(entry))}: expected an object with {key!r}")
