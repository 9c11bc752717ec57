"""Finds out which folders are classes, and which are parts of a split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.lists.find import is_archive
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


def layout_of(src: str | Path, names: Sequence[str], class_level: int | None = None, *, strict: bool = True) -> Layout:
    """Understands <class>/<video>, <part>/<class>/<video> and <class>/<part>/<video>, also with more folders around.

    Parts are called train or training; val, valid or validation; test or testing; in any case. They are parts if all
    folders of their level are called so, and there are several; a single one is a part unless it is for training. The
    classes are the first of the other levels that has several folders: a single folder that contains everything, such
    as `UCF-101/`, is skipped. Folders below the class have no meaning, but if several classes have the same ones, these
    may be the classes.

    Args:
        src: For messages.
        names: Names of the videos in SRC, with `/`.
        class_level: Which folders are the classes: 1 for those in SRC, 2 for those in these, and so on.
        strict: False takes the classes of the first way to understand the folders, and no parts.

    Raises:
        ValueError: The folders can be understood in several ways and `class_level` does not decide, or it is not clear
            which folders or videos are which part.
    """
    pieces = [name.split("/")[:-1] for name in names]
    levels = _levels(pieces)
    readings = _readings(pieces, levels, class_level)
    if not strict:
        klass = readings[0].klass if readings else 0
        return Layout([piece[klass] if len(piece) > klass else "" for piece in pieces], None, "")
    if class_level is None:
        _refuse_classes_next_to_parts(src, pieces, levels)
    if not readings:
        readings = [_Reading(1, 0)]  # folders of parts that contain no folder
    if len(readings) > 1:
        shown = " or ".join(f"{reading.described} (--class-level {reading.klass + 1})" for reading in readings)
        depth = max(reading.klass for reading in readings) + 1
        examples = _listed(sorted({"/".join(piece[:depth]) for piece in pieces if piece}), 3)
        raise ValueError(f"{src}: folders such as {examples} can be read as {shown}: pass one of these options")
    (reading,) = readings
    classes = [piece[reading.klass] if len(piece) > reading.klass else "" for piece in pieces]
    if reading.part is None:
        return Layout(classes, None, reading.described)
    if outside := [name for name, piece in zip(names, pieces) if len(piece) <= reading.part]:
        raise ValueError(f"{_of(src, outside, names)} in no folder of a part: expected {_in(src, reading.described)}")
    folders = [piece[reading.part] for piece in pieces]
    if outside := [n for n, f, c in zip(names, folders, classes) if not c and f.lower() in PART_NAMES]:
        raise ValueError(
            f"{_of(src, outside, names)} in a folder of a part, but in no class folder: expected "
            f"{_in(src, reading.described)}, or --class-level {reading.part + 1} if "
            f"{_listed(sorted(levels[reading.part]))} are classes"
        )
    called = _called(src, folders)
    return Layout(classes, [PART_NAMES[folder.lower()] for folder in folders], reading.described, called)


def _called(src: str | Path, folders: Sequence[str]) -> tuple[str, ...]:
    """The folders of the parts, in the order of the parts. Raises ValueError if one is none, or two are the same."""
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
    return tuple(min(by_part[part]) for part in PARTS if part in by_part)


def _refuse_classes_next_to_parts(src: str | Path, pieces: Sequence[Sequence[str]], levels: Sequence[set[str]]) -> None:
    """Raises ValueError if a folder such as `train` contains folders of the same names as those next to it."""
    for level, folders in enumerate(levels):
        for folder in sorted(folder for folder in folders if folder.lower() in PART_NAMES):
            below = {piece[level + 1] for piece in pieces if len(piece) > level + 1 and piece[level] == folder}
            if both := sorted(name for name in below & folders if name.lower() not in PART_NAMES):
                raise ValueError(
                    f"{src}: {show(both[0])} is a folder next to {show(folder)} and in it: expected all classes in "
                    f"folders of parts, or --class-level {level + 1} if {show(folder)} is a class"
                )


def _readings(pieces: Sequence[Sequence[str]], levels: Sequence[set[str]], class_level: int | None) -> list[_Reading]:
    """All ways to understand the folders; none if they are parts without classes.

    Args:
        pieces: The folders above each video.
        levels: The folders of each level.
    """
    parts = [
        level
        for level, folders in enumerate(levels)
        if _are_parts(folders, all(len(piece) > level for piece in pieces)) or _has_both_sides(folders)
    ]
    if class_level is not None:
        klass = class_level - 1
        return [_Reading(klass, part) for part in parts if part != klass] or [_Reading(klass, None)]
    readings = [_Reading(klass, part) for part in parts for klass in _class_levels(pieces, levels, part)]
    unclear = [level for level in parts if any(folder.lower() not in PART_NAMES for folder in levels[level])]
    if readings:
        readings += [_Reading(level, None) for level in unclear]
    elif not parts:
        readings = [_Reading(klass, None) for klass in _class_levels(pieces, levels, None)]
    return sorted(readings, key=lambda reading: reading.klass)


def _class_levels(pieces: Sequence[Sequence[str]], levels: Sequence[set[str]], part: int | None) -> list[int]:
    """The levels that may be the classes if `part` is the level of the parts.

    Args:
        levels: The folders of each level.
    """
    others = [level for level in range(len(levels)) if level != part]
    several = [level for level in others if len(levels[level]) > 1]
    if not several:
        if part is None:
            return [0]
        return [level for level in others if level > part][:1] or others[:1]
    first = several[0]
    found = {first}
    if part is None and any(first > len(piece) - 1 >= 0 for piece in pieces):
        found.add(0)  # the folders around the classes contain a video themselves
    found |= {level for level in several if level > first and _is_shared(pieces, first, level)}
    if part is not None and first < part < several[-1]:
        found.add(next(level for level in several if level > part))
    return sorted(found)


def _levels(pieces: Sequence[Sequence[str]]) -> list[set[str]]:
    """The folders of each level. There is at least one level."""
    levels: list[set[str]] = [set() for _ in range(max(1, *map(len, pieces)))]
    for piece in set(map(tuple, pieces)):
        for level, folder in zip(levels, piece):
            level.add(folder)
    return levels


def _is_shared(pieces: Sequence[Sequence[str]], upper: int, lower: int) -> bool:
    """Whether most folders of the lower level, and more than one, are in several folders of the upper level."""
    pairs = {(piece[upper], piece[lower]) for piece in pieces if len(piece) > lower}
    times = Counter(folder for _, folder in pairs)
    shared = sum(count > 1 for count in times.values())
    return shared > 1 and 2 * shared >= len(times)


def _are_parts(folders: set[str], everywhere: bool) -> bool:
    """Whether the folders of a level are parts. A single one for training says nothing.

    Args:
        everywhere: Whether all videos are in one of them.
    """
    if not folders or any(folder.lower() not in PART_NAMES for folder in folders):
        return False
    return len(folders) > 1 or (everywhere and PART_NAMES[min(folders).lower()] != "train")


def _has_both_sides(folders: set[str]) -> bool:
    """Whether the names of the folders contain that of training and that of another part."""
    parts = {PART_NAMES.get(folder.lower()) for folder in folders}
    return "train" in parts and bool(parts & {"val", "test"})


def _listed(folders: Sequence[str], most: int = 8) -> str:
    return ", ".join(map(show, folders[:most])) + (", …" if len(folders) > most else "")


def _of(src: str | Path, some: Sequence[str], names: Sequence[str]) -> str:
    """`videos/a.mp4 is` or `2 of 9 videos, such as videos/a.mp4, are`."""
    first = _in(src, some[0])
    return f"{first} is" if len(some) == 1 else f"{len(some)} of {len(names)} videos, such as {first}, are"


def _in(src: str | Path, name: str) -> str:
    """How a list names a video of a folder or an archive."""
    return f"{src}::{name}" if is_archive(src) else os.path.join(src, name)


def class_of(layout: Layout, src: str | Path, names: Sequence[str], *, otherwise: str = "") -> Sequence[str]:
    """The class folder of each video.

    Args:
        otherwise: What else is accepted, for the error message.

    Raises:
        ValueError: A video is in no class folder.
    """
    if outside := [name for name, klass in zip(names, layout.classes) if not klass]:
        raise ValueError(
            f"{_of(src, outside, names)} in no class folder: expected {_in(src, layout.described)}{otherwise}"
        )
    return layout.classes
