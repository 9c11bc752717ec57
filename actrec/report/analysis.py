"""Analyzes scores: a table of the classes, confusions, calibration, and the most confident mistakes. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from actrec.data.score_file import ScoreFile
from actrec.engine import metrics
from actrec.engine.classes import ClassResult as ClassResult
from actrec.engine.classes import class_results
from actrec.engine.classes import table as table


@dataclass(frozen=True)
class Confusion:
    """Videos of one class for which another class was predicted.

    Args:
        label, predicted: The names of the classes.
        count: Number of videos.
        fraction: Of the videos of the class `label`, from 0 to 1.
    """

    label: str
    predicted: str
    count: int
    fraction: float


@dataclass(frozen=True)
class Mistake:
    """A video with a wrong best class, and the probability of that class."""

    video: str
    label: str
    predicted: str
    probability: float


class Analysis:
    """The analysis of scores, over the videos that have a label.

    With several labels, only `classes` exist: the other attributes need one label for each video, and are None.

    Attributes:
        names: The names of the classes.
        num_videos: Number of videos that have a label.
    """

    def __init__(self, content: ScoreFile):
        has = metrics.is_labeled(content.labels)
        self._all = content
        self._ids = [id_ for id_, used in zip(content.ids, has) if used]
        self._scores, self._labels = content.scores[has], content.labels[has]
        self._several = content.multi_label
        self.names = list(content.classes)
        self.num_videos = len(self._ids)

    @cached_property
    def _probabilities(self) -> np.ndarray:
        return metrics.probabilities(self._scores, multi_label=self._several)

    @cached_property
    def _predicted(self) -> np.ndarray:
        return metrics.predictions(self._scores, self._labels)

    @cached_property
    def matrix(self) -> np.ndarray | None:
        """The confusion matrix, (classes, classes) int64: rows are labels, columns are the best classes."""
        return None if self._several else metrics.confusion_matrix(self._scores, self._labels)

    @cached_property
    def classes(self) -> list[ClassResult]:
        """Every class, in the order of the labels."""
        return class_results(self._all.scores, self._all.labels, self.names)

    @cached_property
    def confusions(self) -> list[Confusion] | None:
        """All pairs of classes that were confused, the most frequent ones first."""
        if self.matrix is None:
            return None
        wrong = self.matrix * ~np.eye(len(self.names), dtype=bool)
        labels, predicted = np.nonzero(wrong)
        videos = self.matrix.sum(axis=1)
        found = [
            Confusion(self.names[a], self.names[b], int(wrong[a, b]), float(wrong[a, b] / videos[a]))
            for a, b in zip(labels, predicted)
        ]
        return sorted(found, key=lambda pair: (-pair.count, -pair.fraction))

    @property
    def calibration_error(self) -> float | None:
        """In percent; nan without labels. See `metrics.calibration_error`."""
        if self._several:
            return None
        return metrics.calibration_error(self._probabilities.max(axis=1), self._predicted == self._labels)

    @cached_property
    def mistakes(self) -> list[Mistake] | None:
        """The videos with a wrong best class, those with the highest probability of it first."""
        if self._several:
            return None
        rows = np.flatnonzero(self._predicted != self._labels)
        chosen = self._probabilities[rows, self._predicted[rows]]
        return [
            Mistake(self._ids[row], self.names[self._labels[row]], self.names[self._predicted[row]], float(probability))
            for probability, row in sorted(zip(chosen.tolist(), rows.tolist()), key=lambda one: (-one[0], one[1]))
        ]

    def summary(self) -> dict[str, Any]:
        """All numbers, as JSON holds them."""
        return {
            "classes": [_without_none(vars(found)) for found in self.classes],
            "confusion_matrix": None if self.matrix is None else self.matrix.tolist(),
            "confusions": None if self.confusions is None else [vars(pair) for pair in self.confusions],
            "calibration_error": self.calibration_error,
        }


def similarity_order(matrix: np.ndarray) -> np.ndarray:
    """An order of the classes that puts those next to each other that are confused with each other.

    Classes are sorted by the Fiedler vector of the graph of their confusions (Atkins, Boman and Hendrickson, A spectral
    algorithm for seriation, 1998), separately in each of its connected parts.

    Args:
        matrix: (classes, classes), rows are labels.

    Returns:
        (classes,) int64: the class at each place.
    """
    rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    weights = rates + rates.T
    np.fill_diagonal(weights, 0)
    order: list[int] = []
    for part in _connected_parts(weights > 0):
        inside = weights[np.ix_(part, part)]
        laplacian = np.diag(inside.sum(axis=1)) - inside
        place = np.linalg.eigh(laplacian)[1][:, 1] if len(part) > 2 else np.arange(len(part))
        found = part[np.argsort(place, kind="stable")]
        order += (found if found[0] < found[-1] else found[::-1]).tolist()
    return np.array(order, np.int64)


def _connected_parts(joined: np.ndarray) -> list[np.ndarray]:
    """The connected parts of a graph: the nodes of each, by their first node."""
    left = np.ones(len(joined), bool)
    parts = []
    while left.any():
        inside = np.zeros(len(joined), bool)
        new = np.flatnonzero(left)[:1]
        while len(new):
            inside[new] = True
            new = np.flatnonzero(joined[new].any(axis=0) & ~inside)
        left &= ~inside
        parts.append(np.flatnonzero(inside))
    return parts


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
