"""Times of frames, and the frames within times."""

from __future__ import annotations

import numpy as np
import pytest

from actrec.data.times import FrameTimes, rounded_rate

EVEN = FrameTimes(100, 25.0)
LATE = FrameTimes(100, 25.0, 0.05)
# Frames at 0, 0.2, ... 1.8, then 2, 2.1, ... 2.9; the last one is shown for half a second.
UNEVEN = FrameTimes(20, 20 / 3.4, 0.0, np.array([*np.arange(10) * 0.2, *(2 + np.arange(10) * 0.1), 3.4]))
STILL = FrameTimes(3, 0.3, 0.0, np.array([0.0, 1.0, 9.0, 10.0]))
TWICE = FrameTimes(4, 4.0, 0.0, np.array([0.0, 0.5, 0.5, 0.75, 1.0]))


@pytest.mark.parametrize(
    ("times", "start", "stop", "expected"),
    [
        (EVEN, 0, 1, (0, 25)),
        (EVEN, 1, 2, (25, 50)),  # half-open: ranges that meet share no frame
        (EVEN, 1.0004, 2.0004, (25, 50)),  # milliseconds are as exact as many containers are
        (EVEN, 1.001, 2.001, (26, 51)),
        (EVEN, 1.03, 1.035, (25, 26)),  # none begins in there: the one that is shown
        (EVEN, 3.9, 99, (98, 100)),
        (LATE, 0, 1, (0, 24)),  # the 24 at 0.05, ... 0.97
        (LATE, 1, 2, (24, 49)),
        (UNEVEN, 0, 2, (0, 10)),
        (UNEVEN, 2, 3, (10, 20)),
        (UNEVEN, 1.9, 2.1, (10, 11)),
        (UNEVEN, 3.1, 3.2, (19, 20)),  # the last one is still shown
        (STILL, 2, 3, (1, 2)),
        (STILL, 8.5, 9.5, (2, 3)),
        (TWICE, 0.5, 0.75, (1, 3)),
        (TWICE, 0.6, 0.7, (2, 3)),
    ],
)
def test_between(times, start, stop, expected):
    assert times.why_empty(start, stop) is None
    assert times.between(start, stop) == expected


def test_why_empty():
    assert EVEN.why_empty(4, 5) == "4 to 5 seconds, but the last frame ends at 4"
    assert EVEN.why_empty(3.99, 5) is None
    assert UNEVEN.why_empty(3.4, 5) == "3.4 to 5 seconds, but the last frame ends at 3.4"
    late = FrameTimes(10, 10.0, 3.6)
    assert late.why_empty(0, 1) == "0 to 1 seconds, but the first frame starts at 3.6"
    assert late.between(3, 4) == (0, 4)


@pytest.mark.parametrize("times", [EVEN, LATE, UNEVEN, STILL])
def test_every_frame_is_in_one_of_two_ranges_that_meet(times):
    for border in np.linspace(times.begins + 0.06, times.end - 0.06, 23):
        first, second = times.between(times.begins, border), times.between(border, times.end)
        assert first[0] == 0
        assert second[1] == times.num_frames
        assert first[1] == second[0] or times.at(second[0]) < border  # a still is in both, if nothing begins after it


def test_at_and_nearest_are_inverse():
    for times in (EVEN, LATE, UNEVEN, STILL):
        frames = np.arange(times.num_frames + 1)
        assert (times.nearest(times.at(frames)) == frames).all()
    assert STILL.nearest(np.array([-1, 0.4, 0.6, 4.9, 5.1, 8.9, 99])).tolist() == [0, 0, 1, 1, 1, 2, 3]
    assert LATE.end == pytest.approx(4.05)


def test_part():
    part = UNEVEN.part(8, 12)
    assert part.at(np.arange(5)) == pytest.approx([0, 0.2, 0.4, 0.5, 0.6])
    assert LATE.part(25, 50).at(np.arange(26)) == pytest.approx(np.arange(26) / 25)


def test_resized():
    longer = UNEVEN.resized(22)
    assert longer.at(np.array([20, 21, 22])) == pytest.approx([3.4, 3.57, 3.74])
    assert UNEVEN.resized(5).end == pytest.approx(1.0)
    assert EVEN.resized(5).end == pytest.approx(0.2)


def test_long_videos_do_not_drift():
    """Five hours at 29.97, from a rate in seven digits."""
    times = FrameTimes(539_460, rounded_rate(float(np.float32(30000 / 1001))))
    assert times.between(17_999.9819, 17_999.982 + 1) == (539_460 - 1, 539_460)
    assert times.rate == 30000 / 1001
