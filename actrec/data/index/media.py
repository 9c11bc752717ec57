"""What is known of one list row: enough to plan clips and to read their frames."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actrec.config import FLOW_PAIRS
from actrec.data.flow import y_of
from actrec.data.index.folders import Listing, num_missing
from actrec.data.index.probe import FPS, Facts, Kind
from actrec.data.lists.row import Video
from actrec.data.times import FrameTimes
from actrec.data.video.timestamps import frame_times


@dataclass(frozen=True)
class Media:
    """One list row, ready to be planned and read.

        media = actrec.build_index("train.txt")[0]
        print(media.frames, media.width, media.height, media.rate)

    Args:
        start: Position of the first frame of the row in its file or folder, from 0. Frame i of a folder is its i-th
            image, whatever the numbers in the names are.
        frames: Number of frames (M), or of pairs of flow images.
        width, height: Size as displayed.
        codec, pix_fmt, color: Names as FFmpeg gives them; the suffix of the images, "" and "" for a folder.
        rotation: Degrees counter-clockwise from the stored to the displayed picture.
        mirrored: Left and right are exchanged before the rotation.
        image_range: Samples that become black and white if there are more than 8 bits; None for all that are possible.
        torn: The end of the file is missing, but most of it is there.
        damaged: Number of frames in the whole file that `actrec index --verify` decoded with errors.
        bits: Per sample, as the file declares them: 8, or up to 16.
        rate: Average number of frames per second, 0 if unknown.
        gop: Average number of frames per keyframe in the whole file, 0 for folders.
        template: Format string of the names of a folder's images, None for a video file.
        flow: The folder holds optical flow.
        numbers: The numbers in the names of all images of the folder, if it has no `listing`. Frames of a video file
            are numbered from 1.
        listing: The images of a folder whose names do not follow from `template` and `numbers`.
        begins: The time of the first frame of the file or folder in seconds.
        variable: The frames of the file are not shown equally long.
        stamped: The file has timestamps. Otherwise, times follow from its rate.
        seconds: How long the row is shown, 0 if unknown. At the average rate, unless the list counts seconds.
    """

    path: str
    start: int
    frames: int
    width: int
    height: int
    codec: str = ""
    pix_fmt: str = ""
    color: str = ""
    rotation: int = 0
    mirrored: bool = False
    bits: int = 8
    torn: bool = False
    damaged: int = 0
    image_range: tuple[float, float] | None = None
    rate: float = 0.0
    gop: float = 0.0
    template: str | None = None
    flow: bool = False
    numbers: range = range(0)
    listing: Listing | None = None
    begins: float = 0.0
    variable: bool = False
    stamped: bool = False
    seconds: float = 0.0

    @property
    def times(self) -> FrameTimes:
        """The times of the frames of the row (not of pairs of flow images); the rate must be known.

        Time 0 is that of the file if the row starts with the first frame. Otherwise it is the start of the row.

        Raises:
            FileNotFoundError, MediaError: The timestamps of the file, or the names of the images, cannot be read.
        """
        whole = self.file_times
        return whole.part(self.start, whole.num_frames) if self.start else whole

    @property
    def file_times(self) -> FrameTimes:
        """The times of the frames of the file up to the end of the row. See `times`."""
        num_frames = self.start + self.frames + self.flow
        if self.variable:
            return frame_times(self.path).resized(num_frames)
        if self.listing is not None:
            numbers, step = self.numbering
            return times_of_images(
                frame_numbers(numbers, step, flow=self.flow)[:num_frames], step, self.rate, self.begins
            )
        return FrameTimes(num_frames, self.rate, self.begins)

    @property
    def positions(self) -> int:
        """The number of positions that a frame of a clip can have. A stack of flow starts where all of it follows."""
        return max(1, self.frames - FLOW_PAIRS + 1) if self.flow else self.frames

    def image(self, position: int) -> str:
        """The path of a folder's image at a position from 0.

        Raises:
            MediaError: The folder has other images now.
        """
        assert self.template is not None, "a video file has no images"
        if self.listing is not None:
            return os.path.join(self.path, self.listing.read().names[position])
        return os.path.join(self.path, self.template.format(self.numbers[position]))

    @property
    def numbering(self) -> tuple[Sequence[int], int]:
        """The numbers of all images of the folder, and their usual step (0 if there is none).

        Raises:
            MediaError: The folder has other images now.
        """
        if self.listing is None:
            return self.numbers, self.numbers.step
        images = self.listing.read()
        return images.numbers, images.step

    def bounds(self, begin: int, end: int) -> tuple[int, int]:
        """The `start` and `stop` of a list row with the frames [begin, end) of the file or folder, as `Video` has them.

        Raises:
            MediaError: The folder has other images now.
        """
        numbers, step = self.numbering
        # Of optical flow, there is one more frame than pairs of images.
        return numbers[begin] - 1, numbers[end - 1] if end <= len(numbers) else numbers[-1] + (step or 1)

    def images(self, chosen: int) -> list[str]:
        """The paths of the images that make up one frame of a clip: one image, or x, y, x, y, … of a stack of flow.

        Args:
            chosen: One of the `positions`. A video that is shorter than a stack repeats its last flow.
        """
        if not self.flow:
            return [self.image(self.start + chosen)]
        pairs = (self.image(self.start + min(chosen + i, self.frames - 1)) for i in range(FLOW_PAIRS))
        return [path for x in pairs for path in (x, y_of(x))]


class Span(NamedTuple):
    """The frames of a list row.

    Args:
        start: Position of the first frame, from 0.
        frames: Number of frames, or of pairs of flow images.
        cut: Number of frames after the last frame of the file that the row names too.
        seconds: How long they are shown; 0 if unknown.
    """

    start: int
    frames: int
    cut: int
    seconds: float = 0.0


def frame_numbers(numbers: Sequence[int], step: int, *, flow: bool) -> Sequence[int]:
    """The numbers of the frames of a file or folder: of optical flow, there is one more frame than pairs of images."""
    if not flow:
        return numbers
    if isinstance(numbers, range):
        return range(numbers.start, numbers.stop + numbers.step, numbers.step)
    return (*numbers, numbers[-1] + (step or 1))


def span_of(record: np.void | Facts, video: Video, numbers: Sequence[int]) -> Span | str:
    """The frames of a list row, or why the row cannot be used.

    Args:
        record: `RECORD` of its file.
        numbers: Of the frames (`frame_numbers`). A list names the frames of a folder by the numbers in their names.

    Raises:
        FileNotFoundError, MediaError: The timestamps of the file cannot be read.
    """
    flow, step = bool(record["kind"] == Kind.FLOW), int(record["step"])
    low, high, cut, rate = numbers[0], numbers[-1], 0, float(record["rate"])
    if isinstance(video.start, float) and video.stop is not None:
        span = _seconds(record, video.path, numbers, video.start, video.stop)
        if isinstance(span, str):
            return span
        begin, end, cut, seconds = span
        said = f"frames {numbers[begin]} to {numbers[end - 1]}"
    else:
        first = low if video.start is None else int(video.start) + 1
        last = stated = high if video.stop is None else int(video.stop)
        said = f"frames {first} to {stated}"
        if record["kind"] == Kind.VIDEO or flow:
            # Containers may state more frames than decode, and lists follow them. The last frame is repeated then.
            last = min(last, high)
            cut = stated - last
        if first > last or first > high or (step and not low - step < first <= last < high + step):
            steps = f" in steps of {step}" if step > 1 else ""
            return f"the list says {said}, but there are {low} to {high}{steps}"
        begin, end = bisect_left(numbers, first), bisect_right(numbers, last)
        seconds = (end - begin + num_missing(numbers[begin:end], step)) / rate if rate else 0.0
    if begin >= end:
        return f"the list says {said}, but the folder has none of these images (it has {low} to {high})"
    if end - begin <= flow:
        return f"the list says {said}: optical flow needs two"
    return Span(begin, end - begin - flow, cut, seconds)


def _seconds(
    record: np.void | Facts, path: str, numbers: Sequence[int], start: float, stop: float
) -> tuple[int, int, int, float] | str:
    """The frames in [start, stop) seconds, or why there is none.

    Returns:
        A half-open range of frames, how many frames would follow the last one of the file, and how long the frames are
        shown in seconds.
    """
    rate = float(record["rate"])
    if not rate:
        is_video = record["kind"] == Kind.VIDEO
        where = "file states no frame rate" if is_video else f"folder has no file `{FPS}` with its frame rate"
        return f"the list has times in seconds, and the {where}: expected frame numbers"
    if record["variable"]:
        times = frame_times(path).resized(len(numbers))
    elif record["kind"] == Kind.VIDEO:
        times = FrameTimes(len(numbers), rate, float(record["begins"]))
    else:
        times = times_of_images(numbers, int(record["step"]), rate, float(record["begins"]))
    if reason := times.why_empty(start, stop):
        return f"the list says {reason}"
    begin, end = times.between(start, stop)
    cut = max(0, round((stop - times.end) * times.rate))
    return begin, end, cut, float(times.at(end) - times.at(begin))


def times_of_images(numbers: Sequence[int], step: int, rate: float, begins: float = 0.0) -> FrameTimes:
    """The times of the frames of a folder: an image that is missing would have been shown as long as the others.

    Args:
        numbers, step: Of the frames. Without a usual step, all frames are shown equally long.
        rate: Of the frames, if none were missing.
        begins: The time of the first frame in seconds.
    """
    if not num_missing(numbers, step):
        return FrameTimes(len(numbers), rate, begins)
    places = [(number - numbers[0]) // step for number in numbers]
    return FrameTimes(len(numbers), rate, begins, begins + np.array([*places, places[-1] + 1]) / rate)
