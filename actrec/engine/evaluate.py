"""One score per video out of all its views, and what follows from the scores."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from actrec.data.lists import Video, check_labels
from actrec.engine import metrics
from actrec.engine.devices import autocast
from actrec.files import atomic_write, write_json
from actrec.pipelines.loader import Loader

Average = Literal["logits", "probabilities"]
_VIEWS_AT_ONCE = 32  # clips that pass the net together


@dataclass(frozen=True)
class Result:
    """Scores of a list's videos.

    Args:
        ids: of the scored videos, in the list's order.
        scores: (videos, classes) float32 logits; softmax gives probabilities however the views were averaged, sigmoid
            where there may be several labels.
        labels: (videos,) int64, -1 where the list has none; with several labels (videos, classes) bool.
        missing: reason by id of the videos that could not be decoded; they have no score and count nowhere.
        clamped: planned frames that lay past a video's last one.

    Accuracies are in percent, over the videos that have a label. With several labels a hit is any of them, and videos
    without one are of no class: they count in `map` and `loss`.
    """

    ids: list[str]
    scores: np.ndarray
    labels: np.ndarray
    missing: dict[str, str] = field(default_factory=dict)
    clamped: int = 0

    @property
    def num_videos(self) -> int:
        return len(self.ids)

    @property
    def multi_label(self) -> bool:
        return self.labels.ndim == 2

    @cached_property
    def _labeled(self) -> tuple[np.ndarray, np.ndarray]:
        has = self.labels.any(axis=1) if self.multi_label else self.labels >= 0
        return self.scores[has], self.labels[has]

    @property
    def top1(self) -> float:
        return metrics.accuracy(*self._labeled, k=1)

    @property
    def top5(self) -> float:
        return metrics.accuracy(*self._labeled, k=5)

    @property
    def mean_class(self) -> float:
        """nan with several labels."""
        return float("nan") if self.multi_label else metrics.mean_class_accuracy(*self._labeled)

    @cached_property
    def map(self) -> float:
        """Mean average precision in percent, over the classes that occur; nan where each video has one label."""
        return metrics.mean_average_precision(self.scores, self.labels) if self.multi_label else float("nan")

    @property
    def score(self) -> float:
        """What says which of two results is better: `map` with several labels, else `top1`."""
        return self.map if self.multi_label else self.top1

    @property
    def loss(self) -> float:
        if self.multi_label:
            return metrics.binary_cross_entropy(self.scores, self.labels)
        return metrics.cross_entropy(*self._labeled)

    @property
    def accuracies(self) -> dict[str, float]:
        """What a run's log keeps of it, by name."""
        return {"map": self.map, "top1": self.top1} if self.multi_label else {"top1": self.top1, "top5": self.top5}

    def __str__(self) -> str:
        counts = f"({self.num_videos} videos, {len(self.missing)} missing)"
        if not len(self._labeled[1]):
            return f"no labels to compare with {counts}"
        if self.multi_label:
            return f"mAP {self.map:.2f}  top-1 {self.top1:.2f}  {counts}"
        return f"top-1 {self.top1:.2f}  top-5 {self.top5:.2f}  mean-class {self.mean_class:.2f}  {counts}"


def evaluate(
    net: torch.nn.Module,
    loader: Loader,
    *,
    average: Average = "logits",
    precision: Literal["float32", "bfloat16"] = "float32",
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Scores every video of a loader. The net is left in the mode it was in.

    Args:
        average: what is averaged over a video's views. Averaged probabilities are stored as their logarithms, with
            several labels as their logits.
        progress: called with the number of videos after each batch.

    Raises:
        ValueError: a label of the list that the net has no class for, an unknown `average`, or no video that could be
            scored.
    """
    return check_scored(score(net, loader, average=average, precision=precision, progress=progress))


def score(
    net: torch.nn.Module,
    loader: Loader,
    *,
    average: Average = "logits",
    precision: Literal["float32", "bfloat16"] = "float32",
    progress: Callable[[int], None] | None = None,
) -> Result:
    """As `evaluate`, of a rank's share, which may be empty or wholly unreadable. `merge` puts the shares together."""
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
                    logits = _view_logits(net, batch.clips, batch.views)
                    if not ids:
                        _check_classes(loader, logits.shape[-1])
                    scores.append(_AVERAGE[average, loader.multi_label is not None](logits).cpu().numpy())
                    ids += batch.videos
                    labels.append(batch.labels.cpu().numpy())
                if progress:
                    progress(len(batch))
    finally:
        net.train(training)
    scored = set(ids)
    missing = {id_: reason for id_, reason in loader.skipped.items() if id_ not in scored}
    clamped = loader.clamped - clamped_before
    if not ids:
        return _nothing_scored(net, loader, missing, clamped)
    shown = np.concatenate(labels)
    return Result(
        ids, np.concatenate(scores), shown if loader.multi_label is None else shown.astype(bool), missing, clamped
    )


def merge(results: Sequence[Result], videos: Sequence[Video]) -> Result:
    """One result out of those of all ranks, in the order of `videos`, each of which counts once.

    Args:
        results: of `score`, each of a part of `videos`; a video of several parts counts as the first has it.
    """
    rows: dict[str, tuple[int, int]] = {}  # which result, and which row of it
    for number, result in enumerate(results):
        for row, id_ in enumerate(result.ids):
            rows.setdefault(id_, (number, row))
    missing = {id_: reason for result in results for id_, reason in result.missing.items() if id_ not in rows}
    ids = [video.id for video in videos if video.id in rows]
    assert len(ids) == len(rows), "scores of videos that are not in the list"
    filled = [number for number, result in enumerate(results) if result.ids] or [0]
    firsts = dict(zip(filled, np.cumsum([0, *(results[number].num_videos for number in filled)]).tolist()))
    order = np.array([firsts[number] + row for number, row in map(rows.get, ids)], np.int64)
    return Result(
        ids,
        np.concatenate([results[number].scores for number in filled])[order],
        np.concatenate([results[number].labels for number in filled])[order],
        {video.id: missing[video.id] for video in videos if video.id in missing},
        sum(result.clamped for result in results),
    )


def check_scored(result: Result) -> Result:
    """The same result. Raises ValueError if there is no score in it."""
    if not result.ids:
        reason = next(iter(result.missing.items()), ("", "the list is empty"))
        raise ValueError(f"no video could be scored; {reason[0]}: {reason[1]}")
    return result


def _check_classes(loader: Loader, num_classes: int) -> None:
    if loader.multi_label is None:
        check_labels(loader.videos, num_classes)
    elif loader.multi_label != num_classes:
        raise ValueError(f"multi_label {loader.multi_label} with a net of {num_classes} classes: expected as many")


def _nothing_scored(net: torch.nn.Module, loader: Loader, missing: dict[str, str], clamped: int) -> Result:
    num_classes = loader.multi_label or getattr(net, "options", {}).get("num_classes", 0)
    labels = np.empty(0, np.int64) if loader.multi_label is None else np.empty((0, num_classes), bool)
    return Result([], np.empty((0, num_classes), np.float32), labels, missing, clamped)


def _view_logits(net: torch.nn.Module, clips: torch.Tensor, views: int) -> torch.Tensor:
    """(videos, views, classes) float32 from clips (videos * views, C, T, H, W)."""
    kind = torch.float64 if any(p.dtype == torch.float64 for p in net.parameters()) else clips.dtype
    return torch.cat([net(part.to(kind)).float() for part in clips.split(_VIEWS_AT_ONCE)]).unflatten(0, (-1, views))


def _mean_logits(logits: torch.Tensor) -> torch.Tensor:
    return logits.mean(1)


def _mean_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Logarithms of the mean probabilities."""
    return logits.log_softmax(-1).logsumexp(1) - float(np.log(logits.shape[1]))


def _mean_sigmoid(logits: torch.Tensor) -> torch.Tensor:
    """Logits of the mean probabilities: log p - log (1 - p)."""
    log_sigmoid = torch.nn.functional.logsigmoid
    return log_sigmoid(logits).logsumexp(1) - log_sigmoid(-logits).logsumexp(1)


_AVERAGE = {  # by what is averaged, and whether there may be several labels
    ("logits", False): _mean_logits,
    ("logits", True): _mean_logits,
    ("probabilities", False): _mean_softmax,
    ("probabilities", True): _mean_sigmoid,
}


def save_scores(path: str | os.PathLike, result: Result) -> None:
    """`.npz` with ids (unicode), scores (videos, classes) float32, labels as `Result` has them."""
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
    scores = torch.from_numpy(result.scores).double()
    probabilities = (scores.sigmoid() if result.multi_label else scores.softmax(1)).numpy()
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : k if k > 0 else None]
    results = {
        id_: [{"label": classes[c], "score": float(row[c])} for c in order]
        for id_, row, order in zip(result.ids, probabilities, best)
    }
    write_json(path, {"results": results})
