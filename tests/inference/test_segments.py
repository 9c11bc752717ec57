"""Segments from scores, and mAP@tIoU, against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from actrec.config import Segments
from actrec.inference.segments import (
    ACTIVITYNET,
    Segment,
    mean_average_precision,
    moments_of,
    read_truth,
    segments_of,
    tiou,
    truth_of,
)

TIMES = np.array([[0, 2], [1, 3], [2, 4], [6, 8]], float)
PROBABILITIES = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])
OPTIONS = Segments(threshold=0.6, min_length=0.0)


def test_a_moment_is_the_mean_of_the_windows_that_cover_it():
    moments, mean = moments_of(TIMES, PROBABILITIES)
    assert moments.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [6, 8]]
    assert mean.tolist() == [[0.9, 0.1], [0.7, 0.3], [0.35, 0.65], [0.2, 0.8], [0.0, 1.0]]


def test_the_most_likely_class_of_neighboring_moments_is_merged():
    found = segments_of(TIMES, PROBABILITIES, OPTIONS, multi_label=False)
    assert [segment[:3] for segment in found] == [(0, 2, 0), (2, 4, 1), (6, 8, 1)]
    assert np.allclose([segment.score for segment in found], [0.8, 0.725, 1.0])


def test_threshold_and_shortest_length():
    options = Segments(threshold=0.75, min_length=0.0)
    found = segments_of(TIMES, PROBABILITIES, options, multi_label=False)
    assert [segment[:3] for segment in found] == [(0, 1, 0), (3, 4, 1), (6, 8, 1)]
    options = Segments(threshold=0.75, min_length=1.5)
    assert [segment[:3] for segment in segments_of(TIMES, PROBABILITIES, options, multi_label=False)] == [(6, 8, 1)]


def test_several_labels_may_overlap():
    both = np.array([[0.9, 0.8], [0.9, 0.2], [0.7, 0.9], [0.1, 0.1]])
    found = segments_of(TIMES, both, OPTIONS, multi_label=True)
    assert [segment[:3] for segment in found] == [(0, 1, 1), (0, 4, 0), (3, 4, 1)]
    alone = segments_of(TIMES, both, OPTIONS, multi_label=False)
    assert [segment[:3] for segment in alone] == [(0, 3, 0), (3, 4, 1)]


def test_no_window_is_no_segment():
    assert segments_of(np.empty((0, 2)), np.empty((0, 3)), OPTIONS, multi_label=False) == []


def test_windows_that_do_not_touch_leave_a_gap():
    times, one = np.array([[0, 1], [2, 3]], float), np.array([[1.0], [1.0]])
    assert [s[:2] for s in segments_of(times, one, OPTIONS, multi_label=True)] == [(0, 1), (2, 3)]


def test_temporal_intersection_over_union():
    assert tiou(Segment(0, 4, 0, 1), Segment(2, 6, 0, 1)) == pytest.approx(1 / 3)
    assert tiou(Segment(0, 1, 0, 1), Segment(1, 2, 0, 1)) == 0
    assert tiou(Segment(0, 2, 0, 1), Segment(0, 2, 0, 1)) == 1


def test_average_precision_by_hand():
    """Ranked: right, wrong, right of three. Precision 1, 1/2, 2/3; interpolated 1, 2/3, 2/3. AP = (1 + 2/3) / 3."""
    truth = {"a": [Segment(0, 10, 0, 1), Segment(20, 30, 0, 1)], "b": [Segment(0, 10, 0, 1)]}
    found = {
        "a": [Segment(0, 10, 0, 0.9), Segment(1, 10, 0, 0.8), Segment(21, 30, 0, 0.7)],  # the second one is a duplicate
        "b": [Segment(50, 60, 0, 0.1)],
    }
    assert mean_average_precision(found, truth, [0.5])[0] == pytest.approx(100 * 5 / 9)
    # At 0.95, only the exact one is right.
    assert mean_average_precision(found, truth, [0.95])[0] == pytest.approx(100 / 3)
    # A class that occurs in the truth only has precision 0; one that was found only does not count.
    truth["b"].append(Segment(0, 5, 1, 1))
    found["b"].append(Segment(0, 5, 2, 1))
    assert mean_average_precision(found, truth, [0.5])[0] == pytest.approx(100 * 5 / 18)


def test_a_segment_is_matched_with_the_best_that_is_left():
    truth = {"a": [Segment(0, 10, 0, 1), Segment(2, 12, 0, 1)]}
    found = {"a": [Segment(2, 12, 0, 0.9), Segment(2, 12, 0, 0.8)]}  # the second gets the first of the truth: tIoU 2/3
    assert mean_average_precision(found, truth, [0.6, 0.7]).tolist() == [100, 50]


def test_the_same_as_the_toolkit_of_activitynet():
    """Against its `compute_average_precision_detection`, rewritten from its description."""
    rng = np.random.default_rng(0)
    truth, found = {}, {}
    for video in "abcd":
        starts = rng.uniform(0, 100, 12)
        truth[video] = [Segment(s, s + rng.uniform(5, 20), int(rng.integers(3)), 1.0) for s in starts]
        found[video] = [
            Segment(s.start + rng.normal(0, 3), s.end + rng.normal(0, 3), int(rng.integers(3)), rng.random())
            for s in truth[video] * 3
        ]
    for threshold in ACTIVITYNET:
        expected = []
        for label in range(3):
            ranked = sorted(
                ((s.score, v, s) for v in found for s in found[v] if s.label == label), key=lambda one: -one[0]
            )
            locked, total = set(), sum(s.label == label for v in truth for s in truth[v])
            tp = np.zeros(len(ranked))
            for i, (_, video, segment) in enumerate(ranked):
                overlaps = sorted(
                    ((tiou(segment, t), n) for n, t in enumerate(truth[video]) if t.label == label), reverse=True
                )
                for overlap, n in overlaps:
                    if overlap < threshold:
                        break
                    if (video, n) not in locked:
                        locked.add((video, n))
                        tp[i] = 1
                        break
            recall, precision = tp.cumsum() / total, tp.cumsum() / np.arange(1, len(tp) + 1)
            mprec, mrec = np.hstack([[0], precision, [0]]), np.hstack([[0], recall, [1]])
            for i in range(len(mprec) - 1)[::-1]:
                mprec[i] = max(mprec[i], mprec[i + 1])
            places = np.flatnonzero(mrec[1:] != mrec[:-1]) + 1
            expected.append(((mrec[places] - mrec[places - 1]) * mprec[places]).sum())
        assert mean_average_precision(found, truth, [threshold])[0] == pytest.approx(100 * np.mean(expected))


def test_the_truth_of_a_file(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text('Class,start,end\n"jump, high",0,1.5\nrun,2,3\n')
    truth = read_truth(path, ["run", "jump, high"])
    assert truth == {"": [Segment(0, 1.5, 1, 1.0), Segment(2, 3, 0, 1.0)]}
    assert truth_of(truth, ["x/a.mp4"]) == {"x/a.mp4": truth[""]}
    with pytest.raises(ValueError, match="no column video, with 2 videos"):
        truth_of(truth, ["a", "b"])
    path.write_text("video,start,end,class\na.mp4,0,1,run\nx/b.mp4,0,1,run\n")
    truth = truth_of(read_truth(path, ["run"]), ["x/a.mp4", "x/b.mp4"])
    assert truth == {"x/a.mp4": [Segment(0, 1, 0, 1.0)], "x/b.mp4": [Segment(0, 1, 0, 1.0)]}
    with pytest.raises(ValueError, match=r"video 'a.mp4': expected one of the inputs, such as c.mp4"):
        truth_of(read_truth(path, ["run"]), ["c.mp4"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start,end\n", "no column class: expected a header such as video,start,end,class"),
        ("", "no column start"),
        ("start,end,class\n0,1,walk\n", "line 2: class 'walk': expected one of run, jump$"),
        ("start,end,class\n0,x,run\n", "line 2: end 'x': expected seconds, such as 12.5"),
        ("start,end,class\n0\n", "line 2: class ''"),
        ("start,end,class\n2,1,run\n", "line 2: end 1 with start 2: expected a later end"),
    ],
)
def test_a_malformed_truth(tmp_path, text, message):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_truth(path, ["run", "jump"])


def test_an_empty_truth_has_no_average_precision():
    assert np.isnan(mean_average_precision({"a": []}, {"a": []}, [0.5])).all()
