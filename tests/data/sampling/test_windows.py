"""Windows that slide over a video."""

from __future__ import annotations

import pytest

from actrec.config import Clip, Windows
from actrec.data.sampling.windows import windows_of
from actrec.data.times import FrameTimes

UNIFORM = Clip(frames=8)


@pytest.mark.parametrize(
    ("num_frames", "rate", "windows", "clip", "expected"),
    [
        (100, 25, Windows(every=1, window=2), UNIFORM, [(0, 50), (25, 75), (50, 100)]),
        (110, 25, Windows(every=1, window=2), UNIFORM, [(0, 50), (25, 75), (50, 100), (60, 110)]),  # the rest
        (100, 25, Windows(every=1), UNIFORM, [(0, 50), (25, 75), (50, 100)]),  # the default is two seconds
        (30, 25, Windows(every=1, window=2), UNIFORM, [(0, 30)]),  # shorter than a window
        (1, 25, Windows(), UNIFORM, [(0, 1)]),
        (40, 10, Windows(every=1), Clip(frames=8, sampling="dense", stride=2), [(0, 16), (10, 26), (20, 36), (24, 40)]),
        (12, 10, Windows(every=0.25, window=1), UNIFORM, [(0, 10), (2, 12)]),  # 0, 2.5: rounded to even
        (4, 2, Windows(every=0.1, window=1), UNIFORM, [(0, 2), (1, 3), (2, 4)]),  # more often than there are frames
        (60, 29.97, Windows(every=1, window=1), UNIFORM, [(0, 30), (30, 60)]),
    ],
)
def test_windows(num_frames, rate, windows, clip, expected):
    assert list(map(tuple, windows_of(FrameTimes(num_frames, rate), windows, clip).tolist())) == expected


def test_an_unknown_rate_is_refused():
    with pytest.raises(ValueError, match="frames per second is not known"):
        windows_of(FrameTimes(10, 0.0), Windows(), UNIFORM)
