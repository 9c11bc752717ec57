"""Scores videos: one score per video, averaged over its views, and the accuracies of all scores."""

from __future__ import annotations

import contextlib
import csv
import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from actrec.arguments import checked
from actrec.config import Clip, Input, OptionError, Views
from actrec.data.index import Rows, build_index, open_rows
from actrec.data.lists import Video, check_labels
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.data.sampling.protocols import Protocol
from actrec.engine.devices import autocast
from actrec.engine.failures import with_name
from actrec.engine.metrics import best_classes
from actrec.engine.metrics import probabilities as probabilities
from actrec.engine.result import Result as Result
from actrec.files import atomic_write, write_json
from actrec.nets.backbone import Backbone
from actrec.nets.outside import logits_of
from actrec.pipelines.batch import Batch
from actrec.pipelines.loader import Loader, eval_loader
from actrec.pipelines.task import EvalTask

Average = Literal["logits", "probabilities"]
Precision = Literal["float32", "bfloat16", "float16", "float64"]
NAN = "the output of the net is NaN or infinite: did its training diverge?"
_GROUP = {"cpu": 4, "cuda": 32}  # views that the net computes at once


@checked
def evaluate(
    net: torch.nn.Module,
    loader: Loader | Rows,
    *,
    clip: Clip | None = None,
    views: Views | None = None,
    protocol: Protocol | None = None,
    average: Average | None = None,
    precision: Precision = "float32",
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Scores every video of a loader or of a list. The net is left in the mode it was in.

        net = actrec.net("tiny3d", num_classes=8)
        result = actrec.evaluate(net, "val.txt", clip=actrec.Clip(frames=8))
        print(result.top1, result.mean_class, result.missing)

    Args:
        net: A module that maps clips (N, C, T, size, size) to logits (N, classes).
        loader: Made by `eval_loader`. Or the path of a list or its rows: the loader is then made here, with `net.input`
            and on the device of the net.
        clip, views: How the videos of a list are scored; the defaults of `actrec.Clip` and `actrec.Views` if not given.
            A loader has its own.
        protocol: Scores the videos of a list as a published evaluation did (`actrec.protocol`).
        average: What is averaged over the views of a video: logits or probabilities; by default logits, or what the
            protocol says. Averaged probabilities are stored as their logarithms, for several labels as their logits.
        precision: Arithmetic of the net: float32, bfloat16, float16 or float64.
        progress: Called after each batch, with the number of its videos.

    Returns:
        The scores of the videos, and their accuracies. `missing` names the videos that cannot be used.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: The net has no class for a label of the list, an argument has an illegal type or value, or no video
            could be scored.
    """
    if isinstance(loader, Loader):
        given = {"clip": clip, "views": views, "protocol": protocol}
        if name := next((name for name, value in given.items() if value is not None), None):
            raise OptionError(f"`{name}` with a loader, which has its own: pass it to `eval_loader`")
    else:
        net_input = getattr(net, "input", None)
        if not isinstance(net_input, Input):
            raise OptionError("`net` has no attribute `input` of class actrec.Input: expected one, or a `loader`")
        device = next((tensor.device for tensor in (*net.parameters(), *net.buffers())), torch.device("cpu"))
        clip = clip or Clip()
        flow = clip.modality == "flow"
        rows, cache = open_rows(loader, flow=flow, name="loader")
        index = build_index(rows, cache=cache, flow=flow, template=clip.template)
        loader = eval_loader(rows, clip, net_input, views=views, protocol=protocol, device=device, index=index)
    return check_scored(score(net, loader, average=average, precision=precision, progress=progress))


def score(
    net: torch.nn.Module,
    loader: Loader,
    *,
    average: Average | None = None,
    precision: str = "float32",
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Like `evaluate`, for the share of one process, which may have no score. `merge` combines the shares."""
    protocol = loader.task.protocol if isinstance(loader.task, EvalTask) else None
    average = average or average_of(protocol)
    if average not in ("logits", "probabilities"):
        raise ValueError(f"average {average!r}: expected logits or probabilities")
    ids: list[str] = []
    scores: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    mean = _AVERAGE[average, loader.multi_label is not None]
    clamped_before = loader.clamped
    with scoring(net, protocol, loader.device, precision, multi_label=loader.multi_label is not None):
        for batch, logits in logits_of_videos(net, loader, protocol, loader.device):
            if not ids:
                _check_classes(loader, logits.shape[-1])
            # Video by video, because the order in which torch adds the views depends on the shape.
            scores += [mean(views).numpy() for views in logits.cpu()]
            ids += batch.videos
            labels.append(batch.labels.cpu().numpy())
            if progress:
                progress(len(batch))
    scored = set(ids)
    missing = {id_: reason for id_, reason in loader.skipped.items() if id_ not in scored}
    left_out = {loader.videos[row].id: reason for row, reason in loader.left_out.items()}
    clamped = loader.clamped - clamped_before
    if not ids:
        return _nothing_scored(net, loader, missing, clamped, left_out)
    shown = np.concatenate(labels)
    shown = shown if loader.multi_label is None else shown.astype(bool)
    return Result(ids, np.stack(scores), shown, missing, clamped, left_out)


@contextlib.contextmanager
def scoring(
    net: torch.nn.Module, protocol: Protocol | None, device: torch.device, precision: str, *, multi_label: bool
) -> Iterator[None]:
    """A net as it scores videos: in evaluation mode, without gradients, with the parts that the protocol sets."""
    parts: dict[str, str | None] = {} if protocol is None else {"slow_path": protocol.slow_path}
    if protocol is not None and not multi_label:
        parts["window_average"] = protocol.window_average
    with evaluating(net), _with_parts(net, parts), torch.inference_mode(), autocast(device.type, precision):
        yield


def logits_of_videos(
    net: torch.nn.Module, batches: Iterable[Batch], protocol: Protocol | None, device: torch.device
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """The logits of each view: for each batch that has videos, the batch and (videos, views, classes).

    If the protocol joins the clips of a crop, the views are the crops.

    Args:
        batches, device: As of `outputs_of`.
    """
    if protocol is None or not protocol.joins_clips:
        yield from outputs_of(functools.partial(logits_of_views, net), batches, device)
        return
    for batch, found in outputs_of(functools.partial(_maps_of_views, net), batches, device):
        yield batch, torch.stack([_logits_of_joined(net, maps, plan) for maps, plan in zip(found, batch.plans)])


@contextlib.contextmanager
def evaluating(net: torch.nn.Module) -> Iterator[None]:
    """A net in evaluation mode. Afterwards each of its modules is in the mode it was in."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def merge(results: Sequence[Result], videos: Sequence[Video]) -> Result:
    """Combines the results of all processes, in the order of `videos`.

    Args:
        results: Of `score`. If several of them have a video, the first one counts.
    """
    rows: dict[str, tuple[int, int]] = {}  # which result, and which row of it
    for number, result in enumerate(results):
        for row, id_ in enumerate(result.ids):
            rows.setdefault(id_, (number, row))
    missing = {id_: reason for result in results for id_, reason in result.missing.items() if id_ not in rows}
    left_out = {id_: reason for result in results for id_, reason in result.left_out.items()}
    ids = [video.id for video in videos if video.id in rows]
    assert len(ids) == len(rows), "scores of videos that are not in the list"
    filled = [number for number, result in enumerate(results) if result.ids] or [0]
    firsts = dict(zip(filled, np.cumsum([0, *(results[number].num_videos for number in filled)]).tolist()))
    order = np.array([firsts[number] + row for number, row in (rows[id_] for id_ in ids)], np.int64)
    return Result(
        ids,
        np.concatenate([results[number].scores for number in filled])[order],
        np.concatenate([results[number].labels for number in filled])[order],
        {video.id: missing[video.id] for video in videos if video.id in missing},
        sum(result.clamped for result in results),
        {video.id: left_out[video.id] for video in videos if video.id in left_out},
    )


def without_nan(result: Result) -> Result:
    """Moves the videos for which the net gives NaN to `missing`: a place among such scores means nothing."""
    bad = np.isnan(probabilities(result.scores, multi_label=result.multi_label)).any(axis=1)
    if not bad.any():
        return result
    return replace(
        result,
        ids=[id_ for id_, drop in zip(result.ids, bad) if not drop],
        scores=result.scores[~bad],
        labels=result.labels[~bad],
        missing=result.missing | {id_: NAN for id_, drop in zip(result.ids, bad) if drop},
    )


def check_scored(result: Result) -> Result:
    """Returns the result. Raises ValueError if it has no scores."""
    if not result.ids:
        first = next(iter((result.missing | result.left_out).items()), None)
        raise ValueError(f"no video could be scored; {with_name(*first) if first else 'the list is empty'}")
    return result


def _check_classes(loader: Loader, num_classes: int) -> None:
    if loader.multi_label is None:
        check_labels(loader.videos, num_classes)
    elif loader.multi_label != num_classes:
        raise ValueError(f"multi_label {loader.multi_label} with a net of {num_classes} classes: expected as many")


def _nothing_scored(
    net: torch.nn.Module, loader: Loader, missing: dict[str, str], clamped: int, left_out: dict[str, str]
) -> Result:
    num_classes = loader.multi_label or getattr(net, "options", {}).get("num_classes", 0)
    labels = np.empty(0, np.int64) if loader.multi_label is None else np.empty((0, num_classes), bool)
    return Result([], np.empty((0, num_classes), np.float32), labels, missing, clamped, left_out)


def outputs_of(
    run: Callable[[torch.Tensor], torch.Tensor], batches: Iterable[Batch], device: torch.device
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """What a net makes of each view: for each batch that has videos, the batch and its outputs (videos, views, ...).

    The net always computes the same number of views at once, and the last ones together with zeros. So the output of a
    view depends on nothing but the view: for batches of another size, a net rounds its sums differently.

    Args:
        run: The net, (N, C, T, H, W) to (N, ...).
        batches: Of a loader. They are returned without their clips.
        device: Where the clips are.
    """
    size, done = _GROUP[device.type], 0
    waiting: deque[Batch] = deque()
    clips: list[torch.Tensor] = []  # views that the net has not seen
    outputs: list[torch.Tensor] = []  # of the waiting batches, from their first view on
    for batch in batches:
        if not len(batch):
            continue
        if clips and batch.clips.shape[1:] != clips[0].shape[1:]:  # pictures of another size
            done += sum(map(len, clips))
            outputs.append(_of_few(run, clips, size))
            clips = []
        clips.append(batch.clips)
        waiting.append(replace(batch, clips=batch.clips.new_empty(0)))
        while sum(map(len, clips)) >= size:
            group, clips = _split(clips, size)
            outputs.append(run(group))
            done += size
        while waiting and done >= (views := len(waiting[0]) * waiting[0].views):
            found, outputs = _split(outputs, views)
            done -= views
            yield waiting[0], found.unflatten(0, (len(waiting[0]), -1))
            waiting.popleft()
    if clips:
        outputs.append(_of_few(run, clips, size))
    for batch in waiting:
        found, outputs = _split(outputs, len(batch) * batch.views)
        yield batch, found.unflatten(0, (len(batch), -1))


def _of_few(run: Callable[[torch.Tensor], torch.Tensor], clips: list[torch.Tensor], size: int) -> torch.Tensor:
    """The outputs of fewer than `size` views, which the net computes together with zeros."""
    count = sum(map(len, clips))
    # Like the clips in its memory format too, which `torch.cat` would lose next to other tensors.
    zeros = torch.zeros_like(clips[0][:1].expand(size - count, -1, -1, -1, -1))
    return run(torch.cat([*clips, zeros]))[:count]


def _split(parts: list[torch.Tensor], count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The first `count` rows of some tensors, and the rest."""
    first, rest = [], list(parts)
    while count:
        part = rest.pop(0)
        first.append(part[:count])
        if len(part) > count:
            rest.insert(0, part[count:])
        count -= len(first[-1])
    return (torch.cat(first) if len(first) > 1 else first[0]), rest


def logits_of_views(net: torch.nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """What a net says of clips (N, C, T, H, W): (N, classes) float32."""
    kind = torch.float64 if any(p.dtype == torch.float64 for p in net.parameters()) else clips.dtype
    return logits_of(net, clips.to(kind)).float()


def _maps_of_views(net: torch.nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """The maps before the head of a net, (N, C, T, H, W)."""
    if not isinstance(net, Backbone):
        raise OptionError("`protocol` that joins clips before the head of the net: expected a net of actrec")
    return net.features(clips)


def _logits_of_joined(net: torch.nn.Module, maps: torch.Tensor, plan: TrainPlan | EvalPlan) -> torch.Tensor:
    """The logits of each crop, (crops, classes). The head gets all clips of a crop as if they were one long clip.

    Args:
        maps: of the views of a video, ordered by crop, then by clip: (views, C, T, H, W).
    """
    assert isinstance(net, Backbone)
    by_crop = maps.unflatten(0, (len(plan.crops), -1))
    return net.head(torch.cat(by_crop.unbind(1), 2)).float()


@contextlib.contextmanager
def _with_parts(net: torch.nn.Module, parts: Mapping[str, str | None]) -> Iterator[None]:
    """A net with other values of these attributes. Those that it does not have, and values of None, are ignored."""
    changes = {name: value for name, value in parts.items() if value is not None and hasattr(net, name)}
    own = {name: getattr(net, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(net, name, value)
        yield
    finally:
        for name, value in own.items():
            setattr(net, name, value)


def _mean_logits(logits: torch.Tensor) -> torch.Tensor:
    return logits.mean(0)


def _mean_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Logarithms of the mean probabilities."""
    return logits.log_softmax(-1).logsumexp(0) - float(np.log(len(logits)))


def _mean_sigmoid(logits: torch.Tensor) -> torch.Tensor:
    """Logits of the mean probabilities: log p - log (1 - p)."""
    log_sigmoid = torch.nn.functional.logsigmoid
    return log_sigmoid(logits).logsumexp(0) - log_sigmoid(-logits).logsumexp(0)


# (views, classes) to (classes,). Key: what is averaged, and whether videos may have several labels.
_AVERAGE = {
    ("logits", False): _mean_logits,
    ("logits", True): _mean_logits,
    ("probabilities", False): _mean_softmax,
    ("probabilities", True): _mean_sigmoid,
}


def average_of(protocol: Protocol | None) -> Average:
    """What a protocol averages. Sums of probabilities are averages, multiplied by the number of views."""
    return "logits" if protocol is None or protocol.reduction == "logits" else "probabilities"


def average_views(logits: torch.Tensor, average: Average, *, multi_label: bool) -> torch.Tensor:
    """The scores of a video, (classes,), from the logits of its views, (views, classes)."""
    return _AVERAGE[average, multi_label](logits)


def reference_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """The files that `save_reference` writes."""
    return folder / f"{stem}_details.npy", folder / f"{stem}.csv"


def save_reference(folder: Path, stem: str, result: Result) -> list[Path]:
    """Writes IBM's files: `<stem>_details.npy`, float64 scores in list order, and `<stem>.csv`, the five best classes.

    A line of the csv file is `<video>;<c1>;…;<c5>`, with the last part of the video's id. Missing videos are in neither
    file.
    """
    scores_path, csv_path = reference_paths(folder, stem)
    with atomic_write(scores_path, "wb") as file:
        np.save(file, result.scores.astype(np.float64))
    best = best_classes(result.scores, 5)
    with atomic_write(csv_path) as file:
        rows = csv.writer(file, delimiter=";", lineterminator="\n")
        rows.writerows([os.path.basename(id_), *classes] for id_, classes in zip(result.ids, best.tolist()))
    return [scores_path, csv_path]


def save_topk_json(path: str | os.PathLike[str], result: Result, classes: Sequence[str], k: int) -> None:
    """Writes Hara's result file: `{"results": {id: [{"label": name, "score": probability}, …]}}`.

    Args:
        classes: The name of each label.
        k: Number of classes for each video, the best first; all if 0 or less.
    """
    found = probabilities(result.scores, multi_label=result.multi_label)
    results = {
        id_: [{"label": classes[c], "score": float(row[c])} for c in order]
        for id_, row, order in zip(result.ids, found, best_classes(found, k))
    }
    write_json(path, {"results": results})
