from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actrec.config import Fusion
from actrec.data.score_file import ScoreFile
from actrec.engine.result import Result
from actrec.inference import fuse
from actrec.settings import OptionError

NAMES = ["dark", "bright"]


def content(scores, labels, *, ids="abcdefghij", classes=NAMES) -> ScoreFile:
    scores, labels = np.array(scores, np.float32), np.array(labels)
    return ScoreFile(list(ids[: len(scores)]), scores, labels, classes)


@pytest.fixture
def two() -> dict[str, ScoreFile]:
    """Probabilities of the second class: 0.9, 0.2 and 0.6, 0.4."""
    one = np.log([[0.1, 0.9], [0.8, 0.2]])
    return {"A": content(one, [1, 1]), "B": content(np.log([[0.4, 0.6], [0.6, 0.4]]) + 3, [1, 1])}


def probabilities(fused) -> list[float]:
    values = np.exp(fused.result.scores.astype(float))
    return (values / values.sum(axis=1, keepdims=True))[:, 1].tolist()


def test_probabilities_are_averaged_by_hand(two):
    fused = fuse.fuse(two, Fusion())
    assert probabilities(fused) == pytest.approx([0.75, 0.3], abs=1e-6)
    assert np.exp(fused.result.scores).sum(axis=1) == pytest.approx(1)
    assert fused.weights.tolist() == [0.5, 0.5]
    fused = fuse.fuse(two, Fusion(weights=(3, 1)))
    assert probabilities(fused) == pytest.approx([0.825, 0.25], abs=1e-6)
    assert fused.weights.tolist() == [0.75, 0.25]
    assert probabilities(fuse.fuse(two, Fusion(weights=(0, 2)))) == pytest.approx([0.6, 0.4], abs=1e-6)


def test_logits_are_averaged_by_hand(two):
    fused = fuse.fuse(two, Fusion(average="logits", weights=(1, 3)))
    by_hand = (two["A"].scores.astype(float) + 3 * two["B"].scores.astype(float)) / 4
    assert np.allclose(fused.result.scores, by_hand, atol=1e-6)


def test_several_labels_average_the_probability_of_each_class():
    p, q = np.array([[0.9, 0.2], [0.5, 0.7]]), np.array([[0.3, 0.6], [0.1, 0.9]])
    labels = np.array([[1, 0], [0, 1]], bool)
    files = {name: content(np.log(v / (1 - v)), labels) for name, v in {"A": p, "B": q}.items()}
    fused = fuse.fuse(files, Fusion(weights=(1, 3)))
    assert np.allclose(1 / (1 + np.exp(-fused.result.scores.astype(float))), (p + 3 * q) / 4, atol=1e-6)
    assert fused.result.multi_label
    assert fused.result.map == 100


def noisy(seed: int, noise: float, labels: np.ndarray, *, classes: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 2 * (labels[:, None] == np.arange(classes)) + noise * random.standard_normal((len(labels), classes))


def experiment(first: int, videos: int) -> dict[str, ScoreFile]:
    """Three nets: a good one, a worse one, and one that says nothing."""
    labels = np.arange(videos) % 3
    ids = [f"v{first + i}" for i in range(videos)]
    return {
        name: content(noisy(first + seed, noise, labels), labels, ids=ids, classes=list("xyz"))
        for seed, (name, noise) in enumerate({"good": 1.0, "worse": 1.6, "random": 1e3}.items())
    }


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_fitted_weights_minimize_the_cross_entropy(average):
    fit, files = experiment(0, 300), experiment(1000, 300)
    fused = fuse.fuse(files, Fusion(average=average), fit_on=fit)
    assert fused.weights.sum() == pytest.approx(1)
    assert fused.weights[0] > 0.5
    assert fused.weights[2] < 1e-2

    def loss(weights):
        return fuse.fuse(fit, Fusion(average=average, weights=tuple(weights))).result.loss

    best = loss(fused.weights)
    for other in np.random.default_rng(0).dirichlet(np.ones(3), 200):
        near = 0.98 * fused.weights + 0.02 * other
        assert loss(near) > best - 1e-6
    singles = [Result.of(files[name]) for name in files]
    assert fused.result.loss < min(single.loss for single in singles) + 1e-6


def test_the_weights_of_a_mixture_have_a_closed_form():
    """Two nets that are each certain of one half: the likelihood is w0^n0 * w1^n1."""
    labels = np.zeros(10, int)
    sure, unsure = np.log([1 - 1e-9, 1e-9]), np.log([1e-9, 1 - 1e-9])
    one = np.array([sure] * 7 + [unsure] * 3)
    files = {"A": content(one, labels), "B": content(one[:, ::-1], labels)}
    other = {name: replace(found, ids=[f"{id_}2" for id_ in found.ids]) for name, found in files.items()}
    assert fuse.fuse(other, Fusion(), fit_on=files).weights == pytest.approx([0.7, 0.3], abs=1e-5)


def test_fitting_with_several_labels():
    labels = np.random.default_rng(0).random((200, 4)) < 0.3
    random = np.random.default_rng(1)
    good = np.where(labels, 2.0, -2.0) + random.standard_normal(labels.shape)
    bad = 3 * random.standard_normal(labels.shape)
    ids = [f"v{i}" for i in range(200)]
    files = {n: ScoreFile(ids, s.astype(np.float32), labels, list("wxyz")) for n, s in {"A": good, "B": bad}.items()}
    for average in ("probabilities", "logits"):
        fused = fuse.fuse(files, Fusion(average=average), fit_on=files)
        assert fused.weights[0] > 0.85
        losses = [
            fuse.fuse(files, Fusion(average=average, weights=(w, 1 - w))).result.loss for w in np.linspace(0, 1, 101)
        ]
        assert fused.result.loss <= min(losses) + 1e-6


def test_each_part_is_scored_with_the_weights_of_the_others():
    files = experiment(0, 60)
    files["good"].labels[0] = files["worse"].labels[0] = files["random"].labels[0] = -1
    fused = fuse.fuse(files, Fusion(folds=4, seed=3))
    assert fused.of_folds.shape == (4, 3)
    assert np.allclose(fused.of_folds.mean(axis=0), fused.weights)
    again = {}
    for weights in fused.of_folds:
        scored = fuse.fuse(files, Fusion(weights=tuple(weights))).result.scores
        for row in np.flatnonzero(np.abs(scored - fused.result.scores).max(axis=1) < 1e-5):
            again.setdefault(row, []).append(weights)
    assert sorted(again) == list(range(60))
    part = [row for row in range(60) if np.allclose(again[row][0], fused.of_folds[0])]
    assert len(part) in (14, 15, 16)
    rest = {
        name: replace(
            found,
            ids=[id_ for row, id_ in enumerate(found.ids) if row not in part],
            scores=np.delete(found.scores, part, axis=0),
            labels=np.delete(found.labels, part, axis=0),
        )
        for name, found in files.items()
    }
    assert fuse.fuse(files, Fusion(), fit_on=rest).weights == pytest.approx(fused.of_folds[0], abs=1e-6)
    other = fuse.fuse(files, Fusion(folds=4, seed=4))
    assert not np.array_equal(other.of_folds, fused.of_folds)


def test_videos_are_matched_by_id(two):
    shuffled = {"A": two["A"], "B": replace(two["B"], ids=["b", "a"])}
    aligned, left_out = fuse.align(shuffled)
    assert left_out == []
    assert [found.ids for found in aligned.values()] == [["a", "b"]] * 2
    assert np.array_equal(aligned["B"].scores, two["B"].scores[::-1])
    other = {"A": two["A"], "B": replace(two["B"], ids=["b", "c"])}
    with pytest.raises(ValueError, match=r"2 videos of 3 are not in every file \(a is not in B\): pass --common to"):
        fuse.align(other)
    aligned, left_out = fuse.align(other, common=True)
    assert left_out == ["a", "c"]
    assert [found.ids for found in aligned.values()] == [["b"]] * 2
    with pytest.raises(ValueError, match="A and B have no video in common"):
        fuse.align({"A": two["A"], "B": replace(two["B"], ids=["c", "d"])}, common=True)


def test_files_that_do_not_fit_together(two):
    def refused(message, **changes):
        with pytest.raises(ValueError, match=message):
            fuse.align({"A": two["A"], "B": replace(two["B"], **changes)})

    refused("1 video of 2, such as b, have other labels in B than in A", labels=np.array([1, 0]))
    refused("label 0 is 'dark' in A, and 'light' in B", classes=["light", "bright"])
    refused("A has 2 classes, B has 3", scores=np.zeros((2, 3), np.float32), classes=["a", "b", "c"])
    refused("B has several labels for each video, A has one", labels=np.zeros((2, 2), bool))
    refused("B: the scores of b are not finite", scores=np.array([[0, 1], [0, np.nan]], np.float32))
    aligned, _ = fuse.align({"A": two["A"], "B": replace(two["B"], classes=["0", "1"])})  # names are unknown
    assert len(aligned) == 2


def test_weights_that_are_not_legal(two):
    with pytest.raises(ValueError, match="3 fusion weights for 2 files: expected one for each"):
        fuse.fuse(two, Fusion(weights=(1, 2, 3)))
    with pytest.raises(ValueError, match="all fusion weights are 0"):
        fuse.fuse(two, Fusion(weights=(0, 0)))
    with pytest.raises(OptionError, match="weights"):
        Fusion(weights=(-1, 2))
    with pytest.raises(ValueError, match="2 labeled videos for 3 parts: expected one in each"):
        fuse.fuse(two, Fusion(folds=3))
    unlabeled = {name: replace(found, labels=np.array([-1, -1])) for name, found in two.items()}
    with pytest.raises(ValueError, match="cannot be fitted: no video has a label"):
        fuse.fuse(two, Fusion(), fit_on=unlabeled)
