"""Feeds DALI's pipelines and takes their results, with bounded memory and several batches in flight.

DALI decodes at native size: before anything is decoded, the bytes of a batch are counted, and what would not fit is
decoded in several runs, if need be a few frames of a video at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nvidia.dali import Pipeline

from actrec.config import FLOW_CHANNELS
from actrec.data.video.color import color_change
from actrec.pipelines.dali.graph import IMAGES, Kind
from actrec.pipelines.workers.decode import Sample

_CPU_BUDGET = 1 << 30
_GPU_SHARE = 16  # a run may decode into a sixteenth of the GPU's memory: two are in flight, and DALI keeps a copy


@dataclass(frozen=True)
class Piece:
    """Some of a sample's wanted frames, by their places.

    Args:
        number: of the sample, among those that run together.
    """

    sample: Sample
    number: int
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def images(self) -> list[np.ndarray]:
        """Those that its frames are made of."""
        each = len(self.sample.data) // len(self.sample.wanted)
        return self.sample.data[each * self.first : each * self.stop]


@dataclass(frozen=True)
class Running:
    """Samples of one kind on their way through DALI. The first run is in flight, the others follow when collected."""

    runner: Runner
    kind: Kind
    pipe: Pipeline
    samples: list[Sample]
    runs: list[list[Piece]]

    def collect(self) -> Sequence[torch.Tensor]:
        """(views, T, H, W, C) for each sample.

        Raises:
            RuntimeError: DALI could not decode one of them. None can be told from the others.
        """
        return self.runner.collect(self)


class Runner:
    """Owns the pipelines.

    Args:
        build: makes the pipeline of a kind.
        parameters: what a pipeline is fed for a sample, besides its pictures, by input name.
    """

    def __init__(
        self,
        build: Callable[..., Pipeline],
        parameters: Callable[[Sample], dict[str, np.ndarray]],
        device: torch.device,
    ):
        self._build, self._parameters, self._device = build, parameters, device
        self._idle: dict[Kind, list[Pipeline]] = {}
        self._limit: int | None = None  # bytes of decoded pictures that a run may hold

    def start(self, kind: Kind, samples: list[Sample]) -> Running:
        """Feeds the samples, or as many frames of them as fit, without waiting."""
        idle = self._idle.setdefault(kind, [])
        pipe = idle.pop() if idle else self._build(kind, device=self._device.type, device_id=self._device.index)
        runs = list(in_runs(samples, self._budget()))
        self._feed(pipe, kind, runs[0])
        return Running(self, kind, pipe, samples, runs)

    def collect(self, running: Running) -> Sequence[torch.Tensor]:
        """See `Running.collect`."""
        pipe, kind, (first, *rest) = running.pipe, running.kind, running.runs
        pieces = self._take(pipe, kind, first)  # a pipeline that fails is not used again
        if not rest and (whole := _as_one(first, pieces)) is not None:
            self._idle[kind].append(pipe)
            return whole
        found: list[list[list[torch.Tensor]]] = [[] for _ in running.samples]
        for run in (first, *rest):
            if run is not first:
                self._feed(pipe, kind, run)
                pieces = self._take(pipe, kind, run)
            for piece, crops in zip(run, zip(*map(list, pieces))):
                found[piece.number].append(list(crops))
        self._idle[kind].append(pipe)
        return list(map(self._views, running.samples, found))

    def _feed(self, pipe: Pipeline, kind: Kind, run: list[Piece]) -> None:
        times = [len(piece.images) if kind in IMAGES else 1 for piece in run]
        fed = [self._parameters(piece.sample) for piece in run]
        for name in fed[0]:
            pipe.feed_input(name, [value[name] for value, n in zip(fed, times) for _ in range(n)])
        if kind == "boxes":
            pipe.feed_input("clips", [piece.sample.data[piece.first : piece.stop] for piece in run])
        elif kind in IMAGES:
            pipe.feed_input("encoded", [data for piece in run for data in piece.images])
        else:
            pipe.feed_input("encoded", [piece.sample.data[0] for piece in run])
            pipe.feed_input("frames", [_positions(piece) for piece in run])
        if kind == "recolored":
            changes = [color_change(piece.sample.media.color) for piece in run]
            pipe.feed_input("matrix", [matrix for matrix, _ in changes])
            pipe.feed_input("offset", [offset for _, offset in changes])
        pipe.schedule_run()

    def _take(self, pipe: Pipeline, kind: Kind, run: list[Piece]) -> list[Sequence[torch.Tensor] | torch.Tensor]:
        """For each crop its (frames, H, W, C), piece by piece, in DALI's own memory."""
        # On a GPU the outputs are bound to torch's stream: what torch queues on it comes before DALI reuses the memory.
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        outputs = pipe.share_outputs(cuda_stream=stream)
        try:
            if kind in IMAGES:
                images = [torch.from_dlpack(output.as_tensor()) for output in outputs]
                if kind == "flow":
                    images = [gray.squeeze(-1).unflatten(0, (-1, FLOW_CHANNELS)).movedim(1, -1) for gray in images]
                return [frames.split([len(piece) for piece in run]) for frames in images]
            if len({len(piece) for piece in run}) == 1:
                return [torch.from_dlpack(output.as_tensor()) for output in outputs]
            return [[torch.from_dlpack(tensor) for tensor in output] for output in outputs]
        finally:
            pipe.release_outputs()  # the tensors keep their memory: the dynamic executor counts references

    def _views(self, sample: Sample, pieces: list[list[torch.Tensor]]) -> torch.Tensor:
        gather = torch.from_numpy(sample.gather).to(self._device, non_blocking=True)
        crops = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces)]
        return torch.cat([crop[gather] for crop in crops])

    def _budget(self) -> int:
        if self._limit is None:
            on_gpu = self._device.type == "cuda"
            memory = torch.cuda.get_device_properties(self._device).total_memory if on_gpu else 0
            self._limit = memory // _GPU_SHARE if on_gpu else _CPU_BUDGET
        return self._limit


def in_runs(samples: list[Sample], budget: int) -> Iterator[list[Piece]]:
    """The samples' frames in order, as many at a time as fit into `budget` bytes at native size; one at least."""
    run, room = [], budget
    for number, sample in enumerate(samples):
        channels = FLOW_CHANNELS if sample.kind == "flow" else 3
        size = sample.data[0].nbytes if sample.kind == "boxes" else channels * sample.media.width * sample.media.height
        first = 0
        while first < len(sample.wanted):
            fitting = max(0, room // size)
            if not fitting and run:
                yield run
                run, room = [], budget
                continue
            stop = min(len(sample.wanted), first + max(1, fitting))
            run.append(Piece(sample, number, first, stop))
            room -= (stop - first) * size
            first = stop
    yield run


def _as_one(run: list[Piece], crops: list[Sequence[torch.Tensor] | torch.Tensor]) -> torch.Tensor | None:
    """The clips (N, 1, T, H, W, C) without a copy, where every sample has one view whose frames are in order."""
    gathers = [piece.sample.gather for piece in run]
    plain = len(crops) == 1 and all(len(g) == 1 and np.array_equal(g[0], np.arange(g.size)) for g in gathers)
    if not plain or len({g.size for g in gathers}) > 1:
        return None
    clips = crops[0] if isinstance(crops[0], torch.Tensor) else torch.stack(list(crops[0]))
    return clips.unsqueeze(1)


def _positions(piece: Piece) -> np.ndarray:
    wanted = piece.sample.wanted[piece.first : piece.stop]
    return (wanted + piece.sample.media.start).astype(np.int32)
