"""Tables with a header: any CSV file with a column `path`, and the CSV files of Kinetics."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from actrec.data.lists.foreign import is_kinetics_row
from actrec.data.lists.formats.annotations import (
    Annotations,
    Entry,
    Finder,
    Format,
    Options,
    checked_path,
    inside,
    label_of,
    part_of,
    rate,
    register,
    stem_of,
    whole,
)
from actrec.data.lists.labels import Bad, Classes
from actrec.data.lists.row import bounds
from actrec.files import Problems, atomic_write, read_text, show
from actrec.registry import did_you_mean
from actrec.words import counted

_EITHER = {"end": "stop", "stop": "end", "label": "labels", "labels": "label"}  # one of the two
COLUMNS = ("path", "start", "end", "stop", "label", "labels", "split", "fps")
KINETICS = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
CLIP_NAME = re.compile(r"(.+)_(\d{6,9})_(\d{6,9})", re.DOTALL | re.ASCII)
_TIME = re.compile(r"(\d{1,9}(\.\d{1,20})?)s", re.ASCII)

Cells = dict[str, str]


# ---- any csv ----


def read_table(
    path: Path,
    known: Sequence[str],
    needed: Sequence[str],
    *,
    without_header: Callable[[str], bool] = lambda line: False,
) -> tuple[list[tuple[int, Cells]], list[str], Problems]:
    """Reads a CSV file that is separated by `,`, `;` or tabs.

    Args:
        known, needed: The columns that are used, and those that must be there.
        without_header: Whether the first line is a row, with the `known` columns in order.

    Returns:
        (line number, cells by column) of each row, the unknown columns, and the problems so far.

    Raises:
        ListError: A column is missing from the header, or misspelled.
    """
    text, problems = read_text(path), Problems(path)
    first = next(iter(text.splitlines()), "")
    delimiter = max(",;\t", key=lambda c: sum(name in known for name in _header(first, c)))
    rows = _rows(text, delimiter, problems)
    _, header = next(rows, (1, []))
    if without_header(first):
        rows, header = itertools.chain([(1, header)], rows), list(known[: len(header)])
    header = [name.strip().lower() for name in header]
    unknown = [name for name in header if name not in known]
    absent = [name for name in known if name not in header and _EITHER.get(name) not in header]
    for name in unknown:
        if (hint := did_you_mean(name, absent)).startswith(": did you mean"):
            problems.add(1, f"unknown column {show(name)}{hint}")
    missing = [name for name in needed if name not in header]
    if missing or len(set(header)) < len(header):
        twice = [name for i, name in enumerate(header) if name in header[:i]]
        fault = f"column {twice[0]!r} occurs twice" if twice else f"there is no column {missing[0]!r}"
        problems.add(1, lambda: f"{fault}: expected a header with {', '.join(needed)}, and found {show(first)}")
    problems.raise_any()
    return list(_cells(rows, header, problems)), unknown, problems


def _header(line: str, delimiter: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _rows(text: str, delimiter: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the rest of the file has no reliable meaning
            problems.add(line, f"not a CSV file from here on ({error})")
            return
        if row:
            yield line, row


def _cells(rows: Iterator[tuple[int, list[str]]], header: list[str], problems: Problems) -> Iterator[tuple[int, Cells]]:
    for line, row in rows:
        if len(row) == len(header):
            yield line, dict(zip(header, row))
        else:
            problems.add(line, f"{len(row)} columns: expected {len(header)}, as in the header")


def _collect(
    rows: list[tuple[int, Cells]], problems: Problems, entry_of: Callable[[Cells], tuple[str, Entry]]
) -> dict[str, list[Entry]]:
    parts: dict[str, list[Entry]] = {}
    for line, cells in rows:
        try:
            part, entry = entry_of(cells)
        except Bad as bad:
            problems.add(line, bad.explain)
        else:
            parts.setdefault(part, []).append(entry)
    if not parts and not len(problems):
        problems.add(2, "the list is empty: expected a row for each video below the header")
    problems.raise_any()
    return parts


def _read_csv(path: Path, options: Options) -> Annotations:
    table, unknown, problems = read_table(path, COLUMNS, ("path",))
    columns = table[0][1] if table else {}
    bad_rows = len(problems)
    for pair in (("end", "stop"), ("label", "labels")):
        if all(name in columns for name in pair):
            problems.add(1, f"columns {pair[0]!r} and {pair[1]!r}: expected one of them")
    if ("start" in columns) != ("end" in columns or "stop" in columns):
        problems.add(1, "expected both columns 'start' and 'end' (or 'stop'), or neither")
    if len(problems) > bad_rows:
        problems.raise_any()
    labels = _Labels(options.names, table)

    def entry_of(cells: Cells) -> tuple[str, Entry]:
        start, stop = _bounds(cells)
        fps = rate(cells["fps"]) if cells.get("fps") else None
        part = part_of(cells["split"]) if cells.get("split") else options.part
        return part, Entry(checked_path(options.root, cells["path"]), start, stop, labels.of(cells), fps)

    parts = _collect(table, problems, entry_of)
    return Annotations(parts, labels.classes.names, _left_out(unknown))


def _left_out(columns: list[str]) -> tuple[str, ...]:
    return (f"columns that were left out: {', '.join(map(repr, columns))}",) if columns else ()


class _Labels:
    """The classes of a table: all numbers, or names. Without a list of names, those that occur are numbered."""

    def __init__(self, names: Sequence[str], table: list[tuple[int, Cells]]):
        if not names:
            pieces = {piece for _, cells in table for piece in self._pieces(cells)} - {""}
            if not all(piece in Classes() for piece in pieces):
                names = sorted(pieces)
        self.classes = Classes(names)

    def of(self, cells: Cells) -> tuple[int, ...]:
        return tuple(map(self.classes.label, self._pieces(cells)))

    @staticmethod
    def _pieces(cells: Cells) -> list[str]:
        pieces = cells["labels"].split(";") if "labels" in cells else [cells.get("label", "")]
        return [piece.strip() for piece in pieces] if any(map(str.strip, pieces)) else []


def _bounds(cells: Cells) -> tuple[int | float | None, int | float | None]:
    name = "stop" if "stop" in cells else "end"
    pair = [cells.get("start", "").strip(), cells.get(name, "").strip()]
    if not any(pair):
        return None, None
    start: float
    stop: float
    if all(map(_TIME.fullmatch, pair)):
        start, stop = (float(text[:-1]) for text in pair)
    elif any(map(_TIME.fullmatch, pair)) or not all(pair):
        shown = f"start {show(pair[0])} and {name} {show(pair[1])}"
        raise Bad(lambda: f"{shown}: expected two frames, or two times such as 12.5s")
    else:
        start = whole(pair[0], "start") - (name == "end")
        stop = whole(pair[1], name)
    if stop <= start:
        raise Bad(lambda: f"{name} {pair[1][:40]} does not come after start {pair[0][:40]}: expected a later one")
    return start, stop


def _write_csv(path: Path, annotations: Annotations, options: Options) -> None:
    entries = [entry for part in annotations.parts.values() for entry in part]
    label = "labels" if any(len(entry.labels) > 1 for entry in entries) else "label"
    columns = ["path"]
    columns += ["start", "end"] if any(entry.start is not None for entry in entries) else []
    columns += [label] if any(entry.labels for entry in entries) else []
    columns += ["split"] if set(annotations.parts) != {""} else []
    columns += ["fps"] if any(entry.fps for entry in entries) else []
    texts = annotations.names if fits_cells(annotations.names) else ()
    rows = []
    for part, several in annotations.parts.items():
        for entry in several:
            start, end = ("", "") if entry.start is None or entry.stop is None else bounds(entry.start, entry.stop)
            cells = {
                "path": inside(options.root, entry.path),
                "start": start,
                "end": end,
                label: ";".join(texts[label] if texts else str(label) for label in entry.labels),
                "split": part,
                "fps": "" if entry.fps is None else repr(entry.fps),
            }
            rows.append([cells[name] for name in columns])
    _write_rows(path, columns, rows)


def fits_cells(names: Sequence[str]) -> bool:
    """Whether each name reads back as it is, also among others in one cell. Otherwise the rows hold numbers."""
    numbers = Classes()
    return not any(";" in name or name in numbers or name != name.strip() for name in names)


def _write_rows(path: Path, columns: Sequence[str], rows: list[list[str]]) -> None:
    try:
        with atomic_write(path) as file:
            csv.writer(file).writerows([columns, *rows])
    except UnicodeEncodeError as error:
        raise ValueError(f"{error.object[:100]!r} cannot be written as UTF-8") from None


# ---- Kinetics ----


def _read_kinetics(path: Path, options: Options) -> Annotations:
    """A row is the clip `<id>_<start>_<end>`, cut out of a video; or a part of the video `<id>` if only this exists."""
    table, unknown, problems = read_table(path, KINETICS, KINETICS[1:4], without_header=is_kinetics_row)
    names = options.names or sorted({cells.get("label", "").strip() for _, cells in table} - {""})
    finder, numbers, missing = Finder(options.root), {name: i for i, name in enumerate(names)}, []

    def entry_of(cells: Cells) -> tuple[str, Entry]:
        youtube_id = cells["youtube_id"].strip()
        if not youtube_id or "/" in youtube_id or "\0" in youtube_id:
            raise Bad(lambda: f"youtube_id {show(youtube_id)}: expected the name of a video")
        start, end = (whole(cells[name], name) for name in ("time_start", "time_end"))
        if end <= start:
            raise Bad(lambda: f"time_end {end} does not come after time_start {start}: expected a later one")
        name = cells.get("label", "").strip()
        labels = (label_of(name, numbers),) if name else ()
        part = part_of(cells["split"]) if cells.get("split", "").strip() else options.part
        clip = f"{youtube_id}_{start:06d}_{end:06d}"
        folders = [name or "test", os.path.join(part, name), ""]
        for folder in dict.fromkeys(folders):
            if found := finder.find(folder, clip):
                return part, Entry(found, None, None, labels)
        for folder in dict.fromkeys(folders):
            if found := finder.find(folder, youtube_id):
                return part, Entry(found, float(start), float(end), labels)
        missing.append(clip)
        return part, Entry(checked_path(options.root, f"{folders[0]}/{clip}.mp4"), None, None, labels)

    parts = _collect(table, problems, entry_of)
    notes = _left_out(unknown)
    if missing:
        notes += (f"{counted(len(missing), 'clip')} missing, listed as <label>/<id>_<start>_<end>.mp4, such as "
                  f"{missing[0]}",)  # fmt: skip
    return Annotations(parts, tuple(names), notes)


def _write_kinetics(path: Path, annotations: Annotations, options: Options) -> None:
    rows = []
    for part, entries in annotations.parts.items():
        for entry in entries:
            stem = stem_of(entry.path)
            clip = CLIP_NAME.fullmatch(stem) if entry.start is None else None
            if clip:
                youtube_id, start, end = clip[1], int(clip[2]), int(clip[3])
            else:
                assert entry.start is not None
                assert entry.stop is not None
                youtube_id, start, end = stem, int(entry.start), int(entry.stop)
            name = annotations.names[entry.labels[0]] if entry.labels else ""
            rows.append([name, youtube_id, str(start), str(end), part])
    columns = list(KINETICS[:5])
    if all(not row[0] for row in rows):  # the published test lists have no such column
        columns, rows = columns[1:], [row[1:] for row in rows]
    _write_rows(path, columns, rows)


register(
    Format(
        "csv",
        "a header with path, start, end, label, split, fps",
        ".csv",
        _read_csv,
        _write_csv,
        ranges=frozenset({"frames", "seconds"}),
        first=-1,
        several_labels=True,
        class_names="either",
        parts="may",
        fps=True,
    )
)
register(
    Format(
        "kinetics",
        "label,youtube_id,time_start,time_end,split",
        ".csv",
        _read_kinetics,
        _write_kinetics,
        ranges=frozenset({"seconds"}),
        needs_range="all",
        decimals=0,
        names_range=CLIP_NAME,
        class_names="rows",
        parts="must",
    )
)
