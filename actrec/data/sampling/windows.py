"""Windows that slide over a long video."""

from __future__ import annotations

import numpy as np

from actrec.config import Clip, Windows


def windows_of(num_frames: int, rate: float, windows: Windows, clip: Clip) -> np.ndarray:
    """The half-open frame ranges of the windows, (windows, 2) int64, in ascending order.

    They start every `windows.every` seconds, as long as they fit into the video. If frames are left over, one more
    window ends at the last frame. A video that is shorter than a window is one window.

    Args:
        num_frames, rate: Of the video; rate is the average number of frames per second.
        clip: With `frames` set.

    Raises:
        ValueError: The rate is not known.
    """
    if not rate > 0:
        raise ValueError("the number of frames per second is not known, so windows in seconds cannot be placed")
    length = min(windows.length(clip, rate), num_frames)
    count = int((num_frames - length) / (windows.every * rate)) + 1
    starts = np.round(np.arange(count) * (windows.every * rate)).astype(np.int64)
    starts = np.minimum(starts, num_frames - length)
    if starts[-1] + length < num_frames:
        starts = np.append(starts, num_frames - length)
    starts = np.unique(starts)
    return np.stack([starts, starts + length], axis=1)
