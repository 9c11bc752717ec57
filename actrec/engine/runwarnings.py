"""What a training run warns of: data and results from which a net learns nothing useful."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actrec.data.index.copies import find_copies
from actrec.data.lists import Video, label_columns
from actrec.data.lists.labeling import contradict, shared_videos
from actrec.data.lists.mirror import FILE as FLIPS
from actrec.data.lists.mirror import unmirrored
from actrec.engine import metrics
from actrec.engine.result import Result
from actrec.engine.runfolder import Data
from actrec.files import show
from actrec.words import counted, some_of

FEW = 5  # training videos that a class should have at least
_SOON = (3, 100)  # epochs and steps after which a net should predict several classes
_LATER = (5, 200)  # and after which it should be better than chance
_FEWEST = 10  # validation videos: of fewer, the predictions say nothing
_EXPLODED = 10  # times the loss of a net that gives all classes the same score
_HELP = "try a lower --lr, a --warmup of some epochs, or pretrained weights (--weights FILE --new-head)"

_NOT_NEW = "their scores say nothing about new videos; remove them from one of the two lists"
_NAMED = 3  # pairs of copies with different labels
_COMPARED = 2_000_000  # rows of lists that are compared with each other; more would delay the start by seconds

Kind = Literal[
    "few-videos", "shared-videos", "contradictions", "copies", "directions", "one-class", "chance", "validation-loss"
]


@dataclass(frozen=True)
class RunWarning:
    """A warning of a run. A run warns of each kind once.

    Args:
        kind: few-videos: a class has fewer than five training videos. shared-videos: videos are in both lists.
            contradictions: with different labels. copies: videos have the same content under different names, in both
            lists or in the training list, there with equal or different labels.
            directions: names of classes contain a direction, and there is no `flips.txt`, or it does not contain them.
            one-class: one class is
            predicted for most validation videos. chance: the predictions are not better than chance, although
            they are of several classes. validation-loss:
            the validation loss is NaN, infinite or very large.
        message: What was found, and what to do, in one line.
        epoch: From 0; None before the first one.
    """

    kind: Kind
    message: str
    epoch: int | None = None


def of_data(data: Data, unusable: Mapping[int, str], *, flips: bool) -> Iterator[RunWarning]:
    """The warnings before training.

    Args:
        unusable: Rows of the training list that cannot be used.
        flips: Training mirrors clips.
    """
    if message := _few_videos(data, unusable):
        yield RunWarning("few-videos", message)
    yield from _shared(data)
    if message := _copies(data):
        yield RunWarning("copies", message)
    if flips and (message := _directions(data)):
        yield RunWarning("directions", message)


def _shared(data: Data) -> Iterator[RunWarning]:
    """Of validation videos that are in the training list, too."""
    if data.val is None or len(data.train) + len(data.val) > _COMPARED:
        return
    if not (shared := list(shared_videos(data.train, data.val))):
        return
    yield RunWarning(
        "shared-videos",
        f"{len(shared):,} of {counted(len(data.val), 'validation video')} {'is' if len(shared) == 1 else 'are'} also "
        f"in the training list, such as {shared[0][0].id}: {_NOT_NEW}",
    )
    if differ := [(row, other) for row, other in shared if contradict(row, other)]:
        row, other = differ[0]
        yield RunWarning(
            "contradictions",
            f"{len(differ):,} of the videos in both lists have other labels in the training list: {row.id} has "
            f"{_labels(row)} for validation and {_labels(other)} for training; correct one of the lists",
        )


def _copies(data: Data) -> str | None:
    """Of videos with the same content under different names: everything in one line, the most urgent first."""
    val_sizes = data.val_index.sizes() if data.val_index is not None else None
    found = find_copies(data.train, data.train_index.sizes(), val_sizes)
    messages = []
    if (number := len(found.differ)) > 0:
        pairs = [f"{_labeled(one, data)} and {_labeled(other, data)}" for one, other in found.differ[:_NAMED]]
        messages.append(
            f"{counted(number, 'training video')} {'has' if number == 1 else 'have'} the same content as training "
            f"videos with other labels: {'; '.join(pairs)}{'; ...' if number > _NAMED else ''}: decide which label is "
            "right, and remove the other row from the training list"
        )
    if data.val_index is not None and (number := len(found.across)) > 0:
        val, train = (index.name(path) for index, path in zip((data.val_index, data.train_index), found.across[0]))
        messages.append(
            f"{counted(number, 'validation video')} {'has' if number == 1 else 'have'} the same content as "
            f"training videos under another name, such as {val} and {train}: {_NOT_NEW}"
        )
    if (number := len(found.same)) > 0:
        one, other = found.same[0]
        messages.append(
            f"{counted(number, 'training video')} {'has' if number == 1 else 'have'} the same content and labels as "
            f"other training videos, such as {other.id} and {one.id}: training draws this content more often; remove "
            f"{'this row' if number == 1 else 'these rows'} from the training list unless you repeat videos on purpose"
        )
    return ". Also, ".join(messages) or None


def _labeled(video: Video, data: Data) -> str:
    names = [show(data.classes[label]) for label in video.labels]
    return f"{video.id} ({', '.join(names) or 'no label'})"


def _labels(video: Video) -> str:
    return ",".join(map(str, video.labels)) or "no label"


def _few_videos(data: Data, unusable: Mapping[int, str]) -> str | None:
    labels, per_row = label_columns(data.train)
    usable = np.ones(len(data.train), bool)
    usable[list(unusable)] = False
    counts = np.bincount(labels[usable.repeat(per_row)], minlength=len(data.classes))
    few = np.flatnonzero(counts < FEW).tolist()
    if not few:
        return None
    named = some_of([f"{show(data.classes[label])} {counts[label]}" for label in few])
    one = len(few) == 1
    return (
        f"{counted(len(few), 'class')} {'has' if one else 'have'} fewer than {FEW} training videos ({named}): a net "
        f"hardly learns {'it' if one else 'them'}; add videos, or move the videos of "
        f"{'this class' if one else 'these classes'} out of the folder of videos and make the lists again"
    )


def _directions(data: Data) -> str | None:
    directed = unmirrored(data.classes)
    if directed is None:
        return None
    labels = [label for label, mirrored in enumerate(directed) if mirrored < 0]
    given = data.flip_map if not data.flips_from_names else None  # by the user
    if given is not None:
        labels = [label for label in labels if given[label] == label]
        if data.sources is None or not labels:
            return None
    names = f"the {'name' if len(labels) == 1 else 'names'} of {counted(len(labels), 'class')} "
    names += f"({some_of([show(data.classes[label]) for label in labels])}) contain{'s' if len(labels) == 1 else ''} a "
    names += "direction"
    if data.sources is None:
        what = "not mirrored" if data.flip_map is not None else "mirrored and keep their labels"
        return f"{names}, and there is no {FLIPS}: their clips are {what}; pass a `flip_map` that pairs mirror images"
    path, folder = data.sources[1], shlex.quote(os.path.normpath(data.sources[1].parent))
    command = "actrec lists flips" + (f" {folder}" if folder != os.curdir else "")
    if given is not None:
        it, its = ("it", "its") if len(labels) == 1 else ("them", "their")
        return (
            f"{names}, and {path.with_name(FLIPS)} does not contain {it}: {its} clips are mirrored "
            f"and keep their labels; `{command} --dry-run` shows the lines for all classes, and `CLASS -` stands "
            "for a class that is never mirrored"
        )
    kept = "never mirrored" if data.flip_map is not None else "mirrored and keep their labels"
    return (
        f"{names}, and there is no {FLIPS} next to {path}: their clips are {kept}; `{command}` proposes a "
        f"{FLIPS}, with which mirrored clips exchange their labels in a new run"
    )


def of_validation(
    result: Result, classes: Sequence[str], epoch: int, steps: int, *, last: bool
) -> Iterator[RunWarning]:
    """The warnings after a validation.

    Args:
        epoch: From 0.
        steps: Optimizer steps of the run until now.
        last: It was the last validation of the run.
    """

    def after(epochs: int, at_least: int) -> bool:
        if last and epoch + 1 >= _SOON[0]:
            return True
        return steps >= at_least and (epoch + 1 >= epochs or last)

    if message := _bad_loss(result, epoch):
        yield RunWarning("validation-loss", message, epoch)
    if result.multi_label:
        return
    has = metrics.is_labeled(result.labels)
    matrix = metrics.confusion_matrix(result.scores[has], result.labels[has])
    if matrix.sum() < _FEWEST or (matrix.sum(axis=1) > 0).sum() < 2:
        return
    if after(*_SOON) and (label := _dominating(matrix)) is not None:
        predicted, videos = matrix.sum(axis=0)[label], matrix.sum(axis=1)[label]
        yield RunWarning(
            "one-class",
            f"after {counted(epoch + 1, 'epoch')}, the net predicts {show(classes[label])} for {predicted} of "
            f"{matrix.sum()} validation videos ({videos} are of this class): it has not learned to tell the classes "
            f"apart; {_HELP}",
            epoch,
        )
    elif after(*_LATER) and _dominating(matrix) is None and metrics.agrees_by_chance(matrix):
        yield RunWarning(
            "chance",
            f"after {counted(epoch + 1, 'epoch')}, the validation top-1 of {result.top1:.2f} cannot be distinguished "
            f"from chance (it would be {_expected(matrix):.2f} if predictions and labels were unrelated; "
            f"{matrix.sum()} videos): check the labels, {_HELP}",
            epoch,
        )


def _bad_loss(result: Result, epoch: int) -> str | None:
    what = f"the validation loss of epoch {epoch + 1} is "
    if not math.isfinite(result.loss):
        labeled = bool(metrics.is_labeled(result.labels).any())
        return f"{what}{result.loss}: {_HELP}, or --precision float32" if labeled else None
    guessing = math.log(2 if result.multi_label else max(2, result.scores.shape[1]))
    if result.loss <= _EXPLODED * guessing:
        return None
    return (
        f"{what}{result.loss:.4g}, {result.loss / guessing:.3g} times that of a net that gives all classes the same "
        f"score: {_HELP}, or --clip-gradient 1"
    )


def _dominating(matrix: np.ndarray) -> int | None:
    """The class that is predicted for most videos, and for many more than it has; None if there is none."""
    predicted, videos = matrix.sum(axis=0), matrix.sum(axis=1)
    label = int(predicted.argmax())
    number = matrix.sum()
    is_all = predicted[label] == number
    return label if is_all or predicted[label] / number > max(0.5, videos[label] / number + 0.3) else None


def _expected(matrix: np.ndarray) -> float:
    """The top-1 in percent of such predictions if they were unrelated to the labels."""
    return 100 * float((matrix.sum(axis=0) * matrix.sum(axis=1)).sum() / matrix.sum() ** 2)
