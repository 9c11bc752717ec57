"""Lists of videos in class folders: SRC/<class>/<video>, and other layouts that `layout_of` understands."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from actrec.config import OptionError, SplitOptions
from actrec.data.lists import Video, read_list
from actrec.data.lists.find import FoundVideos, find_stored_videos, find_videos
from actrec.data.lists.labels import why_no_class_name
from actrec.data.lists.splits import PARTS, stratified_split
from actrec.data.storage import absolute
from actrec.data.video.probe import check_videos
from actrec.data.video.promise import torn_line
from actrec.files import show
from actrec.tools.lists.layout import Layout, class_of, layout_of
from actrec.tools.lists.list_files import Made, refuse_old_lists, why_unwritable, write_lists
from actrec.tools.make.source import Source
from actrec.words import counted, none_usable


def make_folder_lists(
    videos: str | os.PathLike[str],
    out: Path,
    split: SplitOptions = SplitOptions(),  # noqa: B008 - frozen
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
    checked: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> Made:
    """Writes the lists of VIDEOS/<class>/<video>, or of another layout that `layout_of` understands.

    Args:
        videos: Folder of video files or frame folders; or a tar archive of videos, or the URL of an archive or folder.
        out, force, progress, log: As in `published.make_lists`.
        checked: Called with the number of files whose first picture was decoded, and of all files.
        split: How videos are divided if there are no folders train and val.

    Raises:
        ValueError: There is no video, a video is in no class folder, or OUT holds lists.
        OSError: Something cannot be read or written.
    """
    refuse_old_lists(out, force)
    source = Source(videos)
    if source.folder is None:
        found = find_stored_videos(source.text)
    else:
        if not source.folder.is_dir():
            raise FileNotFoundError(f"{videos}: no such folder: expected a folder of videos")
        found = find_videos(source.folder, frame_folders=True, progress=progress)
    found.warn_unreadable(log)
    broken = {} if source.is_remote else _check_files(source, found, checked, log)  # objects would be fetched for that
    if source.is_remote and found.others:
        log(f"ignored files that are not videos: {found.described_others}")
    names = [name for name in found.names if name not in broken]
    if not names and broken:
        first = next(iter(broken))
        raise ValueError(f"{none_usable(len(broken), where=f' of {videos}')}{show(first)}: {broken[first]}")
    if not names:
        raise ValueError(f"{videos} holds no video: expected {videos}/<class>/<video>")
    layout = layout_of(source.text, names, split.class_level)
    labels = class_of(layout, source.text, names)
    prefix = os.path.join(os.path.abspath(out), "")
    paths = [absolute(source / name) for name in names]
    reasons = [why_unwritable(path, prefix) or _unusable_class(label) for path, label in zip(paths, labels)]
    tell_unusable_classes(labels, log)
    classes = sorted({label for label, reason in zip(labels, reasons) if not reason})
    others = sorted(set(labels) - set(classes))  # classes without a video that can be listed
    place = {name: number for number, name in enumerate(classes + others)}
    known = _parts_of(out, dict(zip(paths, names)), log)
    parts, origin = divide(source.text, names, layout, [place[label] for label in labels], split, log, known)
    log(f"split: {origin}")
    lists: dict[str, list[Video]] = {part: [] for part in PARTS}
    missing = [("", name, "", "a link that leads to no file") for name in found.dangling]
    missing += [("", name, "", f"a {found.unit} that cannot be read") for name in found.unreadable]
    missing += [("", name, "", reason) for name, reason in broken.items()]
    for name, path, part, label, reason in zip(names, paths, parts, labels, reasons):
        if reason:
            missing.append((part, name, label, reason))
        else:
            lists[part].append(Video(path, path, None, None, (place[label],)))
    made = write_lists(out, lists, classes, [], missing, force)
    _tell_empty(lists, classes, log)
    return made


def _check_files(
    source: Source, found: FoundVideos, progress: Callable[[int, int], None] | None, log: Callable[[str], None]
) -> dict[str, str]:
    """{name of a file that is called like a video: why it cannot be used}. Logs which files are no videos."""
    files = [name for name in found.names if not os.path.isdir(source / name)]
    found_by_name = dict(zip(files, check_videos("", [os.fspath(source / name) for name in files], progress)))
    reasons = {name: checked.reason for name, checked in found_by_name.items() if checked.reason}
    doubtful = set(found.doubtful())
    found.reject(name for name in reasons if name in doubtful)
    if found.others:
        log(f"ignored files that are not videos: {found.described_others}")
    if torn := [(name, checked.missing) for name, checked in found_by_name.items() if checked.missing]:
        log(torn_line(len(torn), *torn[0]))
    return {name: reason for name, reason in reasons.items() if name not in doubtful}


def _parts_of(out: Path, names: Mapping[str, str], log: Callable[[str], None]) -> dict[str, str]:
    """{name of a video: its part} according to the lists in OUT, which are replaced.

    Args:
        names: {path of a video: its name}.
    """
    found = {}
    for part in PARTS:
        try:
            rows = read_list(out / f"{part}.txt")
        except FileNotFoundError:
            continue
        except ValueError as error:
            fault = str(error).splitlines()[0]
            log(f"WARNING: an existing list cannot be read, so its videos are divided anew: {fault}")
            continue
        for video in rows:
            if name := names.get(absolute(video.path)):
                found[name] = part
    return found


def tell_unusable_classes(classes: Sequence[str], log: Callable[[str], None]) -> None:
    """Logs which class folders have a name that no list can contain.

    Args:
        classes: The class of each video.
    """
    for name, number in sorted(Counter(classes).items()):
        if reason := why_no_class_name(name):
            log(f"WARNING: class folder {show(name)}: {counted(number, 'video')} left out, because the name {reason}: "
                "rename the folder")  # fmt: skip


def _unusable_class(name: str) -> str | None:
    return f"the name of its class {reason}" if (reason := why_no_class_name(name)) else None


def _tell_empty(lists: Mapping[str, Sequence[Video]], classes: Sequence[str], log: Callable[[str], None]) -> None:
    """Logs which lists and classes are empty, because a net cannot be trained or evaluated with them."""
    for part in ("train", "val"):
        if not lists[part]:
            log(f"{part}.txt: no video belongs to it, so this list is not written")
    trained = {video.label for video in lists["train"]}
    if lists["train"] and (only := [name for label, name in enumerate(classes) if label not in trained]):
        log(f"{counted(len(only), 'class')} without a video in train.txt, such as {show(only[0])}")


# ---- parts ----


def divide(
    src: str | Path,
    names: Sequence[str],
    layout: Layout,
    labels: Sequence[int],
    options: SplitOptions,
    log: Callable[[str], None],
    known: Mapping[str, str],
) -> tuple[list[str], str]:
    """The part (train, val or test) of each video, and a description of where it comes from.

    The folders train, val and test determine the parts. Without such folders, the videos of each class are divided at
    random, with a seed; those that are in a list already stay there.

    Args:
        names: Names of the videos in SRC.
        labels: Labels of the videos.
        known: {name of a video: the part in which an existing list has it}.

    Raises:
        ValueError: The regular expression for groups matches no name.
        OptionError: A new split of all videos is asked for, but the folders determine the parts.
    """
    spelled: dict[str, str] = {}
    for name in sorted(set(layout.classes)):
        if (other := spelled.setdefault(re.sub(r"[\s_-]+", " ", name.casefold()), name)) != name:
            log(f"WARNING: the classes {show(other)} and {show(name)} have nearly the same name: if they are one "
                "class, give both folders the same name")  # fmt: skip
    if layout.parts is None:
        return _draw(names, labels, options, log, {} if options.reshuffle else known)
    if options.reshuffle:
        raise OptionError(
            f"`reshuffle`: the split comes from the folders {', '.join(layout.part_folders)} of {src}, which are not "
            "divided anew: omit `reshuffle`, or move the videos into class folders without these folders"
        )
    return list(layout.parts), f"the folders {', '.join(layout.part_folders)} of {src}"


def _draw(
    names: Sequence[str],
    labels: Sequence[int],
    options: SplitOptions,
    log: Callable[[str], None],
    known: Mapping[str, str],
) -> tuple[list[str], str]:
    groups = [options.group(name) for name in names]
    if options.group_regex:
        if not any(group is not None for group in groups):
            raise ValueError(f"group-regex {options.group_regex!r} matches no path: expected one that matches paths "
                             f"such as {names[0]!r}")  # fmt: skip
        alone = sum(group is None for group in groups)
        log(
            f"groups: {len(set(groups) - {None})}"
            + (f", and {counted(alone, 'video')} in no group, divided one by one" if alone else "")
        )
    sides = [known[name] == "val" if known.get(name) in ("train", "val") else None for name in names]
    is_val = stratified_split(
        labels,
        [f"file {name}" if group is None else f"group {group}" for name, group in zip(names, groups)],
        val_fraction=options.val_fraction,
        seed=options.seed,
        known=sides,
    )
    drawn = f"drawn by class, {options.val_fraction:g} of the videos for validation, seed {options.seed}"
    new = sides.count(None)
    if new == len(names):
        origin = drawn
    else:
        origin = f"{counted(len(names) - new, 'video')} as in the existing lists (--reshuffle divides all anew)"
        origin += f"; {counted(new, 'new video')} {drawn}" if new else ""
    return ["val" if val else "train" for val in is_val], origin
