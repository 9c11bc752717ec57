"""Measures how well simple classifiers separate the classes of videos by features.

A linear probe, k-nearest neighbors, and linear probes of a few videos per class, by scikit-learn (`actrec[probe]`).
This module does not need torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from actrec.config import Probe
from actrec.inference.embeddings import Embeddings, read
from actrec.words import counted

_STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 4))  # values of C that are tried
_FOLDS = 5
_ITERATIONS = 5000


@dataclass(frozen=True)
class Row:
    """One line of the result.

    Args:
        name: The classifier.
        accuracy: Top-1 accuracy in percent, the mean over several choices; None if there is no result.
        deviation: Standard deviation over several choices of the training videos.
        note: How it was obtained, or why there is no result.
    """

    name: str
    accuracy: float | None
    deviation: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Data:
    """Features of labeled videos: (N, C) float32 and (N,) int64, with the names of the classes if they are known."""

    ids: list[str]
    features: np.ndarray
    labels: np.ndarray
    classes: Sequence[str] = ()

    def name_of(self, label: int) -> str:
        """The name of a class, or its number if the name is unknown."""
        return self.classes[label] if label < len(self.classes) else str(label)


@dataclass(frozen=True)
class Result:
    """The accuracies on `val` of classifiers that were trained on `train`.

    Args:
        rows: One for each classifier.
        train, val: Number of videos.
        classes: Number of classes of the training videos.
        notes: What the user should know about the files.
    """

    rows: list[Row]
    train: int
    val: int
    classes: int
    notes: list[str]

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def probe_files(train: Path, val: Path, options: Probe = Probe()) -> Result:  # noqa: B008 - frozen
    """Trains classifiers on the features of one file of `actrec embed`, and scores them on those of another one.

    Raises:
        OSError, ValueError: A file cannot be read, or its features cannot be used.
        ValueError: scikit-learn is not installed.
    """
    require_sklearn()
    notes: list[str] = []
    first, second = (labeled(path, read(path), notes) for path in (train, val))
    if first.features.shape[1] != second.features.shape[1]:
        raise ValueError(
            f"{val}: {second.features.shape[1]} features per video, but {train} has {first.features.shape[1]}: "
            "expected files of the same net and layer"
        )
    for label, (here, there) in enumerate(zip(first.classes, second.classes)):
        if here != there:
            raise ValueError(f"label {label} is {here!r} in {train}, and {there!r} in {val}: expected the same")
    if len(np.unique(first.labels)) < 2:
        name = first.name_of(first.labels[0])
        raise ValueError(f"{train}: all videos have the label {name}: expected two or more classes")
    shared = len(set(first.ids) & set(second.ids))
    if shared:
        notes.append(f"{counted(shared, 'video')} of {val} have the same name as videos of {train}")
    unknown = int((~np.isin(second.labels, first.labels)).sum())
    if unknown:
        notes.append(f"{counted(unknown, 'video')} of {val} with labels that do not occur in {train} count as errors")
    result = probe(first, second, options)
    return replace(result, notes=[*notes, *result.notes])


def require_sklearn() -> None:
    """Raises ValueError if scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ValueError("linear-probe needs scikit-learn: pip install 'actrec[probe]'") from None


def labeled(path: Path, embeddings: Embeddings, notes: list[str]) -> Data:
    """The labeled videos of a file. The windows of a video are averaged.

    Raises:
        ValueError: There is none, some have several labels, or a feature is not a finite number.
    """
    if embeddings.labels.ndim != 1:
        raise ValueError(f"{path}: its videos have several labels: expected one label per video")
    has = embeddings.labels >= 0
    if not has.any():
        raise ValueError(f"{path}: no video has a label: expected features of a list with labels")
    if not has.all():
        notes.append(f"{counted(int((~has).sum()), 'row')} of {path} without a label are not used")
    bad = np.flatnonzero(~np.isfinite(embeddings.features).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{path}: NaN or infinity in {counted(len(bad), 'row')}, first in that of {embeddings.ids[bad[0]]}: "
            "expected finite numbers"
        )
    ids, first, video_of, counts = np.unique(
        np.array(embeddings.ids)[has], return_index=True, return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(ids), embeddings.features.shape[1]))
    np.add.at(sums, video_of, embeddings.features[has])
    order = np.argsort(first)
    means = (sums / counts[:, None])[order].astype(np.float32)
    labels = embeddings.labels[has][first[order]].astype(np.int64)
    return Data(ids[order].tolist(), means, labels, embeddings.classes or ())


def probe(train: Data, val: Data, options: Probe) -> Result:
    """The accuracies of all classifiers. Raises ValueError if the training videos have less than two classes."""
    rows = [_linear(train, val), _nearest(train, val, options.neighbors)]
    rows += [_few_shot(train, val, shots, options.seeds) for shots in options.shots]
    return Result(rows, len(train.labels), len(val.labels), len(np.unique(train.labels)), [])


def _linear(train: Data, val: Data) -> Row:
    """Logistic regression on standardized features. C is chosen by cross-validation on the training videos only."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    smallest = int(np.unique(train.labels, return_counts=True)[1].min())
    if smallest < 2:
        accuracy = _accuracy(_classifier(1.0), train, val)
        return Row("linear probe", accuracy, note="C 1, without cross-validation: a class has a single training video")
    folds = min(_FOLDS, smallest)
    search = GridSearchCV(
        _classifier(1.0),
        {"logisticregression__C": _STRENGTHS},
        scoring="accuracy",
        cv=StratifiedKFold(folds, shuffle=True, random_state=0),
    )
    accuracy = _accuracy(search, train, val)
    chosen = search.best_params_["logisticregression__C"]
    note = f"C {chosen:g}, chosen by {folds}-fold cross-validation (accuracy {100 * search.best_score_:.2f})"
    return Row("linear probe", accuracy, note=note)


def _nearest(train: Data, val: Data, neighbors: int) -> Row:
    """Votes of the most similar training videos, weighted by the inverse of their cosine distance."""
    from sklearn.neighbors import KNeighborsClassifier

    name = f"{counted(neighbors, 'nearest neighbor')}"
    if len(train.labels) < neighbors:
        return Row(name, None, note=f"no result: {counted(len(train.labels), 'training video')}")
    zero = int((~train.features.any(axis=1)).sum() + (~val.features.any(axis=1)).sum())
    if zero:
        return Row(name, None, note=f"no result: all features of {counted(zero, 'video')} are 0")
    classifier = KNeighborsClassifier(neighbors, metric="cosine", algorithm="brute", weights="distance")
    return Row(name, _accuracy(classifier, train, val), note="cosine distance")


def _few_shot(train: Data, val: Data, shots: int, seeds: int) -> Row:
    """A linear probe of some training videos per class, for several random choices of them.

    As by Tian et al. (arXiv:2003.11539), on L2-normalized features: the variance of a feature cannot be estimated from
    so few videos.
    """
    name = f"{shots} per class"
    labels, counts = np.unique(train.labels, return_counts=True)
    if counts.min() < shots:
        label, count = labels[counts.argmin()], counts.min()
        short = f"class {train.name_of(label)} has {counted(int(count), 'training video')}"
        return Row(name, None, note=f"no result: {short}")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    classifier = make_pipeline(Normalizer(), LogisticRegression(C=1.0, max_iter=_ITERATIONS))
    found = [_accuracy(classifier, chosen, val) for chosen in _choices(train, labels, shots, seeds)]
    deviation = float(np.std(found, ddof=1)) if seeds > 1 else None
    return Row(name, float(np.mean(found)), deviation, note=f"linear, C 1, L2-normalized, {counted(seeds, 'seed')}")


def _choices(train: Data, labels: np.ndarray, shots: int, seeds: int) -> Iterator[Data]:
    for seed in range(seeds):
        rng = np.random.default_rng([seed, shots])
        of_class = (rng.choice(np.flatnonzero(train.labels == label), shots, replace=False) for label in labels)
        rows = np.concatenate(list(of_class))
        yield Data([train.ids[row] for row in rows], train.features[rows], train.labels[rows])


def _classifier(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_ITERATIONS))


def _accuracy(classifier: Any, train: Data, val: Data) -> float:
    """In percent, of a classifier that is trained here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: with weak regularization, the last digits keep changing
        classifier.fit(train.features.astype(np.float64), train.labels)
    predicted = classifier.predict(val.features.astype(np.float64))
    return 100 * float((predicted == val.labels).mean())
