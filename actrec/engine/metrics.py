"""Accuracy and precision from scores, in numpy."""

from __future__ import annotations

import numpy as np

CALIBRATION_BINS = 15


def log_probabilities(scores: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Logarithms of the probabilities of logits: of their softmax, for several labels of their sigmoid.

    Args:
        scores: (videos, classes).

    Returns:
        (videos, classes) float64.
    """
    values = scores.astype(np.float64)
    if multi_label:
        return -np.logaddexp(0, -values)
    values -= values.max(axis=1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def probabilities(scores: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """The probabilities of logits (videos, classes), float64: their softmax, for several labels their sigmoid."""
    return np.exp(log_probabilities(scores, multi_label=multi_label))


def best_classes(scores: np.ndarray, k: int) -> np.ndarray:
    """The k classes with the highest scores, the best first: (videos, k) int64. All of them if k is 0 or less."""
    return np.argsort(-scores, axis=1, kind="stable")[:, : k if k > 0 else None]


def is_labeled(labels: np.ndarray) -> np.ndarray:
    """Which videos have a label, (videos,) bool.

    Args:
        labels: (videos,) int, -1 for a video without a label; or (videos, classes) bool.
    """
    return np.asarray(labels.any(axis=1) if labels.ndim == 2 else labels >= 0)


def topk_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the label, or one of the labels, is among the k highest scores. (videos,) bool.

    A tie counts against the label: a net with equal scores for all classes has learnt nothing. With fewer than k
    classes every video is a hit.

    Args:
        scores: (videos, classes).
        labels: (videos,) int, or (videos, classes) bool.
    """
    is_label = labels if labels.ndim == 2 else labels[:, None] == np.arange(scores.shape[1])
    best = np.where(is_label, scores, -np.inf).max(axis=1, keepdims=True)
    others_not_lower = (~is_label & ~(scores < best)).sum(axis=1)  # nan is not lower than any score
    return others_not_lower < k


def accuracy(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Fraction of videos whose label is among the k highest scores, in percent; nan without videos."""
    return 100 * float(topk_hits(scores, labels, k).mean()) if len(labels) else float("nan")


def mean_class_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy of each class, averaged over the classes that occur, in percent; nan without videos."""
    if not len(labels):
        return float("nan")
    hits = topk_hits(scores, labels, 1)
    return 100 * float(np.mean([hits[labels == label].mean() for label in np.unique(labels)]))


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of softmax(scores), in nats; nan without videos."""
    if not len(labels):
        return float("nan")
    top = scores.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
    return float((log_sum - scores[np.arange(len(labels)), labels]).mean())


def predictions(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class with the highest score, (videos,) int64. With a tie it is a wrong class, as in `topk_hits`.

    Args:
        scores: (videos, classes).
        labels: (videos,) int.
    """
    right = topk_hits(scores, labels, 1)
    others = np.where(labels[:, None] == np.arange(scores.shape[1]), -np.inf, scores)
    return np.where(right, labels, others.argmax(axis=1) if scores.shape[1] else labels)


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each class was predicted for the videos of each class, by `predictions`.

    Args:
        scores: (videos, classes).
        labels: (videos,) int.

    Returns:
        (classes, classes) int64: rows are labels, columns are the best classes.
    """
    size = scores.shape[1]
    cells = np.bincount(labels * size + predictions(scores, labels), minlength=size * size)
    return cells.reshape(size, size).astype(np.int64)


def agrees_by_chance(matrix: np.ndarray, *, z: float = 1.645) -> bool:
    """Whether a confusion matrix shows no relation between predictions and labels.

    The number of hits is compared with its distribution over all ways to permute the predictions, which is nearly
    normal, one-sided and with a correction for continuity. The default `z` stands for a level of 5 %.

    Everitt, Moments of the statistics kappa and weighted kappa, 1968.

    Args:
        matrix: (classes, classes) int, as of `confusion_matrix`.
    """
    labels, predicted = matrix.sum(axis=1).astype(np.float64), matrix.sum(axis=0).astype(np.float64)
    number = float(labels.sum())
    if number < 2:
        return True
    products = labels * predicted
    mean = products.sum() / number
    variance = products.sum() ** 2 - number * (products * (labels + predicted)).sum() + number**2 * products.sum()
    deviation = np.sqrt(max(0.0, variance) / (number**2 * (number - 1)))
    return bool(np.trace(matrix) - 0.5 - mean < z * deviation or deviation == 0)


def chance_level(counts: np.ndarray, num_videos: int, *, multi_label: bool) -> float:
    """The score of answers that ignore the video, in percent; nan without labels.

    This is the fraction of the most frequent class. With several labels, it is the mean fraction of videos that have a
    label, over the classes that occur: the expected mean average precision of random scores.

    Args:
        counts: (classes,) int, how many videos have each label.
        num_videos: Number of videos; only used with several labels.
    """
    occurring = counts[counts > 0]
    if not len(occurring):
        return float("nan")
    return 100 * float(occurring.mean() / num_videos if multi_label else occurring.max() / occurring.sum())


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error, in percent; nan without videos.

    Videos are put into bins of equal width by the probability of their best class. The error is the difference between
    the mean probability and the accuracy of a bin, averaged over the bins by their number of videos.

    Guo et al., On Calibration of Modern Neural Networks, 2017: https://arxiv.org/abs/1706.04599

    Args:
        confidence: (videos,), from 0 to 1.
        right: (videos,) bool.
    """
    if not len(confidence):
        return float("nan")
    bin_of = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)  # bins are open below
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return 100 * float(np.abs(gaps).sum() / len(confidence))


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Average precision as in scikit-learn's average_precision_score.

    It is sum((R_n - R_n-1) * P_n) over the different scores, from the highest on. Videos with the same score are found
    together, videos whose score is nan last.

    Args:
        scores: (videos,).
        labels: (videos,) bool.

    Returns:
        From 0 to 1; nan without a positive.
    """
    if not labels.any():
        return float("nan")
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(scores[order[1:]] != scores[order[:-1]]), len(order) - 1)
    found = np.cumsum(labels[order])[ends]
    return float((np.diff(found, prepend=0) * found / (ends + 1)).sum() / labels.sum())


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """The average precision of each class, averaged over the classes that occur, in percent; nan if none occurs.

    Args:
        scores: (videos, classes).
        labels: (videos, classes) bool.
    """
    occurring = np.flatnonzero(labels.any(axis=0))
    if not len(occurring):
        return float("nan")
    return 100 * float(np.mean([average_precision(scores[:, c], labels[:, c]) for c in occurring]))


def binary_cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Binary cross-entropy of sigmoid(scores), averaged over videos and classes, in nats; nan without videos.

    Args:
        scores: (videos, classes).
        labels: (videos, classes) bool.
    """
    if not len(labels):
        return float("nan")
    return float((np.maximum(scores, 0) - scores * labels + np.log1p(np.exp(-np.abs(scores)))).mean())
