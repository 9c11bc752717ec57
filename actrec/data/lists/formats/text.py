"""Lists with one video per line: those of actrec, IBM's action-recognition-pytorch, mmaction2 and PySlowFast.

The other tools split a line at every separator, have no quotes, and know only numbers as labels. Their lists are read
in the same way.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from actrec.data.lists.formats.annotations import (
    Annotations,
    Entry,
    Format,
    Options,
    below,
    frames_of,
    inside,
    register,
    whole,
)
from actrec.data.lists.labels import Bad, Classes
from actrec.data.lists.line import MAX_FRAME
from actrec.data.lists.read import read_list
from actrec.data.lists.row import Video
from actrec.data.lists.write import write_list
from actrec.files import ListError, Problems, atomic_write, read_lines, show

_NUMBERS = Classes()  # contains all texts that look like a number
SEPARATORS = {" ": "blanks", ",": "','", ";": "';'", "\t": "tabs"}


# ---- actrec ----


def _read_own(path: Path, options: Options) -> Annotations:
    videos = read_list(path, root=options.root, labels=options.names)
    return Annotations({options.part: [Entry(v.path, v.start, v.stop, v.labels) for v in videos]}, options.names,
                       tuple(videos.notices))  # fmt: skip


def _write_own(path: Path, annotations: Annotations, options: Options) -> None:
    (entries,) = annotations.parts.values()
    videos = [Video(e.path, e.path, e.start, e.stop, e.labels) for e in entries]
    write_list(path, videos, root=options.root, labels=annotations.names, separator=options.separator)


# ---- the others ----


def _read(
    path: Path, options: Options, *, columns: tuple[str, ...], separators: tuple[str, ...], one_label: bool
) -> Annotations:
    """Uses the separator with the fewest bad lines, then with the fewest lines without a label."""
    lines, problems = read_lines(path)
    problems.raise_any()
    classes, tries = Classes(options.names), []
    there = [separators[0], *(s for s in separators[1:] if any(s in line for line in lines))]
    for separator in (options.separator,) if options.separator else there:
        problems, entries = Problems(path), []
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                entries.append(_entry(line, separator, columns, one_label, options.root, classes))
            except Bad as bad:
                problems.add(number, bad.explain)
        tries.append((len(problems), sum(not entry.labels for entry in entries), problems, entries))
    _, _, problems, entries = min(tries, key=lambda found: found[:2])
    problems.raise_any()
    if not entries:
        raise ListError(f"{path}:1: the list is empty: expected one video on each line")
    return Annotations({options.part: entries}, options.names)


def _entry(line: str, separator: str, columns: tuple[str, ...], one_label: bool, root: str, classes: Classes) -> Entry:
    pieces = [piece.strip() for piece in line.split(None if separator == " " else separator)]
    path, numbers, labels = pieces[0], pieces[1 : len(columns) + 1], pieces[len(columns) + 1 :]
    if len(numbers) < len(columns) or (one_label and len(labels) > 1):
        form = " ".join(["path", *columns, "label"])
        raise Bad(lambda: f"{show(line)}: expected {form!r}, with {SEPARATORS[separator]} between them and in no path")
    if not path:
        raise Bad(lambda: "there is no path: expected it in the first column")
    values = {name: whole(text, name, int(name == "total")) for name, text in zip(columns, numbers)}
    start, stop = _range(values)
    if no_number := next((text for text in labels if text not in _NUMBERS), None):
        raise Bad(lambda: f"label {show(no_number)}: expected a number")
    return Entry(below(root, path), start, stop, tuple(map(classes.label, labels)))


def _range(values: dict[str, int]) -> tuple[int | None, int | None]:
    if not values:
        return None, None
    if "total" in values:
        start = values.get("offset", 0)
        stop = start + values["total"]
    else:
        start, stop = values["start"] - 1, values["end"]
    if stop <= start:
        raise Bad(lambda: f"end {stop} comes before start {start + 1}: expected the first and the last frame")
    if stop > MAX_FRAME:
        raise Bad(lambda: f"last frame {stop}: expected at most {MAX_FRAME}")
    return start, stop


def _write(
    path: Path, annotations: Annotations, options: Options, *, columns: tuple[str, ...], separators: tuple[str, ...]
) -> None:
    (entries,) = annotations.parts.values()
    separator = options.separator or separators[0]
    with atomic_write(path) as file:
        for entry in entries:
            cells = [inside(options.root, entry.path)]
            if columns:
                start, stop = frames_of(entry)
                values = {"start": start + 1, "end": stop, "offset": start, "total": stop - start}
                cells += [str(values[name]) for name in columns]
            file.write(separator.join([*cells, *map(str, entry.labels)]) + "\n")


def _format(
    name: str, title: str, columns: tuple[str, ...], separators: tuple[str, ...], *, one_label: bool = False,
    suffix: str = ".txt", first: int = 0, last: int = MAX_FRAME,
) -> Format:  # fmt: skip
    return Format(
        name,
        title,
        suffix,
        partial(_read, columns=columns, separators=separators, one_label=one_label),
        partial(_write, columns=columns, separators=separators),
        ranges=frozenset({"frames"} if columns else ()),
        needs_range="all" if columns else "",
        first=first,
        last=last,
        several_labels=not one_label,
        separators=separators,
    )


register(
    Format(
        "actrec",
        "path [start end] label…",
        ".txt",
        _read_own,
        _write_own,
        ranges=frozenset({"frames", "seconds"}),
        needs_range="any",
        decimals=9,
        first=-1,
        several_labels=True,
        separators=(" ", ";", "\t", ","),
    )
)
register(_format("ibm", "folder start end label…", ("start", "end"), (" ", ";"), first=-1))
register(_format("mmaction2-frames", "folder frames label…", ("total",), (" ",), last=0))
register(_format("mmaction2-clips", "folder offset frames label…", ("offset", "total"), (" ",)))
register(_format("mmaction2-video", "path label…", (), (" ", ",", ";")))
register(_format("pyslowfast", "path label", (), (" ", ","), one_label=True, suffix=".csv"))
