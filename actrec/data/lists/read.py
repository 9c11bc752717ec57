"""Reading list files: the videos, the frames of them that count, and their labels.

Files count frames from 1 and include the last one; a `Video` has a half-open range from 0. Reading and writing lists
convert between the two, and nothing else in actrec does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from actrec.arguments import checked
from actrec.data.lists.cache import Questions, list_digest, load_rows, store_rows
from actrec.data.lists.dialect import read_rows
from actrec.data.lists.foreign import advice
from actrec.data.lists.labels import FILES, Classes, find_labels, read_labels
from actrec.data.lists.videos import Videos
from actrec.data.storage.paths import is_url, join, split_member
from actrec.files import LineReader, ListError


@checked
def read_list(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    labels: Sequence[str] | None = None,
    cache: bool = False,
) -> Videos:
    """Reads the videos of a list file. Blank lines and comments are skipped.

    If the file `<list>.rows` next to a long list holds exactly what would be read, it is used instead.

        videos = actrec.read_list("train.txt")
        print(len(videos), videos[0].path, videos[0].labels)

    A line that begins with # and a blank is a comment, unless it reads like a row of a file that exists.

    Args:
        path: A list file, with a video on each line.
        root: Folder that relative paths are joined to. URLs are taken as they are. Default: the folder of the list.
        labels: Class names, in the order of their labels. Default: the names in `labels.txt` or `classes.txt` in the
            folder of the list, if there is such a file. If empty, labels are numbers, and every number is legal.
        cache: Write or renew `<list>.rows` if the list has more than 100,000 rows and the folder is writable.

    Returns:
        A sequence of `Video`. It needs about 100 bytes per row, or 20 if it comes from `<list>.rows`, which stays open.

    Raises:
        FileNotFoundError: There is no such file.
        ListError: The list has bad rows. The message has one line for each: file, line, what is wrong and what would
            be right. Or the file is a list of another tool; the message names it and the command that converts it.
    """
    if os.path.basename(path) in FILES:
        raise ListError(f"{os.fspath(path)}: this is a file of class names: expected a list with a video on each line")
    if os.path.isdir(path):
        there = [name for name in ("train.txt", "val.txt") if os.path.isfile(os.path.join(path, name))]
        such = f", such as {os.path.join(path, there[0])}" if there else ""
        raise ListError(f"{os.fspath(path)}: this is a folder: expected a list with a video on each line{such}")
    prefix = prefix_of(path, root)

    def exists(name: str) -> bool:
        return not is_url(name) and os.path.exists(split_member(join(prefix, name))[0])

    try:
        if found := advice(path):
            raise ListError(f"{os.fspath(path)}: {found}")
        classes, questions = classes_of(path, labels), Questions(exists)
        if (stored := load_rows(path, classes, prefix, exists)) is not None:
            return stored
        digest = list_digest(path) if cache else None
        with LineReader(path) as lines:
            videos = read_rows(lines, lines.problems, classes, questions).finish(prefix)
        if cache and store_rows(path, digest, videos, classes, questions):
            return load_rows(path, classes, prefix, exists) or videos  # which needs a fifth of the memory
        return videos
    except ListError:
        if found := advice(path, "rows"):
            raise ListError(f"{os.fspath(path)}: {found}") from None
        raise


def classes_of(path: str | os.PathLike[str], labels: Sequence[str] | None) -> Classes:
    """The classes of a list: those given, or those named in its folder."""
    if labels is None:
        file = find_labels(os.path.dirname(path))
        labels = read_labels(file) if file else ()
    return Classes(labels)


def prefix_of(path: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    """What precedes a relative path: "", or a folder and a slash."""
    return os.path.join(os.path.dirname(os.fspath(path)) if root is None else os.fspath(root), "")
