"""Videos to frame folders, labels.txt and lists: DST/frames/<class>/<video>/00001.jpg, DST/train.txt, DST/val.txt.

Where the split comes from, the first of these:

1. list files in DST, SRC or SRC's parent, in this order; in each folder `videos_train.txt`, `videos_val.txt` and
   `videos_test.txt`, otherwise `train.txt`, `val.txt` and `test.txt` that this tool has not written itself. Their paths
   are relative to the list's folder or to SRC;
2. folders: SRC/train/<class>/ and SRC/val/<class>/ (and SRC/test/<class>/);
3. a seeded stratified split of SRC/<class>/.

Labels are the line numbers of `labels.txt` or `classes.txt` beside the lists (in DST, SRC or its parent, where there
are none); without such a file those of the sorted class folders.

A video's folder appears by one rename, whole or not at all, and a folder that is there is done: an interrupted run is
continued by starting it again. DST/.extract_frames.json remembers the settings, which folder belongs to which video,
and the hash of every list written, which is how a list of somebody else is told from our own.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actrec.data import media
from actrec.data.index import frames_between
from actrec.data.lists import Video, read_labels, write_labels, write_list
from actrec.tools.extract_video import ExtractOptions, count_frames, extract_video
from actrec.tools.frame_lists import (
    Record,
    Row,
    Split,
    SplitOptions,
    allot,
    choose_split,
    class_of,
    find_videos,
    has_part_folders,
    shown,
)
from actrec.tools.jobs import Progress, Stop, Workers, each, largest_first
from actrec.tools.output import OutputError, remove_leftovers, write_failed, writing

__all__ = ["ExtractOptions", "Extracted", "OutputError", "SplitOptions", "extract_frames", "extract_video"]


@dataclass(frozen=True)
class Extracted:
    """What a run has made.

    Args:
        done: videos extracted now.
        skipped: videos whose folder was there.
        frames: of all these videos.
        failed: (path, reason) of the others, as in failed.csv.
        lists: rows of each list written.
        messages: what the run has said.
    """

    done: int
    skipped: int
    frames: int
    failed: tuple[tuple[str, str], ...]
    lists: Mapping[str, int]
    messages: tuple[str, ...]


# ---- the run ----


def extract_frames(
    src: Path,
    dst: Path,
    options: ExtractOptions = ExtractOptions(),  # noqa: B008 - frozen
    *,
    split: SplitOptions = SplitOptions(),  # noqa: B008 - frozen
    workers: Workers = Workers(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
) -> Extracted:
    """Extracts all videos of SRC that are not in DST yet, then writes the lists, labels.txt and failed.csv.

    Args:
        src: folder of videos.
        dst: the dataset's folder; made if missing.
        options: what the frames are.
        split: how videos are divided where no list and no folder says so.
        workers: who extracts: threads of this machine, or a cluster.
        progress: called with (videos done, videos in all, how many of these failed).
        log: called with each message.

    Raises:
        FileNotFoundError: SRC is missing.
        ValueError: SRC holds no video, or something in SRC or DST contradicts the options: says what and what to do.
        OutputError, ClusterError: DST cannot be written, the cluster not be used; nothing is half done, the same call
            continues.
    """
    src, dst, messages = Path(src), Path(dst), []

    def say(message: str) -> None:
        messages.append(message)
        if log:
            log(message)

    names = _videos_of(src, dst, say)
    record = Record.read(dst)
    record.options = _check_settings(record, dst / "frames", options)
    plan = choose_split(src, dst, names, split, say)
    if options.fps and any(isinstance(row.stop, int) for part in plan.rows.values() for row in part):
        raise ValueError(f"{plan.origin} counts frames (start, end) of the videos, and --fps renumbers them: "
                         "expected a list without ranges, or no --fps")  # fmt: skip
    _check_labels(dst, record, plan.labels)
    with writing(dst):
        (dst / "frames").mkdir(parents=True, exist_ok=True)
    _keep_foreign_lists(dst, record, plan.rows, say)
    part_folders = has_part_folders(names)
    record.videos = allot(names, [class_of(name, part_folders) for name in names], record.videos)
    record.write()
    frames = dst / "frames"
    remove_leftovers([frames, *(folder for folder in frames.iterdir() if folder.is_dir())])
    _tell_left_out(plan, names, say)

    folders = {name: dst / "frames" / record.videos[name] for name in names}
    counts = {name: count for name in names if (count := count_frames(folders[name], options.template))}
    skipped = len(counts)
    if skipped:
        say(f"{skipped} of {len(names)} videos are there already")
    jobs = {(src / name, folders[name], options): name for name in names if name not in counts}
    reasons = {}

    def receive(job: tuple, count: int | None, reason: str | None) -> None:
        if reason is None:
            counts[jobs[job]] = count
        else:
            reasons[jobs[job]] = reason

    queue = largest_first(jobs, lambda job: job[0])
    each(_extract_missing, queue, receive, workers, progress=progress, done=skipped)
    rate = functools.cache(lambda name: options.fps or media.probe(src / name).rate)
    lists, bad = _write_lists(dst, record, plan, record.videos, counts, rate, say)
    failed = [(str(src / name), reason) for name, reason in sorted([*reasons.items(), *bad])] + list(plan.missing)
    write_failed(dst / "failed.csv", failed)
    return Extracted(len(counts) - skipped, skipped, sum(counts.values()), tuple(failed), lists, tuple(messages))


def _videos_of(src: Path, dst: Path, say: Callable[[str], None]) -> list[str]:
    if not src.is_dir():
        raise FileNotFoundError(
            f"{src}: {'not a folder' if src.exists() else 'no such folder'}; expected one with videos"
        )
    names, others = find_videos(src, dst / "frames")
    told = ", ".join(f"{count} {extension}" for extension, count in sorted(others.items()))
    if not names:
        raise ValueError(f"{src} holds no video{f' (only {told})' if told else ''}: expected {src}/<class>/<video>")
    if told:
        say(f"not videos, left alone: {told}")
    return names


def _tell_left_out(plan: Split, names: list[str], say: Callable[[str], None]) -> None:
    listed = {row.name for part in plan.rows.values() for row in part}
    if unlisted := len(names) - len(listed):
        say(f"{unlisted} of {len(names)} videos are in no split list: they are extracted, and in no list")
    if plan.outside:
        say(f"{plan.outside} rows of the split lists name files that are no videos of SRC: left out")


def _extract_missing(path: Path, folder: Path, options: ExtractOptions, *, stop: Stop) -> int:
    """As `extract_video`, unless the folder is there: a cluster may give a video out twice."""
    return count_frames(folder, options.template) or extract_video(path, folder, options, stop=stop)


# ---- lists and settings of DST ----


def _check_settings(record: Record, frames: Path, options: ExtractOptions) -> dict:
    """The settings as they are stored.

    Raises:
        ValueError: frames of other settings, or of unknown ones, are there.
    """
    wanted = json.loads(json.dumps(dataclasses.asdict(options)))
    if any(not path.name.startswith(".") for path in frames.glob("*")) and record.options != wanted:
        told = [f"{key} {record.options.get(key)} there, {value} now" for key, value in wanted.items()
                if record.options.get(key) != value]  # fmt: skip
        what = (
            "frames made with other settings (" + "; ".join(told) + ")"
            if record.options
            else "frames of unknown origin"
        )
        raise ValueError(f"{frames} holds {what}: use the same settings, another DST, or remove {frames}")
    return wanted


def _keep_foreign_lists(
    dst: Path, record: Record, parts: Iterable[str], log: Callable[[str], None]
) -> dict[Path, Path]:
    """Renames lists in DST that we did not write. Returns {old path: new path}.

    Raises:
        ValueError: the other name is taken by something else.
    """
    moves = {}
    for part in parts:
        path, kept = dst / f"{part}.txt", dst / f"videos_{part}.txt"
        if not path.is_file() or record.wrote(path):
            continue
        if kept.exists() and kept.read_bytes() != path.read_bytes():
            raise ValueError(f"{path} was not written by extract-frames, and {kept.name} is there already and differs: "
                             f"move one of them away, or use another DST")  # fmt: skip
        moves[path] = kept
    for path, kept in moves.items():
        with writing(kept):
            os.replace(path, kept)
        log(f"{shown(path)} was there before: kept as {kept.name}")
    return moves


def _check_labels(dst: Path, record: Record, labels: list[str]) -> None:
    path = dst / "labels.txt"
    if path.is_file() and not record.wrote(path) and read_labels(path) != labels:
        raise ValueError(
            f"{path} was not written by extract-frames and names other classes: move it away, or use another DST"
        )


def _write_lists(
    dst: Path,
    record: Record,
    split: Split,
    folders: Mapping[str, str],
    counts: Mapping[str, int],
    rate: Callable[[str], float],
    log: Callable[[str], None],
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Writes labels.txt, flips.txt and the lists. Returns the rows of each list, and (video, reason) of bad ranges.

    Args:
        counts, rate: frames, and frames a second, of each video.
    """
    if not (dst / "labels.txt").is_file() or record.wrote(dst / "labels.txt"):
        _write(record, dst / "labels.txt", lambda path: write_labels(path, split.labels))
    _copy_flips(dst, record, split, log)
    written, bad = {}, []
    for part, rows in split.rows.items():
        videos = []
        for row in rows:
            if row.name not in counts:
                continue
            span = _span(row, counts[row.name], rate)
            if isinstance(span, str):
                bad.append((row.name, f"{part} list: {span}"))
                continue
            path = os.path.join(dst, "frames", folders[row.name])
            videos.append(Video(path, path, *span, row.labels))
        target = dst / f"{part}.txt"
        if videos:
            _write(
                record,
                target,
                lambda path, v=videos: write_list(path, v, root=dst, labels=split.labels, separator=None),
            )
        else:
            log(f"{target.name}: none of its videos could be extracted, so there is no such list")
            if record.wrote(target):
                target.unlink()
        written[target.name] = len(videos)
    record.write()
    return written, bad


def _span(row: Row, count: int, rate: Callable[[str], float]) -> tuple[int, int] | str:
    """The frames of a row, or why it has none."""
    start, stop = max(row.start or 0, 0), row.stop
    if isinstance(stop, float):
        if not (frames_a_second := rate(row.name)):
            return "it counts seconds, and the video has no frame rate"
        start, stop = frames_between(start, stop, frames_a_second)
        told = f"seconds {row.start:g} to {row.stop:g} of {count / frames_a_second:.3g}"
    else:
        told = f"frames {start + 1} to {stop} of {count}"
    stop = count if stop is None else min(stop, count)
    return (start, stop) if start < stop else told


def _write(record: Record, target: Path, write: Callable[[Path], None]) -> None:
    """Writes beside the target first, so that the record knows the hash before the list is there."""
    part = target.with_name(f".{target.name}.part")
    try:
        with writing(target):
            write(part)
            with record.claim(target, part.read_bytes()):
                os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _copy_flips(dst: Path, record: Record, split: Split, log: Callable[[str], None]) -> None:
    target = dst / "flips.txt"
    source = split.folder / "flips.txt" if split.folder else None
    if source is None or not source.is_file() or os.path.realpath(source) == os.path.realpath(target):
        return
    if target.is_file() and not record.wrote(target):
        log(f"{shown(target)} was there before and stays; {shown(source)} was not copied")
        return
    _write(record, target, lambda path: path.write_bytes(source.read_bytes()))
