import numpy as np
import pytest

from actrec.engine import metrics

SCORES = np.array([[3.0, 2, 1], [1, 3, 2], [1, 3, 2], [0, 1, 2]], np.float32)
LABELS = np.array([0, 1, 2, 1])


def test_accuracy():
    assert metrics.accuracy(SCORES, LABELS) == 50
    assert metrics.accuracy(SCORES, LABELS, k=2) == 100
    assert metrics.accuracy(SCORES, LABELS, k=5) == 100


def test_mean_class_accuracy_weighs_classes_alike():
    assert metrics.mean_class_accuracy(SCORES, LABELS) == pytest.approx((100 + 50 + 0) / 3)


def test_a_net_that_says_nothing_is_never_right():
    assert metrics.accuracy(np.zeros((4, 3)), LABELS) == 0
    assert metrics.accuracy(np.full((4, 3), np.nan), LABELS) == 0


def test_cross_entropy_is_torchs():
    import torch

    expected = torch.nn.functional.cross_entropy(torch.from_numpy(SCORES), torch.from_numpy(LABELS))
    assert metrics.cross_entropy(SCORES, LABELS) == pytest.approx(float(expected), rel=1e-6)


def test_no_videos_is_nan():
    nothing = SCORES[:0], LABELS[:0]
    assert np.isnan([metrics.accuracy(*nothing), metrics.mean_class_accuracy(*nothing)]).all()


def test_several_labels_hit_with_any_of_them():
    several = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1], [0, 0, 0]], bool)
    assert metrics.topk_hits(SCORES, several, 1).tolist() == [True, False, False, False]
    assert metrics.topk_hits(SCORES, several, 2).tolist() == [True, True, True, False]
    assert metrics.topk_hits(np.zeros((1, 3)), several[:1], 1).tolist() == [False]  # a tie with another class
    assert metrics.topk_hits(np.full((1, 3), np.nan), several[:1], 1).tolist() == [False]


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([4, 3, 2, 1], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([4, 3, 2, 1], [0, 0, 0, 1], 1 / 4),
        ([4, 3, 2, 1], [1, 1, 0, 0], 1),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], (1 + 2 / 3) / 2),  # the example of scikit-learn's documentation: 0.83
        ([2, 2, 1, 1], [1, 0, 0, 1], (1 / 2 + 2 / 4) / 2),  # found together: precision at the end of each tie
        ([2, 2, 2, 1], [0, 1, 1, 0], 2 / 3),
        ([0, 0, 0, 0], [0, 1, 0, 0], 1 / 4),
        ([2, np.nan, np.nan, 1], [0, 1, 0, 1], (1 / 2 + 2 / 4) / 2),
        ([2, 1], [0, 0], np.nan),
    ],
)
def test_average_precision(scores, labels, expected):
    order = np.random.default_rng(0).permutation(len(scores))
    for rows in (np.arange(len(scores)), order):
        found = metrics.average_precision(np.array(scores, np.float32)[rows], np.array(labels, bool)[rows])
        assert found == pytest.approx(expected, nan_ok=True)


def test_mean_average_precision_is_over_the_classes_that_occur():
    scores = np.array([[4, 1, 0], [3, 2, 0], [2, 3, 5], [1, 4, 0]])
    labels = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0]], bool)
    assert metrics.mean_average_precision(scores, labels) == pytest.approx(100 * ((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert np.isnan(metrics.mean_average_precision(scores, labels & False))


def test_binary_cross_entropy_is_torchs():
    import torch

    scores = np.concatenate([SCORES, [[-200, 200, 0]]]).astype(np.float32)
    labels = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1], [0, 1, 1]], bool)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(scores), torch.from_numpy(labels).float()
    )
    assert metrics.binary_cross_entropy(scores, labels) == pytest.approx(float(expected), rel=1e-6)
    assert np.isnan(metrics.binary_cross_entropy(scores[:0], labels[:0]))


def test_predictions_agree_with_the_hits():
    assert metrics.predictions(SCORES, LABELS).tolist() == [0, 1, 1, 2]
    tied = np.array([[1, 1, 0], [0, 1, 1], [2, 0, 0]])
    assert metrics.predictions(tied, np.array([0, 2, 0])).tolist() == [1, 1, 0]  # a tie is a mistake
    random = np.random.default_rng(0).integers(0, 4, (200, 5))
    labels = np.arange(200) % 5
    assert np.array_equal(metrics.predictions(random, labels) == labels, metrics.topk_hits(random, labels, 1))


def test_probabilities_are_torchs():
    import torch

    scores = np.array([[800.0, -3, 1], [-900, -900, -901]], np.float32)
    of_torch = torch.from_numpy(scores).double()
    assert np.allclose(metrics.probabilities(scores, multi_label=False), of_torch.softmax(1), rtol=1e-12, atol=0)
    assert np.allclose(metrics.probabilities(scores, multi_label=True), of_torch.sigmoid(), rtol=1e-12, atol=0)


def test_calibration_error_by_hand():
    # 15 bins: 0.62 and 0.65 are in (9/15, 10/15], 0.9 and 14/15 in (13/15, 14/15], 1.0 in the last one
    confidence = np.array([0.62, 0.65, 0.9, 14 / 15, 1.0])
    right = np.array([True, False, True, True, False])
    gaps = [2 / 5 * abs(0.5 - 0.635), 2 / 5 * abs(1 - (0.9 + 14 / 15) / 2), 1 / 5 * 1]
    assert metrics.calibration_error(confidence, right) == pytest.approx(100 * sum(gaps))
    assert metrics.calibration_error(np.array([0.75] * 4), np.array([1, 1, 1, 0], bool)) == 0
    assert metrics.calibration_error(confidence, right, bins=1) == pytest.approx(100 * abs(0.6 - confidence.mean()))
    assert np.isnan(metrics.calibration_error(confidence[:0], right[:0]))
