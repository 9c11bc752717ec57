"""Makes the lists of a public dataset from its annotations and the existing videos: train.txt, val.txt and labels.txt.

The modules of `actrec.tools.datasets` read the annotation files. The files are written all together or not at all.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.data.index import Index, build_index, cache_path
from actrec.data.lists import Video, read_labels
from actrec.data.lists.find import find_videos
from actrec.data.lists.splits import PARTS
from actrec.data.video.container import MediaError
from actrec.files import SHOWN, ListError, show, writing
from actrec.registry import did_you_mean
from actrec.tools.datasets.annotations import Annotation, Published
from actrec.tools.datasets.table import Dataset
from actrec.tools.lists.index import probe_all
from actrec.tools.lists.list_files import Made, refuse_old_lists, why_unwritable, write_lists
from actrec.tools.lists.match import VideosByName
from actrec.tools.make.jobs import Progress, Workers
from actrec.words import counted

Log = Callable[[str], None]


@dataclass(frozen=True)
class Probe:
    """How every file is probed before it is listed.

    Args:
        min_frames: Shorter videos are left out of the training and validation lists. None: the default of the dataset.
        workers: Threads of this machine, or a cluster.
        progress: Called with (files done, all files, failed files).
    """

    min_frames: int | None = None
    workers: Workers = Workers()
    progress: Progress | None = None


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
        annotations: Its published annotation files, or folders that hold them.
        videos: Folder that holds its video files or frame folders, at any depth.
        out: Folder of the lists; created if it is missing.
        split: Number of the published split.
        class_file: Keep only the classes of this file. Default: all classes, or those of a mini set.
        probe: Probe every file. Default: only check that it exists.
        force: Replace existing lists.
        progress: Called from time to time with the number of files found.
        log: Called with each message.

    Raises:
        FileNotFoundError: There are no annotation files, or none of the videos exists.
        ValueError: Something is malformed, or OUT holds lists.
        OSError: Something cannot be read or written.
    """
    refuse_old_lists(out, force)
    found = dataset.read(annotations, dataset, split)
    classes, rows, unusable = _select(found, dataset, class_file, log)
    rows = _once(rows, found, log)
    found.raise_any()
    media = find_videos(videos, frame_folders=True, progress=progress)
    media.warn_unreadable(log)
    present, missing = _match(rows, VideosByName(media.names, found.classes or ()), log)
    if not present:
        raise FileNotFoundError(
            f"{videos}: none of the {len(rows)} videos exists, not even {rows[0].names[0]!r}; expected "
            f"{dataset.videos}, at any depth"
        )
    missing += unusable
    _tell_leaks(present, log)
    kept = _videos(present, classes, os.path.abspath(videos), out, missing)
    if probe:
        _probe(kept, out, dataset.min_frames if probe.min_frames is None else probe.min_frames, probe, missing)
    for part in sorted({row.part for row in rows}, key=PARTS.index):
        if not kept[part]:
            log(f"{part}.txt: none of its videos can be used, so this list is not written")
    lists = {part: [video for _, video in pairs] for part, pairs in kept.items()}
    return write_lists(out, lists, classes, dataset.flips(classes), list(map(_described, missing)), force)


# ---- annotations ----


def _select(
    found: Published, dataset: Dataset, class_file: Path | None, log: Log
) -> tuple[list[str], list[Annotation], list[tuple[Annotation, str]]]:
    """The classes in the order of their labels, their rows, and their published rows that describe no video.

    Test videos without a class are kept if no test video has one and all classes are kept.
    """
    if found.classes is None:  # use those of the training list, if there is one
        labels = {row.label for row in found.rows if row.part == "train"} or {row.label for row in found.rows}
        found.classes = sorted(filter(None, labels))
    known = set(found.classes)
    if not found.rows or not known:
        found.raise_any()
        what = "class" if found.rows else "video"
        raise ValueError(f"the annotations of {dataset.title} contain no {what}: expected {dataset.annotations}")
    for row in found.rows:
        if row.label is not None and row.label not in known:
            found.fault(row.file, row.at, functools.partial(_unknown, row.label, known))
    class_file = class_file or dataset.class_file
    if class_file is None and dataset.subset:
        raise ValueError(f"{dataset.title} needs the names of its {dataset.num_classes} classes: expected --classes "
                         "FILE, with one name on each line")  # fmt: skip
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
    kept: set[str | None] = {*wanted}
    without = sum(row.label is None for row in found.rows)
    if without and (class_file or any(row.part == "test" and row.label for row in found.rows)):
        log(f"{without} test videos have no class: they are left out")
    elif without:
        kept.add(None)
    rows = [row for row in found.rows if row.label in kept]
    unusable = [(row, reason) for row, reason in found.unusable if row.label in kept]
    return sorted(wanted), rows, unusable


def _unknown(name: str, known: set[str]) -> str:
    return f"unknown class {show(name)}{did_you_mean(name, known)}"


def _class(row: Annotation) -> str:
    return "none" if row.label is None else show(row.label)


def _once(rows: Sequence[Annotation], found: Published, log: Log) -> list[Annotation]:
    """The rows without repetitions. A row that contradicts an earlier one is malformed."""
    first: dict[tuple, Annotation] = {}
    repeated = 0
    for row in rows:
        key = (row.part, row.id, row.start, row.stop, row.label if row.start is not None else None)
        old = first.setdefault(key, row)
        if old.label != row.label:
            found.fault(row.file, row.at, f"{show(row.id)} has class {_class(row)} here and {_class(old)} at "
                        f"{old.file}:{old.at}: expected one")  # fmt: skip
        else:
            repeated += old is not row
    if repeated:
        log(f"{counted(repeated, 'row')} like an earlier row: listed once")
    return list(first.values())


# ---- files ----


def _match(
    rows: Sequence[Annotation], media: VideosByName, log: Log
) -> tuple[list[tuple[Annotation, str]], list[tuple[Annotation, str]]]:
    """(row, path) of the rows whose video exists, and (row, reason) of the others."""
    present: list[tuple[Annotation, str]] = []
    missing: list[tuple[Annotation, str]] = []
    for row in rows:
        path = media.find(row)
        (missing if path is None else present).append((row, path or "no such file"))
    if media.several:
        name, paths = next(iter(media.several.items()))
        log(f"{counted(len(media.several), 'video')} found more than once, such as {show(name)}: {show(paths[0])} is "
            f"listed, {show(paths[1])} is not")  # fmt: skip
    if media.renamed:
        name, path = next(iter(media.renamed.items()))
        log(f"{counted(len(media.renamed), 'video')} with a shorter name than expected, such as {show(path)} for "
            f"{show(name)}: listed with this name")  # fmt: skip
    return present, missing


def _tell_leaks(present: Sequence[tuple[Annotation, str]], log: Log) -> None:
    """Logs how many videos are in more than one list."""
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        seen = {key for row, path in present if row.part == one for key in (row.id, path)}
        leaks = [path for row, path in present if row.part == other and (row.id in seen or path in seen)]
        if leaks:
            log(f"leakage: {counted(len(leaks), 'row')} of {other} with a video of {one}, such as {show(leaks[0])}")


def _videos(
    present: Sequence[tuple[Annotation, str]],
    classes: Sequence[str],
    root: str,
    out: Path,
    missing: list[tuple[Annotation, str]],
) -> dict[str, list[tuple[Annotation, Video]]]:
    """The rows of each list. A row whose path no list can hold is added to `missing`."""
    kept: dict[str, list[tuple[Annotation, Video]]] = {part: [] for part in PARTS}
    labels: dict[str | None, tuple[int, ...]] = {name: (label,) for label, name in enumerate(classes)}
    prefix = os.path.join(os.path.abspath(out), "")
    for row, path in present:
        path = os.path.join(root, path)
        if reason := why_unwritable(path, prefix):
            missing.append((row, reason))
        else:
            kept[row.part].append((row, Video(path, path, row.start, row.stop, labels.get(row.label, ()))))
    return kept


def _probe(
    kept: dict[str, list[tuple[Annotation, Video]]],
    out: Path,
    min_frames: int,
    probe: Probe,
    missing: list[tuple[Annotation, str]],
) -> None:
    """Moves videos that are too short or cannot be used from the lists to `missing`."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files = {part: len({video.path for _, video in pairs}) for part, pairs in kept.items()}
    before = 0
    for part, pairs in kept.items():
        if not pairs:
            continue
        before += files[part]

        def tell(done: int, unknown: int, failed: int, before: int = before) -> None:
            assert probe.progress is not None
            probe.progress(before - unknown + done, sum(files.values()), failed)

        index = build_index([video for _, video in pairs], cache=cache_path(out / f"{part}.txt"), lazy=True)
        probe_all(index, probe.workers, tell if probe.progress else None)
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
    return f"{counted(frames, 'frame')}, fewer than {min_frames}" if frames < min_frames else None


def _described(missing: tuple[Annotation, str]) -> tuple[str, str, str, str]:
    row, reason = missing
    segment = f" ({row.start:g} to {row.stop:g})" if row.start is not None else ""
    return row.part, row.id + segment, row.label or "", reason
