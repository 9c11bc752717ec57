"""How the videos of each class were scored. Does not load torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actrec.engine import metrics
from actrec.words import column_width, padded, some_of


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


def class_results(scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[ClassResult]:
    """Every class, in the order of the labels. Videos without a label count with several labels only, as negatives.

    Args:
        scores: (videos, classes).
        labels: (videos,) int, -1 without a label; with several labels (videos, classes) bool.
    """
    if labels.ndim == 2:
        return [
            ClassResult(
                name,
                int(labels[:, c].sum()),
                average_precision=100 * metrics.average_precision(scores[:, c], labels[:, c]),
            )
            for c, name in enumerate(names)
        ]
    has = metrics.is_labeled(labels)
    found = []
    for label, (name, row) in enumerate(zip(names, metrics.confusion_matrix(scores[has], labels[has]))):
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
                tuple(names[other] for other in np.flatnonzero(wrong == worst).tolist()) if worst else (),
                worst,
            )
        )
    return found


def table(rows: Sequence[ClassResult]) -> list[str]:
    """The classes as lines of text, with a heading."""
    width = column_width(["class", *(row.name for row in rows)])
    if any(row.average_precision is not None for row in rows):
        lines = [f"{'class':<{width}}  {'videos':>6}  {'AP':>6}"]
        return lines + [
            f"{padded(row.name, width)}  {row.videos:>6}  {_percent(row.average_precision):>6}" for row in rows
        ]
    lines = [f"{'class':<{width}}  {'videos':>6}  {'right':>6}  {'accuracy':>8}  mistaken for"]
    for row in rows:
        each = " each" if len(row.mistaken_for) > 1 else ""
        mistaken = f"{some_of(row.mistaken_for, 3)} ({row.times}{each})" if row.mistaken_for else "-"
        lines.append(
            f"{padded(row.name, width)}  {row.videos:>6}  {row.right:>6}  {_percent(row.accuracy):>8}  {mistaken}"
        )
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
