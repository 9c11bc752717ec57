"""What a user must know of videos that were used: said once for all videos of a command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from actrec.data.index.index import Index
from actrec.data.times import UNSTAMPED
from actrec.data.video.container import MediaError
from actrec.data.video.promise import torn_line, what_is_missing
from actrec.words import counted


def notices(indexes: Iterable[Index], image_range: tuple[float, float] | None) -> list[str]:
    """How many of the videos that were probed lack their end, images or timestamps, or have samples that are scaled.

    Args:
        image_range: As the loaders of these videos get it.
    """
    indexes, lines = list(indexes), []
    if torn := list(dict.fromkeys(path for index in indexes for path in index.torn_files())):
        lines.append(torn_line(len(torn), torn[0], what_is_missing(torn[0])))
    lines += [f"{what}: {text}" for what, text in images_of(indexes).items()]
    if surprises := {path: reason for index in indexes for path, reason in index.surprises.items()}:
        lines.append(surprises_line(surprises))
    if num_unstamped := sum(index.num_unstamped for index in indexes):
        lines.append(f"{counted(num_unstamped, 'video')} {UNSTAMPED}")
    if num_deep := sum(index.num_deep for index in indexes):
        if image_range is None:
            scaled = "the full range of the files is scaled to 0 to 255; --image-range LOW,HIGH scales another range"
        else:
            scaled = "{:g} to {:g} is scaled to 0 to 255".format(*image_range)
        lines.append(f"{counted(num_deep, 'video')} with more than 8 bits per value: {scaled}")
    return lines


def surprises_line(surprises: Mapping[str, str]) -> str:
    """The message that some videos have turned out to differ from their certificates.

    Args:
        surprises: As `Index.surprises`.
    """
    path, reason = next(iter(surprises.items()))
    return (
        f"{counted(len(surprises), 'video')} will be decoded from the start, because decoding from a keyframe did "
        f"not give the expected pictures; the first: {path}: {reason}"
    )


def images_of(indexes: Iterable[Index]) -> dict[str, str]:
    """How many images are "missing" in the numbering of frame folders, and how many are "unused", if there are any."""
    missing: dict[str, int] = {}
    unused: dict[str, int] = {}
    gaps, flow = "", False
    for index in indexes:
        found, flow = index.images_of_folders("missing"), index.flow
        if found and not missing:
            with contextlib.suppress(MediaError):  # the folder has changed meanwhile
                gaps = index.describe_gaps(next(iter(found)))
        missing |= found
        unused |= index.images_of_folders("unused")
    said = {}
    if missing:
        lacks = f" lacks {gaps}" if gaps else ""
        said["missing"] = f"{_counts(missing)}, judging by their numbers; the first: {next(iter(missing))}{lacks}"
    if unused:
        why = "x or y images without the other one" if flow else "not part of the sequence of frames"
        said["unused"] = f"{_counts(unused)}, {why}; the first: {next(iter(unused))}"
    return said


def _counts(folders: dict[str, int]) -> str:
    return f"{counted(sum(folders.values()), 'image')} of {counted(len(folders), 'frame folder')}"
