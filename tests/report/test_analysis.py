from __future__ import annotations

import json

import numpy as np
import pytest

from actrec.data.score_file import ScoreFile
from actrec.report.analysis import Analysis, similarity_order, table

NAMES = ["jump", "run", "sit", "wave"]
#         label, best class, its logit (the others are 0)
ROWS = [(0, 0, 3), (0, 1, 1), (0, 1, 2), (0, 3, 1), (1, 1, 1), (1, 0, 2), (2, 2, 5), (-1, 2, 9)]


@pytest.fixture
def content() -> ScoreFile:
    scores = np.zeros((len(ROWS), 4), np.float32)
    for row, (_, best, logit) in enumerate(ROWS):
        scores[row, best] = logit
    return ScoreFile([f"v{i}" for i in range(len(ROWS))], scores, np.array([row[0] for row in ROWS]), NAMES)


def test_the_numbers_of_every_class(content):
    found = Analysis(content)
    assert found.num_videos == 7
    assert found.matrix.tolist() == [[1, 2, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    shown = [(c.name, c.videos, c.right, c.mistaken_for, c.times) for c in found.classes]
    assert shown == [
        ("jump", 4, 1, ("run",), 2),
        ("run", 2, 1, ("jump",), 1),
        ("sit", 1, 1, (), 0),
        ("wave", 0, 0, (), 0),
    ]
    assert [c.accuracy for c in found.classes[:3]] == [25, 50, 100]
    assert np.isnan(found.classes[3].accuracy)
    assert table(found.classes) == [
        "class  videos   right  accuracy  mistaken for",
        "jump        4       1     25.00  run (2)",
        "run         2       1     50.00  jump (1)",
        "sit         1       1    100.00  -",
        "wave        0       0         -  -",
    ]


def test_classes_that_are_equally_often_confused_are_all_named(content):
    labels = content.labels.copy()
    labels[1] = -1  # jump is mistaken for run and wave now, once each
    found = Analysis(ScoreFile(content.ids, content.scores, labels, NAMES)).classes
    assert table(found)[1] == "jump        3       1     33.33  run, wave (1 each)"


def test_confusions_and_mistakes_are_sorted(content):
    found = Analysis(content)
    pairs = [(c.label, c.predicted, c.count, c.fraction) for c in found.confusions]
    assert pairs == [("jump", "run", 2, 0.5), ("run", "jump", 1, 0.5), ("jump", "wave", 1, 0.25)]
    assert [(m.video, m.label, m.predicted) for m in found.mistakes] == [
        ("v2", "jump", "run"),
        ("v5", "run", "jump"),
        ("v1", "jump", "run"),
        ("v3", "jump", "wave"),
    ]
    assert found.mistakes[0].probability == pytest.approx(np.exp(2) / (np.exp(2) + 3))


def test_the_calibration_error_of_scores(content):
    by_logit = {n: np.exp(n) / (np.exp(n) + 3) for n in (1, 2, 3, 5)}  # 0.475, 0.711, 0.870, 0.980: a bin each
    right = {1: (1, 3), 2: (0, 2), 3: (1, 1), 5: (1, 1)}  # logit: right videos, videos
    expected = sum(n * abs(hits / n - by_logit[logit]) for logit, (hits, n) in right.items()) / 7
    assert Analysis(content).calibration_error == pytest.approx(100 * expected)


def test_several_labels_have_average_precisions_only(content):
    labels = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
    scores = np.array([[3, 0, 0, 0], [1, 2, 0, 0], [2, 1, 0, 0], [0, 3, 0, 0]], np.float32)
    found = Analysis(ScoreFile(list("abcd"), scores, labels, NAMES))
    assert (found.num_videos, found.matrix, found.confusions, found.mistakes, found.calibration_error) == (
        3, None, None, None, None,
    )  # fmt: skip
    assert [c.videos for c in found.classes] == [2, 2, 0, 0]
    assert found.classes[0].average_precision == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert found.classes[1].average_precision == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)  # video d counts, too
    assert np.isnan(found.classes[2].average_precision)
    assert table(found.classes)[:2] == ["class  videos      AP", "jump        2   83.33"]


def test_without_labels(content):
    found = Analysis(ScoreFile(content.ids, content.scores, np.full(8, -1), NAMES))
    assert (found.num_videos, found.confusions, found.mistakes) == (0, [], [])
    assert np.isnan(found.calibration_error)
    assert found.matrix.sum() == 0


def test_the_summary_is_json(content):
    said = json.loads(json.dumps(Analysis(content).summary()))
    assert said["classes"][0] == {
        "name": "jump", "videos": 4, "right": 1, "accuracy": 25, "mistaken_for": ["run"], "times": 2,
    }  # fmt: skip
    assert said["confusion_matrix"][0] == [1, 2, 0, 1]
    assert said["confusions"][0] == {"label": "jump", "predicted": "run", "count": 2, "fraction": 0.5}
    assert said["calibration_error"] == pytest.approx(Analysis(content).calibration_error)


def test_confused_classes_are_neighbors():
    chain = [3, 0, 5, 1, 4, 2]  # each is confused with the next one
    matrix = 9 * np.eye(8, dtype=np.int64)
    for a, b in zip(chain, chain[1:]):
        matrix[a, b] += 2
    matrix[6, 7] = 4
    order = similarity_order(matrix).tolist()
    assert sorted(order) == list(range(8))
    assert order[:6] in (chain, chain[::-1])
    assert order[6:] == [6, 7]
    assert similarity_order(np.eye(3)).tolist() == [0, 1, 2]
    assert similarity_order(np.zeros((1, 1))).tolist() == [0]
