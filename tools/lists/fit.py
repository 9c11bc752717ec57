"""Rows of one format made such as another can hold, with the help of the videos where it wants to know more."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from actrec.data.index import Index, Media, build_index
from actrec.data.lists import Video
from actrec.data.lists.formats import Entry, Format
from actrec.data.lists.formats.annotations import kind_of, stem_of
from actrec.files import show

Progress = Callable[[int, int], None]
_LATE = 1e-3  # frames: as in the index, a time this close behind a frame's beginning is its beginning


@dataclass
class Losses:
    """What the target cannot hold: how often, and the first row."""

    found: dict[str, list] = field(default_factory=dict)

    def add(self, what: str, entry: Entry) -> None:
        self.found.setdefault(what, [0, entry.path])[0] += 1

    def lines(self) -> list[str]:
        return [f"{count} rows: {what}, such as {show(path)}" for what, (count, path) in self.found.items()]


def fit(
    entries: Sequence[Entry], target: Format, losses: Losses, workers: int | None, progress: Progress | None
) -> list[Entry]:
    """The rows as the target holds them.

    Args:
        losses: takes in what is left out or changed.

    Raises:
        ValueError: a row that cannot be held, or a video that cannot be looked at.
    """
    some = any(entry.start is not None for entry in entries)
    kinds = [_wanted(entry, target, some) for entry in entries]
    asked = [i for i, (entry, kind) in enumerate(zip(entries, kinds)) if _asks(entry, kind)]
    index = None
    if asked:
        videos = [Video(str(i), entries[i].path, None, None, ()) for i in asked]
        index = _look(videos, target, workers, progress)
    at = {i: place for place, i in enumerate(asked)}
    return [
        _fit_one(entry, kind, target, losses, index[at[i]] if i in at else None)
        for i, (entry, kind) in enumerate(zip(entries, kinds))
    ]


def _wanted(entry: Entry, target: Format, some: bool) -> str:
    """The kind of range that a row gets: "" if none."""
    kind = kind_of(entry)
    if not target.ranges or (target.names_range and target.names_range.fullmatch(stem_of(entry.path))):
        return ""
    if target.needs_range == "labeled" and not entry.labels:
        return ""
    needs = target.needs_range in ("all", "labeled") or (target.needs_range == "any" and some)
    if kind in target.ranges or not (kind or needs):
        return kind
    return "frames" if "frames" in target.ranges else "seconds"


def _asks(entry: Entry, kind: str) -> bool:
    """Whether the video is looked at: where nothing else tells, and where it can tell where it ends."""
    if not kind or kind == kind_of(entry):
        return False
    return entry.start is None or entry.fps is None or os.path.exists(entry.path)


def _look(videos: list[Video], target: Format, workers: int | None, progress: Progress | None) -> Index:
    index = build_index(videos, workers=workers, progress=progress, lazy=False)
    if index.broken:
        row, reason = next(iter(index.broken.items()))
        raise ValueError(f"{len(index.broken)} of {len(videos)} videos cannot be used, and {target.name} wants their "
                         f"frames; the first: {videos[row].path}: {reason}")  # fmt: skip
    return index


def _fit_one(entry: Entry, kind: str, target: Format, losses: Losses, media: Media | None) -> Entry:
    start, stop, had = entry.start, entry.stop, kind_of(entry)
    if kind and had != kind:
        start, stop = _converted(entry, kind, media)
        what = {"": "the whole video", "frames": "the frames", "seconds": "the times"}[had]
        losses.add(f"{what} became {'frame numbers' if kind == 'frames' else 'times'}", entry)
    elif had and not kind:
        start = stop = None
        losses.add("the range is left out", entry)
    if kind == "seconds" and target.decimals:
        start, stop = round(start, target.decimals), round(stop, target.decimals)
    elif kind == "seconds" and (start % 1 or stop % 1):
        start, stop = float(math.floor(start)), float(math.ceil(stop))
        losses.add("the times became whole seconds", entry)
    if kind == "frames" and not target.first <= start <= target.last:
        where = f"from image {target.first + 1}" + (" on only" if target.first == target.last else "")
        raise ValueError(f"{entry.path} starts at image {start + 1}: {target.name} holds frames {where}")
    if len(entry.labels) > 1 and not target.several_labels:
        losses.add("the labels after the first are left out", entry)
        entry = entry._replace(labels=entry.labels[:1])
    if entry.fps is not None and not target.fps:
        losses.add("the frame rate is left out", entry)
    return entry._replace(start=start, stop=stop, fps=entry.fps if target.fps else None)


def _converted(entry: Entry, kind: str, media: Media | None) -> tuple[float, float]:
    """Start and stop of the other kind, or of the whole video."""
    if kind == "frames" and entry.start is None:
        return media.start, media.start + media.frames
    fps = entry.fps or (media.rate if media else 0)
    if not fps:
        raise ValueError(f"{entry.path}: its frame rate is not known, and times need it: expected a video, or a folder "
                         "with a file `fps`")  # fmt: skip
    first, end = (media.start, media.frames) if media else (0, math.inf)
    if kind == "seconds":
        if entry.start is None:
            return 0.0, end / fps
        return max(entry.start - first, 0) / fps, (entry.stop - first) / fps
    start, stop = (math.ceil(time * fps - _LATE) for time in (entry.start, entry.stop))
    if start >= end:
        raise ValueError(f"{entry.path}: the list says {entry.start:g} to {entry.stop:g} seconds, but there are "
                         f"{end / fps:.3g}")  # fmt: skip
    return first + start, first + max(start + 1, min(stop, end))
