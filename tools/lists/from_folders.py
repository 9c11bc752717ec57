"""Lists of videos in class folders: SRC/<class>/<video>, or SRC/train/<class>/<video> and SRC/val/<class>/<video>."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from actrec.config import SplitOptions
from actrec.data.lists import Video
from actrec.data.lists.find import find_videos
from actrec.data.lists.splits import PARTS, stratified_split
from actrec.files import show
from actrec.tools.lists.list_files import Made, refuse_old_lists, why_unwritable, write_lists


def make_folder_lists(
    videos: Path,
    out: Path,
    split: SplitOptions = SplitOptions(),  # noqa: B008 - frozen
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> Made:
    """Writes the lists of VIDEOS/<class>/<video>, or of train/<class>/ and val/<class>/ below it.

    Args:
        videos: Folder of video files or frame folders.
        out, force, progress, log: As in `published.make_lists`.
        split: How videos are divided if there are no folders train and val.

    Raises:
        ValueError: There is no video, a video is in no class folder, or OUT holds lists.
        OSError: Something cannot be read or written.
    """
    refuse_old_lists(out, force)
    found = find_videos(videos, frame_folders=True, progress=progress)
    found.warn_unreadable(log)
    names = found.names
    if not names:
        raise ValueError(f"{videos} holds no video: expected {videos}/<class>/<video>")
    labels = class_folders(videos, names)
    root, prefix = os.path.abspath(videos), os.path.join(os.path.abspath(out), "")
    paths = [os.path.join(root, name) for name in names]
    reasons = [why_unwritable(path, prefix) or _unwritable_class(label) for path, label in zip(paths, labels)]
    classes = sorted({label for label, reason in zip(labels, reasons) if not reason})
    others = sorted(set(labels) - set(classes))  # classes without a video that can be listed
    place = {name: number for number, name in enumerate(classes + others)}
    parts, origin = divide(videos, names, [place[label] for label in labels], split, log)
    log(f"split: {origin}")
    lists: dict[str, list[Video]] = {part: [] for part in PARTS}
    missing = []
    for name, path, part, label, reason in zip(names, paths, parts, labels, reasons):
        if reason:
            missing.append((part, name, label, reason))
        else:
            lists[part].append(Video(path, path, None, None, (place[label],)))
    made = write_lists(out, lists, classes, [], missing, force)
    _tell_empty(lists, classes, log)
    return made


def _unwritable_class(name: str) -> str | None:
    return "its class begins or ends with a blank" if name != name.strip() else None


def _tell_empty(lists: Mapping[str, Sequence[Video]], classes: Sequence[str], log: Callable[[str], None]) -> None:
    """Logs which lists and classes are empty, because a net cannot be trained or evaluated with them."""
    for part in ("train", "val"):
        if not lists[part]:
            log(f"{part}.txt: no video belongs to it, so this list is not written")
    trained = {video.label for video in lists["train"]}
    if lists["train"] and (only := [name for label, name in enumerate(classes) if label not in trained]):
        log(f"{len(only)} classes have no video in train.txt, such as {show(only[0])}")


# ---- classes and parts ----


def class_folders(src: Path, names: Sequence[str], *, otherwise: str | None = "") -> list[str]:
    """The class folder of each video; "" for a video directly in SRC.

    Args:
        names: Names of the videos in SRC.
        otherwise: What else is accepted, for the error message. None: a video without a class folder is not an error.

    Raises:
        ValueError: A video is in no class folder.
    """
    start = 1 if _has_part_folders(names) else 0
    pieces = [name.split("/")[start:] for name in names]
    classes = [piece[0] if len(piece) > 1 else "" for piece in pieces]
    if otherwise is not None and "" in classes:
        raise ValueError(
            f"{os.path.join(src, names[classes.index('')])} is in no class folder: expected {src}/<class>/<video>"
            f"{otherwise}"
        )
    return classes


def divide(
    src: Path, names: Sequence[str], labels: Sequence[int], options: SplitOptions, log: Callable[[str], None]
) -> tuple[list[str], str]:
    """The part (train, val or test) of each video, and a description of where it comes from.

    The folders train, val and test of SRC determine the parts. Without such folders, the videos of each class are
    divided at random, with a seed.

    Args:
        names: Names of the videos in SRC.
        labels: Labels of the videos.

    Raises:
        ValueError: The regular expression for groups matches no name.
    """
    if not _has_part_folders(names):
        return _draw(names, labels, options, log)
    parts = [name.split("/")[0] for name in names]
    return parts, f"the folders {', '.join(part for part in PARTS if part in parts)} of {src}"


def _has_part_folders(names: Sequence[str]) -> bool:
    """Whether all videos are in train/<class>/, val/<class>/ or test/<class>/."""
    pieces = [name.split("/") for name in names]
    tops = {piece[0] for piece in pieces}
    return {"train", "val"} <= tops <= set(PARTS) and all(len(piece) > 2 for piece in pieces)


def _draw(
    names: Sequence[str], labels: Sequence[int], options: SplitOptions, log: Callable[[str], None]
) -> tuple[list[str], str]:
    groups = [options.group(name) for name in names]
    if options.group_regex:
        if not any(group is not None for group in groups):
            raise ValueError(f"group-regex {options.group_regex!r} matches no path: expected one that matches paths "
                             f"such as {names[0]!r}")  # fmt: skip
        alone = sum(group is None for group in groups)
        log(
            f"groups: {len(set(groups) - {None})}"
            + (f", and {alone} videos in no group, which are divided one by one" if alone else "")
        )
    is_val = stratified_split(
        labels,
        [f"file {name}" if group is None else f"group {group}" for name, group in zip(names, groups)],
        val_fraction=options.val_fraction,
        seed=options.seed,
    )
    origin = f"drawn by class, {options.val_fraction:g} of the videos for validation, seed {options.seed}"
    return ["val" if val else "train" for val in is_val], origin
