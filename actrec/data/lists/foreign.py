"""Recognizes files that are given as a list of actrec, but are lists of other tools, tables or JSON.

Most of them would be read as something: the header of a table as a video, a number of frames as the start of a range.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from actrec.data.lists.splits import PART_NAMES
from actrec.files import show
from actrec.opening import open_regular

SAMPLE = 500  # lines that decide
_BYTES = 1 << 20  # of the file that are read
NUMBERS = re.compile(r"\s(\d+)\s+(\d+)((?:\s+\d+)*)\s*$", re.ASCII)  # of a row: two, and what follows
_JSON = re.compile(r'[\[{]\s*($|["\[{])')
_NUMBERED_CLASS = re.compile(r"(\d+)[\s,;:]+\S*[^\W\d]\S*", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}(\.0*)?", re.ASCII)
_TABLES = {  # a column, and the format of the tables that have it
    "path": "csv",
    "youtube_id": "kinetics",
    "original_vido_id": "",  # as published, in PySlowFast's lists of frames (Charades, AVA)
    "original_video_id": "",
}
_NAMES = {
    "csv": "a table with a header",
    "kinetics": "a table of Kinetics",
    "json": "an annotation file of Hara's tools or of ActivityNet",
    "mmaction2-frames": "a list of TSM or mmaction2 (path, number of frames, label)",
    "mmaction2-clips": "a list of mmaction2 (path, first frame from 0, number of frames, label)",
}


def likely_table(lines: Sequence[str]) -> str | None:
    """The format of a table by its first line, or by its rows if a table of Kinetics has no header.

    Returns:
        "csv", "kinetics", "" for a table that actrec does not read; None if it is not a table of these kinds.
    """
    first = next((line for line in lines if line), "")
    header = [name.strip().strip('"').lower() for name in re.split("[,;\t ]", first)]
    if len(header) > 1 and not any(map(str.isdigit, header)):
        found = [name for column, name in _TABLES.items() if column in header]
        if found and ("" in found or re.search("[,;\t]", first)):
            return "" if "" in found else found[-1]
    rows = [line for line in lines[:SAMPLE] if line]
    return "kinetics" if rows and all(map(is_kinetics_row, rows)) else None


def is_kinetics_row(line: str) -> bool:
    """Whether a line is a row of Kinetics' tables: `label,youtube_id,time_start,time_end,split`."""
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    return (
        len(cells) in (5, 6)
        and cells[4].lower() in PART_NAMES
        and all(_WHOLE.fullmatch(cell) for cell in cells[2:4])
        and bool(cells[1])
    )


def advice(path: str | os.PathLike[str], failed: Literal["", "rows", "videos"] = "") -> str | None:
    """What a file looks like that is not a list of actrec, and the command that converts it; None if it may be one.

    Args:
        failed: What is wrong so far: rows that cannot be read, or none of the videos can be used. Then the numbers of
            rows are judged too, because they mean other things in lists of other tools.
    """
    try:
        with open_regular(path) as file:
            text = file.read(_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return None
    lines = [line.strip() for line in re.split("\r\n|[\r\n]", text)]
    if _JSON.match(text.lstrip()):
        if '"database"' in text:
            return f"it looks like {_convert(path, 'json')}"
        return "it is a JSON file, not a list; `actrec lists --help` shows the public datasets that actrec reads"
    table = likely_table(lines)
    if table == "":
        return "it is a list of frames of PySlowFast (Charades, AVA), which is not read: expected lines `path label`"
    if table is not None:
        return f"it looks like {_convert(path, table)}"
    rows = [line for line in lines[:-1] or lines if line and line[:2] not in ("#", "# ", "#\t")]
    rows = rows[:: -(-len(rows) // SAMPLE) or 1]
    if not failed or not rows:
        return None
    if _is_header(rows):
        return (
            f"it looks like a table with the header {show(rows[0])}: name the columns path, start, end and label "
            f"(path is needed), then type {_command(path, '')}"
        )
    if len(rows) > 1 and _is_numbered(rows):
        return "it looks like a file of class names with numbers: expected a list with a video on each line"
    name = _likely_numbers(rows, os.path.dirname(path) if failed == "videos" else None)
    return f"rows such as {show(rows[0])} look like {_convert(path, name)}" if name else None


def _is_header(rows: Sequence[str]) -> bool:
    cells = [cell.strip().strip('"').lower() for cell in re.split("[,;\t]", rows[0])]
    known = {"label", "labels", "class", "class_name", "class_id", "label_id", "category", "target", "action", "split"}
    return len(cells) > 1 and not re.search(r"[./\d]", rows[0]) and bool(known & set(cells))


def _is_numbered(rows: Sequence[str]) -> bool:
    numbers = [match and int(match[1][:9]) for match in map(_NUMBERED_CLASS.fullmatch, rows)]
    return numbers[0] is not None and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


class _Row(NamedTuple):
    first: int
    second: int
    others: int  # number of numbers after these two


def _numbers(rows: Sequence[str]) -> list[_Row] | None:
    """The numbers of all rows; None if a row does not end in two."""
    found = [match for match in map(NUMBERS.search, rows) if match]
    if len(found) < len(rows):
        return None
    return [_Row(int(match[1][:18]), int(match[2][:18]), len(match[3].split())) for match in found]


def _likely_numbers(rows: Sequence[str], folder: str | None) -> str | None:
    """The format of rows in which a number is larger than the next one, or (in a folder) ends after the last frame."""
    found = _numbers(rows)
    if found is None:
        return None
    two = all(row.others == 0 for row in found)
    backward = sum(row.first > row.second for row in found)
    if backward >= max(2, len(found) / 10):  # a single row is rather a mistake
        return "mmaction2-frames" if two else "mmaction2-clips"
    if folder is None or not two:
        return None
    path = NUMBERS.sub("", rows[0])
    return "mmaction2-frames" if os.path.isdir(os.path.join(folder, path)) else None


def _convert(path: str | os.PathLike[str], name: str) -> str:
    option = f" --from {name}" if name.startswith("mmaction2") else " --root VIDEOS" if name == "kinetics" else ""
    where = ", where VIDEOS is the folder of the videos" if name == "kinetics" else ""
    return f"{_NAMES[name]}: to convert the file, type {_command(path, option, folder=name == 'json')}{where}"


def _command(path: str | os.PathLike[str], option: str, *, folder: bool = False) -> str:
    """The line that converts a list. The result gets a name that is not taken."""
    file = Path(path)
    suffix = "" if folder else ".txt"
    names = (file.with_name(f"{file.stem}{end}{suffix}") for end in ("", "_actrec", "_converted"))
    target = next((name for name in names if not os.path.lexists(name)), file.with_name(f"{file.stem}_new{suffix}"))
    return f"`actrec lists convert {shlex.quote(str(file))} {shlex.quote(str(target))}{option}`"
