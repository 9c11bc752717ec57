"""Annotation files as they are published: finding them, reading them, and all that is wrong with them at once."""

from __future__ import annotations

import csv
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
        id: as published.
        names: what its file or frame folder may be called, without extension, the likeliest first.
        label: name of its class; None in a test set without labels.
        file, at: where that is written: a line, or the place in a JSON file.
        start, stop: as in `Video`; None for all of it.
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
    """What the files of a dataset say.

    Args:
        classes: the published names of all classes, sorted; None where no file tells.
        unusable: (row, reason) of rows as published that mean no video.
    """

    classes: list[str] | None = None
    rows: list[Annotation] = field(default_factory=list)
    unusable: list[tuple[Annotation, str]] = field(default_factory=list)
    _faults: list[Callable[[], str]] = field(default_factory=list)

    def fault(self, file: Path, at: int | str, explain: str | Callable[[], str]) -> None:
        """Something is malformed. `explain` is called only if it is shown: suggestions are slow."""
        self._faults.append(lambda: f"{file}:{at}: {explain if isinstance(explain, str) else explain()}")

    def add_faults(self, text: str) -> None:
        """The same for lines that name file and place already."""
        self._faults += [lambda line=line: line for line in text.splitlines()]

    def raise_any(self) -> None:
        """Raises ListError if something was malformed."""
        if self._faults:
            shown = [fault() for fault in self._faults[:SHOWN]]
            more = len(self._faults) - len(shown)
            raise ListError("\n".join(shown + [f"… and {more} more"] * (more > 0)))

    def add_classes(self, file: Path, names: Iterable[tuple[int | str, str]]) -> None:
        """The class names of a file, each with its place there."""
        seen: set[str] = set()
        for at, name in names:
            name = name.strip()
            if not name or any(c in name for c in "\0\n\r"):
                self.fault(file, at, f"class {show(name)}: expected its name")
            elif name in seen:
                self.fault(file, at, f"class {show(name)} is there twice: expected it once")
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
        """A row, if it names a video and, outside of test sets, a class."""
        id = str(id).strip() if isinstance(id, (str, int)) and not isinstance(id, bool) else ""
        names = names or (id,)
        if not id or not names[0] or any(c in name for name in (id, *names) for c in "\0\n\r") or "/" in names[0]:
            self.fault(file, at, f"video {show(id)}: expected its name")
        elif not isinstance(label, str | None):
            self.fault(file, at, f"class {show(str(label))}: expected a name")
        elif not (label := (label or "").strip() or None) and part != "test":
            self.fault(file, at, f"video {show(id)} has no class: expected its name")
        else:
            self.rows.append(Annotation(part, id, names, label, file, at, start, stop))


def choose(paths: Sequence[Path], patterns: Mapping[str, str], dataset: Dataset) -> dict[str, list[Path]]:
    """The annotation files among files and folders (their own files, not those further down), by what they are.

    Args:
        patterns: what a file is: a regular expression for its whole name, in any case.

    Raises:
        FileNotFoundError: there is no such file or folder, or no list of videos in it.
        ValueError: a file is none of the dataset's.
    """
    found: dict[str, list[Path]] = {}
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder; expected {dataset.annotations}")
        for file in sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]:
            role = next((role for role, name in patterns.items() if re.fullmatch(name, file.name, re.I | re.S)), None)
            if role and not (file.resolve() in seen or seen.add(file.resolve())):
                found.setdefault(role, []).append(file)
            elif not role and not path.is_dir():
                raise ValueError(f"{path} is no annotation file of {dataset.title}: expected {dataset.annotations}")
    if not set(found) & {"train", "val", "test"}:
        told = ", ".join(map(str, paths))
        what = f"no such list of {dataset.title}" if "other" in found else f"no annotation files of {dataset.title}"
        raise FileNotFoundError(f"{told}: {what}; expected {dataset.annotations}")
    return {role: found[role] for role in patterns if role in found}


def lines_of(path: Path, notes: Published) -> Iterator[tuple[int, str]]:
    """(number, line) of a text file's lines that are not blank."""
    lines, problems = read_lines(path)
    try:
        problems.raise_any()
    except ListError as error:
        notes.add_faults(str(error))
    return ((number, line) for number, line in enumerate(lines, 1) if line)


def table(path: Path, notes: Published) -> Iterator[tuple[int, list[str]]]:
    """(number, fields) of the lines of a csv file. A quoted field ends on its line."""
    for number, line in lines_of(path, notes):
        try:
            yield number, [value.strip() for value in next(csv.reader([line], strict=True))]
        except csv.Error as error:
            notes.fault(path, number, f"{show(line)}: expected values between commas, quotes in pairs ({error})")


def read_ids(path: Path, part: str, notes: Published) -> None:
    """Adds the rows of `id;class` or, in a test set, `id`."""
    for number, line in lines_of(path, notes):
        id, separator, label = line.partition(";")
        if part != "test" and not separator:
            notes.fault(path, number, f"{show(line)}: expected id;class")
        else:
            notes.add(part, id, label, path, number)


def entries(path: Path, notes: Published, key: str) -> Iterator[tuple[str, dict]]:
    """(place, entry) of a JSON file that is a list of objects; the place names the entry's `key`."""
    for number, entry in enumerate(read_json(path, list), 1):
        if isinstance(entry, dict):
            yield f"entry {number} ({show(str(entry.get(key)))})", entry
        else:
            notes.fault(path, f"entry {number}", f"{show(str(entry))}: expected an object with {key!r}")
