"""Feeds DALI's graphs and takes their tensors, with bounded memory and several batches in flight.

DALI decodes at native size. Before anything is decoded, the bytes of a batch are counted. What does not fit is decoded
in several runs, if necessary a few frames of a video at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from actrec.config import Input
from actrec.data.index.watched import Listening
from actrec.pipelines.dali.errors import DecodeError, error_of
from actrec.pipelines.dali.graph import Graph
from actrec.pipelines.dali.routes import Piece, Route
from actrec.pipelines.workers.decode import Sample

_CPU_BUDGET = 1 << 30
_GPU_SHARE = 16  # a run may decode into a sixteenth of the GPU's memory: two are in flight, and DALI keeps a copy


@dataclass(frozen=True)
class Running:
    """Samples of one route on their way through DALI. The first run is in flight; the others follow in `collect`.

    Args:
        runs: the pieces of each run.
        listening: to what DALI's decoder of images prints.
    """

    feeder: Feeder
    route: Route
    graph: Graph
    samples: list[Sample]
    runs: list[list[Piece]]
    listening: Listening | None

    def collect(self) -> torch.Tensor | list[torch.Tensor]:
        """Waits for the clips: (views, T, H, W, C) for each sample.

        Raises:
            DecodeError: one of the samples is damaged, or DALI could not decode it. It does not say which one.
            MemoryError, torch.OutOfMemoryError: there is too little memory.
        """
        return self.feeder.collect(self)


class Feeder:
    """Owns the graphs of a loader.

    Args:
        define: makes the graph of a route.
        net_input: how the net is fed.
        budget: how many bytes of decoded pictures a run may hold; a share of the memory by default.
    """

    def __init__(
        self, define: Callable[[Route], Graph], net_input: Input, device: torch.device, *, budget: int | None = None
    ):
        self._define, self._input, self._device = define, net_input, device
        self._idle: dict[str, list[Graph]] = {}
        self._budget = budget if budget is not None else default_budget(device)

    def start(self, route: Route, samples: list[Sample]) -> Running:
        """Feeds the samples, or as many frames of them as fit, without waiting for the result.

        No sample can make this fail: DALI looks into the data only while the graph runs. `collect` tells how that went.

        Raises:
            MemoryError, torch.OutOfMemoryError: there is too little memory.
        """
        idle = self._idle.setdefault(route.name, [])
        runs = list(in_runs(samples, self._budget))
        listening = Listening() if route.images_per_frame else None
        try:
            graph = idle.pop() if idle else self._build(route)
            _feed(graph, runs[0])
        except RuntimeError as error:
            meaning = error_of(error, self._device)
            if isinstance(meaning, DecodeError):
                raise  # nothing was decoded yet
            raise meaning from error
        return Running(self, route, graph, samples, runs, listening)

    def _build(self, route: Route) -> Graph:
        graph = self._define(route)
        graph.pipe.build()
        return graph

    def collect(self, running: Running) -> torch.Tensor | list[torch.Tensor]:
        """See `Running.collect`."""
        try:
            clips = self._collect(running)
        finally:
            if running.listening:
                running.listening.close()
        if running.listening and running.listening.heard_damage:
            raise DecodeError("DALI: an image is damaged")
        return clips

    def _collect(self, running: Running) -> torch.Tensor | list[torch.Tensor]:
        route, graph, (first, *rest) = running.route, running.graph, running.runs
        pieces = self._take(graph, route, first)  # a graph that fails is not used again
        if not rest and (clips := _without_copy(first, pieces)) is not None:
            self._idle[route.name].append(graph)
            return self._fix_mirrored(running, clips)
        found: list[list[list[torch.Tensor]]] = [[] for _ in running.samples]
        for run in (first, *rest):
            if run is not first:
                _feed(graph, run)
                pieces = self._take(graph, route, run)
            for piece, crops in zip(run, zip(*map(list, pieces))):
                found[piece.sample_index].append(list(crops))
        self._idle[route.name].append(graph)
        return self._fix_mirrored(running, list(map(self._views, running.samples, found)))

    def _take(self, graph: Graph, route: Route, run: list[Piece]) -> list[Sequence[torch.Tensor] | torch.Tensor]:
        """For each crop its (frames, H, W, C), piece by piece, in DALI's own memory."""
        # On a GPU the outputs are bound to torch's stream: what torch queues on it comes before DALI reuses the memory.
        stream = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        try:
            outputs = graph.pipe.share_outputs(cuda_stream=stream)
        except RuntimeError as error:
            raise error_of(error, self._device) from error
        try:
            if route.images_per_frame:
                crops = [route.frames_of(torch.from_dlpack(output.as_tensor())) for output in outputs]
                return [frames.split([len(piece) for piece in run]) for frames in crops]
            if len({len(piece) for piece in run}) == 1:
                return [torch.from_dlpack(output.as_tensor()) for output in outputs]
            return [[torch.from_dlpack(tensor) for tensor in output] for output in outputs]
        finally:
            graph.pipe.release_outputs()  # the tensors keep their memory: the dynamic executor counts references

    def _views(self, sample: Sample, pieces: list[list[torch.Tensor]]) -> torch.Tensor:
        gather = torch.from_numpy(sample.gather).to(self._device, non_blocking=True)
        crops = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces)]
        return torch.cat([crop[gather] for crop in crops])

    def _fix_mirrored(
        self, running: Running, clips: torch.Tensor | list[torch.Tensor]
    ) -> torch.Tensor | list[torch.Tensor]:
        if running.route.fix_mirrored is not None:
            for views, sample in zip(clips, running.samples):
                running.route.fix_mirrored(views, sample.plan, self._input)
        return clips


def default_budget(device: torch.device) -> int:
    """How many bytes of decoded pictures fit into memory at a time."""
    if device.type != "cuda":
        return _CPU_BUDGET
    return torch.cuda.get_device_properties(device).total_memory // _GPU_SHARE


def in_runs(samples: list[Sample], budget: int) -> Iterator[list[Piece]]:
    """The samples' frames in order, as many at a time as fit into `budget` bytes at native size; at least one."""
    run: list[Piece] = []
    room = budget
    for sample_index, sample in enumerate(samples):
        size = sample.route.bytes_per_frame(sample)
        first = 0
        while first < len(sample.wanted):
            fitting = max(0, room // size)
            if not fitting and run:
                yield run
                run, room = [], budget
                continue
            stop = min(len(sample.wanted), first + max(1, fitting))
            run.append(Piece(sample, sample_index, first, stop))
            room -= (stop - first) * size
            first = stop
    yield run


def _feed(graph: Graph, run: list[Piece]) -> None:
    for asked in graph.inputs:
        fed = []
        for piece in run:
            value = asked.value(piece)
            fed += value if isinstance(value, list) else [value] * piece.num_dali_samples
        graph.pipe.feed_input(asked.name, fed)
    graph.pipe.schedule_run()


def _without_copy(run: list[Piece], crops: list[Sequence[torch.Tensor] | torch.Tensor]) -> torch.Tensor | None:
    """The clips (N, 1, T, H, W, C), where every sample has one view that shows its frames in order; else None."""
    gathers = [piece.sample.gather for piece in run]
    in_order = len(crops) == 1 and all(len(g) == 1 and np.array_equal(g[0], np.arange(g.size)) for g in gathers)
    if not in_order or len({g.size for g in gathers}) > 1:
        return None
    clips = crops[0] if isinstance(crops[0], torch.Tensor) else torch.stack(list(crops[0]))
    return clips.unsqueeze(1)
