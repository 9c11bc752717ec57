"""One video of a list, ready to be planned and read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from actrec.config import FLOW_PAIRS
from actrec.data.flow import y_of
from actrec.data.index.probe import FPS, Kind
from actrec.data.lists.row import Video


@dataclass(frozen=True)
class Media:
    """One video of a list, ready to be planned and read.

    Args:
        start: position of its first frame in the file or folder, 0-based; image files are numbered from 1.
        frames: how many frames it has (M), or pairs of flow images.
        width, height: as displayed.
        template: of a folder's image names, None for a video file.
        rotation: counter-clockwise degrees from stored to displayed.
        rate: frames a second on average, 0 if unknown.
        gop: frames for each keyframe of the whole file on average, 0 for folders.
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
    rate: float = 0.0
    gop: float = 0.0
    template: str | None = None
    flow: bool = False

    @property
    def positions(self) -> int:
        """How many places a frame of a clip can be chosen from: a stack of flow begins where all of it follows."""
        return max(1, self.frames - FLOW_PAIRS + 1) if self.flow else self.frames

    def image(self, position: int) -> str:
        """Path of a folder's image at `position`."""
        return os.path.join(self.path, self.template.format(position + 1))

    def images(self, chosen: int) -> list[str]:
        """Paths of the images of a folder that make one frame of a clip: one, or x, y, x, y, … of a stack of flow.

        Args:
            chosen: of `positions`. Too short a video repeats its last flow.
        """
        if not self.flow:
            return [self.image(self.start + chosen)]
        pairs = (self.image(self.start + min(chosen + i, self.frames - 1)) for i in range(FLOW_PAIRS))
        return [path for x in pairs for path in (x, y_of(x))]


def span_of(record: np.void, video: Video) -> tuple[int, int] | str:
    """(first position, frames) of a list row, or why it has none."""
    first, flow = int(record["first"]) - 1, bool(record["kind"] == Kind.FLOW)
    end = first + int(record["frames"]) + flow  # lists count frames: one more than there is flow between them
    start = first if video.start is None else video.start
    stop = end if video.stop is None else video.stop
    if isinstance(start, float):
        span = _seconds(record, end - first, start, stop)
        if isinstance(span, str):
            return span
        start, stop = first + span[0], first + span[1]
    if record["kind"] == Kind.VIDEO or flow:
        stop = min(stop, end)  # containers overstate and lists follow them; the decoder's last frame is repeated
    if start < first or start >= end or stop > end or stop <= start:
        return f"the list says frames {start + 1} to {stop}, but there are {first + 1} to {end}"
    if stop - start <= flow:
        return f"the list says frames {start + 1} to {stop}: optical flow needs two"
    return start, stop - start - flow


def _seconds(record: np.void, num_frames: int, start: float, stop: float) -> tuple[int, int] | str:
    rate = float(record["rate"])
    if not rate:
        is_video = record["kind"] == Kind.VIDEO
        where = "file has no rate" if is_video else f"folder has no file `{FPS}` with its frames a second"
        return f"the list counts seconds, and the {where}"
    begin, end = frames_between(start, stop, rate)
    if begin >= num_frames:
        return f"the list says {start:g} to {stop:g} seconds, but there are {num_frames / rate:.3g}"
    return begin, max(begin + 1, min(end, num_frames))


def frames_between(start: float, stop: float, rate: float) -> tuple[int, int]:
    """The half-open range of the frames that begin in [start, stop) seconds at a constant rate; one at least."""
    begin, end = (math.ceil(time * rate - 1e-3) for time in (start, stop))
    return begin, max(end, begin + 1)
