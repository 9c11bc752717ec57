"""Accuracy from scores, in numpy."""

from __future__ import annotations

import numpy as np


def topk_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether the label is among the k highest scores. (videos,) bool.

    A tie counts against the label: a net that says the same of every class has learnt nothing. With fewer than k
    classes every video hits.

    Args:
        scores: (videos, classes).
        labels: (videos,) int.
    """
    own = scores[np.arange(len(labels)), labels][:, None]
    not_lower = (~(scores < own)).sum(axis=1)  # the label itself included; nan is never lower
    return not_lower <= k


def accuracy(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Share of videos whose label is among the k highest scores, in percent; nan without videos."""
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
