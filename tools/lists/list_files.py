"""Writes the lists of a dataset (labels.txt, train.txt and so on) all together or not at all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.lists import Video, write_labels, write_list
from actrec.data.lists.dialect import is_comment
from actrec.data.lists.labeling import class_counts
from actrec.data.lists.splits import PARTS
from actrec.files import atomic_write, scratch_folder, show, stripped, write_csv, writing
from actrec.words import none_usable, printable

# Files are replaced in this order. If the process is killed in between, the old lists do not match the new labels.txt,
# and reading them raises an error.
WRITTEN = ("labels.txt", "flips.txt", *(f"{part}.txt" for part in PARTS), "missing.csv")


@dataclass(frozen=True)
class Made:
    """The lists that were written.

    Args:
        lists: {name of the list: number of rows}.
        num_classes: Number of lines of labels.txt.
        missing: {name of the list: number of its videos in missing.csv}. The name is "" for videos without a part.
        first_missing: (name, reason) of the first video in missing.csv; None if there is none.
        table: Lines that say how many videos each class has, see `actrec.data.lists.labeling`.
    """

    lists: Mapping[str, int]
    num_classes: int
    missing: Mapping[str, int]
    first_missing: tuple[str, str] | None
    table: tuple[str, ...]


def refuse_old_lists(out: Path, force: bool) -> None:
    """Raises ValueError if a folder contains lists and `force` is False."""
    existing = [name for name in WRITTEN if os.path.lexists(out / name)]
    if existing and not force:
        raise ValueError(f"{out} already contains {', '.join(existing)}: expected another folder with --out, or "
                         "--force to replace them")  # fmt: skip


def write_lists(
    out: Path,
    lists: Mapping[str, Sequence[Video]],
    classes: Sequence[str],
    flips: Sequence[tuple[str, str]],
    missing: Sequence[tuple[str, str, str, str]],
    force: bool,
) -> Made:
    """Writes labels.txt, and the lists, flips.txt and missing.csv if they are not empty.

    The files are written all together or not at all.

    Args:
        missing: (part, name, class, reason) of videos that are in no list. The part may be unknown: "".
        force: Replace existing files, and remove those that are not needed any more.

    Raises:
        ValueError: No video can be used, or lists exist and `force` is False.
        OutputError: The folder cannot be written.
    """
    if not any(lists.values()):
        raise ValueError(f"{none_usable(len(missing))}{show(missing[0][1])}: {missing[0][3]}")
    refuse_old_lists(out, force)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out / "lists") as scratch, writing(out):
        try:
            _write_all(scratch, out, lists, classes, flips, missing)
        except ValueError as error:  # a path that no list can contain
            raise ValueError(str(error).replace(str(scratch), str(out))) from None
        for name in WRITTEN:
            if (scratch / name).exists():
                os.replace(scratch / name, out / name)
            else:
                (out / name).unlink(missing_ok=True)
    counts = {f"{name}.txt": len(videos) for name, videos in lists.items() if videos}
    missed = Counter(f"{part}.txt" if part else "" for part, *_ in missing)
    first = (missing[0][1], missing[0][3]) if missing else None
    return Made(counts, len(classes), missed, first, tuple(class_counts(lists, classes)))


def _write_all(
    folder: Path,
    out: Path,
    lists: Mapping[str, Sequence[Video]],
    classes: Sequence[str],
    flips: Sequence[tuple[str, str]],
    missing: Sequence[tuple[str, str, str, str]],
) -> None:
    write_labels(folder / "labels.txt", classes)
    for name, videos in lists.items():
        if videos:
            write_list(folder / f"{name}.txt", videos, root=os.path.abspath(out), labels=classes, separator=None)
    if flips:
        with atomic_write(folder / "flips.txt") as file:
            file.writelines(f"{one}\t{other}\n" for one, other in flips)
    if missing:
        rows = [[printable(text) for text in row] for row in missing]
        write_csv(folder / "missing.csv", ("list", "video", "class", "reason"), rows)


def why_unwritable(path: str, prefix: str) -> str | None:
    """The reason why a list cannot contain a path; None if it can.

    Args:
        prefix: Folder of the list, which is left out of the path.
    """
    text = path.removeprefix(prefix)
    if "\n" in text:
        return "its path contains a line break"
    if text != text.strip() or is_comment(text):
        return "its path begins or ends with a blank, or begins with # and a blank"
    if text != stripped(text):
        return "its path begins or ends with an invisible character, such as a byte order mark"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "its path is not UTF-8"
    return None
