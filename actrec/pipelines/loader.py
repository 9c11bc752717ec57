"""Clips for a net: the torch end of the pipelines, and the only module here that imports torch.

A loader plans samples, lets the decode workers fetch them, runs them through DALI and yields `Batch`es in the order of
the plan. A sample that cannot be decoded is left out and counted, and takes nothing else with it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch
from nvidia.dali import Pipeline

from actrec.config import Augment, Clip, Input, Views
from actrec.data.index import Index, Media, build_index
from actrec.data.lists import Video
from actrec.data.media import MediaError
from actrec.data.plan import EvalPlan, TrainPlan, batch_slice, epoch_order, plan_eval, plan_train
from actrec.pipelines import graph, source
from actrec.pipelines.graph import Kind

# What NVDEC (from Turing to Hopper) and DALI's colour conversion decode as the CPU does. Other files, rotated or in
# other colours, go through the decode workers, also on a GPU.
_NVDEC = {"h264", "hevc", "vp8", "vp9"}
_DALI_CPU = {"vp8", "vp9", "mjpeg"}  # all that DALI's wheel decodes without a GPU
_JPEG = {"jpg", "jpeg"}
_IN_FLIGHT = 2  # pipelines of a kind, each with one batch

Decoder = Literal["auto", "workers", "dali"]


@dataclass(frozen=True)
class Batch:
    """Clips of some videos.

    Args:
        clips: (N, C, T, H, W) normalised; in evaluation (N * views, C, T, H, W), all views of a video together.
        labels: (N,) int64 on the clips' device, -1 where the list has none.
        videos: ids of the N videos.
        views: clips per video.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    videos: list[str]
    views: int = 1

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True)
class _Sample:
    """A fetched sample, or the reason why there is none."""

    row: int
    kind: Kind = "boxes"
    plan: TrainPlan | EvalPlan | None = None
    media: Media | None = None
    data: np.ndarray | list[np.ndarray] | None = None
    gather: np.ndarray | None = None  # evaluation: (clips, T) places of the clips' frames in `data`
    clamped: int = 0
    error: str | None = None


@dataclass(frozen=True)
class _Part:
    """The samples of a batch that one pipeline works on, by their places in the batch."""

    kind: Kind
    places: list[int]
    pipe: Pipeline


class Loader:
    """Iterates batches; each `iter(loader)` is the next epoch.

    Attributes:
        epoch: the epoch that the next `iter` begins (or the one being iterated).
        skipped: reason by video id, for samples left out so far.
        clamped: how many planned frames lay past a video's last one and became that one.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        net_input: Input,
        index: Index | None,
        batch_size: int,
        device: str | torch.device,
        workers: int | None,
        prefetch: int,
        dtype: Literal["float32", "float16"],
        channels_last: bool,
        decoder: Decoder,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: expected at least 1")
        self.videos = videos
        self.input = net_input
        self.index = index if index is not None else build_index(videos, workers=workers)
        self.batch_size = batch_size
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {device}: torch finds no GPU; device='cpu' works without one")
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.skipped: dict[str, str] = {}
        self.clamped = 0
        self.epoch = 0
        self._step = 0
        self._workers = workers or os.cpu_count() or 1
        self._prefetch = prefetch
        self._dtype = dtype
        self._channels_last = channels_last
        self._decoder = decoder
        self._pipes: dict[Kind, list[Pipeline | None]] = {}
        self._turn = 0

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)  # the workers are the parallelism
        epoch, first = self.epoch, self._step
        with ThreadPoolExecutor(self._workers, thread_name_prefix="actrec-decode") as pool:
            try:
                yield from self._batches(pool, epoch, first)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
                if self.epoch == epoch:  # also when the consumer left early
                    self.epoch, self._step = epoch + 1, 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands: the epoch and the next step in it."""
        return {"epoch": self.epoch, "step": self._step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next `iter` continues there, with the very batches that would have followed."""
        self.epoch, self._step = int(state["epoch"]), int(state["step"])

    def _batches(self, pool: ThreadPoolExecutor, epoch: int, first: int) -> Iterator[Batch]:
        steps = iter(range(first, len(self)))
        fetching: deque[list[Future]] = deque()
        running: deque[tuple[list[_Sample], list[_Part]]] = deque()
        try:
            while True:
                while len(fetching) < self._prefetch and (step := next(steps, None)) is not None:
                    fetching.append([pool.submit(self._fetch, epoch, int(row)) for row in self._rows(epoch, step)])
                while fetching and len(running) < _IN_FLIGHT and (not running or all(f.done() for f in fetching[0])):
                    running.append(self._launch([future.result() for future in fetching.popleft()]))
                if not running:
                    return
                batch = self._finish(*running.popleft())
                self._step += 1
                if self._step == len(self):
                    self.epoch, self._step = epoch + 1, 0
                yield batch
        finally:
            if running:  # the consumer left early: what is in flight must not turn up in the next epoch
                self._pipes.clear()

    def _fetch(self, epoch: int, row: int) -> _Sample:
        """In a decode worker. Never raises for a bad file."""
        try:
            found = self.index[row]
            kind = _route(found, self.device, self._decoder)
            return self._read(row, found, self._plan(epoch, row, found), kind, epoch)
        except (MediaError, OSError) as error:
            return _Sample(row, error=str(error))

    def _launch(self, samples: list[_Sample]) -> tuple[list[_Sample], list[_Part]]:
        """Feeds the good samples to DALI, kind by kind, without waiting for the result."""
        for sample in samples:
            if sample.error is not None:
                self.skipped[self.videos[sample.row].id] = sample.error
            self.clamped += sample.clamped
        good = [sample for sample in samples if sample.error is None]
        parts = []
        self._turn = (self._turn + 1) % _IN_FLIGHT
        for kind in dict.fromkeys(sample.kind for sample in good):
            places = [i for i, sample in enumerate(good) if sample.kind == kind]
            parts.append(_Part(kind, places, self._run(self._pipe(kind), kind, [good[i] for i in places])))
        return good, parts

    def _run(self, pipe: Pipeline, kind: Kind, samples: list[_Sample]) -> Pipeline:
        self._feed(pipe, kind, samples)
        pipe.schedule_run()
        return pipe

    def _finish(self, samples: list[_Sample], parts: list[_Part]) -> Batch:
        """Waits for DALI and puts the parts together in the planned order."""
        samples = list(samples)
        outputs: dict[int, torch.Tensor | list[torch.Tensor]] = {}
        for part in parts:
            try:
                produced = self._collect(part.pipe, part.kind, [samples[i] for i in part.places])
            except RuntimeError:
                produced = self._rescue(part, samples)
            if len(produced) == len(samples):  # the usual case: one part, already in order
                return self._assemble(samples, produced)
            outputs |= dict(zip([i for i in part.places if samples[i].error is None], produced))
        return self._assemble([samples[i] for i in sorted(outputs)], [outputs[i] for i in sorted(outputs)])

    def _rescue(self, part: _Part, samples: list[_Sample]) -> Sequence:
        """DALI lost a whole batch to one bad file: the decode workers take it over, sample by sample, in `samples`."""
        self._pipes[part.kind] = [None if pipe is part.pipe else pipe for pipe in self._pipes[part.kind]]
        for i in part.places:
            lost = samples[i]
            try:
                samples[i] = self._read(lost.row, lost.media, lost.plan, "boxes", epoch=0)
                self.clamped += samples[i].clamped
            except (MediaError, OSError) as error:
                samples[i] = replace(lost, error=str(error))
                self.skipped[self.videos[lost.row].id] = str(error)
        rescued = [samples[i] for i in part.places if samples[i].error is None]
        if not rescued:
            return []
        return self._collect(self._run(self._pipe("boxes", spare=True), "boxes", rescued), "boxes", rescued)

    def _pipe(self, kind: Kind, *, spare: bool = False) -> Pipeline:
        """A pipeline with nothing in flight, built when first needed. `spare` ones are for rescued batches."""
        pipes = self._pipes.setdefault(kind, [None] * (_IN_FLIGHT + 1))
        turn = _IN_FLIGHT if spare else self._turn
        if pipes[turn] is None:
            device_id = self.device.index if self.device.type == "cuda" else None
            pipes[turn] = self._build(
                kind, device=self.device.type, device_id=device_id, threads=self._workers, dtype=self._dtype
            )
        return pipes[turn]

    def _collect(self, pipe: Pipeline, kind: Kind, samples: list[_Sample]) -> Sequence:
        # On a GPU the outputs are bound to torch's stream: what torch queues on it comes before DALI reuses the memory.
        stream = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        outputs = pipe.share_outputs(cuda_stream=stream)
        try:
            return self._to_torch(outputs, kind, samples)
        finally:
            pipe.release_outputs()  # the tensors keep their memory: the dynamic executor counts references

    def _labels(self, samples: list[_Sample], flip_map: Sequence[int] | None = None) -> torch.Tensor:
        labels = []
        for sample in samples:
            label = next(iter(self.videos[sample.row].labels), -1)
            labels.append(flip_map[label] if flip_map is not None and sample.plan.flip and label >= 0 else label)
        return torch.tensor(labels, dtype=torch.int64).to(self.device, non_blocking=True)

    def _layout(self, clips_NTHWC: torch.Tensor) -> torch.Tensor:
        clips = clips_NTHWC.permute(0, 4, 1, 2, 3)
        return clips if self._channels_last else clips.contiguous()

    def _empty(self, frames: int) -> torch.Tensor:
        shape = (0, frames, self.input.size, self.input.size, len(self.input.mean))
        return torch.empty(shape, dtype=getattr(torch, self._dtype), device=self.device)


class TrainLoader(Loader):
    """See `train_loader`."""

    def __init__(self, videos, *, clip, augment, seed, keep_last, flip_map, rank, world, **common):
        super().__init__(videos, **common)
        self.clip = _with_frames(clip, self.input)
        self._augment, self._seed, self._flip_map = augment, seed, flip_map
        self._rank, self._world = rank, world
        full, rest = divmod(len(videos), self.batch_size)
        self._num_steps = full + (1 if rest and keep_last else 0)
        if not self._num_steps:
            raise ValueError(f"batch_size {self.batch_size} with {len(videos)} videos: expected at most {len(videos)}")

    def __len__(self) -> int:
        return self._num_steps

    def _rows(self, epoch: int, step: int) -> np.ndarray:
        order = epoch_order(len(self.videos), seed=self._seed, epoch=epoch)
        part = batch_slice(
            step, batch_size=self.batch_size, num_videos=len(self.videos), rank=self._rank, world=self._world
        )
        return order[part]

    def _plan(self, epoch: int, row: int, found: Media) -> TrainPlan:
        labels = self.videos[row].labels
        return plan_train(
            num_frames=found.frames,
            width=found.width,
            height=found.height,
            clip=self.clip,
            size=self.input.size,
            augment=self._augment,
            seed=self._seed,
            epoch=epoch,
            index=row,
            may_flip=self._flip_map is None or all(self._flip_map[label] >= 0 for label in labels),
        )

    def _read(self, row: int, found: Media, plan: TrainPlan, kind: Kind, epoch: int) -> _Sample:
        if kind == "boxes":
            data, clamped = source.fetch_clip(self.index, found, plan, self.input.size, certify=True)
            return _Sample(row, kind, plan, found, data, clamped=clamped)
        return _Sample(row, kind, plan, found, source.fetch_encoded(found, plan.frames))

    def _build(self, kind: Kind, **common):
        samples = self.batch_size * (self.clip.frames if kind == "images" else 1)
        return graph.train_pipeline(kind, self.input, batch_size=samples, **common)

    def _feed(self, pipe: Pipeline, kind: Kind, samples: list[_Sample]) -> None:
        times = self.clip.frames if kind == "images" else 1  # an image is a sample of its own: the plan is repeated
        pipe.feed_input("flip", _repeat([np.int32(s.plan.flip) for s in samples], times))
        if kind == "boxes":
            pipe.feed_input("clips", [s.data for s in samples])
            return
        pipe.feed_input("encoded", [buffer for s in samples for buffer in s.data])
        boxes = np.array([s.plan.box for s in samples], np.float32)  # x, y, w, h
        sizes = np.array([(s.media.height, s.media.width) for s in samples], np.float32)
        pipe.feed_input("start", _repeat(boxes[:, [1, 0]] / sizes, times))
        pipe.feed_input("end", _repeat((boxes[:, [1, 0]] + boxes[:, [3, 2]]) / sizes, times))
        if kind == "video":
            pipe.feed_input("frames", [(s.plan.frames + s.media.start).astype(np.int32) for s in samples])

    def _to_torch(self, outputs, kind: Kind, samples: list[_Sample]) -> torch.Tensor:
        """(N, T, H, W, C), in DALI's own memory."""
        clips = torch.from_dlpack(outputs[0].as_tensor())
        return clips.unflatten(0, (len(samples), self.clip.frames)) if kind == "images" else clips

    def _assemble(self, samples: list[_Sample], outputs: torch.Tensor | list[torch.Tensor]) -> Batch:
        if isinstance(outputs, list):
            outputs = torch.stack(outputs) if outputs else self._empty(self.clip.frames)
        clips = outputs
        return Batch(
            self._layout(clips), self._labels(samples, self._flip_map), [self.videos[s.row].id for s in samples]
        )


class EvalLoader(Loader):
    """See `eval_loader`."""

    def __init__(self, videos, *, clip, views, rank, world, **common):
        super().__init__(videos, **common)
        self.clip = _with_frames(clip, self.input)
        self.views = views
        self._mine = np.arange(rank, len(videos), world)

    def __len__(self) -> int:
        return -(-len(self._mine) // self.batch_size)

    def _rows(self, epoch: int, step: int) -> np.ndarray:
        return self._mine[batch_slice(step, batch_size=self.batch_size, num_videos=len(self._mine))]

    def _plan(self, epoch: int, row: int, found: Media) -> EvalPlan:
        return plan_eval(
            num_frames=found.frames,
            width=found.width,
            height=found.height,
            clip=self.clip,
            size=self.input.size,
            views=self.views,
        )

    def _read(self, row: int, found: Media, plan: EvalPlan, kind: Kind, epoch: int) -> _Sample:
        if kind == "boxes":
            # A first pass reads each file once: only from the second on is a certificate worth decoding to the end.
            pictures, gather, clamped = source.fetch_pictures(self.index, found, plan, certify=epoch > 0)
            return _Sample(row, kind, plan, found, pictures, gather, clamped)
        wanted, gather = np.unique(plan.frames, return_inverse=True)
        gather = gather.reshape(plan.frames.shape)
        return _Sample(row, kind, plan, found, source.fetch_encoded(found, wanted), gather)

    def _build(self, kind: Kind, **common):
        samples = self.batch_size * (self.views.clips * self.clip.frames if kind == "images" else 1)
        flips = (False, True) * 5 if self.views.crops == 10 else (False,) * self.views.crops
        return graph.eval_pipeline(kind, self.input, flips=flips, batch_size=samples, **common)

    def _feed(self, pipe: Pipeline, kind: Kind, samples: list[_Sample]) -> None:
        times = [len(s.data) if kind == "images" else 1 for s in samples]
        offsets = [s.plan.offsets[:, ::-1].astype(np.int32) for s in samples]  # y, x
        pipe.feed_input("offsets", [o for o, n in zip(offsets, times) for _ in range(n)])
        if kind == "boxes":
            pipe.feed_input("clips", [s.data for s in samples])
            return
        shapes = [np.array(s.plan.resize[::-1], np.float32) for s in samples]
        pipe.feed_input("encoded", [buffer for s in samples for buffer in s.data])
        pipe.feed_input("shape", [shape for shape, n in zip(shapes, times) for _ in range(n)])
        if kind == "video":
            pipe.feed_input("frames", [(np.unique(s.plan.frames) + s.media.start).astype(np.int32) for s in samples])

    def _to_torch(self, outputs, kind: Kind, samples: list[_Sample]) -> list[list[torch.Tensor]]:
        """For each sample its crops, each (frames, H, W, C)."""
        if kind == "images":
            counts = [len(s.data) for s in samples]
            crops = [torch.from_dlpack(output.as_tensor()).split(counts) for output in outputs]
        else:
            crops = [[torch.from_dlpack(tensor) for tensor in output] for output in outputs]
        return [list(of_sample) for of_sample in zip(*crops)]

    def _assemble(self, samples: list[_Sample], outputs: list[list[torch.Tensor]]) -> Batch:
        views = []
        for sample, crops in zip(samples, outputs):
            gather = torch.from_numpy(sample.gather).to(self.device)
            views += [crop[gather] for crop in crops]  # (clips, T, H, W, C) each
        clips = torch.cat(views) if views else self._empty(self.clip.frames)
        return Batch(
            self._layout(clips), self._labels(samples), [self.videos[s.row].id for s in samples], self.views.num_views
        )


def train_loader(
    videos: Sequence[Video],
    clip: Clip,
    net_input: Input,
    *,
    augment: Augment | None = None,
    batch_size: int = 16,
    seed: int = 0,
    device: str | torch.device = "cpu",
    index: Index | None = None,
    flip_map: Sequence[int] | None = None,
    keep_last: bool = False,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
    prefetch: int = 2,
    dtype: Literal["float32", "float16"] = "float32",
    channels_last: bool = False,
    decoder: Decoder = "auto",
) -> TrainLoader:
    """Random clips of a list, one per video and epoch. Batches' clips are (N, C, T, size, size).

    Args:
        net_input: how the net wants to be fed (`net.input`).
        batch_size: the global one, over all ranks.
        index: of these very videos; built here, without a cache, if not given.
        flip_map: for each class the label of its mirror image, -1 where it has none (never flipped then).
        keep_last: keep the incomplete last batch of an epoch instead of dropping it.
        workers: decoding threads, one per core by default.
        prefetch: batches fetched ahead.
        channels_last: clips in torch's channels_last_3d memory format, which costs nothing here.
        decoder: "dali" lets DALI decode what it can on this device, "workers" nothing; "auto" is "dali" on a GPU.

    Raises:
        ValueError: an empty list, none of it usable, a batch larger than the list, or no such device.
    """
    return TrainLoader(
        videos,
        clip=clip,
        augment=augment if augment is not None else Augment(),
        seed=seed,
        keep_last=keep_last,
        flip_map=flip_map,
        rank=rank,
        world=world,
        net_input=net_input,
        index=index,
        batch_size=batch_size,
        device=device,
        workers=workers,
        prefetch=prefetch,
        dtype=dtype,
        channels_last=channels_last,
        decoder=decoder,
    )


def eval_loader(
    videos: Sequence[Video],
    clip: Clip,
    net_input: Input,
    *,
    views: Views | None = None,
    batch_size: int = 4,
    device: str | torch.device = "cpu",
    index: Index | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
    prefetch: int = 2,
    dtype: Literal["float32", "float16"] = "float32",
    channels_last: bool = False,
    decoder: Decoder = "auto",
) -> EvalLoader:
    """All views of every video, each video decoded once and in the list's order; ranks take every world-th video.

    Batches' clips are (N * clips * crops, C, T, size, size): all views of a video together, crop by crop, clips inside.
    Arguments and errors as for `train_loader`; nothing is dropped, padded or repeated.
    """
    return EvalLoader(
        videos,
        clip=clip,
        views=views if views is not None else Views(),
        rank=rank,
        world=world,
        net_input=net_input,
        index=index,
        batch_size=batch_size,
        device=device,
        workers=workers,
        prefetch=prefetch,
        dtype=dtype,
        channels_last=channels_last,
        decoder=decoder,
    )


def _route(found: Media, device: torch.device, decoder: Decoder) -> Kind:
    """Who decodes a file: DALI ("video", "images") or the decode workers ("boxes")."""
    on_gpu = device.type == "cuda"
    if decoder == "workers" or (decoder == "auto" and not on_gpu):
        return "boxes"
    if found.template:
        return "images" if found.codec in _JPEG else "boxes"
    plain = found.rotation == 0 and found.colour == "bt601" and found.pix_fmt == "yuv420p"
    return "video" if plain and found.codec in (_NVDEC if on_gpu else _DALI_CPU) else "boxes"


def _with_frames(clip: Clip, net_input: Input) -> Clip:
    return clip if clip.frames is not None else replace(clip, frames=net_input.frames)


def _repeat(values: Sequence | np.ndarray, times: int) -> np.ndarray:
    return np.repeat(np.asarray(values), times, axis=0)
