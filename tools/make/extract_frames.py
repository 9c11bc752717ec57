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

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from actrec.config import ExtractOptions, SplitOptions
from actrec.data.index import frames_between
from actrec.data.lists import Video
from actrec.data.video.probe import probe_video
from actrec.tools.lists.from_folders import class_folders
from actrec.tools.make.choose_split import choose_split
from actrec.tools.make.frame_folder import count_frames, extract_video
from actrec.tools.make.jobs import Progress, Stop, Workers, each, largest_first
from actrec.tools.make.record import FRAMES
from actrec.tools.make.target import Messages, Target, check_fps, videos_of


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
    src, dst, say = Path(src), Path(dst), Messages(log)
    names = videos_of(src, dst, say)
    target = Target(dst, FRAMES, options)
    plan = choose_split(src, dst, names, split, say)
    if options.fps:
        check_fps(plan)
    folders = target.begin(plan, names, class_folders(src, names, otherwise=None), say)

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

    rate = functools.cache(lambda name: options.fps or probe_video(src / name).rate)

    def span(row: Video) -> tuple[int, int] | str:
        return _span(row, counts[row.path], rate)

    queue = largest_first(jobs, lambda job: job[0])
    each(_extract_missing, queue, receive, workers, progress=progress, done=skipped)
    lists, failed = target.finish(plan, src, reasons, span, say)
    return Extracted(len(counts) - skipped, skipped, sum(counts.values()), tuple(failed), lists, tuple(say))


def _extract_missing(path: Path, folder: Path, options: ExtractOptions, *, stop: Stop) -> int:
    """As `extract_video`, unless the folder is there: a cluster may give a video out twice."""
    return count_frames(folder, options.template) or extract_video(path, folder, options, stop=stop)


def _span(row: Video, count: int, rate: Callable[[str], float]) -> tuple[int, int] | str:
    """The frames of a row, or why it has none."""
    start, stop = max(row.start or 0, 0), row.stop
    if isinstance(stop, float):
        if not (frames_a_second := rate(row.path)):
            return "it counts seconds, and the video has no frame rate"
        start, stop = frames_between(start, stop, frames_a_second)
        told = f"seconds {row.start:g} to {row.stop:g} of {count / frames_a_second:.3g}"
    else:
        told = f"frames {start + 1} to {stop} of {count}"
    stop = count if stop is None else min(stop, count)
    return (start, stop) if start < stop else told
