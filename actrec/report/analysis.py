"""Analyzes scores: a table of the classes, confusions, calibration, and the most confident mistakes. numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from actrec.data.score_file import ScoreFile
from actrec.engine import metrics
from actrec.words import some_of


@dataclass(frozen=True)
class ClassResult:
    """How the videos of one class were scored.

    Args:
        name: The name of the class.
        videos: Number of its videos; with several labels, of the videos that have this label among others.
        right: Number of its videos whose best class it is; None with several labels.
        accuracy: Percent of its videos; nan without videos; None with several labels.
        mistaken_for: The wrong classes that were predicted most often for its videos: several if equally often.
        times: How often each of these classes was predicted.
        average_precision: In percent, with several labels only; nan without videos.
    """

    name: str
    videos: int
    right: int | None = None
    accuracy: float | None = None
    mistaken_for: tuple[str, ...] = ()
    times: int = 0
    average_precision: float | None = None


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
        if self._several:
            return None
        size = len(self.names)
        cells = np.bincount(self._labels * size + self._predicted, minlength=size * size)
        return cells.reshape(size, size).astype(np.int64)

    @cached_property
    def classes(self) -> list[ClassResult]:
        """Every class, in the order of the labels."""
        if self.matrix is None:  # a video without a label counts as a negative, as in the mean average precision
            scores, labels = self._all.scores, self._all.labels
            return [
                ClassResult(
                    name,
                    int(labels[:, c].sum()),
                    average_precision=100 * metrics.average_precision(scores[:, c], labels[:, c]),
                )
                for c, name in enumerate(self.names)
            ]
        found = []
        for label, (name, row) in enumerate(zip(self.names, self.matrix)):
            videos, right = int(row.sum()), int(row[label])
            wrong = row.copy()
            wrong[label] = 0
            worst = int(wrong.max())
            found.append(
                ClassResult(
                    name,
                    videos,
                    right,
                    100 * right / videos if videos else math.nan,
                    tuple(self.names[other] for other in np.flatnonzero(wrong == worst)) if worst else (),
                    worst,
                )
            )
        return found

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


def table(rows: Sequence[ClassResult]) -> list[str]:
    """The classes as lines of text, with a heading."""
    width = max([len("class"), *(len(row.name) for row in rows)])
    if any(row.average_precision is not None for row in rows):
        lines = [f"{'class':<{width}}  {'videos':>6}  {'AP':>6}"]
        return lines + [f"{row.name:<{width}}  {row.videos:>6}  {_percent(row.average_precision):>6}" for row in rows]
    lines = [f"{'class':<{width}}  {'videos':>6}  {'right':>6}  {'accuracy':>8}  mistaken for"]
    for row in rows:
        each = " each" if len(row.mistaken_for) > 1 else ""
        mistaken = f"{some_of(row.mistaken_for, 3)} ({row.times}{each})" if row.mistaken_for else "-"
        lines.append(f"{row.name:<{width}}  {row.videos:>6}  {row.right:>6}  {_percent(row.accuracy):>8}  {mistaken}")
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
