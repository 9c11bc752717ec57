"""How much top-1 changes with details of an evaluation: an answer to "I cannot reproduce the number".

If the clips of all variations fit into memory, each video is decoded only once. The variations of the average and of
the number of crops use the same logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from actrec.config import OptionError, Views
from actrec.data.index import Index
from actrec.data.lists import Video
from actrec.data.sampling.protocols import Protocol
from actrec.engine import dist, metrics
from actrec.engine import evaluate as scores
from actrec.engine.evaluate import Result
from actrec.inference.model import Model
from actrec.pipelines.batch import Batch
from actrec.pipelines.loader import Loader
from actrec.pipelines.varied import Look, VariedTask
from actrec.system import usable_memory
from actrec.words import counted

MISSING = 0.05  # fraction of the videos that are missing in one of the variations
_BASE = "as evaluated"
_DRAWS = 10_000  # of the bootstrap
_SEED = 0
_MEMORY = 0.25  # fraction of the usable memory for the clips of a video in all looks
_EDGES, _QUARTERS = "ceil_thirds", "quarters"  # rules of three crops (see `actrec.data.sampling.protocols.crops`)
_INSIDE, _AT_BORDERS = "last crop up to 3 px inside (IBM)", "crops exactly at the borders"
_ALONG = "crops along the longer side"  # those of TSM are along the width
# If none of n videos changed, at most 3 / n of all videos do, with 95 % confidence ("rule of three", Hanley and
# Lippman-Hand, JAMA 1983).
_NONE_OF = 3


@dataclass(frozen=True)
class Row:
    """A variation of an evaluation.

    Args:
        name: the detail that is different.
        top1: accuracy in percent.
        change: difference from the accuracy of the evaluation, in percentage points.
        interval: 95 % confidence interval of the change, from bootstrap samples of the videos. If the accuracy of no
            video changed, the limits are -3 / n and 3 / n of all videos ("rule of three").
        changed: number of videos with another prediction. None for rows about missing videos.
    """

    name: str
    top1: float
    change: float
    interval: tuple[float, float]
    changed: int | None


@dataclass(frozen=True)
class Sensitivity:
    """The result of an evaluation, and its variations.

        found = sensitivity(model, "val.txt")
        print("\\n".join(found.table()))

    Args:
        result: the result of the evaluation.
        interval: 95 % confidence interval of its top-1 accuracy, in percent.
        rows: the variations.
        results: the results of the variations for which scores were computed, by name.
    """

    result: Result
    interval: tuple[float, float]
    rows: Sequence[Row]
    results: Mapping[str, Result]

    def table(self) -> list[str]:
        """The lines of a table."""
        low, high = self.interval
        head = ("variation", "top-1", "change", "95 % interval", "other predictions")
        cells = [(_BASE, f"{self.result.top1:.2f}", "", f"{low:.2f} to {high:.2f}", "")]
        for row in self.rows:
            low, high = row.interval
            changed = "" if row.changed is None else str(row.changed)
            cells.append((row.name, f"{row.top1:.2f}", f"{row.change:+.2f}", f"{low:+.2f} to {high:+.2f}", changed))
        widths = [max(map(len, column)) for column in zip(head, *cells)]
        return [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
            for row in (head, *cells)
        ]

    @property
    def step(self) -> float:
        """The smallest change that the list can show, that of one video, in percentage points."""
        return 100 / self._num_labeled

    @property
    def _num_labeled(self) -> int:
        return int(metrics.is_labeled(self.result.labels).sum())

    def conclusion(self) -> str:
        """Which variation matters most, and what the list can show."""
        videos = counted(self._num_labeled, "video")
        return f"{self._most()}. The smallest visible change is 1 of {videos}, which is {self.step:.2f} points"

    def _most(self) -> str:
        most = max(self.rows, key=lambda row: abs(row.change), default=None)
        if most is None or not most.change:
            limits = [abs(limit) for row in self.rows if row.changed is not None for limit in row.interval]
            most_possible = max(limits, default=_bound(self._num_labeled))
            return (
                f"no variation changes top-1 on this list, but changes of up to {most_possible:.2f} points are possible"
            )
        said = f"top-1 changes most with `{most.name}`, by {most.change:+.2f} points"
        if most.changed is None:  # missing videos
            return said
        low, high = most.interval
        chance = "its interval contains 0: the change can be chance" if low <= 0 <= high else "this is more than chance"
        return f"{said}; {chance}"

    def summary(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "top1": self.result.top1,
            "interval": self.interval,
            "variations": [vars(row) for row in self.rows],
            "smallest_change": self.step,
            "conclusion": self.conclusion(),
        }


@dataclass
class _Scored:
    """The scores of a variation so far, in one process."""

    ids: list[str] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)


def sensitivity(
    model: Model,
    videos: Sequence[Video],
    *,
    index: Index,
    progress: Callable[[int], None] | None = None,
) -> Sensitivity:
    """Evaluates a model, and evaluates it again with one detail changed at a time.

    Args:
        model: the model, with its protocol, or with its clip and views.
        videos: rows of a list. At least one has a label.
        index: the index of these videos.
        progress: as for `Model.score`. All videos are counted once per pass (see `passes`).

    Raises:
        ValueError: no video has a label, or none can be scored.
    """
    if not any(video.labels for video in videos):
        raise OptionError("`sensitivity` compares accuracies, and no video of the list has a label")
    model.require_trained()
    looks = _looks(model)
    own: dict[str, _Scored] = {}
    missing: dict[str, str] = {}
    left_out: dict[str, str] = {}
    clamped = 0
    for together in passes(model):
        loader = _loader(model, videos, index, [looks[name] for name in together])
        for batch in _whole(loader, len(together)):
            _score_batch(model, batch, together, own)
            if progress:
                progress(dist.world())
        missing |= loader.skipped
        left_out |= {videos[row].id: reason for row, reason in loader.left_out.items()}
        clamped += loader.clamped
    found = dist.gather((own, missing, left_out, clamped))
    names = dict.fromkeys([*looks, *(name for part in found for name in part[0])])
    merged = {name: _merged(name, found, videos) for name in names if any(name in part[0] for part in found)}
    if _BASE not in merged:
        first = Result([], np.empty((0, model.num_classes), np.float32), np.empty(0, np.int64), missing, 0, left_out)
        scores.check_scored(first)
    base = scores.check_scored(merged.pop(_BASE))
    right = _right(base)
    rows = [*(_row(name, base, other) for name, other in merged.items()), *_missing_rows(base, right)]
    return Sensitivity(base, _interval_of_accuracy(right), rows, merged)


def passes(model: Model) -> list[list[str]]:
    """The names of the looks for each pass over the videos. A pass has as many looks as fit into memory."""
    names = list(_looks(model))
    task = VariedTask(
        [Video.of("a")], model.clip, model.input, looks=[Look()], views=model.views, protocol=model.protocol
    )
    width, height = task.crop or (task.input.side, task.input.side)
    views = task.num_views or _FEW_VIEWS
    size = views * task.num_frames * len(task.input.mean) * height * width * 4 * 3  # two batches ahead, and one in use
    together = max(1, int(usable_memory() * _MEMORY / size))
    return [names[first : first + together] for first in range(0, len(names), together)]


_FEW_VIEWS = 32  # assumed where their number depends on the video


def _looks(model: Model) -> dict[str, Look]:
    """The variations of the pictures, by their names. The first one is the evaluation itself."""
    rule, views = model.protocol, model.views
    flow = model.clip.modality == "flow"
    antialiased = rule is None or rule.kernel == "pillow"
    looks = {_BASE: Look(), "no antialiasing" if antialiased else "antialiasing": Look(other_kernel=True)}
    if not flow:
        looks["wrong color matrix"] = Look(wrong_matrix=True)
    looks |= _crop_looks_of_protocol(rule) if rule is not None else _crop_looks(views)
    return looks


def _crop_looks(views: Views) -> dict[str, Look]:
    looks = {}
    if views.crops > 1:
        if views.rule == "actrec":
            looks[_INSIDE] = Look({"views": replace(views, rule="ibm")})
        else:
            looks[_AT_BORDERS] = Look({"views": replace(views, rule="actrec")})
    name, ratio = _ratio(views.crop_ratio >= 1)
    return looks | {name: Look({"views": replace(views, crop_ratio=ratio)})}


def _crop_looks_of_protocol(rule: Protocol) -> dict[str, Look]:
    looks: dict[str, Look] = {}
    if rule.crop is None:
        return looks
    if rule.crops == 3:
        other = _QUARTERS if rule.crop_rule == _EDGES else _EDGES
        name = _INSIDE if other == _QUARTERS else _ALONG if rule.crop_rule == "across" else _AT_BORDERS
        looks[name] = Look({"protocol": replace(rule, crop_rule=other)})
    if isinstance(rule.resize, int):
        name, ratio = _ratio(rule.resize <= rule.crop)
        looks[name] = Look({"protocol": replace(rule, resize=int(rule.crop / ratio + 0.5))})
    else:
        name = "aspect ratio kept"
        looks[name] = Look({"protocol": replace(rule, resize=min(rule.resize))})
    return looks


def _ratio(is_whole: bool) -> tuple[str, float]:
    """The other common size of a crop, as a fraction of the short side."""
    return ("crops of 7/8 of the short side", 0.875) if is_whole else ("crops of the whole short side", 1.0)


def _loader(model: Model, videos: Sequence[Video], index: Index, looks: Sequence[Look]) -> Loader:
    task = VariedTask(
        videos,
        model.clip,
        model.input,
        looks=looks,
        views=model.views,
        protocol=model.protocol,
        fps=model.scoring.fps,
        multi_label=model.num_classes if model.multi_label else None,
        rank=dist.rank(),
        world=dist.world(),
    )
    return Loader(
        task,
        index=index,
        device=model.device,
        workers=model.loader.workers or dist.cores_of_process(),
        prefetch=1,
        channels_last=model.channels_last,
        decoder="workers",
    )


def _whole(loader: Loader, num_looks: int) -> Iterator[Batch]:
    """The batches in which no look is missing."""
    return (batch for batch in loader if len(batch) == num_looks)


def _score_batch(model: Model, batch: Batch, names: Sequence[str], own: dict[str, _Scored]) -> None:
    """Adds the scores of one video in all looks, and of the base with another average, crop and precision."""
    logits = _logits(model, batch, model.precision)
    found = {name: _mean(model, of_look) for name, of_look in zip(names, logits)}
    if names[0] == _BASE:
        other = "logits" if model.average == "probabilities" else "probabilities"
        num_crops = len(batch.plans[0].crops)
        if len(logits[0]) > 1:
            found[f"average of {other}"] = _mean(model, logits[0], other)
        if num_crops > 1:
            found["only the central crop"] = _mean(model, _central(logits[0], batch, model.protocol))
        precision = "bfloat16" if model.precision == "float32" else "float32"
        first = replace(batch, clips=batch.clips[: batch.views], videos=batch.videos[:1], plans=batch.plans[:1])
        found[f"precision {precision}"] = _mean(model, _logits(model, first, precision)[0])
    label = batch.labels[0].cpu().numpy()
    for name, averaged in found.items():
        scored = own.setdefault(name, _Scored())
        scored.ids.append(batch.videos[0])
        scored.scores.append(averaged)
        scored.labels.append(label if label.ndim == 0 else label.astype(bool))


def _logits(model: Model, batch: Batch, precision: str) -> list[torch.Tensor]:
    """The logits (views, classes) of each look."""
    with scores.scoring(model.net, model.protocol, model.device, precision, multi_label=model.multi_label):
        ((_, logits),) = scores.logits_of_videos(model.net, [batch], model.protocol, model.device)
    return list(logits.cpu())


def _mean(model: Model, logits: torch.Tensor, average: Any = None) -> np.ndarray:
    return scores.average_views(logits, average or model.average, multi_label=model.multi_label).numpy()


def _central(logits: torch.Tensor, batch: Batch, rule: Protocol | None) -> torch.Tensor:
    """The logits of the crop nearest to the center, of all clips."""
    plan = batch.plans[0]
    size = np.array(plan.resize) - plan.crop  # type: ignore[union-attr] # evaluations have these plans
    away = [np.abs(2 * np.array([x, y]) - size).sum() + mirrored for x, y, mirrored in plan.crops]
    return logits.unflatten(0, (len(away), -1))[int(np.argmin(away))]


def _merged(name: str, parts: Sequence[tuple[Mapping[str, _Scored], dict, dict, int]], videos) -> Result:
    """The result of a variation from the parts of all processes."""
    results = []
    for own, missing, left_out, clamped in parts:
        if (scored := own.get(name)) is not None:
            results.append(
                Result(scored.ids, np.stack(scored.scores), np.stack(scored.labels), missing, clamped, left_out)
            )
    return scores.without_nan(scores.merge(results, videos))


def _right(result: Result) -> np.ndarray:
    """Whether the best class of each labeled video is right."""
    has = metrics.is_labeled(result.labels)
    return metrics.topk_hits(result.scores[has], result.labels[has], 1)


def _row(name: str, base: Result, other: Result) -> Row:
    """Compares a variation with the evaluation on the videos that both of them scored."""
    both = set(base.ids) & set(other.ids)
    base, other = _only(base, both), _only(other, both)
    before, after = _right(base), _right(other)
    has = metrics.is_labeled(base.labels)
    changed = int((base.scores[has].argmax(1) != other.scores[has].argmax(1)).sum())
    return Row(name, 100 * after.mean(), 100 * (after.mean() - before.mean()), _interval(after, before), changed)


def _only(result: Result, ids: set[str]) -> Result:
    keep = np.array([id_ in ids for id_ in result.ids])
    return replace(
        result,
        ids=[id_ for id_ in result.ids if id_ in ids],
        scores=result.scores[keep],
        labels=result.labels[keep],
    )


def _interval(after: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the mean of after - before in percent: percentiles of bootstrap samples.

    The differences are -1, 0 and 1. Sampling the videos with replacement is drawing their numbers. Samples of equal
    differences do not vary, so the interval then follows from the number of videos alone.
    """
    change = after.astype(int) - before.astype(int)
    if not change.any():
        return -_bound(len(change)), _bound(len(change))
    fractions = np.array([(change == value).mean() for value in (-1, 0, 1)])
    lost, _, gained = np.random.default_rng(_SEED).multinomial(len(change), fractions, _DRAWS).T
    low, high = np.percentile(100 * (gained - lost) / len(change), (2.5, 97.5))
    return float(low), float(high)


def _interval_of_accuracy(right: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the mean of `right` in percent."""
    if not right.any():
        return 0.0, _bound(len(right))
    if right.all():
        return 100.0 - _bound(len(right)), 100.0
    return _interval(right, np.zeros_like(right))


def _bound(count: int) -> float:
    """The upper limit of what can change if none of `count` videos changed, in percent."""
    return min(100.0, 100.0 * _NONE_OF / count)


def _missing_rows(base: Result, right: np.ndarray) -> list[Row]:
    """What missing videos can change: some at random, and those that are missing in this list."""
    count, num_right = len(right), int(right.sum())
    without = max(1, round(MISSING * count))
    rows = []
    if without < count:
        rng = np.random.default_rng(_SEED)
        drawn = rng.hypergeometric(num_right, count - num_right, count - without, _DRAWS)
        low, high = np.percentile(100 * drawn / (count - without) - 100 * right.mean(), (2.5, 97.5))
        name = f"{counted(without, 'random video')} missing ({MISSING:.0%})"
        rows.append(Row(name, 100 * right.mean(), 0.0, (float(low), float(high)), None))
    for kind, videos in (("missing", base.missing), ("left out", base.left_out)):
        if videos:
            top1 = 100 * num_right / (count + len(videos))
            change = top1 - 100 * right.mean()
            name = f"{counted(len(videos), f'{kind} video')} counted as wrong"
            rows.append(Row(name, top1, change, (change, change), None))
    return rows
