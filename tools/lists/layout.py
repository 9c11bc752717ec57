"""Finds out which folders are classes, and which are parts of a split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.lists.splits import PART_NAMES, PARTS
from actrec.files import show


@dataclass(frozen=True)
class Layout:
    """What the folders above each video mean.

    Args:
        classes: The class folder of each video; "" for a video that is in none.
        parts: The part (train, val or test) of each video; None if no folder is a part.
        described: The layout in words, such as `<part>/<class>/<video>`.
        part_folders: The folders that are parts, as they are called.
    """

    classes: Sequence[str]
    parts: Sequence[str] | None
    described: str
    part_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reading:
    """One way to understand the folders: their positions from the top."""

    klass: int
    part: int | None

    @property
    def described(self) -> str:
        names = {self.klass: "<class>"} | ({self.part: "<part>"} if self.part is not None else {})
        return "/".join([*(names.get(i, "<folder>") for i in range(max(names) + 1)), "<video>"])


def layout_of(src: Path, names: Sequence[str], class_level: int | None = None, *, strict: bool = True) -> Layout:
    """Understands <class>/<video>, <part>/<class>/<video> and <class>/<part>/<video>, also in one more folder.

    Parts are called train or training; val, valid or validation; test or testing; in any case. They are parts if all
    folders of that level are, and one of them is for training and one is not. A single folder that contains everything,
    such as `UCF-101/`, is skipped if there are several folders in it. Folders below the class have no meaning.

    Args:
        src: For messages.
        names: Names of the videos in SRC, with `/`.
        class_level: Which folders are the classes: 1 for those in SRC, 2 for those in these, and so on.
        strict: False takes the first of several ways to understand the folders.

    Raises:
        ValueError: The folders can be understood in two ways and `class_level` does not decide, or it is not clear
            which folders are which part.
    """
    pieces = [name.split("/")[:-1] for name in names]
    readings = _readings(pieces)
    if class_level is None and strict:
        _refuse_lost_classes(src, names, pieces)
    if class_level is not None:
        chosen = [reading for reading in readings if reading.klass == class_level - 1]
        readings = chosen or [_Reading(class_level - 1, None)]
    if len(readings) > 1 and strict:
        shown = " or ".join(f"{reading.described} (--class-level {reading.klass + 1})" for reading in readings)
        tops = sorted({"/".join(piece[:2]) for piece in pieces})
        raise ValueError(f"{src}: folders such as {_listed(tops, 3)} can be read as {shown}: pass one of these options")
    reading = readings[0]
    classes = [piece[reading.klass] if len(piece) > reading.klass else "" for piece in pieces]
    if reading.part is None:
        return Layout(classes, None, reading.described)
    folders = [piece[reading.part] for piece in pieces]
    by_part: dict[str, set[str]] = {}
    for folder in sorted(set(folders)):
        if folder.lower() not in PART_NAMES:
            raise ValueError(
                f"{src}: the folder {show(folder)} is next to folders of parts: expected train, val or test"
            )
        by_part.setdefault(PART_NAMES[folder.lower()], set()).add(folder)
    for part, found in by_part.items():
        if len(found) > 1:
            raise ValueError(
                f"{src}: the folders {_listed(sorted(found))} all mean the part {part}: expected one of them"
            )
    called = tuple(min(by_part[part]) for part in PARTS if part in by_part)
    return Layout(classes, [PART_NAMES[folder.lower()] for folder in folders], reading.described, called)


def _readings(pieces: Sequence[Sequence[str]]) -> list[_Reading]:
    """All ways to understand the folders; at least one."""
    top, depth = int(_is_wrapped(pieces)), min(map(len, pieces))
    at_top, below = ({piece[level] for piece in pieces if len(piece) > level} for level in (top, top + 1))
    if depth > top + 1:
        readings = [_Reading(top + 1, top)] if _are_parts(at_top) else []
        readings += [_Reading(top, top + 1)] if _are_parts(below) else []
        if readings:
            return readings
        if _has_both_sides(at_top):
            return [_Reading(top, None), _Reading(top + 1, top)]
        by_top: dict[str, set[str]] = {}
        for piece in pieces:
            by_top.setdefault(piece[top], set()).add(piece[top + 1])
        if len(by_top) > 1 and len(below) > 1 and all(found == below for found in by_top.values()):
            return [_Reading(top, None), _Reading(top + 1, None)]
    return [_Reading(top, None)]


def _refuse_lost_classes(src: Path, names: Sequence[str], pieces: Sequence[Sequence[str]]) -> None:
    """Raises ValueError for folders train and val that would become classes, because videos lie directly in them.

    Or because classes lie next to a folder `train` that holds folders of the same names.
    """
    top = int(_is_wrapped(pieces))
    if min(map(len, pieces)) <= top:
        return  # a video in no folder is named later
    at_top = {piece[top] for piece in pieces}
    direct = next((name for name, piece in zip(names, pieces) if len(piece) == top + 1), None)
    if _are_parts(at_top) and direct is not None:
        raise ValueError(
            f"{os.path.join(src, direct)} is in a folder of a part, but in no class folder: expected "
            f"{src}/<part>/<class>/<video>, or --class-level {top + 1} if {_listed(sorted(at_top))} are classes"
        )
    for folder in sorted(at_top):
        below = {piece[top + 1] for piece in pieces if piece[top] == folder and len(piece) > top + 1}
        if folder.lower() in PART_NAMES and (
            both := sorted(name for name in below & at_top if name.lower() not in PART_NAMES)
        ):
            raise ValueError(
                f"{src}: {show(both[0])} is a folder next to {show(folder)} and in it: expected all classes in folders "
                f"of parts, or --class-level {top + 1} if {show(folder)} is a class"
            )


def _is_wrapped(pieces: Sequence[Sequence[str]]) -> bool:
    """Whether one folder contains all others: as the only class, it would be useless for training."""
    return min(map(len, pieces)) > 1 and len({piece[0] for piece in pieces}) == 1 < len({piece[1] for piece in pieces})


def _are_parts(folders: set[str]) -> bool:
    return all(folder.lower() in PART_NAMES for folder in folders) and _has_both_sides(folders)


def _has_both_sides(folders: Sequence[str] | set[str]) -> bool:
    """Whether the names of the folders contain that of training and that of another part."""
    parts = {PART_NAMES.get(folder.lower()) for folder in folders}
    return "train" in parts and bool(parts & {"val", "test"})


def _listed(folders: Sequence[str], most: int = 8) -> str:
    return ", ".join(map(show, folders[:most])) + (", …" if len(folders) > most else "")


def class_of(layout: Layout, src: Path, names: Sequence[str], *, otherwise: str = "") -> Sequence[str]:
    """The class folder of each video.

    Args:
        otherwise: What else is accepted, for the error message.

    Raises:
        ValueError: A video is in no class folder.
    """
    if "" in layout.classes:
        raise ValueError(
            f"{os.path.join(src, names[layout.classes.index('')])} is in no class folder: expected "
            f"{src}/<class>/<video>{otherwise}"
        )
    return layout.classes
