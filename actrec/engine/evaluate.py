"""One score per video out of all its views, and what follows from the scores."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from actrec.data.files import atomic_write
from actrec.data.lists import Video
from actrec.engine import metrics
from actrec.engine.devices import autocast
from actrec.pipelines.loader import EvalLoader

Average = Literal["logits", "probabilities"]
_VIEWS_AT_ONCE = 32  # clips that pass the net together


@dataclass(frozen=True)
class Result:
    """Scores of a list's videos.

    Args:
        ids: of the scored videos, in the list's order.
        scores: (videos, classes) float32 logits; softmax gives probabilities however the views were averaged.
        labels: (videos,) int64, -1 where the list has none.
        missing: reason by id of the videos that could not be decoded; they have no score and count nowhere.
        clamped: planned frames that lay past a video's last one.

    Accuracies are in percent, over the videos that have a label.
    """

    ids: list[str]
    scores: np.ndarray
    labels: np.ndarray
    missing: dict[str, str] = field(default_factory=dict)
    clamped: int = 0

    @property
    def num_videos(self) -> int:
        return len(self.ids)

    @cached_property
    def _labelled(self) -> tuple[np.ndarray, np.ndarray]:
        has = self.labels >= 0
        return self.scores[has], self.labels[has]

    @property
    def top1(self) -> float:
        return metrics.accuracy(*self._labelled, k=1)

    @property
    def top5(self) -> float:
        return metrics.accuracy(*self._labelled, k=5)

    @property
    def mean_class(self) -> float:
        return metrics.mean_class_accuracy(*self._labelled)

    @property
    def loss(self) -> float:
        return metrics.cross_entropy(*self._labelled)

    def __str__(self) -> str:
        counts = f"({self.num_videos} videos, {len(self.missing)} missing)"
        if not len(self._labelled[1]):
            return f"no labels to compare with {counts}"
        return f"top-1 {self.top1:.2f}  top-5 {self.top5:.2f}  mean-class {self.mean_class:.2f}  {counts}"


def evaluate(
    net: torch.nn.Module,
    loader: EvalLoader,
    *,
    average: Average = "logits",
    precision: Literal["float32", "bfloat16"] = "float32",
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Scores every video of a loader. The net is left in the mode it was in.

    Args:
        average: what is averaged over a video's views. Averaged probabilities are stored as their logarithms.
        progress: called with the number of videos after each batch.

    Raises:
        ValueError: a label of the list that the net has no class for, or an unknown `average`.
    """
    if average not in ("logits", "probabilities"):
        raise ValueError(f"average {average!r}: expected logits or probabilities")
    ids: list[str] = []
    scores, labels = [], []
    training, clamped_before = net.training, loader.clamped
    net.eval()
    try:
        with torch.inference_mode(), autocast(loader.device.type, precision):
            for batch in loader:
                if len(batch):
                    scores.append(_video_scores(net, batch.clips, batch.views, average).cpu().numpy())
                    if not ids:
                        check_labels(loader.videos, scores[0].shape[1])
                    ids += batch.videos
                    labels.append(batch.labels.cpu().numpy())
                if progress:
                    progress(len(batch))
    finally:
        net.train(training)
    if not ids:
        reason = next(iter(loader.skipped.items()), ("", "the list is empty"))
        raise ValueError(f"no video could be scored; {reason[0]}: {reason[1]}")
    scored = set(ids)
    missing = {id_: reason for id_, reason in loader.skipped.items() if id_ not in scored}
    return Result(ids, np.concatenate(scores), np.concatenate(labels), missing, loader.clamped - clamped_before)


def check_labels(videos: Sequence[Video], num_classes: int) -> None:
    """Raises ValueError if a video has several labels, or one that the net has no class for."""
    for video in videos:
        if len(video.labels) > 1:
            raise ValueError(f"{video.id} has {len(video.labels)} labels: expected one, nets here choose one class")
        if video.labels and video.labels[0] >= num_classes:
            raise ValueError(
                f"{video.id} has label {video.labels[0]}: expected at most {num_classes - 1} for {num_classes} classes"
            )


def _video_scores(net: torch.nn.Module, clips: torch.Tensor, views: int, average: Average) -> torch.Tensor:
    """(videos, classes) float32 from clips (videos * views, C, T, H, W)."""
    logits = torch.cat([net(part).float() for part in clips.split(_VIEWS_AT_ONCE)]).unflatten(0, (-1, views))
    if average == "logits":
        return logits.mean(1)
    return logits.log_softmax(-1).logsumexp(1) - float(np.log(views))


def save_scores(path: str | os.PathLike, result: Result) -> None:
    """`.npz` with ids (unicode), scores (videos, classes) float32, labels int64."""
    with atomic_write(path, "wb") as file:
        np.savez(file, ids=np.array(result.ids, str), scores=result.scores, labels=result.labels)


def save_reference(folder: Path, stem: str, result: Result) -> list[Path]:
    """IBM's files: `<stem>_details.npy`, float64 scores in list order, and `<stem>.csv`, the five best classes.

    The csv's lines are `<video>;<c1>;…;<c5>` with the last part of the id (the reference's folder name). Missing videos
    are not in either file.
    """
    scores_path, csv_path = folder / f"{stem}_details.npy", folder / f"{stem}.csv"
    with atomic_write(scores_path, "wb") as file:
        np.save(file, result.scores.astype(np.float64))
    best = np.argsort(-result.scores, axis=1, kind="stable")[:, :5]
    with atomic_write(csv_path) as file:
        rows = csv.writer(file, delimiter=";", lineterminator="\n")
        rows.writerows([os.path.basename(id_), *classes] for id_, classes in zip(result.ids, best.tolist()))
    return [scores_path, csv_path]


def save_topk_json(path: str | os.PathLike, result: Result, classes: Sequence[str], k: int) -> None:
    """Hara's result file: `{"results": {id: [{"label": name, "score": probability}, …]}}`, the k best of each video.

    Args:
        classes: names by label.
        k: how many, all if 0 or less.
    """
    shifted = np.exp(result.scores.astype(np.float64) - result.scores.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : k if k > 0 else None]
    results = {
        id_: [{"label": classes[c], "score": float(row[c])} for c in order]
        for id_, row, order in zip(result.ids, probabilities, best)
    }
    with atomic_write(path) as file:
        json.dump({"results": results}, file, ensure_ascii=False)
