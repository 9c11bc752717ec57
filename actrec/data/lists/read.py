"""Reading list files: which videos there are, which frames of them count, and their labels.

`dialect.py` says what a row looks like. Files count frames from 1 and include the last one, a `Video` has a half-open
range from 0: reading and writing convert, and nothing else in actrec does.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from actrec.data.lists.dialect import Rows, read_rows
from actrec.data.lists.labels import Classes, find_labels, read_labels
from actrec.data.lists.row import Video, bounds
from actrec.files import read_lines


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
    with no_collection():
        lines, problems = read_lines(path)
        rows = read_rows(lines, problems, classes_of(path, labels))
        prefix = prefix_of(path, root)
        paths = [text if text.startswith("/") else prefix + text for text in rows.paths]
        return list(map(Video._make, zip(_ids(rows), paths, rows.starts, rows.stops, rows.labels)))


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """A million new tuples start Python's garbage collector again and again, for nothing: two thirds of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def classes_of(path: str | os.PathLike[str], labels: Sequence[str] | None) -> Classes:
    if labels is None:
        file = find_labels(os.path.dirname(path))
        labels = read_labels(file) if file else ()
    return Classes(labels)


def prefix_of(path: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
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
            name = base = path if start is None else f"{path} {'-'.join(bounds(start, stop))}"
            while name in taken:
                copies[base] = max(copies[base], 1) + 1
                name = f"{base}#{copies[base]}"
            taken.add(name)
        ids.append(name)
    return ids
