"""Windows that slide over a video."""

from __future__ import annotations

import numpy as np
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


# Ten frames for 0.2 s each, then ten for 0.1 s each.
VARIABLE = FrameTimes(20, 20 / 3, 0.0, np.array([*np.arange(10) * 0.2, *(2 + np.arange(11) * 0.1)]))
STILL = FrameTimes(12, 1.2, 0.0, np.array([*np.arange(6) * 0.2, 9, *(9 + np.arange(1, 6) * 0.2), 10.2]))


@pytest.mark.parametrize(
    ("times", "windows", "clip", "expected"),
    [
        (VARIABLE, Windows(every=1, window=1), UNIFORM, [(0, 5), (5, 10), (10, 20)]),
        (VARIABLE, Windows(every=0.4, window=2), UNIFORM, [(0, 10), (2, 14), (4, 18), (5, 20)]),
        (VARIABLE, Windows(every=2, window=0.8), UNIFORM, [(0, 4), (10, 18), (12, 20)]),  # the rest
        (VARIABLE, Windows(every=1, window=9), UNIFORM, [(0, 20)]),
        (VARIABLE, Windows(every=1), Clip(frames=4, sampling="dense", stride=2), [(0, 8), (5, 13), (10, 18), (12, 20)]),
        (STILL, Windows(every=1, window=1), UNIFORM, [(0, 5), (5, 6), (6, 11), (7, 12)]),  # the still once
    ],
)
def test_windows_of_a_variable_rate(times, windows, clip, expected):
    assert list(map(tuple, windows_of(times, windows, clip).tolist())) == expected


def test_windows_cover_a_variable_rate():
    rng = np.random.default_rng(0)
    for _ in range(50):
        borders = np.cumsum(rng.exponential(0.1, rng.integers(2, 60)))
        times = FrameTimes(len(borders) - 1, (len(borders) - 1) / (borders[-1] - borders[0]), borders[0], borders)
        ranges = windows_of(times, Windows(every=0.5, window=0.5), UNIFORM)
        assert (ranges[0, 0], ranges[-1, 1]) == (0, times.num_frames)
        assert (ranges[1:, 0] <= ranges[:-1, 1]).all()  # no frame is left out
        assert (ranges[:, 1] > ranges[:, 0]).all()
