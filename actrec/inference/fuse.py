"""Late fusion: one score per video from several score files. numpy only.

The weights of the files can be fitted: they minimize the cross-entropy of the fused scores. They are not negative, and
their sum is 1. This problem is convex, so the result does not depend on where the search begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from actrec.config import Fusion
from actrec.data.score_file import ScoreFile
from actrec.engine import metrics
from actrec.engine.result import Result
from actrec.words import counted

Files = Mapping[str, ScoreFile]  # by the names that messages call them

_STEPS = 2000  # of a fit, at most
_TOLERANCE = 1e-7  # nats
_SMALLEST = 1e-12  # weight during a fit


@dataclass(frozen=True)
class Fused:
    """The result of a fusion.

    Args:
        result: The scores (logits) and accuracies of the fusion.
        weights: (files,), for cross-validation their mean over the parts.
        of_folds: (parts, files) the weights with which each part was scored; None without cross-validation.
    """

    result: Result
    weights: np.ndarray
    of_folds: np.ndarray | None = None


def align(files: Files, *, common: bool = False) -> tuple[dict[str, ScoreFile], list[str]]:
    """The files with the same videos in the same order, that of the first file.

    Args:
        common: Leave out videos that are not in every file.

    Returns:
        The files, and the ids of the videos that were left out.

    Raises:
        ValueError: The files do not fit together: classes, labels, or (without `common`) videos differ.
    """
    check_classes(files)
    rows = {name: {id_: row for row, id_ in enumerate(content.ids)} for name, content in files.items()}
    every = dict.fromkeys(id_ for of_file in rows.values() for id_ in of_file)
    ids = [id_ for id_ in every if all(id_ in of_file for of_file in rows.values())]
    shared = set(ids)
    left_out = [id_ for id_ in every if id_ not in shared]
    if not ids:
        raise ValueError(f"{' and '.join(files)} have no video in common: expected scores of the same list")
    if left_out and not common:
        name = next(name for name, of_file in rows.items() if left_out[0] not in of_file)
        raise ValueError(
            f"{counted(len(left_out), 'video')} of {len(every)} are not in every file ({left_out[0]} is not in {name}):"
            " pass --common to leave them out"
        )
    found = {}
    for name, content in files.items():
        order = np.array([rows[name][id_] for id_ in ids], np.int64)
        found[name] = replace(content, ids=ids, scores=content.scores[order], labels=content.labels[order])
    _check_labels(found)
    return found, left_out


def check_classes(files: Files) -> None:
    """Raises ValueError if the classes of the files differ, or if only some files have several labels per video."""
    (first, one), *others = files.items()
    for name, other in others:
        if one.multi_label != other.multi_label:
            several, single = (first, name) if one.multi_label else (name, first)
            raise ValueError(f"{several} has several labels for each video, {single} has one: expected the same")
        if len(one.classes) != len(other.classes):
            raise ValueError(
                f"{first} has {counted(len(one.classes), 'class')}, {name} has {len(other.classes)}: expected the same "
                "classes"
            )
        for label, (here, there) in enumerate(zip(one.classes, other.classes)):
            if here != there and one.has_names and other.has_names:
                raise ValueError(f"label {label} is {here!r} in {first}, and {there!r} in {name}: expected the same")


def fuse(files: Files, options: Fusion, *, fit_on: Files | None = None) -> Fused:
    """Combines scores.

    Args:
        files: As `align` returns them.
        options: With given weights or cross-validation. Otherwise, without `fit_on`, all files weigh the same.
        fit_on: Scores of other videos, in the order of `files`, on which the weights are fitted.

    Raises:
        ValueError: The number of weights differs from the number of files, or the weights cannot be fitted.
    """
    found = list(files.values())
    logits = np.stack([content.scores.astype(np.float64) for content in found])
    labels, several = found[0].labels, found[0].multi_label
    ids, average = list(found[0].ids), options.average

    def result(scores: np.ndarray) -> Result:
        return Result(ids, scores.astype(np.float32), labels)

    if options.folds is not None:
        parts = _parts(metrics.is_labeled(labels), options.folds, options.seed)
        scores = np.empty_like(logits[0])
        weights = []
        for part in range(options.folds):
            inside = parts == part
            weights.append(_fit(logits[:, ~inside], labels[~inside], average))
            scores[inside] = _combine(logits[:, inside], weights[-1], average, multi_label=several)
        return Fused(result(scores), np.mean(weights, axis=0), np.array(weights))
    if fit_on is not None:
        others = list(fit_on.values())
        own = _fit(np.stack([content.scores.astype(np.float64) for content in others]), others[0].labels, average)
    else:
        own = _given(options.weights, len(found))
    return Fused(result(_combine(logits, own, average, multi_label=several)), own)


def _given(weights: Sequence[float] | None, num_files: int) -> np.ndarray:
    if weights is None:
        return np.full(num_files, 1 / num_files)
    if len(weights) != num_files:
        raise ValueError(f"{counted(len(weights), 'fusion weight')} for {num_files} files: expected one for each")
    if not sum(weights):
        raise ValueError("all fusion weights are 0: expected at least one above 0")
    return np.array(weights, np.float64) / sum(weights)


def _combine(logits: np.ndarray, weights: np.ndarray, average: str, *, multi_label: bool) -> np.ndarray:
    """Logits (videos, classes) of the fusion of logits (files, videos, classes)."""
    used = weights > 0
    logits, weights = logits[used], weights[used]
    if average == "logits":
        return np.tensordot(weights, logits, 1)
    yes = _mean_probabilities(logits, weights, multi_label=multi_label)
    return yes - _mean_probabilities(-logits, weights, multi_label=True) if multi_label else yes


def _mean_probabilities(logits: np.ndarray, weights: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """The logarithms of the weighted means of the probabilities."""
    logs = [
        np.log(weight) + metrics.log_probabilities(of_file, multi_label=multi_label)
        for weight, of_file in zip(weights, logits)
    ]
    return np.logaddexp.reduce(logs, axis=0)


# ---- fitting ----


def _fit(logits: np.ndarray, labels: np.ndarray, average: str) -> np.ndarray:
    """The weights (files,) that minimize the cross-entropy of the fusion.

    Args:
        logits: (files, videos, classes).
        labels: As in `ScoreFile`. With one label for each video, those without a label do not count.
    """
    if not metrics.is_labeled(labels).any():
        raise ValueError("the weights cannot be fitted: no video has a label")
    if labels.ndim == 1:
        logits, labels = logits[:, labels >= 0], labels[labels >= 0]
    loss = _loss_of_logits(logits, labels) if average == "logits" else _loss_of_probabilities(logits, labels)
    return _minimize(loss, len(logits))


def _loss_of_probabilities(logits: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The cross-entropy and its gradient, as a function of the weights."""
    logs = np.stack([_log_likelihoods(of_file, labels) for of_file in logits])  # (files, answers)
    top = logs.max(axis=0)
    likelihoods = np.exp(logs - top)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ likelihoods
        return -float((np.log(mixed) + top).mean()), -(likelihoods / mixed).mean(axis=1)

    return loss


def _loss_of_logits(logits: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The cross-entropy and its gradient, as a function of the weights."""
    several = labels.ndim == 2
    is_label = labels if several else labels[:, None] == np.arange(logits.shape[2])
    answers = is_label.size if several else len(labels)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.tensordot(weights, logits, 1)
        away = metrics.probabilities(mixed, multi_label=several) - is_label
        return -float(_log_likelihoods(mixed, labels).mean()), np.tensordot(logits, away, 2) / answers

    return loss


def _log_likelihoods(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities of what is true: (videos,), with several labels (videos * classes,)."""
    if labels.ndim == 2:
        return metrics.log_probabilities(np.where(labels, logits, -logits), multi_label=True).ravel()
    return metrics.log_probabilities(logits, multi_label=False)[np.arange(len(labels)), labels]


def _minimize(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> np.ndarray:
    """The minimum of a convex function on the simplex, by exponentiated gradient descent (Kivinen and Warmuth, 1997).

    The step is doubled after each success, and halved while it gains less than the linear model promises.
    """
    weights, step = np.full(size, 1 / size), 1.0
    value, gradient = loss(weights)
    for _ in range(_STEPS):
        if weights @ gradient - gradient.min() < _TOLERANCE:  # an upper bound of how far the loss is above its minimum
            break
        new = weights * np.exp(-step * (gradient - gradient.min()))
        new = np.maximum(new / new.sum(), _SMALLEST)  # from 0 no step would lead away
        new /= new.sum()
        new_value, new_gradient = loss(new)
        if new_value <= value + 0.5 * float(gradient @ (new - weights)):
            weights, value, gradient = new, new_value, new_gradient
            step *= 2
        else:
            step /= 2
    weights[weights < 1e3 * _SMALLEST] = 0
    return weights / weights.sum()


def _parts(labeled: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The part (videos,) of each video. Every part has the same number of labeled videos, give or take one."""
    if labeled.sum() < folds:
        raise ValueError(f"{counted(int(labeled.sum()), 'labeled video')} for {folds} parts: expected one in each")
    random = np.random.default_rng(seed)
    parts = np.empty(len(labeled), np.int64)
    for chosen in (labeled, ~labeled):
        parts[chosen] = random.permutation(int(chosen.sum())) % folds
    return parts


def _check_labels(files: Files) -> None:
    (first, one), *others = files.items()
    for name, content in files.items():
        bad = np.flatnonzero(~np.isfinite(content.scores).all(axis=1))
        if len(bad):
            raise ValueError(f"{name}: the scores of {content.ids[bad[0]]} are not finite numbers")
    for name, other in others:
        differs = one.labels != other.labels
        rows = np.flatnonzero(differs.any(axis=1) if one.multi_label else differs)
        if len(rows):
            raise ValueError(
                f"{counted(len(rows), 'video')} of {len(one.ids)}, such as {one.ids[rows[0]]}, have other labels in "
                f"{name} than in {first}: expected the same"
            )
