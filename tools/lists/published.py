"""The lists of a public dataset: its annotations and the files that are there make train.txt, val.txt and labels.txt.

`lists_<dataset>.py` read the annotation files, this does all else. Nothing is written unless everything can be.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.index import Index, build_index, cache_path
from actrec.data.lists import Video, read_labels, write_labels, write_list
from actrec.data.lists.splits import PARTS
from actrec.data.video.read import MediaError
from actrec.files import SHOWN, ListError, atomic_write, scratch_folder, show, write_csv, writing
from actrec.registry import did_you_mean
from actrec.tools.datasets.annotations import Annotation, Published
from actrec.tools.datasets.table import Dataset
from actrec.tools.lists.find import Found, find_media
from actrec.tools.lists.index import look_at_all
from actrec.tools.make.frame_lists import SplitOptions, class_of, draw_split, has_part_folders
from actrec.tools.make.jobs import Progress, Workers

# in this order: a list whose labels do not fit labels.txt is refused, so what a kill leaves in between may be noticed
WRITTEN = ("labels.txt", "flips.txt", *(f"{part}.txt" for part in PARTS), "missing.csv")

Log = Callable[[str], None]


@dataclass(frozen=True)
class Probe:
    """Looks at every file.

    Args:
        min_frames: shorter videos of the training and validation list are left out; None: as is usual for the dataset.
        workers: who looks: threads of this machine, or a cluster.
        progress: called with (files done, files in all, how many of these failed).
    """

    min_frames: int | None = None
    workers: Workers = Workers()
    progress: Progress | None = None


@dataclass(frozen=True)
class Made:
    """What was written.

    Args:
        lists: rows of each list.
        num_classes: lines of labels.txt.
        missing: rows of missing.csv, by list.
    """

    lists: Mapping[str, int]
    num_classes: int
    missing: Mapping[str, int]


def make_lists(
    dataset: Dataset,
    annotations: Sequence[Path],
    videos: Path,
    out: Path,
    *,
    split: int = 1,
    class_file: Path | None = None,
    probe: Probe | None = None,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
    log: Log = lambda message: None,
) -> Made:
    """Writes the lists of a public dataset.

    Args:
        annotations: its published annotation files, or folders that hold them.
        videos: the folder below which its video files or frame folders lie.
        out: folder of the lists; made if missing.
        split: which of the published splits.
        class_file: keep only the classes of this file; default: all, or those of a mini set.
        probe: look at every file, too; default: only whether it is there.
        force: replace lists that are there.
        progress: called now and then with how many files were found.
        log: called with each message.

    Raises:
        FileNotFoundError: no annotation files, or none of the dataset's videos is there.
        ValueError: something is malformed, or OUT holds lists.
        OSError: something cannot be read or written.
    """
    _refuse_old(out, force)
    found = dataset.read(annotations, dataset, split)
    classes, rows, unusable = _select(found, dataset, class_file, log)
    rows = _once(rows, found, log)
    found.raise_any()
    paths, unreadable = find_media(videos, progress=progress)
    if unreadable:
        log(f"{len(unreadable)} folders cannot be read, such as {show(unreadable[0])}")
    present, missing = _match(rows, Found(paths, found.classes), log)
    if not present:
        raise FileNotFoundError(
            f"{videos}: none of the {len(rows)} videos is there, not even {rows[0].names[0]!r}; expected "
            f"{dataset.videos}, at any depth"
        )
    missing += unusable
    _tell_leaks(present, log)
    kept = _videos(present, classes, os.path.abspath(videos), out, missing)
    if probe:
        _probe(kept, out, dataset.min_frames if probe.min_frames is None else probe.min_frames, probe, missing)
    for part in sorted({row.part for row in rows}, key=PARTS.index):
        if not kept[part]:
            log(f"{part}.txt: none of its videos can be used, so there is no such list")
    lists = {part: [video for _, video in pairs] for part, pairs in kept.items()}
    return write_lists(out, lists, classes, dataset.flips(classes), list(map(_described, missing)), force)


# ---- annotations ----


def _select(
    found: Published, dataset: Dataset, class_file: Path | None, log: Log
) -> tuple[list[str], list[Annotation], list[tuple[Annotation, str]]]:
    """The classes in the order of their labels, the rows that are of them, and those of them without a video.

    Test videos without a class are kept where all are, if all classes are.
    """
    if found.classes is None:  # those of the training list, if there is one
        labels = {row.label for row in found.rows if row.part == "train"} or {row.label for row in found.rows}
        found.classes = sorted(labels - {None})
    known = set(found.classes)
    if not found.rows or not known:
        found.raise_any()
        what = "class" if found.rows else "video"
        raise ValueError(f"the annotations of {dataset.title} name no {what}: expected {dataset.annotations}")
    for row in found.rows:
        if row.label is not None and row.label not in known:
            found.fault(row.file, row.at, lambda name=row.label: _unknown(name, known))
    class_file = class_file or dataset.class_file
    if class_file is None and dataset.subset:
        raise ValueError(f"{dataset.title} has no list of its {dataset.num_classes} classes here: --classes FILE names "
                         "them, one on each line")  # fmt: skip
    if class_file is None:
        if len(known) != dataset.num_classes:
            log(f"{dataset.title} has {dataset.num_classes} classes, these annotations {len(known)}")
        wanted = known
    else:
        wanted = set(read_labels(class_file))
        strange = sorted(wanted - known)
        if strange and class_file == dataset.class_file:
            raise ValueError(f"{len(strange)} of the {len(wanted)} classes of {dataset.title} are not in these "
                             f"annotations, such as {show(strange[0])}: expected {dataset.annotations}")  # fmt: skip
        if strange:
            more = [f"… and {len(strange) - SHOWN} more"] * (len(strange) > SHOWN)
            raise ListError("\n".join([f"{class_file}: {_unknown(name, known)}" for name in strange[:SHOWN]] + more))
    without = sum(row.label is None for row in found.rows)
    if without and (class_file or any(row.part == "test" and row.label for row in found.rows)):
        log(f"{without} test videos have no class: left out")
    elif without:
        wanted = wanted | {None}
    rows = [row for row in found.rows if row.label in wanted]
    unusable = [(row, reason) for row, reason in found.unusable if row.label in wanted]
    return sorted(wanted - {None}), rows, unusable


def _unknown(name: str, known: set[str]) -> str:
    return f"unknown class {show(name)}{did_you_mean(name, known)}"


def _once(rows: Sequence[Annotation], found: Published, log: Log) -> list[Annotation]:
    """The rows without repetitions. One that contradicts an earlier row is a fault."""
    first: dict[tuple, Annotation] = {}
    repeated = 0
    for row in rows:
        key = (row.part, row.id, row.start, row.stop, row.label if row.start is not None else None)
        old = first.setdefault(key, row)
        if old.label != row.label:
            found.fault(row.file, row.at, f"{show(row.id)} is of class {show(row.label)} here and {show(old.label)} at "
                        f"{old.file}:{old.at}: expected one")  # fmt: skip
        else:
            repeated += old is not row
    if repeated:
        log(f"{repeated} rows repeat an earlier one: taken once")
    return list(first.values())


# ---- files ----


def _match(
    rows: Sequence[Annotation], media: Found, log: Log
) -> tuple[list[tuple[Annotation, str]], list[tuple[Annotation, str]]]:
    """(row, path) of those that are there, (row, reason) of the others."""
    present, missing = [], []
    for row in rows:
        path = media.find(row)
        (missing if path is None else present).append((row, path or "no such file"))
    if media.several:
        name, paths = next(iter(media.several.items()))
        log(f"{len(media.several)} videos are there more than once, such as {show(name)}: {show(paths[0])} is taken, "
            f"and not {show(paths[1])}")  # fmt: skip
    if media.renamed:
        name, path = next(iter(media.renamed.items()))
        log(f"{len(media.renamed)} videos have a shorter name than expected, such as {show(path)} for {show(name)}: "
            "taken as they are")  # fmt: skip
    return present, missing


def _tell_leaks(present: Sequence[tuple[Annotation, str]], log: Log) -> None:
    """Says which videos are in more than one list."""
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        seen = {key for row, path in present if row.part == one for key in (row.id, path)}
        leaks = [path for row, path in present if row.part == other and (row.id in seen or path in seen)]
        if leaks:
            log(f"leakage: {len(leaks)} rows of {other} are videos of {one}, too, such as {show(leaks[0])}")


def _videos(
    present: Sequence[tuple[Annotation, str]],
    classes: Sequence[str],
    root: str,
    out: Path,
    missing: list[tuple[Annotation, str]],
) -> dict[str, list[tuple[Annotation, Video]]]:
    """What each list is to hold. A path that no list can hold goes to `missing`."""
    kept: dict[str, list[tuple[Annotation, Video]]] = {part: [] for part in PARTS}
    label = {name: (number,) for number, name in enumerate(classes)}
    prefix = os.path.join(os.path.abspath(out), "")
    for row, path in present:
        path = os.path.join(root, path)
        if reason := _unwritable(path, prefix):
            missing.append((row, reason))
        else:
            kept[row.part].append((row, Video(path, path, row.start, row.stop, label.get(row.label, ()))))
    return kept


def _unwritable(path: str, prefix: str) -> str | None:
    """Why a list cannot hold a path, which is written without this prefix."""
    text = path.removeprefix(prefix)
    if "\n" in text:
        return "its path holds a line break"
    if text != text.strip() or text.startswith("#"):
        return "its path begins or ends with a blank, or begins with #"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "its path is not UTF-8"
    return None


def _probe(
    kept: dict[str, list[tuple[Annotation, Video]]],
    out: Path,
    min_frames: int,
    probe: Probe,
    missing: list[tuple[Annotation, str]],
) -> None:
    """Moves what cannot be used or is too short from the lists to `missing`."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files = {part: len({video.path for _, video in pairs}) for part, pairs in kept.items()}
    before = 0
    for part, pairs in kept.items():
        if not pairs:
            continue
        before += files[part]

        def tell(done: int, unknown: int, failed: int, before: int = before) -> None:
            probe.progress(before - unknown + done, sum(files.values()), failed)

        index = build_index([video for _, video in pairs], cache=cache_path(out / f"{part}.txt"), lazy=True)
        look_at_all(index, probe.workers, tell if probe.progress else None)
        kept[part] = []
        for i, (row, video) in enumerate(pairs):
            if reason := _unusable(index, i, min_frames if part != "test" else 0):
                missing.append((row, reason))
            else:
                kept[part].append((row, video))


def _unusable(index: Index, i: int, min_frames: int) -> str | None:
    try:
        frames = index[i].frames
    except MediaError as error:
        return error.reason
    return f"{frames} frames, fewer than {min_frames}" if frames < min_frames else None


# ---- class folders ----


def make_folder_lists(
    videos: Path,
    out: Path,
    split: SplitOptions = SplitOptions(),  # noqa: B008 - frozen
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
    log: Log = lambda message: None,
) -> Made:
    """Writes the lists of VIDEOS/<class>/<video>, or of train/<class>/ and val/<class>/ below it.

    Args:
        videos: a folder of video files or frame folders.
        out, force, progress, log: as in `make_lists`.
        split: how they are divided where no folder says so.

    Raises:
        ValueError: there is no video, one lies in no class folder, or OUT holds lists.
        OSError: something cannot be read or written.
    """
    _refuse_old(out, force)
    names, unreadable = find_media(videos, progress=progress)
    if unreadable:
        log(f"{len(unreadable)} folders cannot be read, such as {show(unreadable[0])}")
    if not names:
        raise ValueError(f"{videos} holds no video: expected {videos}/<class>/<video>")
    part_folders = has_part_folders(names)
    labels = [class_of(name, part_folders) for name in names]
    if "" in labels:
        raise ValueError(f"{os.path.join(videos, names[labels.index('')])} is in no class folder: expected "
                         f"{videos}/<class>/<video>")  # fmt: skip
    root, prefix = os.path.abspath(videos), os.path.join(os.path.abspath(out), "")
    paths = [os.path.join(root, name) for name in names]
    reasons = [_unwritable(path, prefix) or _unwritable_class(label) for path, label in zip(paths, labels)]
    classes = sorted({label for label, reason in zip(labels, reasons) if not reason})
    others = sorted(set(labels) - set(classes))  # nothing of them can be listed
    place = {name: number for number, name in enumerate(classes + others)}
    if part_folders:
        parts, origin = [name.split("/")[0] for name in names], "by the folders train and val"
    else:
        parts, origin = draw_split(names, [place[label] for label in labels], split, log)
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


def _tell_empty(lists: Mapping[str, Sequence[Video]], classes: Sequence[str], log: Log) -> None:
    """Says which lists and classes a net cannot be trained or evaluated with."""
    for part in ("train", "val"):
        if not lists[part]:
            log(f"{part}.txt: there is no video for it, so there is no such list")
    trained = {video.label for video in lists["train"]}
    if lists["train"] and (only := [name for label, name in enumerate(classes) if label not in trained]):
        log(f"{len(only)} classes have no video in train.txt, such as {show(only[0])}")


# ---- what is written ----


def _refuse_old(out: Path, force: bool) -> None:
    there = [name for name in WRITTEN if os.path.lexists(out / name)]
    if there and not force:
        raise ValueError(f"{out} holds {', '.join(there)} already: --force replaces all of them, --out names another "
                         "folder")  # fmt: skip


def _described(missing: tuple[Annotation, str]) -> tuple[str, str, str, str]:
    row, reason = missing
    segment = f" ({row.start:g} to {row.stop:g})" if row.start is not None else ""
    return row.part, row.id + segment, row.label or "", reason


def write_lists(
    out: Path,
    lists: Mapping[str, Sequence[Video]],
    classes: Sequence[str],
    flips: Sequence[tuple[str, str]],
    missing: Sequence[tuple[str, str, str, str]],
    force: bool,
) -> Made:
    """Writes labels.txt, the lists that have rows, flips.txt and missing.csv where there is something to say: all or
    nothing.

    Args:
        missing: (part, name, class, reason) of what is in no list.
        force: replace them, and remove those of an earlier call that there are none of now.
    """
    if not any(lists.values()):
        raise ValueError(
            f"none of the {len(missing)} videos can be used; the first: {show(missing[0][1])}: {missing[0][3]}"
        )
    _refuse_old(out, force)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out / "lists") as scratch, writing(out):
        try:
            _write_all(scratch, out, lists, classes, flips, missing)
        except ValueError as error:  # of a path that no list can hold
            raise ValueError(str(error).replace(str(scratch), str(out))) from None
        for name in WRITTEN:
            if (scratch / name).exists():
                os.replace(scratch / name, out / name)
            else:
                (out / name).unlink(missing_ok=True)
    counts = {f"{name}.txt": len(videos) for name, videos in lists.items() if videos}
    return Made(counts, len(classes), Counter(f"{part}.txt" for part, *_ in missing))


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
        printable = ([text.encode("utf-8", "backslashreplace").decode() for text in row] for row in missing)
        write_csv(folder / "missing.csv", ("list", "video", "class", "reason"), printable)
