"""List files: which videos there are, which frames of them count, and their labels.

`dialect.py` says what a row looks like. Files count frames from 1 and include the last one, a `Video` has a half-open
range from 0: reading and writing convert, and nothing else in actrec does.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actrec.data.dialect import SEPARATORS, Row, Rows, read_rows
from actrec.data.files import ListError, Problems, atomic_write, read_lines
from actrec.data.labels import NONE, Classes, find_labels, read_flips, read_labels, write_labels

__all__ = [
    "ListError", "Video", "check_labels", "find_labels", "read_flips", "read_labels", "read_list",
    "write_labels", "write_list",
]  # fmt: skip


class Video(NamedTuple):
    """One row of a list.

    Args:
        id: unique in its list: the path as written; ` start-end` as written and `#2` where rows share it.
        path: what to open.
        start, stop: what counts of the video, half-open, from 0; None for all. Integers are frames: position p of a
            frame folder is the image file numbered p + 1, so a folder numbered from 0 starts at -1. Floats are seconds.
        labels: none, one or several.
    """

    id: str
    path: str
    start: int | float | None
    stop: int | float | None
    labels: tuple[int, ...]

    @property
    def label(self) -> int:
        """The only label; -1 if there is none, or more than one."""
        return self.labels[0] if len(self.labels) == 1 else -1


def read_list(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, labels: Sequence[str] | None = None
) -> list[Video]:
    """The videos of a list file. Blank lines and lines that begin with # are skipped.

    Args:
        root: what relative paths are joined to; default: the list's folder.
        labels: class names, in the order of their labels; default: those of `labels.txt` or `classes.txt` in the
            list's folder, if there is one. Empty: labels are numbers, and every number is legal.

    Raises:
        FileNotFoundError: there is no such file.
        ListError: a line for every bad row: file, line, what is wrong and what would be right.
    """
    with _no_collection():
        lines, problems = read_lines(path)
        rows = read_rows(lines, problems, _classes(path, labels))
        prefix = _prefix(path, root)
        paths = [text if text.startswith("/") else prefix + text for text in rows.paths]
        return list(map(Video._make, zip(_ids(rows), paths, rows.starts, rows.stops, rows.labels)))


def write_list(
    path: str | os.PathLike[str],
    videos: Sequence[Video],
    *,
    root: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    separator: str | None = " ",
    with_range: bool | None = None,
) -> None:
    """Writes a list that `read_list(path, root=root, labels=labels)` reads back, all or nothing.

    Ids are not written: reading makes them anew from the paths.

    Args:
        root, labels: as in `read_list`. Paths under `root` are written relative to it.
        separator: blank, `;`, tab or comma; None: the first of these four that can hold these videos.
        with_range: write start and end; default: if the videos have them. False leaves them out.

    Raises:
        ValueError: no video; some with and some without a range; or a row would read back as something else, such as
            a path that holds the separator in the wrong place.
        OSError: the file cannot be written.
    """
    if separator not in (*SEPARATORS, None):
        raise ValueError(f"separator {separator!r}: expected ' ', ';', a tab, ',' or None")
    if not videos:
        raise ValueError(f"{os.fspath(path)}: there is no video to write: expected one or more")
    if with_range is None:
        with_range = any(video.start is not None for video in videos)
    prefix = _prefix(path, root)
    rows = [_row(video, prefix, with_range) for video in videos]
    classes = _classes(path, labels)
    labelled = any(row.labels for row in rows)
    for sep in (separator,) if separator else (" ", ";", "\t", ","):
        lines = [_line(row, sep, labelled) for row in rows]
        with _no_collection():
            fault = _fault(path, lines, rows, classes)
        if fault is None:
            with atomic_write(path) as file:
                file.writelines(f"{line}\n" for line in lines)
            return
    raise ValueError(f"{os.fspath(path)}: {fault} with {sep!r} between columns: expected a separator and paths "
                     "that leave one reading")  # fmt: skip


def check_labels(videos: Sequence[Video], num_classes: int, *, multi_label: bool = False) -> None:
    """Raises ValueError if a video has a label that there is no class for, or several where one is expected."""
    for video in videos:
        if len(video.labels) > 1 and not multi_label:
            raise ValueError(
                f"{video.id} has {len(video.labels)} labels: expected one; --multi-label trains on several, or none"
            )
        if (largest := max(video.labels, default=-1)) >= num_classes:
            raise ValueError(
                f"{video.id} has label {largest}: expected at most {num_classes - 1} for {num_classes} classes"
            )


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """A million new tuples start Python's garbage collector again and again, for nothing: two thirds of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _classes(path: str | os.PathLike[str], labels: Sequence[str] | None) -> Classes:
    if labels is None:
        file = find_labels(os.path.dirname(path))
        labels = read_labels(file) if file else ()
    return Classes(labels)


def _prefix(path: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    """What stands before a relative path: "", or a folder and a slash."""
    return os.path.join(os.path.dirname(os.fspath(path)) if root is None else os.fspath(root), "")


def _ids(rows: Rows) -> list[str]:
    if len(set(rows.paths)) == len(rows.paths):
        return rows.paths
    times = Counter(rows.paths)
    taken = {path for path, count in times.items() if count == 1}
    copies: Counter[str] = Counter()
    ids = []
    for path, start, stop in zip(rows.paths, rows.starts, rows.stops):
        name = path
        if times[path] > 1:
            name = base = path if start is None else f"{path} {'-'.join(_bounds(start, stop))}"
            while name in taken:
                copies[base] = max(copies[base], 1) + 1
                name = f"{base}#{copies[base]}"
            taken.add(name)
        ids.append(name)
    return ids


def _row(video: Video, prefix: str, with_range: bool) -> Row:
    text = video.path.removeprefix(prefix)
    if text.startswith("/"):  # below the root after two slashes
        text = video.path
    if text == video.path and prefix and not text.startswith("/"):
        raise ValueError(
            f"path {text!r} is relative and not below {prefix!r}: expected an absolute path, or another root"
        )
    if any(c in text for c in "\n\0"):
        raise ValueError(f"path {text!r}: expected no line break and no zero byte")
    if not with_range:
        return Row(text, None, None, tuple(video.labels))
    if video.start is None or video.stop is None:
        raise ValueError(f"path {text!r} has no range, others have one: expected start and stop, or with_range=False")
    if isinstance(video.start, float) != isinstance(video.stop, float):
        raise ValueError(f"path {text!r}, range {video.start} to {video.stop}: expected both in frames, or in seconds")
    start, stop = (round(bound, 9) if isinstance(bound, float) else bound for bound in (video.start, video.stop))
    return Row(text, start, stop, tuple(video.labels))


def _line(row: Row, separator: str, labelled: bool) -> str:
    """Args: labelled: there are rows with labels; one without says so."""
    labels = [*map(str, row.labels)] or [NONE] * labelled
    if row.start is None:
        return separator.join([row.path, ",".join(labels)] if labels else [row.path])
    return separator.join((row.path, *_bounds(row.start, row.stop), *labels))


def _bounds(start: float, stop: float) -> tuple[str, str]:
    """Start and end as a list has them."""
    if isinstance(start, float):
        return tuple(f"{np.format_float_positional(time, trim='-')}s" for time in (start, stop))
    return str(start + 1), str(stop)


def _fault(path: str | os.PathLike[str], lines: list[str], rows: list[Row], classes: Classes) -> str | None:
    """Reads the lines as `read_list` will, and says what comes out wrong."""
    try:
        "\n".join(lines).encode()
    except UnicodeEncodeError as error:
        return f"{error.object[error.start - 20 : error.end + 20]!r} cannot be written as UTF-8"
    if lines[0].startswith("\ufeff"):
        return f"path {rows[0].path!r} begins with a byte order mark"
    try:
        found = read_rows([line.strip() for line in lines], Problems(path), classes)
    except ListError as error:
        return f"the videos would not read back ({str(error).splitlines()[0]})"
    for row, back in zip(rows, map(Row._make, zip(*found))):
        if row != back:
            return f"path {row.path!r}, range [{row.start}, {row.stop}), labels {row.labels} would read back as {back}"
    return None if len(found.paths) == len(rows) else "a path that begins with # would read back as a comment"
