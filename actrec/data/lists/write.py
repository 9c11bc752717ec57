"""Writing list files that `read_list` reads back."""

from __future__ import annotations

import os
from collections.abc import Sequence

from actrec.data.lists.dialect import read_rows
from actrec.data.lists.labels import NONE, Classes
from actrec.data.lists.line import SEPARATORS
from actrec.data.lists.read import classes_of, prefix_of
from actrec.data.lists.row import Video, bounds
from actrec.files import ListError, Problems, atomic_write


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
    prefix = prefix_of(path, root)
    rows = [_written(video, prefix, with_range) for video in videos]
    classes = classes_of(path, labels)
    labeled = any(row.labels for row in rows)
    for sep in (separator,) if separator else (" ", ";", "\t", ","):
        lines = [_line(row, sep, labeled) for row in rows]
        fault = _fault(path, lines, rows, classes)
        if fault is None:
            with atomic_write(path) as file:
                file.writelines(f"{line}\n" for line in lines)
            return
    raise ValueError(f"{os.fspath(path)}: {fault} with {sep!r} between columns: expected a separator and paths "
                     "that leave one reading")  # fmt: skip


def _written(video: Video, prefix: str, with_range: bool) -> Video:
    """The row as the list has it: the path relative to the root, times to the nanosecond."""
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
        return Video("", text, None, None, tuple(video.labels))
    if video.start is None or video.stop is None:
        raise ValueError(f"path {text!r} has no range, others have one: expected start and stop, or with_range=False")
    if isinstance(video.start, float) != isinstance(video.stop, float):
        raise ValueError(f"path {text!r}, range {video.start} to {video.stop}: expected both in frames, or in seconds")
    start, stop = (round(bound, 9) if isinstance(bound, float) else bound for bound in (video.start, video.stop))
    return Video("", text, start, stop, tuple(video.labels))


def _line(row: Video, separator: str, labeled: bool) -> str:
    """Args: labeled: there are rows with labels; one without says so."""
    labels = [*map(str, row.labels)] or [NONE] * labeled
    if row.start is None:
        return separator.join([row.path, ",".join(labels)] if labels else [row.path])
    return separator.join((row.path, *bounds(row.start, row.stop), *labels))


def _fault(path: str | os.PathLike[str], lines: list[str], rows: list[Video], classes: Classes) -> str | None:
    """Reads the lines as `read_list` will, and says what comes out wrong."""
    try:
        "\n".join(lines).encode()
    except UnicodeEncodeError as error:
        return f"{error.object[error.start - 20 : error.end + 20]!r} cannot be written as UTF-8"
    if lines[0].startswith("\ufeff"):
        return f"path {rows[0].path!r} begins with a byte order mark"
    try:
        found = read_rows([[line.strip() for line in lines]], Problems(path), classes).finish("")
    except ListError as error:
        return f"the videos would not read back ({str(error).splitlines()[0]})"
    for row, back in zip(rows, found):
        if row[1:] != back[1:]:
            return (
                f"path {row.path!r}, range [{row.start}, {row.stop}), labels {row.labels} would read back as path "
                f"{back.path!r}, range [{back.start}, {back.stop}), labels {back.labels}"
            )
    return None if len(found) == len(rows) else "a path that begins with # would read back as a comment"
