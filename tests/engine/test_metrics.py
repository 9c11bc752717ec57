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
