"""Re-encodes videos for fast training: DST/prepared/<class>/<name>.mp4, with DST/labels.txt, train.txt and val.txt.

The split and the labels come from the same places as in extract_frames. Alternatively, the user passes lists. Then
lists of the same names are written for the prepared videos, with the same ranges and labels.

A prepared video appears by a rename, after its frames have been compared with those of the original. Existing prepared
videos are not encoded again. Therefore running the same command again continues an interrupted run. The file
DST/.prepare.json records the same as .extract_frames.json. A file that fails the comparison goes to DST/quarantine/.

With `shards`, the videos are packed into DST/shards/train-000000.tar and so on (`actrec.tools.make.shards`).

Each list gets its index. libx264's "fastdecode" writes H.264 without CABAC, whose packets prove too little for a
certificate, so the index decodes each prepared video once. Otherwise, training would do this in its first epoch.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.config import PrepareOptions, SplitOptions
from actrec.data.index.index import build_index, run_in_threads
from actrec.data.index.reach import fetching
from actrec.data.lists import Video
from actrec.data.storage import is_remote
from actrec.data.video.damage import damaged_line
from actrec.leftovers import remove_leftovers
from actrec.tools.lists.index import probe_list, verify_all
from actrec.tools.make.jobs import Progress, Stop, Workers, each, largest_first, size_of
from actrec.tools.make.prepared_video import Prepared, encoders_for, prepare_video
from actrec.tools.make.record import PREPARED, QUARANTINE, SHARDS
from actrec.tools.make.savings import Trade, cost, pick_sample, printable, psnr, table
from actrec.tools.make.shards import STAGED, Shards, allot_members, check_number, part_of
from actrec.tools.make.source import Source
from actrec.tools.make.target import Messages, Target, check_fps
from actrec.words import counted

_LONG = 1000  # videos; for a longer list, a message says that its index is made


@dataclass(frozen=True)
class PreparedSet:
    """The result of a run.

    Args:
        done: Number of videos that this run prepared.
        skipped: Number of videos that were prepared before.
        frames: Number of frames of the videos that this run prepared.
        before, after: Size in bytes of the originals and of the prepared videos, together. Videos from URLs that were
            prepared before count in neither.
        failed: (path, reason) of everything that failed, as in failed.csv.
        lists: {name of the list: number of rows}.
        messages: The messages that were logged.
        table: Lines that say how many videos each class has in each list.
        shards: Number of tar shards; 0 if each video is a file.
    """

    done: int
    skipped: int
    frames: int
    before: int
    after: int
    failed: tuple[tuple[str, str], ...]
    lists: Mapping[str, int]
    messages: tuple[str, ...]
    table: tuple[str, ...]
    shards: int = 0


def prepare(
    src: str | os.PathLike[str] | Sequence[Path],
    dst: Path,
    options: PrepareOptions = PrepareOptions(),  # noqa: B008 - frozen
    *,
    split: SplitOptions = SplitOptions(),  # noqa: B008 - frozen
    sample: int = 3,
    dry_run: bool = False,
    workers: Workers = Workers(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
) -> PreparedSet | None:
    """Prepares all videos that are not in DST yet, and writes the lists.

    If DST has no prepared video yet, a few videos are prepared first, to log how their size, decode time and quality
    change.

    Args:
        src: Folder or tar archive of videos, also at a URL; or lists of videos, which may name URLs and members of tar
            archives.
        dst: Folder of the dataset; created if it is missing.
        options: Settings of the prepared videos.
        split: How videos are divided if neither a list nor a folder decides.
        sample: Number of these videos.
        dry_run: Prepare only these videos, in a temporary folder.
        workers: Threads of this machine, or a cluster.
        progress: Called with (videos done, all videos, failed videos).
        log: Called with each message.

    Returns:
        The result; None after a dry run.

    Raises:
        FileNotFoundError: SRC or a list is missing.
        ValueError: There is no video, or something in SRC, in a list or in DST contradicts the options.
        OutputError, ClusterError: DST cannot be written, or the cluster cannot be used. The same call continues.
    """
    with Target(Path(dst), SHARDS if options.shards else PREPARED, options) as target:
        return _prepare(target, src, Path(dst), options, split, sample, dry_run, workers, progress, Messages(log))


def _prepare(
    target: Target,
    src: str | os.PathLike[str] | Sequence[Path],
    dst: Path,
    options: PrepareOptions,
    split: SplitOptions,
    sample: int,
    dry_run: bool,
    workers: Workers,
    progress: Progress | None,
    say: Messages,
) -> PreparedSet | None:
    source, names, classes, plan, broken = target.choose(src, split, say)
    if options.fps:
        check_fps(plan)
    allot = None
    if options.shards:
        check_number(plan, options.shards)
        parts = part_of(plan)
        listed = [i for i, name in enumerate(names) if name in parts]
        if len(listed) < len(names):
            say(f"left out: {counted(len(names) - len(listed), 'video')} in no list of the split")
        names, classes = [names[i] for i in listed], [classes[i] for i in listed]
        allot = functools.partial(allot_members, parts=parts, number=options.shards)
    if not workers.cluster:
        say(f"encoder: {', or '.join(encoders_for(options))}")
    if dry_run:
        for name, reason in broken.items():
            say(printable(f"cannot be used: {source / name}: {reason}"))
        show_trade(source, names, options, sample, say)
        return None
    results = target.begin(plan, names, classes, say, allot)
    shards = Shards(target.folder, target.results, plan, names) if options.shards else None
    files = {name: shards.staged(name) if shards else results[name] for name in names}

    def size(name: str) -> int | None:
        """The size of a prepared video; None if there is none."""
        if shards:
            return shards.size(name)
        return size_of(files[name]) if files[name].is_file() else None

    existing = {name: found for name in names if (found := size(name)) is not None}
    if existing:
        say(f"{len(existing)} of {len(names)} videos exist already")
    else:
        show_trade(source, names, options, sample, say)

    quarantine = dst / QUARANTINE
    jobs = {
        (source / name, files[name], quarantine / target.name_of(name), options): name
        for name in names
        if name not in existing
    }
    made: list[Prepared] = [
        Prepared(0, 0, 0) if is_remote(source / name) else Prepared(0, size_of(source / name), found)
        for name, found in existing.items()  # servers are not asked for the sizes of what exists
    ]
    reasons, damaged = dict(broken), {}
    queue = largest_first(jobs, lambda job: job[0])
    waiting: dict[str, set[str]] = {}  # by shard: the videos that must be prepared before it is packed
    if shards:
        remove_leftovers([target.folder / STAGED, *{path.parent for path in files.values()}], say)
        waiting = {shard: set(inside) for shard, inside in shards.by_shard(jobs.values()).items()}
        shard_of = {name: shard for shard, inside in waiting.items() for name in inside}
        queue.sort(key=lambda job: shard_of[jobs[job]])  # so that few shards are unfinished at a time

    packed = {shard for shard, inside in waiting.items() if not inside and shards and shards.pack(shard)}

    def receive(job: tuple, result: Prepared | None, reason: str | None) -> None:
        name = jobs[job]
        if result is not None:
            made.append(result)
            if result.damaged:
                damaged[name] = result.damaged
        else:
            reasons[name] = str(reason)
        if shards:
            waiting[shard_of[name]].discard(name)
            if not waiting[shard_of[name]] and shards.pack(shard_of[name]):
                packed.add(shard_of[name])

    each(_prepare_missing, queue, receive, workers, progress=progress, done=len(existing))
    if shards:
        shards.remove_empty_folders()
    if damaged:
        say(damaged_line(damaged))
    if len(packed) < len(waiting):
        say(f"{counted(len(waiting) - len(packed), 'shard')} not written: none of its videos could be prepared")
    usable = [row for rows in plan.rows.values() for row in rows if row.path not in reasons]
    without_frames = _rows_without_frames(usable, results, say)

    def span(row: Video) -> tuple[int | float | None, int | float | None] | str:
        """Ranges stay as they are, because prepared videos have the same frames."""
        return without_frames.get((row.path, row.start, row.stop)) or (row.start, row.stop)

    lists, failed, table = target.finish(plan, source, reasons, span, say)
    for name in (name for name, rows in lists.items() if rows):
        index = probe_list(dst / name, workers)
        if (count := len(index.unverified_files())) > _LONG:
            say(f"making the index of {name}: decoding {count:,} prepared videos")
        verify_all(index, workers)
        if index.why_unsaved:
            say(f"{index.why_unsaved}: the next command probes the videos again")
    return PreparedSet(
        done=len(made) - len(existing),
        skipped=len(existing),
        frames=sum(one.frames for one in made),
        before=sum(one.before for one in made),
        after=sum(one.after for one in made),
        failed=tuple(failed),
        lists=lists,
        messages=tuple(say),
        table=table,
        shards=len(packed),
    )


def _prepare_missing(
    path: Path | str, result: Path, quarantine: Path, options: PrepareOptions, *, stop: Stop
) -> Prepared:
    """Prepares a video unless its file exists, because a cluster may run the same job twice."""
    if result.is_file():
        return _sizes(path, result)
    with fetching(path):
        return prepare_video(path, result, quarantine, options, stop=stop)


def _sizes(path: Path | str, result: Path) -> Prepared:
    return Prepared(0, size_of(path), size_of(result))


def _rows_without_frames(
    rows: Sequence[Video], results: Mapping[str, Path], say: Messages
) -> dict[tuple[str, int | float | None, int | float | None], str]:
    """{path, start and stop of a row whose range has no frames: the reason}. Says how many ranges are too long."""
    ranges = {(row.path, row.start, row.stop): row for row in rows if row.start is not None or row.stop is not None}
    videos = [Video(row.path, str(results[row.path]), row.start, row.stop, row.labels) for row in ranges.values()]
    if not videos:
        return {}
    index = build_index(videos, lazy=True)  # it raises no error if no row can be used
    index.probe_all(run_in_threads)
    index.find_broken()
    if cut := index.describe_cut():
        say(cut)
    return {key: index.unusable[i] for i, key in enumerate(ranges) if i in index.unusable}


def show_trade(source: Source, names: Sequence[str], options: PrepareOptions, count: int, say: Messages) -> list[Trade]:
    """Prepares `count` videos in a temporary folder and logs a table of their size, decode time and quality."""
    trades = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {source / name: name if source.text else name.rpartition("/")[2] for name in names}
        for i, path in enumerate(pick_sample([*paths], count)):
            made = Path(folder, f"{i}.mp4")
            try:
                prepare_video(path, made, Path(folder, "bad.mp4"), options)
                trades.append(
                    Trade(paths[path], cost(path), cost(made), psnr(path, made, options.fps, options.image_range))
                )
            except (OSError, ValueError) as error:
                say(printable(f"sample: {error}"))
    for line in table(trades) if trades else ():
        say(line)
    return trades
