"""Extracts the frames of videos: DST/frames/<class>/<video>/00001.jpg, with DST/labels.txt, train.txt and val.txt.

The split comes from the first of these that exists:

1. List files in DST, SRC or the parent of SRC, in this order. In each folder these are `videos_train.txt`,
   `videos_val.txt` and `videos_test.txt`; otherwise `train.txt`, `val.txt` and `test.txt`, unless this tool wrote them.
   Their paths are relative to the list's folder or to SRC.
2. The folders SRC/train/<class>/ and SRC/val/<class>/ (and SRC/test/<class>/).
3. A seeded stratified split of SRC/<class>/.

A label is the position of its class in `labels.txt` or `classes.txt`, counted from 0. This file is searched in the
folder of the lists; without lists, in DST, SRC and the parent of SRC. If there is no such file, the class folders are
sorted by name and numbered.

The folder of a video appears complete, by a rename, and the frames of an existing folder are not extracted again.
Therefore running the same command again continues an interrupted run. The file DST/.extract_frames.json records the
settings, the folder of each video, and the hash of every list that was written. The hashes distinguish lists of this
tool from other lists.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.config import ExtractOptions, SplitOptions
from actrec.data.index.reach import fetching
from actrec.data.lists import Video
from actrec.data.times import FrameTimes
from actrec.data.video.container import MediaError
from actrec.data.video.damage import DamageCount, damaged_line
from actrec.data.video.timestamps import frame_times
from actrec.files import OutputError
from actrec.tools.make.frame_folder import count_frames, extract_video
from actrec.tools.make.jobs import Progress, Stop, Workers, each, largest_first
from actrec.tools.make.record import FRAMES
from actrec.tools.make.target import Messages, Target, check_fps


@dataclass(frozen=True)
class Extracted:
    """The result of a run.

    Args:
        done: Number of videos that this run extracted.
        skipped: Number of videos that were extracted before.
        frames: Number of frames of all these videos.
        failed: (path, reason) of everything that failed, as in failed.csv.
        lists: {name of the list: number of rows}.
        messages: The messages that were logged.
        table: Lines that say how many videos each class has in each list.
    """

    done: int
    skipped: int
    frames: int
    failed: tuple[tuple[str, str], ...]
    lists: Mapping[str, int]
    messages: tuple[str, ...]
    table: tuple[str, ...]


def extract_frames(
    src: str | os.PathLike[str] | Sequence[Path],
    dst: Path,
    options: ExtractOptions = ExtractOptions(),  # noqa: B008 - frozen
    *,
    split: SplitOptions = SplitOptions(),  # noqa: B008 - frozen
    workers: Workers = Workers(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
    begin: Callable[[int, int, int], None] | None = None,
) -> Extracted:
    """Extracts all videos of SRC that are not in DST yet. Then it writes the lists, labels.txt and failed.csv.

    Args:
        src: Folder or tar archive of videos, also at a URL; or lists of videos, which may name URLs and members of tar
            archives.
        dst: Folder of the dataset; created if it is missing.
        options: Settings of the frames.
        split: How videos are divided if neither a list nor a folder decides.
        workers: Threads of this machine, or a cluster.
        progress: Called with (videos done, all videos, failed videos).
        log: Called with each message.
        begin: Called before the first video is extracted, with (videos, classes, videos that exist already).

    Raises:
        FileNotFoundError: SRC or a list is missing.
        ValueError: There is no video, or something in SRC, in a list or in DST contradicts the options.
        OutputError, ClusterError: DST cannot be written, or the cluster cannot be used. The same call continues.
    """
    say = Messages(log)
    with Target(Path(dst), FRAMES, options) as target:
        return _extract(target, src, options, split, workers, progress, say, begin)


def _extract(
    target: Target,
    src: str | os.PathLike[str] | Sequence[Path],
    options: ExtractOptions,
    split: SplitOptions,
    workers: Workers,
    progress: Progress | None,
    say: Messages,
    begin: Callable[[int, int, int], None] | None,
) -> Extracted:
    source, names, classes, plan, broken = target.choose(src, split, say)
    if options.fps:
        check_fps(plan)
    folders = target.begin(plan, names, classes, say)

    counts = {name: count for name in names if (count := count_frames(folders[name], options.template))}
    skipped = len(counts)
    if begin is not None:
        begin(len(names), len(set(classes)), skipped)
    if skipped:
        say(f"{skipped} of {len(names)} videos exist already")
    jobs = {(source / name, folders[name], options): name for name in names if name not in counts}
    reasons, damaged = dict(broken), {}

    def receive(job: tuple, result: tuple[int, int] | None, reason: str | None) -> None:
        if result is not None:
            counts[jobs[job]], num_damaged = result
            if num_damaged:
                damaged[jobs[job]] = num_damaged
        else:
            reasons[jobs[job]] = str(reason)

    @functools.cache
    def times(name: str) -> FrameTimes:
        found = frame_times(source / name)
        return FrameTimes(counts[name], options.fps, found.begins) if options.fps else found.resized(counts[name])

    def span(row: Video) -> tuple[int, int] | str:
        try:
            return _span(row, counts[row.path], times)
        except (OSError, MediaError) as error:  # it was removed or changed after it was extracted
            return f"its frame rate is unknown: {getattr(error, 'reason', 'the file can no longer be opened')}"

    queue = largest_first(jobs, lambda job: job[0])
    each(_extract_missing, queue, receive, workers, progress=progress, done=skipped)
    if damaged:
        say(damaged_line(damaged))
    lists, failed, table = target.finish(plan, source, reasons, span, say)
    return Extracted(len(counts) - skipped, skipped, sum(counts.values()), tuple(failed), lists, tuple(say), table)


def _extract_missing(path: Path | str, folder: Path, options: ExtractOptions, *, stop: Stop) -> tuple[int, int]:
    """Extracts a video unless its folder exists: a cluster may run the same job twice, even at the same time.

    Returns:
        The number of frames, and how many of them decode with errors.
    """
    if count := count_frames(folder, options.template):
        return count, 0
    try:
        with fetching(path), DamageCount() as damage:
            return extract_video(path, folder, options, stop=stop, damage=damage), damage.num_damaged
    except OutputError:
        if count := count_frames(folder, options.template):  # of the other worker, which was faster
            return count, 0
        raise


def _span(row: Video, count: int, times_of: Callable[[str], FrameTimes]) -> tuple[int, int] | str:
    """Start and stop of a row in frames, or the reason why the row has no frames."""
    if isinstance(row.stop, float):
        begin, times = float(max(row.start or 0, 0)), times_of(row.path)
        if not times.rate:
            return "the row has times in seconds, and the video has no frame rate"
        reason = times.why_empty(begin, row.stop)
        return f"the row says {reason}" if reason else times.between(begin, row.stop)
    start, stop = max(int(row.start or 0), 0), count if row.stop is None else int(row.stop)
    stop = min(stop, count)
    return (start, stop) if start < stop else f"frames {start + 1} to {row.stop or count}: the video has {count} frames"
