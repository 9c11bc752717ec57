"""What is known of one list row: enough to plan clips and to read their frames."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actrec.config import FLOW_PAIRS
from actrec.data.flow import y_of
from actrec.data.index.probe import FPS, Kind
from actrec.data.lists.row import Video


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
    """
    first, flow = int(record["first"]) - 1, bool(record["kind"] == Kind.FLOW)
    end = first + int(record["frames"]) + flow  # lists count frames, and there is one frame more than pairs of flow
    if isinstance(video.start, float) and video.stop is not None:
        span = _seconds(record, end - first, video.start, video.stop)
        if isinstance(span, str):
            return span
        start, stop = first + span[0], first + span[1]
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
    return Span(start, stop - start - flow, stated - stop)


def _seconds(record: np.void, num_frames: int, start: float, stop: float) -> tuple[int, int] | str:
    """The half-open range of the frames in [start, stop) seconds, or why there is none."""
    rate = float(record["rate"])
    if not rate:
        is_video = record["kind"] == Kind.VIDEO
        where = "file has no rate" if is_video else f"folder has no file `{FPS}` with its frames per second"
        return f"the list counts seconds, and the {where}"
    begin, end = frames_between(start, stop, rate)
    if begin >= num_frames:
        return f"the list says {start:g} to {stop:g} seconds, but there are {num_frames / rate:.3g}"
    return begin, max(begin + 1, min(end, num_frames))


def frames_between(start: float, stop: float, rate: float) -> tuple[int, int]:
    """The half-open range of the frames that begin in [start, stop) seconds at a constant rate; at least one frame."""
    begin, end = (math.ceil(time * rate - 1e-3) for time in (start, stop))
    return begin, max(end, begin + 1)
