"""Segments, the parts of a video that show a class: from scores of windows, from a file of true segments, and mAP@tIoU.

numpy only.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from actrec.config import Segments
from actrec.files import read_text, show

# Averages of tIoU thresholds: of THUMOS14, and of ActivityNet.
THUMOS = (0.3, 0.4, 0.5, 0.6, 0.7)
ACTIVITYNET = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
_COLUMNS = ("start", "end", "class")


class Segment(NamedTuple):
    """A part of a video that shows a class.

        for segment in model.timeline("match.mp4").segments():
            print(segment.end - segment.start, segment.label)

    Args:
        start, end: In seconds.
        label: Of the class.
        score: Mean probability of the class in it; 1 for the truth.
    """

    start: float
    end: float
    label: int
    score: float


def moments_of(times: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities at each moment: the mean over the windows that cover it.

    A moment is the time between two neighboring borders of windows, so that the same windows cover all of it.

    Args:
        times: (N, 2) start and end of each window, in ascending order.
        probabilities: (N, classes).

    Returns:
        (M, 2) start and end of each moment that at least one window covers; (M, classes) probabilities.
    """
    borders = np.unique(times)
    first = np.searchsorted(borders, times[:, 0])
    last = np.searchsorted(borders, times[:, 1])
    # Differences at the borders, whose running sum counts and sums what covers a moment.
    counts = np.zeros(len(borders), np.int64)
    np.add.at(counts, first, 1)
    np.subtract.at(counts, last, 1)
    counts = counts.cumsum()[:-1]
    sums = np.zeros((len(borders), probabilities.shape[1]))
    np.add.at(sums, first, probabilities)
    np.subtract.at(sums, last, probabilities)
    sums = sums.cumsum(axis=0)[:-1]
    covered = counts > 0
    mean = np.round(sums[covered] / counts[covered, None], 12)  # a running sum carries rounding errors
    return np.stack([borders[:-1], borders[1:]], axis=1)[covered], mean


def segments_of(times: np.ndarray, probabilities: np.ndarray, options: Segments, *, multi_label: bool) -> list[Segment]:
    """Merges neighboring moments with the same class to segments, ordered by start.

    Args:
        times, probabilities: Of the windows, as for `moments_of`, which smooths them.
        multi_label: Several classes may be shown at the same time: each is a segment where its probability reaches the
            threshold. Otherwise only the most likely class of a moment counts.
    """
    if not len(times):
        return []
    moments, mean = moments_of(times, probabilities)
    shown = mean >= options.threshold
    if not multi_label:
        shown &= np.arange(mean.shape[1]) == mean.argmax(axis=1)[:, None]
    found = []
    for label in np.flatnonzero(shown.any(axis=0)).tolist():
        for first, stop in _runs(shown[:, label], moments):
            start, end = float(moments[first, 0]), float(moments[stop - 1, 1])
            if end - start < options.min_length - 1e-6:
                continue
            lengths = moments[first:stop, 1] - moments[first:stop, 0]
            score = float(np.average(mean[first:stop, label], weights=lengths))
            found.append(Segment(start, end, label, score))
    return sorted(found)


def _runs(shown: np.ndarray, moments: np.ndarray) -> list[tuple[int, int]]:
    """The half-open ranges of moments that are shown and follow each other without a gap."""
    places = np.flatnonzero(shown)
    if not len(places):
        return []
    breaks = (np.diff(places) > 1) | (moments[places[1:], 0] > moments[places[:-1], 1])
    groups = np.split(places, np.flatnonzero(breaks) + 1)
    return [(int(group[0]), int(group[-1]) + 1) for group in groups]


# ---- the truth ----


def read_truth(path: Path, classes: Sequence[str]) -> dict[str, list[Segment]]:
    """The segments of each video in a CSV file with a header: the columns video, start, end, class, in any order.

    start and end are in seconds. Without a column `video`, all segments are those of the video "".

    Raises:
        OSError: The file cannot be read.
        ValueError: A column is missing, a number is malformed, or a class is unknown.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]}: expected a header such as video,start,end,class")
    reader.fieldnames = names
    labels = {name: label for label, name in enumerate(classes)}
    found: dict[str, list[Segment]] = {}
    for row in reader:
        where = f"{path}: line {reader.line_num}"
        name = (row["class"] or "").strip()
        if name not in labels:
            raise ValueError(f"{where}: class {show(name)}: expected one of {', '.join(classes[:10])}{_more(classes)}")
        start, end = (_seconds(row[column], column, where) for column in ("start", "end"))
        if end <= start:
            raise ValueError(f"{where}: end {end:g} with start {start:g}: expected a later end")
        found.setdefault((row.get("video") or "").strip(), []).append(Segment(start, end, labels[name], 1.0))
    return found


def _more(classes: Sequence[str]) -> str:
    return ", ..." if len(classes) > 10 else ""


def _seconds(text: str | None, column: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{where}: {column} {show(text or '')}: expected seconds, such as 12.5")
    return value


def truth_of(truth: Mapping[str, list[Segment]], videos: Sequence[str]) -> dict[str, list[Segment]]:
    """The truth of videos with these ids. A video of the file is found by its id, or by the last part of it.

    Raises:
        ValueError: The file names a video that is not among them, or none although there are several.
    """
    if set(truth) == {""}:
        if len(videos) != 1:
            raise ValueError(f"no column video, with {len(videos)} videos: expected video,start,end,class")
        return {videos[0]: truth[""]}
    by_name = {os.path.basename(id_): id_ for id_ in reversed(videos)} | {id_: id_ for id_ in videos}
    found: dict[str, list[Segment]] = {}
    for name, segments in truth.items():
        if name not in by_name:
            raise ValueError(f"video {show(name)}: expected one of the inputs, such as {videos[0]}")
        found.setdefault(by_name[name], []).extend(segments)
    return found


# ---- comparison ----


def mean_average_precision(
    found: Mapping[str, Sequence[Segment]], truth: Mapping[str, Sequence[Segment]], thresholds: Sequence[float]
) -> np.ndarray:
    """mAP@tIoU as ActivityNet's evaluation computes it: (thresholds,) float64 in percent.

    For each class, the found segments of all videos are taken in descending order of their scores. A segment is
    right if its temporal intersection over union (tIoU) with a true segment of the same video and class is at least
    the threshold. It is matched with the true segment that has the largest tIoU; each true segment is matched only
    once. The average precision is the area under the interpolated curve of precision over recall. The mean is taken
    over the classes that occur in the truth. (Caba Heilbron et al., ActivityNet, CVPR 2015; `eval_detection.py` of
    its toolkit.)

    Args:
        found, truth: Segments by video.

    Returns:
        nan if the truth is empty.
    """
    labels = sorted({segment.label for segments in truth.values() for segment in segments})
    if not labels:
        return np.full(len(thresholds), np.nan)
    values = [[_average_precision(found, truth, label, threshold) for threshold in thresholds] for label in labels]
    return 100 * np.mean(values, axis=0)


def _average_precision(
    found: Mapping[str, Sequence[Segment]], truth: Mapping[str, Sequence[Segment]], label: int, threshold: float
) -> float:
    unmatched = {video: [s for s in segments if s.label == label] for video, segments in truth.items()}
    total = sum(map(len, unmatched.values()))
    ranked = [(s, video) for video, segments in found.items() for s in segments if s.label == label]
    ranked.sort(key=lambda pair: -pair[0].score)
    right = np.zeros(len(ranked), bool)
    for i, (segment, video) in enumerate(ranked):
        overlaps = [(tiou(segment, other), -n) for n, other in enumerate(unmatched.get(video, []))]
        best, place = max(overlaps, default=(-1.0, 0))
        if best >= threshold:
            right[i] = True
            del unmatched[video][-place]
    hits = right.cumsum()
    precision = hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]  # interpolated: the best at this recall or a larger one
    return float((precision * right).sum() / total)


def tiou(one: Segment, other: Segment) -> float:
    """Temporal intersection over union."""
    both = max(0.0, min(one.end, other.end) - max(one.start, other.start))
    return both / ((one.end - one.start) + (other.end - other.start) - both)
