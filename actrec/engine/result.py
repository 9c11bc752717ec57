"""The scores of a list's videos, and their accuracies. Does not load torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from actrec.data.score_file import ScoreFile
from actrec.engine import metrics
from actrec.words import counted


@dataclass(frozen=True)
class Result:
    """Scores of a list's videos.

        result = actrec.evaluate(net, "val.txt", clip=actrec.Clip(frames=8))
        print(result.top1, result.mean_class, result.scores.shape)
        for id_, reason in result.missing.items():
            print(id_, reason)

    Args:
        ids: The scored videos, in the order of the list.
        scores: (videos, classes) float32 logits. Their softmax gives probabilities, for several labels their sigmoid,
            however the views were averaged.
        labels: (videos,) int64, -1 for a video without a label; for several labels (videos, classes) bool.
        missing: For each video that could not be decoded, its id and the reason. It has no score and is not counted.
        clamped: Number of planned frames after the last frame of their video.
        left_out: For each video that the protocol of the evaluation leaves out, its id and the reason. It has no score
            and is not counted.

    Accuracies are in percent, over the videos that have a label. If a video has several labels, a
    prediction of any of them is a hit. In `map` and `loss`, a video without a label then counts as a negative for every
    class.
    """

    ids: list[str]
    scores: np.ndarray
    labels: np.ndarray
    missing: dict[str, str] = field(default_factory=dict)
    clamped: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, content: ScoreFile) -> Result:
        """The scores of a file."""
        return cls(list(content.ids), content.scores, content.labels)

    @property
    def num_videos(self) -> int:
        return len(self.ids)

    @property
    def multi_label(self) -> bool:
        return self.labels.ndim == 2

    @cached_property
    def _labeled(self) -> tuple[np.ndarray, np.ndarray]:
        has = metrics.is_labeled(self.labels)
        return self.scores[has], self.labels[has]

    @property
    def top1(self) -> float:
        """Percentage of videos the best class of which is right."""
        return metrics.accuracy(*self._labeled, k=1)

    @property
    def top5(self) -> float:
        """Percentage of videos with the right class among the best five."""
        return metrics.accuracy(*self._labeled, k=5)

    @property
    def tells_top5(self) -> bool:
        """Whether there are more than five classes. With fewer, the label is always among the first five."""
        return self.scores.shape[1] > 5

    @property
    def mean_class(self) -> float:
        """Top-1 accuracy, averaged over classes; nan with several labels."""
        return float("nan") if self.multi_label else metrics.mean_class_accuracy(*self._labeled)

    @cached_property
    def map(self) -> float:
        """Mean average precision in percent over the classes that occur; nan if each video has one label."""
        return metrics.mean_average_precision(self.scores, self.labels) if self.multi_label else float("nan")

    @property
    def score(self) -> float:
        """The figure by which results are compared: `map` with several labels, else `top1`."""
        return self.map if self.multi_label else self.top1

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the labeled videos; with several labels, the binary cross-entropy of all videos."""
        if self.multi_label:
            return metrics.binary_cross_entropy(self.scores, self.labels)
        return metrics.cross_entropy(*self._labeled)

    @property
    def accuracies(self) -> dict[str, float]:
        """The accuracies that are logged, by name."""
        if self.multi_label:
            return {"map": self.map, "top1": self.top1}
        return {"top1": self.top1} | ({"top5": self.top5} if self.tells_top5 else {})

    def summary(self) -> dict[str, Any]:
        """All accuracies and the number of videos, for JSON."""
        own = {"map": self.map} if self.multi_label else {"mean_class": self.mean_class}
        return own | {"top1": self.top1, "top5": self.top5, "videos": self.num_videos}

    def __str__(self) -> str:
        left_out = f", {len(self.left_out)} left out by the protocol" if self.left_out else ""
        counts = f"({counted(self.num_videos, 'video')}, {len(self.missing)} missing{left_out})"
        if not len(self._labeled[1]):
            return f"no labels to compare with {counts}"
        if self.multi_label:
            return f"mAP {self.map:.2f}  top-1 {self.top1:.2f}  {counts}"
        top5 = f"  top-5 {self.top5:.2f}" if self.tells_top5 else ""
        return f"top-1 {self.top1:.2f}{top5}  mean-class {self.mean_class:.2f}  {counts}"
