"""Writing list files that `read_list` reads back."""

from __future__ import annotations

import os
from collections.abc import Sequence

from actrec.data.lists.dialect import read_rows
from actrec.data.lists.labels import NONE, Classes
from actrec.data.lists.line import SEPARATORS
from actrec.data.lists.read import classes_of, prefix_of
from actrec.data.lists.row import Video, bounds
from actrec.data.storage.paths import is_url
from actrec.files import ListError, Problems, atomic_write, stripped


def write_list(
    path: str | os.PathLike[str],
    videos: Sequence[Video],
    *,
    root: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    separator: str | None = " ",
    with_range: bool | None = None,
) -> None:
    """Writes a list that `read_list(path, root=root, labels=labels)` reads back. The file is written atomically.

    Ids are not written: reading the list creates them from the paths.

    Args:
        root, labels: As in `read_list`. Paths below `root` are written relative to it, URLs as they are.
        separator: A blank, `;`, a tab or a comma. None: the first of these four that can represent the videos.
        with_range: Whether to write start and end. Default: if any of the videos has them.

    Raises:
        ValueError: There is no video; some videos have a range and others do not; or a row would not read back as it
            is, for example because its path holds the separator in the wrong place.
        OSError: The file cannot be written.
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
    raise ValueError(
        f"{os.fspath(path)}: {fault} with {sep!r} between columns: expected a separator and paths that leave one "
        "reading"
    )


def _written(video: Video, prefix: str, with_range: bool) -> Video:
    """The row as the list has it: the path relative to the root, and times to the nanosecond."""
    text = video.path.removeprefix(prefix)
    if text.startswith("/"):  # the root is followed by two slashes
        text = video.path
    if text == video.path and prefix and not text.startswith("/") and not is_url(text):
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
    """The line of a row.

    Args:
        labeled: Some rows of the list have labels, so a row without labels is marked as such.
    """
    labels = [*map(str, row.labels)] or [NONE] * labeled
    if row.start is None or row.stop is None:
        return separator.join([row.path, ",".join(labels)] if labels else [row.path])
    return separator.join((row.path, *bounds(row.start, row.stop), *labels))


def _fault(path: str | os.PathLike[str], lines: list[str], rows: list[Video], classes: Classes) -> str | None:
    """Reads the lines as `read_list` will, and returns what would come out wrong."""
    try:
        "\n".join(lines).encode()
    except UnicodeEncodeError as error:
        return f"{error.object[error.start - 20 : error.end + 20]!r} cannot be written as UTF-8"
    if lines[0].startswith("\ufeff"):
        return f"path {rows[0].path!r} begins with a byte order mark"
    try:
        found = read_rows([[stripped(line) for line in lines]], Problems(path), classes).finish("")
    except ListError as error:
        return f"the videos would not read back ({str(error).splitlines()[0]})"
    for row, back in zip(rows, found):
        if row[1:] != back[1:]:
            return (
                f"path {row.path!r}, range [{row.start}, {row.stop}), labels {row.labels} would read back as path "
                f"{back.path!r}, range [{back.start}, {back.stop}), labels {back.labels}"
            )
    return None if len(found) == len(rows) else "a path that begins with # and a blank would read back as a comment"
