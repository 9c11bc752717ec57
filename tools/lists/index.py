"""The index of a list: probed or verified by threads or a cluster, and a summary of it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from actrec.data.index import Index, build_index, cache_path, quarantine_path
from actrec.data.index.index import num_threads
from actrec.data.lists import find_labels, read_list
from actrec.data.lists.labeling import refuse_contradictions, refuse_gaps
from actrec.data.lists.videos import label_columns
from actrec.data.video.promise import what_is_missing
from actrec.tools.make.jobs import Progress, Workers, each, write_failed
from actrec.words import counted


def probe_list(
    path: Path,
    workers: Workers,
    progress: Progress | None = None,
    *,
    template: str | None = None,
    original: Path | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> Index:
    """The index of a list, after probing every video that it does not know yet. An interrupt keeps what was found.

    Args:
        original: Another list, whose index knows the same videos in another place (`Index.take_over`).
        log: Called with a message about these.
        template: As for `build_index`.

    Raises:
        OSError, ListError: the list cannot be read.
        ClusterError: the cluster cannot be used.
    """
    index = build_index(read_list(path, cache=True), cache=cache_path(path), lazy=True, template=template)
    if original is not None:
        taken = index.take_over(
            build_index(read_list(original), cache=cache_path(original), lazy=True), workers=workers.count
        )
        log(f"{path}: the records of {counted(taken, 'video')} were copied from the index of {original}")
    probe_all(index, workers, progress)
    return index


def probe_all(index: Index, workers: Workers, progress: Progress | None = None) -> None:
    """Probes every file of a list that has no record, or has changed. An interrupt keeps what was found.

    Raises:
        ClusterError: The cluster cannot be used.
    """

    def run(function: Callable[..., Any], jobs: Sequence[tuple], receive: Callable[..., None]) -> None:
        some = workers
        if workers.cluster is None:
            some = replace(workers, count=num_threads((path for _, path, *_ in jobs), workers.count))
        each(function, jobs, receive, some, progress=progress)

    index.probe_all(run, workers=workers.count, in_processes=workers.cluster is None)


def label_problems(path: Path) -> list[str]:
    """What training refuses in the labels of a list with one label per row: contradictions and absurd numbers.

    Raises:
        OSError, ListError: The list cannot be read.
    """
    videos = read_list(path)
    labels, per_row = label_columns(videos)
    found = []
    for check in (
        lambda: refuse_contradictions(videos) if per_row.max() < 2 else None,
        lambda: refuse_gaps(labels, str(path)) if find_labels(path.parent) is None else None,
    ):
        try:
            check()
        except ValueError as error:
            found.append(str(error))
    return found


def verify_all(index: Index, workers: Workers, progress: Progress | None = None) -> None:
    """Decodes every file that was not verified since it last changed. An interrupt keeps what was found.

    Every command leaves out the broken ones until they change.

    Raises:
        ClusterError: The cluster cannot be used.
    """
    before = index.num_rejected
    report = progress and (lambda done, total, failed: progress(done, total, index.num_rejected - before))
    index.verify_all(partial(each, workers=workers, progress=report))


def write_quarantine(index: Index, list_path: Path) -> None:
    """Writes `<list>.quarantine.csv`: the files that cannot be used, with the reasons.

    Raises:
        OutputError: The file cannot be written.
    """
    reasons = {index.name(index.path(i)): reason for i, reason in index.broken.items()}
    write_failed(quarantine_path(list_path), sorted(reasons.items()))


@dataclass(frozen=True)
class Summary:
    """Statistics of the usable videos of a list: (smallest, median, largest), and counts in descending order.

    Args:
        broken: Number of rows that cannot be used.
        unreachable: Number of rows of files at URLs that could not be fetched this time.
        damaged: Number of videos of which some frames decode with errors, as far as they were verified.
        torn: Number of videos that are cut off at the end, and are used up to there.
        variable: Number of rows of files that do not show all frames equally long.
        unstamped: Number of rows of files without timestamps: times are computed from the frame rate in the header.
        cut: Number of rows whose range ends after the last frame of their video.
        comments: Number of lines of the list that were skipped as comments.
        respelled: Number of rows with a path that got the spelling that exists.
        missing: Number of images that are missing in the numbering of frame folders.
    """

    videos: int
    broken: int
    unreachable: int
    frames: int
    length: tuple[float, float, float] | None
    seconds: tuple[float, float, float] | None
    gop: tuple[float, float, float] | None
    short_side: tuple[float, float, float] | None
    sizes: dict[str, int]
    rates: dict[str, int]
    codecs: dict[str, int]
    colors: dict[str, int]
    rotations: dict[str, int]
    depths: dict[str, int]
    damaged: int
    torn: int
    variable: int
    unstamped: int
    cut: int
    comments: int
    respelled: int
    missing: int


def damaged(index: Index) -> dict[str, str]:
    """What is damaged or missing in videos that can still be used, by path."""
    found = {path: what_is_missing(path) or "the file is cut off" for path in index.torn_files()}
    unusable = index.unusable
    for m in (index[row] for row in index.damaged_rows() if row not in unusable):
        errors = f"{counted(m.damaged, 'frame')} with errors"
        found[m.path] = f"{found[m.path]}; {errors}" if m.torn else errors
    return found


def summary(index: Index) -> Summary:
    """The statistics of a list that has been probed. Finds out meanwhile which rows are broken."""
    values: dict[str, array[float]] = {name: array("d") for name in ("frames", "seconds", "gop", "short_side")}
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("sizes", "rates", "codecs", "colors", "rotations", "depths")
    }
    numbers: Counter[str] = Counter()
    for m in index.usable():  # a list of them would need more than a kilobyte for each
        for name in values:
            values[name].append(min(m.width, m.height) if name == "short_side" else getattr(m, name))
        counts["sizes"][f"{m.width}x{m.height}"] += 1
        counts["codecs"][m.codec] += 1
        if m.rate:
            counts["rates"][f"{m.rate:.4g}"] += 1
        if m.color:
            counts["colors"][m.color] += 1
        if m.rotation or m.mirrored:
            counts["rotations"][f"{m.rotation} mirrored" if m.mirrored else str(m.rotation)] += 1
        if m.bits > 8:
            counts["depths"][f"{m.bits} bits, scaled to 8"] += 1
        numbers["damaged"] += m.damaged > 0
        numbers["torn"] += m.torn
        numbers["variable"] += m.variable
        numbers["unstamped"] += m.template is None and not m.stamped
    spreads = {name: _spread(np.frombuffer(found)) for name, found in values.items()}
    return Summary(
        videos=len(index),
        broken=len(index.broken),
        unreachable=len(index.unusable) - len(index.broken),
        frames=int(sum(values["frames"])),
        length=spreads["frames"],
        seconds=spreads["seconds"],
        gop=spreads["gop"],
        short_side=spreads["short_side"],
        **{name: dict(found.most_common()) for name, found in counts.items()},
        damaged=numbers["damaged"],
        torn=numbers["torn"],
        variable=numbers["variable"],
        unstamped=numbers["unstamped"],
        cut=len(index.cut),
        comments=index.num_comments,
        respelled=index.num_respelled,
        missing=sum(index.images_of_folders("missing").values()),
    )


def _spread(values: np.ndarray) -> tuple[float, float, float] | None:
    """The smallest, the median and the largest of the values that are known: not 0."""
    known = values[values != 0]
    return (float(known.min()), float(np.median(known)), float(known.max())) if len(known) else None
