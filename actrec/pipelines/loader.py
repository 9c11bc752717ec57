"""Clips for a net: the torch end of the pipelines.

A loader plans samples, lets the decode workers fetch them, has them finished (by the workers on a CPU, by DALI on a
GPU, where DALI decodes and where colors are changed) and yields `Batch`es in the order of the plan. A sample that
cannot be decoded is left out and counted, and takes nothing else with it.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch
from nvidia.dali import Pipeline

from actrec.config import FLOW_CHANNELS, Augment, Clip, Input, Views
from actrec.data.index import Index, Media, build_index
from actrec.data.lists import Video, check_labels
from actrec.data.sampling.order import epoch_draws, only_labels
from actrec.data.sampling.plan import EvalPlan, TrainPlan, batch_slice, check_sampling, plan_eval, plan_train
from actrec.data.video.read import MediaError
from actrec.pipelines.batch import trim
from actrec.pipelines.dali import graph
from actrec.pipelines.dali.augment import look_values
from actrec.pipelines.dali.feed import Runner, Running
from actrec.pipelines.dali.graph import Kind
from actrec.pipelines.workers import decode as source
from actrec.pipelines.workers.decode import Sample
from actrec.pipelines.workers.finish import Finisher

# What NVDEC (from Turing to Hopper) and DALI's color conversion decode as the CPU does. Other files, rotated, deeper
# than 8 bit or in full range, go through the decode workers, also on a GPU.
_NVDEC = {"h264", "hevc", "vp8", "vp9"}
_DALI_CPU = {"vp8", "vp9", "mjpeg"}  # all that DALI's wheel decodes without a GPU
_MATRICES = {"bt709", "fcc", "smpte240m", "bt2020"}  # DALI takes every file for BT.601: corrected afterwards
_JPEG = {"jpg", "jpeg"}
_IN_FLIGHT = 2  # batches in DALI
_TRIM = 256  # batches between two looks at what the C library holds on to

Decoder = Literal["auto", "workers", "dali"]


@dataclass(frozen=True)
class Batch:
    """Clips of some videos.

    Args:
        clips: (N, C, T, H, W) normalized; in evaluation (N * views, C, T, H, W), all views of a video together.
        labels: (N,) int64 on the clips' device, -1 where the list has none; of a multi-label loader (N, classes)
            float32, 1 for each class that a clip shows.
        videos: ids of the N videos.
        views: clips per video.
        clamped: how many of their frames lay past a video's last one and became that one.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    videos: list[str]
    views: int = 1
    clamped: int = 0

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True)
class _Part:
    """The samples of a batch that go one way, by their places in it: DALI's, or already written into the batch."""

    places: list[int]
    running: Running | None


@dataclass(frozen=True)
class _Fetching:
    """A batch on its way through the decode workers, and the memory that those of its clips take that end there.

    Args:
        places: in the batch, of the samples that each future gives: those of one file.
    """

    clips: torch.Tensor | None
    places: list[list[int]]
    samples: list[Future[list[Sample]]]

    def result(self) -> list[Sample]:
        """In the order of the batch."""
        found = {}
        for places, future in zip(self.places, self.samples):
            found |= zip(places, future.result())
        return [found[i] for i in range(len(found))]


class Loader:
    """Iterates batches; each `iter(loader)` is the next epoch.

    Attributes:
        epoch: the epoch that the next `iter` begins (or the one being iterated).
        skipped: reason by video id, for samples left out so far.
        clamped: how many planned frames lay past a video's last one and became that one.
        decoded: how many pictures the decode workers decoded so far, `delivered` how many different ones of them were
            wanted; both of video files only, and not what DALI decodes.
    """

    _views: int  # clips per video

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        clip: Clip,
        net_input: Input,
        index: Index | None,
        batch_size: int,
        device: str | torch.device,
        workers: int | None,
        prefetch: int,
        dtype: Literal["float32", "float16"],
        channels_last: bool,
        decoder: Decoder,
        multi_label: int | None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}: expected at least 1")
        _check_channels(clip, net_input)
        if multi_label is not None:
            check_labels(videos, multi_label, multi_label=True)
        self.videos = videos
        self.multi_label = multi_label
        self.input = net_input
        self.clip = clip if clip.frames is not None else replace(clip, frames=net_input.frames)
        self._flow = clip.modality == "flow"
        self.index = index if index is not None else build_index(videos, workers=workers, flow=self._flow)
        if self.index.flow != self._flow:
            raise ValueError(
                f"modality {clip.modality} with another's index: expected build_index(…, flow={self._flow})"
            )
        self.batch_size = batch_size
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {device}: torch finds no GPU; device='cpu' works without one")
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.skipped: dict[str, str] = {}
        self.clamped = self.decoded = self.delivered = 0
        self.epoch = 0
        self._step = 0
        self.workers = workers or len(os.sched_getaffinity(0))
        self._prefetch = prefetch
        self._dtype = dtype
        self._channels_last = channels_last
        self._decoder = decoder
        # The same threads for every epoch: what FFmpeg and malloc keep for a thread would pile up otherwise.
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="actrec-decode")
        self._finisher = Finisher(
            net_input, dtype=dtype, channels_last=channels_last, keep=prefetch + 2, ahead=self._views == 1
        )
        self._runner = Runner(self._build_pipeline, self._parameters, self.device)
        self._workers_finish = self.device.type == "cpu"  # "boxes" then end there

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)  # the workers are the parallelizm
        epoch, first = self.epoch, self._step
        fetching: deque[_Fetching] = deque()
        try:
            yield from self._batches(fetching, epoch, first)
        finally:  # also when the consumer left early
            left = [future for batch in fetching for future in batch.samples if not future.cancel()]
            wait(left)
            if self.epoch == epoch:
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

    def _batches(self, fetching: deque[_Fetching], epoch: int, first: int) -> Iterator[Batch]:
        steps = iter(range(first, len(self)))
        running: deque[tuple[list[Sample], list[_Part], torch.Tensor | None]] = deque()
        while True:
            while len(fetching) < self._prefetch and (step := next(steps, None)) is not None:
                fetching.append(self._submit(epoch, self._draws(epoch, step).tolist()))
            while fetching and len(running) < _IN_FLIGHT and (not running or _done(fetching[0])):
                running.append(self._launch(fetching.popleft()))
            if not running:
                trim()
                self.index.save()
                return
            if self._step % _TRIM == _TRIM - 1:
                trim()
            batch = self._finish(*running.popleft())
            self._step += 1
            if self._step == len(self):
                self.epoch, self._step = epoch + 1, 0
            yield batch

    def _submit(self, epoch: int, draws: list[list[int]]) -> _Fetching:
        clips = self._memory(len(draws))
        slots = list(clips) if clips is not None else [None] * len(draws)
        of_file: dict[str, list[int]] = {}
        for place, (row, _) in enumerate(draws):
            of_file.setdefault(self.videos[row].path, []).append(place)
        places = list(of_file.values())
        futures = [self._pool.submit(self._fetch, epoch, [(*draws[i], slots[i]) for i in group]) for group in places]
        return _Fetching(clips, places, futures)

    def _memory(self, num_videos: int) -> torch.Tensor | None:
        """Where the workers write finished clips, on a CPU."""
        return self._finisher.batch(num_videos, self._views, self.clip.frames) if self._workers_finish else None

    def _fetch(self, epoch: int, wanted: list[tuple[int, int, torch.Tensor | None]]) -> list[Sample]:
        """The samples of one file, in a decode worker. Never raises for a bad one.

        Args:
            wanted: of each its row, how often that was drawn before, and where its clips go.
        """
        samples, requests = {}, {}  # by their places in `wanted`
        for i, (row, repeat, slot) in enumerate(wanted):
            try:
                found = self.index[row]
                kind, plan = _route(found, self.device, self._decoder), self._plan(epoch, row, found, repeat)
                if kind == "boxes":
                    requests[i] = self._request(row, found, plan, slot)
                else:
                    samples[i] = source.fetch_encoded(row, found, plan, kind)
            except (MediaError, OSError) as error:
                samples[i] = Sample(row, error=str(error))
        if requests:
            samples |= zip(requests, self._boxes(list(requests.values()), certify=self._certify(epoch)))
        return [samples[i] for i in range(len(wanted))]

    def _boxes(self, requests: list[source.Request], *, certify: bool) -> list[Sample]:
        """Of one file, in order, together. What one of them cannot have takes no other with it: then each by itself."""
        try:
            return source.fetch_boxes(requests, self.index, certify=certify)
        except (MediaError, OSError) as error:
            if len(requests) == 1:
                return [Sample(requests[0].row, error=str(error))]
        return [sample for request in requests for sample in self._boxes([request], certify=certify)]

    def _request(
        self, row: int, found: Media, plan: TrainPlan | EvalPlan, clips: torch.Tensor | None
    ) -> source.Request:
        box, shape = self._target(plan, found)
        writer = functools.partial(self._finisher.writer, plan, clips=clips) if clips is not None else None
        return source.Request(row, found, plan, box, shape, writer)

    def _launch(self, fetched: _Fetching) -> tuple[list[Sample], list[_Part], torch.Tensor | None]:
        """Sends the good samples their ways, kind by kind, without waiting for the result."""
        samples = fetched.result()
        for sample in samples:
            if sample.error is not None:
                self.skipped[self.videos[sample.row].id] = sample.error
            self._count(sample)
        good = [i for i, sample in enumerate(samples) if sample.error is None]
        clips = fetched.clips
        if clips is not None and len(good) < len(samples):
            clips = clips[good]
        samples = [samples[i] for i in good]
        parts = []
        for kind in dict.fromkeys(sample.kind for sample in samples):
            places = [i for i, sample in enumerate(samples) if sample.kind == kind]
            written = kind == "boxes" and self._workers_finish
            parts.append(_Part(places, None if written else self._runner.start(kind, [samples[i] for i in places])))
        return samples, parts, clips

    def _count(self, sample: Sample) -> None:
        self.clamped += sample.clamped
        self.decoded += sample.decoded
        self.delivered += sample.delivered

    def _finish(self, samples: list[Sample], parts: list[_Part], written: torch.Tensor | None) -> Batch:
        """Waits for the clips and puts the parts together in the planned order."""
        if parts and all(part.running is None for part in parts):
            return self._batch(samples, written)
        samples, clips = list(samples), {}
        for part in parts:
            if part.running is None:
                clips |= {i: written[i] for i in part.places}
                continue
            try:
                produced = part.running.collect()
            except RuntimeError:  # DALI lost them all to one bad file
                clips |= self._rescue(part, samples)
                continue
            if len(part.places) == len(samples) and isinstance(produced, torch.Tensor):
                return self._batch(samples, produced)
            clips |= dict(zip(part.places, produced))
        order = sorted(clips)
        views = torch.stack([clips[i] for i in order]) if order else self._nothing()
        return self._batch([samples[i] for i in order], views)

    def _rescue(self, part: _Part, samples: list[Sample]) -> dict[int, torch.Tensor]:
        """The decode workers' way, sample by sample, replaced in `samples`. Returns the clips of the good ones."""
        clips = self._memory(len(part.places))
        for n, i in enumerate(part.places):
            lost = samples[i]
            slot = clips[n] if clips is not None else None
            try:
                request = self._request(lost.row, lost.media, lost.plan, slot)
                (samples[i],) = source.fetch_boxes([request], self.index, certify=False)
                self._count(samples[i])
            except (MediaError, OSError) as error:
                samples[i] = replace(lost, error=str(error))
                self.skipped[self.videos[lost.row].id] = str(error)
        good = [(n, i) for n, i in enumerate(part.places) if samples[i].error is None]
        if not good:
            return {}
        if clips is not None:
            return {i: clips[n] for n, i in good}
        return dict(zip([i for _, i in good], self._runner.start("boxes", [samples[i] for _, i in good]).collect()))

    def _batch(self, samples: list[Sample], clips_NVTHWC: torch.Tensor) -> Batch:
        if self._flow:
            self._turn_x(samples, clips_NVTHWC)
        clips = clips_NVTHWC.flatten(0, 1).permute(0, 4, 1, 2, 3)
        clips = clips if self._channels_last else clips.contiguous()
        ids = [self.videos[sample.row].id for sample in samples]
        clamped = sum(sample.clamped for sample in samples)
        return Batch(clips, self._labels(samples), ids, clips_NVTHWC.shape[1], clamped)

    def _images(self, kind: Kind) -> int:
        """Samples of DALI that a clip can need."""
        return {"images": self.clip.frames, "flow": self.clip.frames * FLOW_CHANNELS}.get(kind, 1)

    def _turn_x(self, samples: list[Sample], clips_NVTHWC: torch.Tensor) -> None:
        """Mirrored, what moves to the left moves to the right: 255 - x, as it is after normalization."""
        zero = (1 - 2 * self.input.mean[0]) / self.input.std[0]
        for views, sample in zip(clips_NVTHWC, samples):
            crops = sample.plan.crops
            for crop, (_, _, mirror) in zip(views.unflatten(0, (len(crops), -1)), crops):
                if mirror:
                    x = crop[..., ::2].neg_()
                    if zero:
                        x.add_(zero)

    def _labels(self, samples: list[Sample]) -> torch.Tensor:
        if self.multi_label is not None:
            shown = torch.zeros(len(samples), self.multi_label)
            for row, sample in zip(shown, samples):
                row[[self._label(sample, label) for label in self.videos[sample.row].labels]] = 1
        else:
            labels = [self._label(sample, next(iter(self.videos[sample.row].labels), -1)) for sample in samples]
            shown = torch.tensor(labels, dtype=torch.int64)
        shown = shown.pin_memory() if self.device.type == "cuda" else shown
        return shown.to(self.device, non_blocking=True)

    def _label(self, sample: Sample, label: int) -> int:
        return label

    def _nothing(self) -> torch.Tensor:
        shape = (0, self._views, self.clip.frames, self.input.size, self.input.size, len(self.input.mean))
        return torch.empty(shape, dtype=getattr(torch, self._dtype), device=self.device)


class TrainLoader(Loader):
    """See `train_loader`.

    Attributes:
        num_clips: of an epoch's batches, over all ranks, with those that cannot be decoded.
    """

    _views = 1

    def __init__(self, videos, *, augment, seed, repeats, balanced, keep_last, flip_map, rank, world, **common):
        _check_colors(common["clip"], augment)
        check_sampling(common["clip"], augment)
        labels = only_labels(videos) if balanced else None
        super().__init__(videos, **common)
        self._workers_finish &= not augment.changes_colors  # DALI does that, on any device
        self._augment, self._seed, self._flip_map = augment, seed, flip_map
        self._rank, self._world = rank, world
        if repeats < 1 or self.batch_size % repeats:
            raise ValueError(f"repeats {repeats} with batch_size {self.batch_size}: expected a divisor of it")
        self._num_drawn = len(videos) * repeats
        full, rest = divmod(self._num_drawn, self.batch_size)
        self._num_steps = full + (1 if rest and keep_last else 0)
        self.num_clips = full * self.batch_size + (rest if keep_last else 0)
        if not self._num_steps:
            each = f", {repeats} clips of each" if repeats > 1 else ""
            raise ValueError(
                f"batch_size {self.batch_size} with {len(videos)} videos{each}: expected at most {self._num_drawn}"
            )
        draws = functools.partial(epoch_draws, len(videos), seed=seed, repeats=repeats, labels=labels)
        self._epoch_draws = functools.lru_cache(maxsize=1)(draws)

    def __len__(self) -> int:
        return self._num_steps

    def _draws(self, epoch: int, step: int) -> np.ndarray:
        part = batch_slice(
            step, batch_size=self.batch_size, num_videos=self._num_drawn, rank=self._rank, world=self._world
        )
        return self._epoch_draws(epoch=epoch)[part]

    def _certify(self, epoch: int) -> bool:
        return True

    def _plan(self, epoch: int, row: int, found: Media, repeat: int = 0) -> TrainPlan:
        labels = self.videos[row].labels
        return plan_train(
            num_frames=found.positions,
            width=found.width,
            height=found.height,
            clip=self.clip,
            size=self.input.size,
            augment=self._augment,
            seed=self._seed,
            epoch=epoch,
            index=row,
            repeat=repeat,
            may_flip=self._flip_map is None or all(self._flip_map[label] >= 0 for label in labels),
        )

    def plan(self, epoch: int, row: int, repeat: int = 0) -> TrainPlan:
        """What is random about a sample. Raises MediaError if the video cannot be used."""
        return self._plan(epoch, row, self.index[row], repeat)

    def _target(self, plan: TrainPlan, found: Media) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        return plan.box, (self.input.size, self.input.size)

    def _build_pipeline(self, kind: Kind, **common) -> Pipeline:
        samples = self.batch_size * self._images(kind)
        return graph.train_pipeline(
            kind,
            self.input,
            options=self._augment,
            batch_size=samples,
            threads=self.workers,
            dtype=self._dtype,
            **common,
        )

    def _parameters(self, sample: Sample) -> dict[str, np.ndarray]:
        drawn = {"flip": np.int32(sample.plan.flip)} | look_values(sample.plan.look, self._augment)
        if sample.kind == "boxes":
            return drawn
        x, y, w, h = sample.plan.box
        size = np.array([sample.media.height, sample.media.width], np.float32)
        start, end = np.array([y, x], np.float32), np.array([y + h, x + w], np.float32)
        return drawn | {"start": start / size, "end": end / size}

    def _label(self, sample: Sample, label: int) -> int:
        flipped = self._flip_map is not None and sample.plan.flip and label >= 0
        return self._flip_map[label] if flipped else label


class EvalLoader(Loader):
    """See `eval_loader`."""

    def __init__(self, videos, *, views, rank, world, **common):
        self._views = views.num_views
        super().__init__(videos, **common)
        self.views = views
        self._mine = np.arange(rank, len(videos), world)

    def __len__(self) -> int:
        return -(-len(self._mine) // self.batch_size)

    def _draws(self, epoch: int, step: int) -> np.ndarray:
        rows = self._mine[batch_slice(step, batch_size=self.batch_size, num_videos=len(self._mine))]
        return np.stack([rows, np.zeros_like(rows)], axis=1)

    def _certify(self, epoch: int) -> bool:
        return epoch > 0  # a first pass reads each file once: only from the second on it is worth decoding to the end

    def _plan(self, epoch: int, row: int, found: Media, repeat: int = 0) -> EvalPlan:
        return plan_eval(
            num_frames=found.positions,
            width=found.width,
            height=found.height,
            clip=self.clip,
            size=self.input.size,
            views=self.views,
        )

    def _target(self, plan: EvalPlan, found: Media) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        return (0, 0, found.width, found.height), plan.resize

    def _build_pipeline(self, kind: Kind, **common) -> Pipeline:
        samples = self.batch_size * self.views.clips * self._images(kind)
        flips = (False, True) * 5 if self.views.crops == 10 else (False,) * self.views.crops
        return graph.eval_pipeline(
            kind, self.input, flips=flips, batch_size=samples, threads=self.workers, dtype=self._dtype, **common
        )

    def _parameters(self, sample: Sample) -> dict[str, np.ndarray]:
        offsets = {"offsets": sample.plan.offsets[:, ::-1].astype(np.int32)}  # y, x
        if sample.kind == "boxes":
            return offsets
        return offsets | {"shape": np.array(sample.plan.resize[::-1], np.float32)}


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
    multi_label: int | None = None,
    repeats: int = 1,
    balanced: bool = False,
    keep_last: bool = False,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
    prefetch: int = 2,
    dtype: Literal["float32", "float16"] = "float32",
    channels_last: bool = False,
    decoder: Decoder = "auto",
) -> TrainLoader:
    """Random clips of a list, `repeats` per video and epoch. Batches' clips are (N, C, T, size, size).

    Args:
        net_input: how the net wants to be fed (`net.input`).
        batch_size: clips of the global batch, over all ranks.
        index: of these very videos; built here, without a cache, if not given.
        flip_map: for each class the label of its mirror image, -1 where it has none (never flipped then).
        multi_label: the number of classes, where videos may have several labels or none.
        repeats: clips of each drawn video, next to each other in a batch, each with a plan of its own; the decode
            workers decode its file once for all of them (repeated augmentation, Hoffer et al. 2020).
        balanced: an epoch draws as many videos as there are, every class equally often (within one), and the videos of
            a class in turn, from epoch to epoch.
        keep_last: keep the incomplete last batch of an epoch instead of dropping it.
        workers: decoding threads, one per core by default.
        prefetch: batches fetched ahead.
        channels_last: clips in torch's channels_last_3d memory format, which costs nothing here.
        decoder: "dali" lets DALI decode what it can on this device, "workers" nothing; "auto" is "dali" on a GPU.

    Raises:
        ValueError: an empty list, none of it usable, a batch larger than the epoch or no multiple of `repeats`, options
            that contradict each other, a label beyond `multi_label`, `balanced` with a video that has not one label, or
            no such device.
    """
    return TrainLoader(
        videos,
        clip=clip,
        augment=augment if augment is not None else Augment(),
        seed=seed,
        repeats=repeats,
        balanced=balanced,
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
        multi_label=multi_label,
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
    multi_label: int | None = None,
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
        multi_label=multi_label,
    )


def _route(found: Media, device: torch.device, decoder: Decoder) -> Kind:
    """Who decodes a file: DALI, or the decode workers ("boxes")."""
    on_gpu = device.type == "cuda"
    if decoder == "workers" or (decoder == "auto" and not on_gpu):
        return "boxes"
    if found.template:
        return ("flow" if found.flow else "images") if found.codec in _JPEG else "boxes"
    if found.rotation or found.pix_fmt != "yuv420p" or found.codec not in (_NVDEC if on_gpu else _DALI_CPU):
        return "boxes"
    if found.color == "bt601":
        return "video"
    return "recolored" if found.color in _MATRICES else "boxes"


def _done(batch: _Fetching) -> bool:
    return all(future.done() for future in batch.samples)


def _check_channels(clip: Clip, net_input: Input) -> None:
    channels = FLOW_CHANNELS if clip.modality == "flow" else 3
    if len(net_input.mean) != channels or len(net_input.std) != channels:
        raise ValueError(
            f"mean and std of {len(net_input.mean)} and {len(net_input.std)} channels with modality {clip.modality}: "
            f"expected {channels}, those of actrec.net(name, in_channels={channels}).input"
        )
    if clip.modality == "flow" and len({*net_input.mean}) + len({*net_input.std}) > 2:
        raise ValueError("mean and std of flow differ from channel to channel: expected the same for all")


def _check_colors(clip: Clip, augment: Augment) -> None:
    if clip.modality != "flow":
        return
    settings = {
        "color_jitter": augment.color_jitter is not None,
        "grayscale": augment.grayscale > 0,
        f"auto_augment {augment.auto_augment}": augment.auto_augment != "none",
    }
    for setting, is_on in settings.items():
        if is_on:
            raise ValueError(f"{setting} with modality flow: flow has no colors; blur and erasing work with it")
