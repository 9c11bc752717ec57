"""The scores of one run as the page shows them: classes, confusion matrix, and chosen videos. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actrec.data import score_file
from actrec.data.score_file import ScoreFile
from actrec.engine import metrics
from actrec.engine.result import Result
from actrec.report.analysis import Analysis, similarity_order
from actrec.words import counted

_SHEETS = ("Most confident mistakes", "Other mistakes", "Right")


@dataclass(frozen=True)
class Scored:
    """A score file with the names of its classes."""

    path: Path
    content: ScoreFile

    @cached_property
    def result(self) -> Result:
        return Result.of(self.content)

    @cached_property
    def analysis(self) -> Analysis:
        """Of the videos with finite scores."""
        ids = [id_ for id_, finite in zip(self.content.ids, self.finite) if finite]
        scores, labels = self.content.scores[self.finite], self.content.labels[self.finite]
        return Analysis(replace(self.content, ids=ids, scores=scores, labels=labels))

    @property
    def chance(self) -> float | None:
        """Top-1 in percent of a net that guesses; None for several labels."""
        return None if self.content.multi_label else 100 / len(self.content.classes)

    @property
    def largest_class(self) -> float | None:
        """Top-1 in percent of a net that always predicts the most frequent class; None without labels."""
        counts = self.analysis.matrix
        return 100 * float(counts.sum(axis=1).max() / counts.sum()) if counts is not None and counts.any() else None

    @property
    def measure(self) -> str:
        """What is shown of each class."""
        return "average precision" if self.content.multi_label else "accuracy"

    @cached_property
    def unlabeled(self) -> int:
        """Number of videos without a label."""
        return int((~self.labeled).sum())

    @cached_property
    def labeled(self) -> np.ndarray:
        """(videos,) bool."""
        return metrics.is_labeled(self.content.labels)

    @cached_property
    def finite(self) -> np.ndarray:
        """(videos,) bool: all scores are finite numbers."""
        return np.asarray(np.isfinite(self.content.scores).all(axis=1))

    @cached_property
    def predicted(self) -> np.ndarray:
        """(videos,) int64: the most likely class."""
        scores, labels = self.content.scores, self.content.labels
        return scores.argmax(axis=1) if self.content.multi_label else metrics.predictions(scores, labels)

    @cached_property
    def right(self) -> np.ndarray:
        """(videos,) bool: the most likely class is the label, or one of the labels."""
        labels = self.content.labels
        return labels[np.arange(len(labels)), self.predicted] if labels.ndim == 2 else self.predicted == labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """(videos,) the probability of the most likely class."""
        scores = np.where(self.finite[:, None], self.content.scores, 0)
        found = metrics.probabilities(scores, multi_label=self.content.multi_label)
        return found[np.arange(len(found)), self.predicted]


def read(path: Path, classes: Sequence[str] | None) -> Scored:
    """Reads a score file.

    Args:
        classes: The names of the run's classes; None if they are unknown.

    Raises:
        OSError, ValueError: The file cannot be read, contains no video, or has another number of classes.
    """
    content = score_file.read(path)
    if not len(content.ids):
        raise ValueError(f"{path}: contains no video")
    if classes is not None and len(classes) != len(content.classes):
        raise ValueError(
            f"{path}: scores of {counted(len(content.classes), 'class')}, but the run has "
            f"{counted(len(classes), 'class')}"
        )
    names = content.classes if classes is None else classes
    return Scored(path, replace(content, classes=names))


def values(found: Scored) -> tuple[np.ndarray, np.ndarray]:
    """Of each class its number of videos, int64, and its accuracy or average precision in percent, nan without any."""
    rows = found.analysis.classes
    shown = [row.average_precision if found.content.multi_label else row.accuracy for row in rows]
    return np.array([row.videos for row in rows]), np.array(shown, float)


def matrix(found: Scored, max_cells: int) -> dict[str, Any] | None:
    """The confusion matrix for the chart, with the classes that occur, or None for several labels.

    Args:
        max_cells: Largest number of cells. The cells with the fewest videos are left out.
            Cells without videos are left out, too, except for those on the diagonal.
    """
    counts = found.analysis.matrix
    if counts is None or not counts.any():
        return None
    occur = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    order = [label for label in similarity_order(counts).tolist() if occur[label]]
    ordered = counts[np.ix_(order, order)]
    rows, columns = np.nonzero(ordered + np.eye(len(order), dtype=int))
    videos = ordered[rows, columns]
    kept = np.sort(np.argsort(-videos, kind="stable")[:max_cells])
    return {
        "classes": [found.analysis.names[label] for label in order],
        "totals": ordered.sum(axis=1).tolist(),
        "cells": np.stack([columns, rows, videos], axis=1)[kept].tolist(),
        "left_out": int(np.count_nonzero(videos) - np.count_nonzero(videos[kept])),
    }


def sheets(found: Scored, count: int) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Title, explanation and videos of each contact sheet.

    Args:
        count: Largest number of videos of a sheet.
    """
    usable = found.finite & found.labeled
    right, wrong = np.flatnonzero(usable & found.right), np.flatnonzero(usable & ~found.right)
    surest = wrong[np.argsort(-found.confidence[wrong], kind="stable")][:count]
    others = np.setdiff1d(wrong, surest)
    chosen = (surest, _spread(others, count), _spread(right, count))
    texts = (
        f"{len(surest)} of {len(wrong):,} mistakes, by the probability of the wrong class",
        f"{len(chosen[1])} of {len(others):,}, evenly spaced in the list",
        f"{len(chosen[2])} of {len(right):,}, evenly spaced in the list",
    )
    return [(title, text, [_video(found, row) for row in rows.tolist()])
            for title, text, rows in zip(_SHEETS, texts, chosen) if len(rows)]  # fmt: skip


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    if len(rows) <= count:
        return rows
    return rows[(np.arange(count) * 2 + 1) * len(rows) // (2 * count)]


def _video(found: Scored, row: int) -> dict[str, Any]:
    names, label = found.content.classes, found.content.labels[row]
    return {
        "id": found.content.ids[row],
        "true": ", ".join(names[i] for i in np.flatnonzero(label).tolist()) if label.ndim else names[label],
        "predicted": names[found.predicted[row]],
        "probability": f"{100 * found.confidence[row]:.1f}\N{NO-BREAK SPACE}%",
        "right": bool(found.right[row]),
        "picture": None,
        "reason": "",
    }
