"""Predictions for the newest frames of a live source."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actrec.config import Stream, Windows
from actrec.data.sampling.geometry import eval_resize
from actrec.data.sampling.plan import plan_eval
from actrec.data.video.live import LiveSource, Snapshot
from actrec.engine import evaluate as scores
from actrec.engine import metrics
from actrec.engine.devices import autocast
from actrec.pipelines.workers.finish import Finisher
from actrec.pipelines.workers.resize import resize
from actrec.pipelines.workers.threads import single_threaded_opencv

if TYPE_CHECKING:
    from actrec.inference.model import Model


@dataclass(frozen=True)
class LivePrediction:
    """The prediction for the newest window of a live source. Counts are since the previous prediction.

        for found in model.stream("rtsp://camera/stream"):
            print(found.classes[0], found.probabilities[0], found.latency)

    Args:
        time: When the prediction was ready, in seconds since 1970.
        stream_time: The timestamp of the window's last frame in seconds; None if the source has none.
        classes: Names of the most likely classes, the best first.
        probabilities: Of these classes.
        latency: Seconds from the arrival of the window's last frame to the prediction.
        lag: Seconds of the source that had arrived but were not decoded yet, when this frame was read.
        received: Number of frames that arrived.
        used: Number of different frames that the net saw.
        dropped: Number of frames that were in no window.
        skipped: Number of predictions, due every `every` seconds, that were left out because the net was busy.
        reconnects: How often the source was lost and came back.
    """

    time: float
    stream_time: float | None
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    latency: float
    lag: float
    received: int
    used: int
    dropped: int
    skipped: int
    reconnects: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with times rounded to 0.1 ms."""
        return asdict(self) | {name: round(getattr(self, name), 4) for name in ("time", "latency", "lag")}


@dataclass
class StreamSummary:
    """All predictions of a live source together. `stream` keeps it up to date.

    Args:
        received: Number of frames that arrived, also after the last prediction.
        dropped: Number of frames that were in no window, up to the last prediction.
        skipped: Number of predictions that were left out because the net was busy.
        latencies: Of each prediction, in seconds.
    """

    predictions: int = 0
    received: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def add(self, prediction: LivePrediction) -> None:
        self.predictions += 1
        self.received += prediction.received
        self.dropped += prediction.dropped
        self.skipped += prediction.skipped
        self.reconnects = prediction.reconnects
        self.latencies.append(prediction.latency)

    def latency(self, percent: float) -> float | None:
        """A percentile of the latencies in seconds; None without predictions."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else None

    def as_dict(self) -> dict[str, Any]:
        counts = {name: value for name, value in vars(self).items() if name != "latencies"}
        return counts | {"latency_p50": self.latency(50), "latency_p99": self.latency(99)}


def stream(
    model: Model,
    source: str,
    *,
    windows: Windows | None = None,
    options: Stream | None = None,
    topk: int = 5,
    tell: Callable[[str], None] | None = None,
    summary: StreamSummary | None = None,
) -> Generator[LivePrediction, None, None]:
    """As `Model.stream`.

    Args:
        summary: Is kept up to date.
    """
    windows, options = windows or Windows(), options or Stream()
    summary = summary if summary is not None else StreamSummary()
    if model.clip.modality == "flow":
        raise ValueError("the net needs optical flow: expected a net for RGB, because a live source has no flow")
    assert model.clip.frames is not None
    seconds = windows.seconds(model.clip)
    live = LiveSource(
        source,
        _shrinker(model),
        seconds=seconds,
        frames=model.clip.frames * model.clip.stride if seconds is None else None,
        timeout=options.timeout,
        retry=options.retry,
        tell=tell,
    )
    return _predictions(model, live, windows.every, options.seconds, topk, summary)


def _predictions(
    model: Model, live: LiveSource, every: float, seconds: float | None, topk: int, summary: StreamSummary
) -> Generator[LivePrediction, None, None]:
    end = float("inf") if seconds is None else time.monotonic() + seconds
    finisher = Finisher(model.input, dtype="float32", channels_last=model.channels_last, keep=2)
    last, skipped, due = Snapshot(), 0, 0.0  # due: time of the next prediction, 0 for at once
    newest = -1  # number of the last frame that has been looked at
    with single_threaded_opencv(), live:
        try:
            while live.wait(newest, end):
                now = time.monotonic()
                if max(now, due) >= end:
                    return
                if now < due:
                    time.sleep(min(due - now, 0.5))
                    continue
                found = live.snapshot()
                newest = found.decoded - 1
                if not found.full:
                    continue
                due = due + int((now - due) / every) * every if due else now
                prediction = _predict(model, finisher, found, last, skipped, topk)
                summary.add(prediction)
                yield prediction
                last = found
                skipped = max(0, int((time.monotonic() - due) / every) - 1)  # the last of them is due now
                due += (1 + skipped) * every
        finally:
            at_end = live.snapshot()
            summary.received, summary.reconnects = at_end.decoded + at_end.skipped, at_end.reconnects


def _predict(
    model: Model, finisher: Finisher, found: Snapshot, last: Snapshot, skipped: int, topk: int
) -> LivePrediction:
    """The prediction for the frames of a snapshot. `last` is the previous snapshot."""
    frames, newest = found.frames, found.frames[-1]
    plan = plan_eval(
        num_frames=len(frames),
        width=newest.width,
        height=newest.height,
        clip=model.clip,
        size=model.input.side,
        views=model.views,
    )
    wanted, gather = np.unique(plan.frames, return_inverse=True)
    gather = gather.reshape(plan.frames.shape)
    clips_NVTHWC = finisher.batch(1, model.views.num_views, plan.frames.shape[1])
    write = finisher.writer(plan, gather, clips_NVTHWC[0])
    for i, place in enumerate(wanted.tolist()):
        write(i, frames[place].data)
    clips = clips_NVTHWC.flatten(0, 1).permute(0, 4, 1, 2, 3)
    clips = (clips if model.channels_last else clips.contiguous()).to(model.device)
    with torch.inference_mode(), autocast(model.device.type, model.precision):
        logits = scores.logits_of_views(model.net, clips).cpu()
        averaged = scores.average_views(logits, model.average, multi_label=model.multi_label)
    (row,) = metrics.probabilities(averaged.numpy()[None], multi_label=model.multi_label)
    if np.isnan(row).any():
        raise ValueError(f"{model.source}: {scores.NAN}")
    best = metrics.best_classes(row[None], topk)[0].tolist()
    arrived = found.decoded - last.decoded
    unread = found.skipped - last.skipped
    return LivePrediction(
        time=time.time(),
        stream_time=newest.stream_time,
        classes=tuple(model.class_names[c] for c in best),
        probabilities=tuple(float(row[c]) for c in best),
        latency=time.monotonic() - newest.arrived,
        lag=newest.lag,
        received=arrived + unread,
        used=len(wanted),
        dropped=arrived - min(arrived, len(frames)) + unread,
        skipped=skipped,
        reconnects=found.reconnects,
    )


def _shrinker(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """Resizes frames as the evaluation of a video does, to the size from which the crops are taken."""

    def shrink(rgb: np.ndarray) -> np.ndarray:
        width, height = eval_resize(rgb.shape[1], rgb.shape[0], model.input.side, model.views.crop_ratio)
        out = np.empty((height, width, 3), np.uint8)
        resize(rgb, out=out)
        return out

    return shrink
