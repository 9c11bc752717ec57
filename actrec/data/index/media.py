"""What is known of one list row: enough to plan clips and to read their frames."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actrec.config import FLOW_PAIRS
from actrec.data.flow import y_of
from actrec.data.index.probe import FPS, Kind
from actrec.data.lists.row import Video
from actrec.data.times import FrameTimes
from actrec.data.video.timestamps import frame_times


@dataclass(frozen=True)
class Media:
    """One list row, ready to be planned and read.

    Args:
        start: Position of the first frame of the row in its file or folder, from 0. Image files are numbered from 1.
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
        first: Position of the first frame of the file or folder: 0, but -1 for images that are numbered from 0.
        begins: The time of the first frame of the file or folder in seconds.
        variable: The frames of the file are not shown equally long.
        stamped: The file has timestamps. Otherwise, times follow from its rate.
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
    first: int = 0
    begins: float = 0.0
    variable: bool = False
    stamped: bool = False

    @property
    def times(self) -> FrameTimes:
        """The times of the frames of the row (not of pairs of flow images); the rate must be known.

        Time 0 is that of the file if the row starts with the first frame. Otherwise it is the start of the row.

        Raises:
            FileNotFoundError, MediaError: The timestamps of the file cannot be read.
        """
        start, whole = self.start - self.first, self.file_times
        return whole.part(start, whole.num_frames) if start else whole

    @property
    def file_times(self) -> FrameTimes:
        """The times of the frames of the file up to the end of the row. See `times`."""
        num_frames = self.start - self.first + self.frames + self.flow
        if self.variable:
            return frame_times(self.path).resized(num_frames)
        return FrameTimes(num_frames, self.rate, self.begins)

    @property
    def seconds(self) -> float:
        """How long the row is shown; the rate must be known. Ranges of a file with a variable rate: on average."""
        return (self.frames + self.flow) / self.rate

    @property
    def positions(self) -> int:
        """The number of positions that a frame of a clip can have. A stack of flow starts where all of it follows."""
        return max(1, self.frames - FLOW_PAIRS + 1) if self.flow else self.frames

    def image(self, position: int) -> str:
        """The path of a folder's image at a position from 0."""
        assert self.template is not None, "a video file has no images"
        return os.path.join(self.path, self.template.format(position + 1))

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
        start: Position of the first frame.
        frames: Number of frames, or of pairs of flow images.
        cut: Number of frames after the last frame of the file that the row names too.
    """

    start: int
    frames: int
    cut: int


def span_of(record: np.void, video: Video) -> Span | str:
    """The frames of a list row, or why the row cannot be used.

    Args:
        record: `RECORD` of its file.

    Raises:
        FileNotFoundError, MediaError: The timestamps of the file cannot be read.
    """
    first, flow = int(record["first"]) - 1, bool(record["kind"] == Kind.FLOW)
    end = first + int(record["frames"]) + flow  # lists count frames, and there is one frame more than pairs of flow
    cut = 0
    if isinstance(video.start, float) and video.stop is not None:
        span = _seconds(record, video.path, end - first, video.start, video.stop)
        if isinstance(span, str):
            return span
        start, stop, cut = first + span[0], first + span[1], span[2]
    else:
        start = first if video.start is None else int(video.start)
        stop = end if video.stop is None else int(video.stop)
    stated = stop
    if record["kind"] == Kind.VIDEO or flow:
        # Containers may state more frames than decode, and lists follow them. The last frame is repeated then.
        stop = min(stop, end)
    if start < first or start >= end or stop > end or stop <= start:
        return f"the list says frames {start + 1} to {stated}, but there are {first + 1} to {end}"
    if stop - start <= flow:
        return f"the list says frames {start + 1} to {stated}: optical flow needs two"
    return Span(start, stop - start - flow, cut or stated - stop)


def _seconds(record: np.void, path: str, num_frames: int, start: float, stop: float) -> tuple[int, int, int] | str:
    """The half-open range of the frames in [start, stop) seconds, and how many would follow the last frame of the file.

    Or why there is no frame.
    """
    if not record["rate"]:
        is_video = record["kind"] == Kind.VIDEO
        where = "file has no rate" if is_video else f"folder has no file `{FPS}` with its frames per second"
        return f"the list counts seconds, and the {where}"
    times = FrameTimes(num_frames, float(record["rate"]), float(record["begins"]))
    if record["variable"]:
        times = frame_times(path).resized(num_frames)
    if reason := times.why_empty(start, stop):
        return f"the list says {reason}"
    return *times.between(start, stop), max(0, round((stop - times.end) * times.rate))
