"""Fits the rows of a list to another format.

For example, a format whose rows must have a range of frames gets one for each row. If the list does not state the
range or its unit, the videos are opened to determine it. Everything that the format cannot represent is counted in
`Losses`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from actrec.data.index import Index, Media, build_index
from actrec.data.lists import Video
from actrec.data.lists.formats import Entry, Format
from actrec.data.lists.formats.annotations import frames_of, kind_of, stem_of, times_of
from actrec.data.lists.line import MAX_FRAME
from actrec.data.storage import is_remote, may_exist
from actrec.data.times import FrameTimes
from actrec.files import show
from actrec.words import counted

Progress = Callable[[int, int], None]


@dataclass
class Losses:
    """Counts what was left out or changed because the target format cannot represent it.

    Args:
        found: {what was changed: (number of rows, path of the first row)}.
    """

    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, what: str, entry: Entry) -> None:
        count, path = self.found.get(what, (0, entry.path))
        self.found[what] = count + 1, path

    def lines(self) -> list[str]:
        """One line per kind of change."""
        return [f"{counted(count, 'row')}: {what}, such as {show(path)}" for what, (count, path) in self.found.items()]


def fit(
    entries: Sequence[Entry],
    target: Format,
    losses: Losses,
    workers: int | None,
    progress: Progress | None,
    *,
    template: str | None = None,
) -> list[Entry]:
    """Returns the rows as the target format can represent them.

    Args:
        losses: Receives what is left out or changed.
        workers: Number of threads that open videos. None: one per core.
        progress: Called with (videos done, all videos).
        template: Names of the images in frame folders, as for `build_index`.

    Raises:
        ValueError: The format cannot represent a row, or a video that has to be opened cannot be used.
    """
    any_range = any(entry.start is not None for entry in entries)
    units = [_unit_for(entry, target, any_range) for entry in entries]
    opened = [i for i, (entry, unit) in enumerate(zip(entries, units)) if _needs_video(entry, unit)]
    index: Sequence[Media] = ()
    if opened:
        videos = [Video(str(i), entries[i].path, None, None, ()) for i in opened]
        index = _probe(videos, target, workers, progress, template)
    place = {i: number for number, i in enumerate(opened)}
    return [
        _fit_one(entry, unit, target, losses, index[place[i]] if i in place else None)
        for i, (entry, unit) in enumerate(zip(entries, units))
    ]


def _unit_for(entry: Entry, target: Format, any_range: bool) -> str:
    """The unit of the range that a row gets ("frames" or "seconds"); "" if it gets no range."""
    unit = kind_of(entry)
    if not target.ranges or (target.names_range and target.names_range.fullmatch(stem_of(entry.path))):
        return ""
    if target.needs_range == "labeled" and not entry.labels:
        return ""
    needs = target.needs_range in ("all", "labeled") or (target.needs_range == "any" and any_range)
    if unit in target.ranges or not (unit or needs):
        return unit
    return "frames" if "frames" in target.ranges else "seconds"


def _needs_video(entry: Entry, unit: str) -> bool:
    """Whether the video has to be opened to convert the range of a row to this unit.

    It is necessary if the row has no range or no frame rate. Otherwise the video is opened if it exists, so that a
    range does not end after the video. An object at a URL is not, because it would be fetched.
    """
    if not unit or unit == kind_of(entry):
        return False
    return entry.start is None or entry.fps is None or (may_exist(entry.path) and not is_remote(entry.path))


def _probe(
    videos: list[Video], target: Format, workers: int | None, progress: Progress | None, template: str | None
) -> Index:
    index = build_index(videos, workers=workers, progress=progress, lazy=False, template=template)
    if unusable := index.unusable:
        row, reason = next(iter(unusable.items()))
        raise ValueError(f"{len(unusable)} of {len(videos)} videos cannot be used, and {target.name} needs their "
                         f"frames; the first: {videos[row].path}: {reason}")  # fmt: skip
    return index


def _fit_one(entry: Entry, unit: str, target: Format, losses: Losses, media: Media | None) -> Entry:
    before = kind_of(entry)
    if unit and before != unit:
        entry = _converted(entry, unit, media)
        what = {"": "the whole video", "frames": "the frames", "seconds": "the times"}[before]
        losses.add(f"{what} became {'frame numbers' if unit == 'frames' else 'times'}", entry)
    elif before and not unit:
        entry = entry._replace(start=None, stop=None)
        losses.add("the range is left out", entry)
    if unit == "seconds":
        entry = _rounded(entry, target, losses)
    if unit == "frames" and not target.first <= (start := frames_of(entry)[0]) <= target.last:
        expected = f"{target.first + 1}" if target.first == target.last else f"{target.first + 1} or a later one"
        raise ValueError(f"{entry.path} starts at image {start + 1}: {target.name} needs rows that start at image "
                         f"{expected}")  # fmt: skip
    if len(entry.labels) > 1 and not target.several_labels:
        losses.add("the labels after the first are left out", entry)
        entry = entry._replace(labels=entry.labels[:1])
    if entry.fps is not None and not target.fps:
        losses.add("the frame rate is left out", entry)
        entry = entry._replace(fps=None)
    return entry


def _rounded(entry: Entry, target: Format, losses: Losses) -> Entry:
    """The row with times that have as many decimals as the format can represent."""
    start, stop = times_of(entry)
    if target.decimals:
        return entry._replace(start=round(start, target.decimals), stop=round(stop, target.decimals))
    if start % 1 or stop % 1:
        losses.add("the times became whole seconds", entry)
    return entry._replace(start=float(math.floor(start)), stop=float(math.ceil(stop)))


def _converted(entry: Entry, unit: str, media: Media | None) -> Entry:
    """The row with its range, or the range of the whole video, in another unit."""
    if unit == "frames" and entry.start is None:
        assert media is not None
        start, stop = media.bounds(0, media.frames)
        return entry._replace(start=start, stop=stop)
    times = _times(entry, media)
    if unit == "seconds":
        begin, end = (0, times.num_frames) if entry.start is None else _positions(*frames_of(entry), media)
        times = times.resized(max(times.num_frames, end))
        return entry._replace(start=float(times.at(begin)), stop=float(times.at(end)))
    if reason := times.why_empty(*times_of(entry)):
        raise ValueError(f"{entry.path}: the list says {reason}")
    begin, end = times.between(*times_of(entry))
    start, stop = media.bounds(begin, end) if media else (begin, end)
    return entry._replace(start=start, stop=stop)


def _positions(start: int, stop: int, media: Media | None) -> tuple[int, int]:
    """Positions of the frames that a row names by numbers. Those of a range past the end are past the end."""
    numbers, _ = media.numbering if media else (range(1, MAX_FRAME), 1)
    begin, end = bisect_left(numbers, start + 1), bisect_right(numbers, stop)
    return begin, max(end, begin + 1) + max(stop - numbers[-1], 0)


def _times(entry: Entry, media: Media | None) -> FrameTimes:
    """The times of the frames of a row: by the timestamps of the video, else at the rate that the list states."""
    if media is not None and media.template is None and media.rate:
        return media.times
    fps = entry.fps or (media.rate if media else 0)
    if not fps:
        raise ValueError(f"{entry.path}: the frame rate is unknown, and times need it: expected a video, or a folder "
                         "with a file `fps`")  # fmt: skip
    return replace(media, rate=fps).times if media else FrameTimes(MAX_FRAME, fps)
