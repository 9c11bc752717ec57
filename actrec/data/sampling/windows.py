"""Windows that slide over a long video."""

from __future__ import annotations

import numpy as np

from actrec.config import Clip, Windows
from actrec.data.times import FrameTimes


def windows_of(times: FrameTimes, windows: Windows, clip: Clip) -> np.ndarray:
    """The half-open frame ranges of the windows, (windows, 2) int64, in ascending order.

    They start every `windows.every` seconds from the first frame on, at the nearest frame, as long as they fit into the
    video. If frames are left over, one more window ends at the last frame. A video that is shorter than a window is one
    window. Where a frame is shown for longer than `windows.every`, several windows may start with it: equal ones are
    given once.

    Args:
        times: Of the video.
        clip: With `frames` set.

    Raises:
        ValueError: The rate is not known.
    """
    if not times.rate > 0:
        raise ValueError("the number of frames per second is not known, so windows in seconds cannot be placed")
    ranges = _equal(times, windows, clip) if times.borders is None else _variable(times, windows, clip)
    return np.unique(ranges, axis=0)


def _equal(times: FrameTimes, windows: Windows, clip: Clip) -> np.ndarray:
    """If all frames are shown equally long: windows of the same number of frames."""
    num_frames = times.num_frames
    length = min(windows.length(clip, times.rate), num_frames)
    count = int((num_frames - length) / (windows.every * times.rate)) + 1
    starts = np.round(np.arange(count) * (windows.every * times.rate)).astype(np.int64)
    starts = np.minimum(starts, num_frames - length)
    if starts[-1] + length < num_frames:
        starts = np.append(starts, num_frames - length)
    return np.stack([starts, starts + length], axis=1)


def _variable(times: FrameTimes, windows: Windows, clip: Clip) -> np.ndarray:
    """Windows of the same length in seconds, or of as many frames as a clip covers."""
    seconds, num_frames = windows.seconds(clip), times.num_frames
    if seconds is None:
        length = min(windows.length(clip, times.rate), num_frames)
        last = float(times.at(num_frames - length))
    else:
        last = max(times.end - seconds, times.begins)
    count = int((last - times.begins) / windows.every + 1e-6) + 1
    at = np.append(times.begins + np.arange(count) * windows.every, last)
    if seconds is None:
        starts = np.minimum(times.nearest(at), num_frames - length)
        return np.stack([starts, starts + length], axis=1)
    starts = np.minimum(times.nearest(at), num_frames - 1)
    stops = np.maximum(times.nearest(at + seconds), starts + 1)
    stops[-1] = num_frames
    return np.stack([starts, stops], axis=1)
