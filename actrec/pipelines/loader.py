"""Clips for a net, batch by batch.

    loader = actrec.train_loader(videos, actrec.Clip(frames=8), net.input, batch_size=16)
    for batch in loader:                # the first epoch
        loss = criterion(net(batch.clips), batch.labels)

A task (`task.py`) says what a loader delivers: the draws of each step and their plans. The `Loader` keeps the order,
fetches batches ahead, continues where it stopped, and counts what is skipped. The decode workers (`workers/`) fetch
samples. They also finish the clips on a CPU; on a GPU, where DALI decodes, and where augmentations change pixels, DALI
does (`dali/`). A sample that cannot be decoded is left out and its video is named in `Loader.skipped`; it affects no
other sample. Training does not draw that row of the list again from the next epoch on: `Loader.unusable` has the rows.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from actrec import config
from actrec.arguments import checked
from actrec.config import Clip, Input, OptionError, Views
from actrec.data.index import Index, Rows, build_index, open_rows, reach
from actrec.data.lists import Video, find_labels, read_labels
from actrec.data.lists.mirror import flips_of
from actrec.data.lists.videos import label_columns
from actrec.data.sampling.plan import EvalPlan
from actrec.data.sampling.protocols import Protocol
from actrec.data.video.container import MediaError
from actrec.pipelines.batch import Batch as Batch
from actrec.pipelines.batch import label_tensor
from actrec.pipelines.dali.errors import DecodeError
from actrec.pipelines.dali.routes import Decoder, Route, choose_route, pixels_route
from actrec.pipelines.task import EvalTask, Task, TrainTask
from actrec.pipelines.workers.ahead import Ahead, Group, then
from actrec.pipelines.workers.decode import Failure, Plan, Planned, Request, Sample, fetch, fetch_bytes
from actrec.pipelines.workers.finish import Finisher
from actrec.pipelines.workers.threads import single_threaded_opencv
from actrec.settings import check_fields, check_value, show
from actrec.system import num_cores, release_free_memory, usable_memory
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.pipelines.dali.feed import Feeder, Running

Dtype = Literal["float32", "float16"]

_IN_FLIGHT = 2  # batches that DALI works on at the same time
_RELEASE = 256  # free memory is returned to the system after so many batches


class Loader:
    """Iterates over batches; each `iter(loader)` is the next epoch.

        loader = actrec.train_loader("train.txt", actrec.Clip(frames=8), net.input, batch_size=8)
        for epoch in range(2):
            for batch in loader:
                print(epoch, batch.videos)
        print(loader.skipped)  # the videos that cannot be used, and why

    Args:
        task: what to deliver.
        cache: file of the index, if it is built here.
        budget: how many bytes of decoded pictures DALI may hold at a time; a share of the memory by default.
        others: see `train_loader`.

    Attributes:
        epoch: the epoch that the next `iter` begins, or the one that is being iterated.
        unusable: reason by row, for the rows of the list of which a sample was left out so far, and in training for
            those that the index knew to be unusable before. From the next epoch on, training does not draw them, even
            if their files can be read again. The rows that an epoch leaves out never change within it.
        unreachable: in training, reason by row, for the rows with a URL that could not be fetched in this epoch, or in
            the last one. They are left out of the epoch, and the next one tries them again.
        left_out: reason by row, for the rows that the protocol of an evaluation leaves out.
        clamped: how many planned frames were after a video's last frame and became that one. If DALI decodes the
            video, they are counted only if it has a certificate: DALI does not tell how many frames a file has.
        decoded: how many pictures of video files the decode workers decoded so far, `delivered`: how many different
            ones of them were needed. What DALI decodes is not counted.
        encoded_bytes: size of the images, excerpts of videos and whole videos that DALI was given to decode so far.
        raises_in_outage: whether an epoch ends with an error if a host of URLs is given up (`actrec.data.index.reach`).
            By default only in training. Otherwise, its other videos are in `unusable`.
        videos, clip, input, multi_label: of the task.
    """

    _fetches_ahead = True

    def __init__(
        self,
        task: Task,
        *,
        index: Index | None = None,
        cache: Path | None = None,
        device: str | torch.device = "cpu",
        workers: int | None = None,
        prefetch: int = 2,
        dtype: Dtype = "float32",
        channels_last: bool = False,
        decoder: Decoder = "auto",
        budget: int | None = None,
    ):
        self.task = task
        self.videos, self.clip, self.input = task.videos, task.clip, task.input
        self.multi_label = task.multi_label
        flow = task.clip.modality == "flow"
        self.index = (
            index
            if index is not None
            else build_index(task.videos, cache=cache, workers=workers, flow=flow, template=task.clip.template)
        )
        if len(self.index) != len(task.videos):
            raise ValueError(
                f"index of {counted(len(self.index), 'row')} with {counted(len(task.videos), 'video')}: expected the "
                "index of these videos"
            )
        if self.index.flow != flow:
            raise ValueError(
                f"modality {task.clip.modality} with an index of another one: expected build_index(…, flow={flow})"
            )
        if self.index.template != task.clip.template:
            raise ValueError(
                f"template {task.clip.template!r} with an index that was built with {self.index.template!r}: expected "
                "build_index(…, template=…) with that of the clip"
            )
        self.index.set_image_range(task.clip.image_range)
        self.device = _device(device)
        _check_memory(task, self.device, prefetch, getattr(torch, dtype))
        self.workers = workers or num_cores()
        self.unusable: dict[int, str] = {}
        self.unreachable: dict[int, str] = {}
        self.left_out: dict[int, str] = {}
        self.raises_in_outage = isinstance(task, TrainTask)
        if isinstance(task, TrainTask):
            known = self.index.broken.items()
            self.unusable = {row: str(MediaError(self.videos[row].path, reason)) for row, reason in known}
        self.clamped = self.decoded = self.delivered = self.encoded_bytes = 0
        self.epoch = 0
        self._step = 0
        self._prefetch, self._channels_last, self._dtype = prefetch, channels_last, getattr(torch, dtype)
        faults = _dali_faults(self.device, decoder)
        if isinstance(task, EvalTask) and task.protocol is not None and (decoder == "auto" or task.num_views is None):
            decoder = "workers"  # DALI converts colors in another way than published evaluations
        # If DALI cannot finish clips on the GPU, they are made as for a CPU, and each batch is copied to the GPU.
        made_on = torch.device("cpu") if "finish" in faults else self.device
        on_gpu = made_on.type == "cuda"
        self._choose_route = functools.partial(choose_route, on_gpu=on_gpu, decoder=decoder, faults=faults)
        # The same threads serve all epochs: what FFmpeg and malloc keep for a thread would pile up otherwise.
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="actrec-decode")
        # On a CPU without augmentations of pixels, the workers finish the clips that they decode, in the memory of the
        # batch. DALI is needed for everything else, and for what it decodes itself.
        self._workers_finish = not on_gpu and not task.changes_pixels
        self._finisher = Finisher(task.input, dtype=dtype, channels_last=channels_last, keep=prefetch + 2, flow=flow)
        self._feeder: Feeder | None = None
        if decoder == "dali" or not self._workers_finish:
            self._feeder = _dali_feeder(task, made_on, self.workers, dtype, budget)
        self._settle()

    def __iter__(self) -> Generator[Batch, None, None]:
        self._settle()
        reach.try_again()
        epoch, first = self.epoch, self._step
        if not first:
            self.unreachable = {}
        fetching: deque[_Fetching] = deque()
        fetch_ahead = self._plan_and_fetch if self._fetches_ahead else None
        with single_threaded_opencv(), Ahead(self.index.path, fetch_ahead) as ahead:  # the decode workers are parallel
            try:
                yield from self._batches(fetching, ahead, epoch, first)
            finally:  # also if the consumer stops early
                ahead.stop()
                wait([future for batch in fetching for future in batch.futures if not future.cancel()])
                if (
                    self.epoch == epoch
                ):  # stopped early: the next `iter` begins a new epoch, without the rest of this one
                    self.epoch, self._step = epoch + 1, 0

    def __len__(self) -> int:
        """Batches of the epoch: of the next one, after all batches of one were delivered.

        Raises:
            OptionError: fewer usable videos than one batch are left.
        """
        self._settle()
        return self.task.num_steps

    def __repr__(self) -> str:
        """Which videos it delivers, how, and what comes next."""
        frames = counted(self.clip.frames or self.input.frames, "frame")
        return (
            f"{type(self).__name__}({counted(len(self.videos), 'video')}, batches of {self.task.batch_size}, clips of "
            f"{frames}, size {self.input.size}, on {self.device}, epoch {self.epoch}, step {self._step})"
        )

    @property
    def num_clips(self) -> int:
        """Clips of the epoch's batches, over all ranks, including those that cannot be decoded."""
        self._settle()
        return self.task.num_clips

    @property
    def skipped(self) -> dict[str, str]:
        """Reason by video id, for the videos in `unusable`."""
        return {self.videos[row].id: reason for row, reason in self.unusable.items()}

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: the epoch and the next step in it.

            torch.save(loader.state_dict(), "loader.pt")

        If there are any, also the rows that this epoch leaves out (`left_out`), and those that were found to be
        unusable since it began (`found`). All of them are numbers and lists of numbers.
        """
        rows = {"left_out": sorted(self._left_out), "found": sorted(self.unusable.keys() - self._left_out)}
        given = {name: numbers for name, numbers in rows.items() if numbers} if isinstance(self.task, TrainTask) else {}
        return {"epoch": self.epoch, "step": self._step, **given}

    @checked
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next `iter` continues there, with exactly the batches that would have followed.

            loader.load_state_dict(torch.load("loader.pt"))
            for batch in loader:  # the rest of the epoch
                print(batch.videos)

        Args:
            state: What `state_dict` returned, for a loader of the same list with the same options.

        Raises:
            ValueError: the state is not one of a loader of this list.
        """
        if not {"epoch", "step"} <= state.keys():
            raise OptionError("`state`: expected what `state_dict` returns, with an epoch and a step")
        left_out, found = ([int(row) for row in state.get(name, ())] for name in ("left_out", "found"))
        if any(not 0 <= row < len(self.videos) for row in (*left_out, *found)):
            raise ValueError(f"the state of a loader of another list: this one has {len(self.videos)} rows")
        self.epoch, self._step = int(state["epoch"]), int(state["step"])
        reasons = self.unusable
        self.unusable = {row: reasons.get(row, "it could not be used before") for row in (*left_out, *found)}
        if self._step:
            self.task.leave_out(frozenset(left_out))

    def add_unusable(self, reasons: Mapping[int, str]) -> None:
        """Adds rows that others, such as another process, found to be unusable, or their reasons."""
        self.unusable = {**self.unusable, **reasons}

    @property
    def _left_out(self) -> Set[int]:
        """The rows that the epoch leaves out."""
        return self.task.left_out if self._step else self.unusable.keys()

    def _settle(self) -> None:
        """Between two epochs: sets the rows that the next one leaves out."""
        if self.task.left_out != self._left_out:
            self.task.leave_out(frozenset(self._left_out))

    def plan(self, epoch: int, row: int, repeat: int = 0) -> Plan:
        """Everything random about a sample. Raises MediaError if the video cannot be used."""
        return self.task.plan(epoch, row, repeat, self.index[row])

    def _batches(self, fetching: deque[_Fetching], ahead: Ahead, epoch: int, first: int) -> Iterator[Batch]:
        num_steps = len(self)
        drawn = ahead.run(epoch, (self.task.draws(epoch, step).tolist() for step in range(first, num_steps)))
        launched: deque[_Launched] = deque()
        while True:
            while len(fetching) < self._prefetch and (step := next(drawn, None)) is not None:
                fetching.append(self._submit(epoch, *step))
            # If DALI has no batch, wait for the workers. If it has one, launch another only if that is fetched already.
            while fetching and len(launched) < _IN_FLIGHT and (not launched or fetching[0].is_done()):
                launched.append(self._launch(fetching.popleft()))
            if not launched:
                release_free_memory()
                self.index.save()
                return
            if self._step % _RELEASE == _RELEASE - 1:
                release_free_memory()
            ready = launched.popleft()
            batch = self._collect(ready)
            # Not earlier, so that what is known after a batch does not depend on how many were prepared ahead.
            self._account_failures(ready)
            self._step += 1
            if self._step == num_steps:
                self.epoch, self._step = epoch + 1, 0
            yield batch

    # The way of a batch: _submit (to the decode workers), _launch (what remains, to DALI), _collect.

    def _submit(self, epoch: int, draws: list[list[int]], groups: list[Group]) -> _Fetching:
        """Lets the decode workers fetch the draws (row, repeat) of a batch; those of one file together."""
        clips = self._memory(len(draws))
        slots: Sequence[torch.Tensor | None] = list(clips) if clips is not None else [None] * len(draws)
        with_slots = [Draw(row, repeat, slot) for (row, repeat), slot in zip(draws, slots)]
        futures = []
        for places, fetched in groups:
            of_file = [with_slots[place] for place in places]
            if fetched is None:
                futures.append(self._pool.submit(self._fetch, epoch, of_file))
            else:
                futures.append(then(fetched, self._pool, functools.partial(self._decode_planned, epoch, of_file)))
        return _Fetching(clips, [places for places, _ in groups], futures)

    def _memory(self, num_videos: int) -> torch.Tensor | None:
        """Memory for the clips that the workers finish, (videos, views, T, H, W, C), or None if they finish none, or
        if the number of views is not known before a video is planned.

        With decoder="dali" on a CPU, clips that DALI decodes leave their part of it unused.
        """
        views = self.task.num_views
        return (
            self._finisher.batch(num_videos, views, self.task.num_frames)
            if self._workers_finish and views is not None
            else None
        )

    def _finished(self, samples: list[Sample]) -> torch.Tensor:
        """The clips of samples for which there was no memory yet, (videos, views, T, H, W, C)."""
        made = []
        for sample in samples:
            assert isinstance(sample.plan, EvalPlan)
            assert isinstance(sample.data, np.ndarray)
            num_views, frames = sample.plan.num_views, sample.plan.frames.shape[1]
            (clips,) = self._finisher.batch(1, num_views, frames, sample.plan.crop)
            write = self._finisher.writer(sample.plan, sample.gather, clips)
            for i, picture in enumerate(sample.data):
                write(i, picture)
            made.append(clips)
        return torch.stack(made) if len(made) > 1 else made[0][None]

    def _fetch(self, epoch: int, draws: list[Draw]) -> list[Sample | Failure]:
        """The samples of one file, in a decode worker. Never raises an error because of a bad file.

        `Sweep` replaces this method, and no other one but `__iter__`.
        """
        return self._decode_planned(epoch, draws, [self._plan(epoch, row, repeat) for row, repeat, _ in draws])

    def _plan(self, epoch: int, row: int, repeat: int) -> Planned | Failure:
        try:
            media = self.index[row]
            plan = self.task.plan(epoch, row, repeat, media)
        except (MediaError, OSError) as error:
            return Failure.of(row, error)
        return Planned(row, media, plan, self._choose_route(media))

    def _plan_and_fetch(self, epoch: int, draws: list[list[int]]) -> list[Planned | Failure]:
        """The plans of the draws (row, repeat) of one URL, in a fetch thread, after fetching what they need.

        If its host is given up, nothing is fetched.
        """
        path = self.videos[draws[0][0]].path
        if reason := reach.why_given_up(path):
            return [Failure(row, f"{path}: {reason}", passing=True) for row, _ in draws]
        found = self._plan_and_try(epoch, draws)
        if bad := next((one for one in found if isinstance(one, Failure) and one.passing), None):
            reach.failed(path, bad.error.removeprefix(f"{path}: "))
        else:
            reach.reached(path)
        return found

    def _plan_and_try(self, epoch: int, draws: list[list[int]]) -> list[Planned | Failure]:
        planned = [self._plan(epoch, row, repeat) for row, repeat in draws]
        good = [found for found in planned if isinstance(found, Planned)]
        try:
            fetch_bytes(good, self.index)
        except (MediaError, OSError) as error:
            return [Failure.of(found.row, error) if isinstance(found, Planned) else found for found in planned]
        return planned

    def _decode_planned(
        self, epoch: int, draws: list[Draw], planned: list[Planned | Failure]
    ) -> list[Sample | Failure]:
        """The samples of one file, in a decode worker."""
        found: dict[int, Sample | Failure] = {}
        requests: dict[int, Request] = {}
        for i, (draw, plan) in enumerate(zip(draws, planned)):
            if isinstance(plan, Failure):
                found[i] = plan
            else:
                requests[i] = self._request(*plan, draw.slot)
        found |= zip(requests, fetch(list(requests.values()), self.index, certify=self.task.should_certify(epoch)))
        return [found[i] for i in range(len(draws))]

    def _request(self, row: int, media: Any, plan: Any, route: Route, slot: torch.Tensor | None) -> Request:
        box, shape = self.task.geometry(plan, media)
        make_writer = functools.partial(self._finisher.writer, plan, clips=slot) if slot is not None else None
        return Request(row, media, plan, route, box, shape, make_writer, plan.antialias, plan.exact, plan.swscale)

    def _launch(self, fetching: _Fetching) -> _Launched:
        """Waits for the workers and sends what they did not finish to DALI, route by route. Does not wait for DALI."""
        fetched = fetching.result()
        failures = [sample for sample in fetched if isinstance(sample, Failure)]
        good = [i for i, sample in enumerate(fetched) if not isinstance(sample, Failure)]
        samples: list[Sample] = [fetched[i] for i in good]  # type: ignore[misc]
        for sample in samples:
            self._account(sample)
        clips = fetching.clips
        if clips is not None and len(good) < len(fetched):
            clips = clips[good]
        of_route: dict[str, list[int]] = {}
        for i, sample in enumerate(samples):
            of_route.setdefault(sample.route.name, []).append(i)
        finished: list[int] = []
        running = []
        for good_places in of_route.values():
            route = samples[good_places[0]].route
            if route.decoded_by_workers and self._workers_finish:
                finished = good_places
                clips = clips if clips is not None else self._finished([samples[i] for i in good_places])
            else:
                assert self._feeder is not None
                running.append((good_places, self._feeder.start(route, [samples[i] for i in good_places])))
        return _Launched(samples, clips, finished, running, failures)

    def _account_failures(self, launched: _Launched) -> None:
        """Notes which samples of a batch are left out, and why.

        Raises:
            MediaError: the host of a URL was given up, and an epoch without its videos would not be right.
        """
        for failure in launched.failures:
            if failure.left_out:
                self.left_out[failure.row] = failure.error
                continue
            is_passing = failure.passing and isinstance(self.task, TrainTask)
            (self.unreachable if is_passing else self.unusable)[failure.row] = failure.error
        for failure in launched.failures if self.raises_in_outage else ():
            path = self.videos[failure.row].path
            if failure.passing and (reason := reach.why_given_up(path)):
                raise MediaError(path, reason)

    def _account(self, sample: Sample) -> None:
        """Counts what a fetched sample needed."""
        self.clamped += sample.clamped
        self.decoded += sample.decoded
        self.delivered += sample.delivered
        self.encoded_bytes += sample.encoded_bytes

    def _collect(self, launched: _Launched) -> Batch:
        """Waits for the clips and puts them together in the planned order."""
        samples = list(launched.samples)
        if samples and not launched.running:
            assert launched.clips is not None
            return self._batch(samples, launched.clips)
        clips = {i: launched.clips[i] for i in launched.finished} if launched.clips is not None else {}
        for good_places, running in launched.running:
            try:
                produced = running.collect()
            except DecodeError:
                if running.route.decoded_by_workers:
                    raise  # DALI got finished pictures, so no file is the cause
                clips |= self._rescue(good_places, samples, launched.failures)
                continue
            if len(good_places) == len(samples) and isinstance(produced, torch.Tensor):
                return self._batch(samples, produced)
            clips |= dict(zip(good_places, produced))
        order = sorted(clips)
        return self._batch(
            [samples[i] for i in order], torch.stack([clips[i] for i in order]) if order else self._no_clips()
        )

    def _rescue(
        self, good_places: list[int], samples: list[Sample], failures: list[Failure]
    ) -> dict[int, torch.Tensor]:
        """Decodes samples that DALI lost because of a bad file as the workers do, and replaces them in `samples`.

        They are decoded one by one, in this thread, and those of bad files are added to `failures`. If DALI has to
        finish the others, it gets pictures only, so that no file can be the cause of an error.

        Returns:
            The clips of the good ones.
        """
        memory, good = self._memory(len(good_places)), []
        for n, i in enumerate(good_places):
            lost = samples[i]
            self.clamped -= lost.clamped  # counted again below
            slot = memory[n] if memory is not None else None
            request = self._request(lost.row, lost.media, lost.plan, pixels_route(lost.media), slot)
            (found,) = fetch([request], self.index, certify=False)
            if isinstance(found, Failure):
                failures.append(found)
                continue
            self._account(found)
            samples[i] = found
            good.append((n, i))
        if not good:
            return {}
        if memory is None and self._workers_finish:
            memory = self._finished([samples[i] for _, i in good])
            return {i: memory[n] for n, (_, i) in enumerate(good)}
        if memory is not None:
            return {i: memory[n] for n, i in good}
        assert self._feeder is not None
        rescued = [samples[i] for _, i in good]
        return dict(zip([i for _, i in good], self._feeder.start(rescued[0].route, rescued).collect()))

    def _batch(self, samples: list[Sample], clips_NVTHWC: torch.Tensor) -> Batch:
        clips = clips_NVTHWC.flatten(0, 1).permute(0, 4, 1, 2, 3)
        clips = clips if self._channels_last else self._finisher.contiguous(clips)
        if clips.device != self.device:  # see `_dali_faults`
            clips = (clips.pin_memory() if self.device.type == "cuda" else clips).to(self.device, non_blocking=True)
        labels = label_tensor([self.task.labels(sample.row, sample.plan) for sample in samples], self.multi_label)  # type: ignore[arg-type]
        if self.device.type == "cuda":
            labels = labels.pin_memory().to(self.device, non_blocking=True)
        ids = [self.videos[sample.row].id for sample in samples]
        return Batch(
            clips,
            labels,
            ids,
            views=clips_NVTHWC.shape[1],
            clamped=sum(sample.clamped for sample in samples),
            rows=[sample.row for sample in samples],
            plans=[sample.plan for sample in samples],
        )

    def _no_clips(self) -> torch.Tensor:
        size, channels = self.input.side, len(self.input.mean)
        shape = (0, self.task.num_views or 1, self.task.num_frames, size, size, channels)
        return torch.empty(shape, dtype=self._dtype, device=self.device)


class Draw(NamedTuple):
    """One draw of a step.

    Args:
        row: of the list.
        repeat: how often the row was drawn before in this epoch.
        slot: the memory of the sample's clips in the batch, (views, T, H, W, C); None if DALI makes them.
    """

    row: int
    repeat: int
    slot: torch.Tensor | None


@dataclass(frozen=True)
class _Fetching:
    """A batch in the decode workers.

    Args:
        clips: memory for the clips that the workers finish.
        places: for each future, the places in the batch of the samples that it fetches: those of one file.
    """

    clips: torch.Tensor | None
    places: list[list[int]]
    futures: list[Future[list[Sample | Failure]]]

    def is_done(self) -> bool:
        return all(future.done() for future in self.futures)

    def result(self) -> list[Sample | Failure]:
        """In the order of the batch."""
        found: dict[int, Sample | Failure] = {}
        for places, future in zip(self.places, self.futures):
            found |= zip(places, future.result())
        return [found[i] for i in range(len(found))]


@dataclass(frozen=True)
class _Launched:
    """A batch without its bad samples. Places are counted among the good ones.

    Args:
        clips: memory with the clips that the workers finished.
        finished: the places of those.
        running: places of the samples that DALI works on, route by route, and how to get their clips.
        failures: the bad samples. Those that DALI finds are added later.
    """

    samples: list[Sample]
    clips: torch.Tensor | None
    finished: list[int]
    running: list[tuple[list[int], Running]]
    failures: list[Failure]


@checked
def train_loader(
    videos: Rows,
    clip: Clip,
    net_input: Input,
    *,
    augment: config.Augment | None = None,
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
    dtype: Dtype = "float32",
    channels_last: bool = False,
    decoder: Decoder = "auto",
) -> Loader:
    """Random clips of a list, `repeats` per video and epoch. The clips of a batch are (N, C, T, size, size).

        net = actrec.net("tiny3d", num_classes=8)
        loader = actrec.train_loader("train.txt", actrec.Clip(frames=8), net.input, batch_size=8)
        for batch in loader:  # one epoch; the next `for` is the next epoch
            loss = torch.nn.functional.cross_entropy(net(batch.clips), batch.labels)

    Args:
        videos: the path of a list, or its rows as `read_list` returns them. With a path, the index of the list is kept
            in `<list>.index.npy`, as the commands do. With modality flow, a list of video files stands for the optical
            flow of these videos.
        clip: which frames form a clip.
        net_input: how the net is fed (`net.input`).
        augment: what happens to the clips; the defaults of `actrec.Augment` if not given.
        batch_size: clips of the global batch, over all ranks.
        seed: of everything random. The same seed gives the same clips, on any number of ranks and threads.
        device: where the clips are: cpu, cuda, or cuda:N. On a GPU, DALI decodes what it can.
        index: of these videos; built here if not given.
        flip_map: for each class the label of its mirror image, -1 if it has none (such videos are never mirrored). By
            default, every class is its own mirror image. If `videos` is a path, the default is the file `flips.txt`
            next to the list, and without it, videos of classes with a direction in their names are not mirrored.
        multi_label: the number of classes, if videos may have several labels or none.
        repeats: clips of each drawn video. They follow each other in a batch, each with a plan of its own, and the
            decode workers decode the file once for all of them (repeated augmentation, Hoffer et al. 2020).
        balanced: an epoch draws as many videos as there are, every class equally often (plus or minus one), and the
            videos of a class in turn, from epoch to epoch.
        keep_last: keep the incomplete last batch of an epoch instead of dropping it.
        rank, world: the number of this process, and of all processes that train together. Each gets its part of every
            batch.
        workers: decoding threads; one per core by default.
        prefetch: batches that are fetched ahead.
        dtype: of the clips: float32 or float16.
        channels_last: clips in torch's channels_last_3d memory format, which costs nothing here.
        decoder: "dali" lets DALI decode what it can on this device, "workers" lets it decode nothing; "auto" is "dali"
            on a GPU and "workers" on a CPU and with a protocol.

    Returns:
        An iterable of `Batch`. Its length is the number of batches of an epoch.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: an argument has an illegal type or value; the list is empty, or none of it can be used; a batch is
            larger than the epoch, or not a multiple of `repeats`; options contradict each other; a label is too large
            for `multi_label` or `flip_map`; `balanced` is used with a video that does not have exactly one label; there
            is no such device, decoder or dtype.
    """
    augment = augment if augment is not None else config.Augment()
    _check_arguments(
        batch_size=batch_size, repeats=repeats, balanced=balanced, keep_last=keep_last, workers=workers,
        prefetch=prefetch, seed=seed, channels_last=channels_last, multi_label=multi_label, rank=rank, world=world,
        dtype=dtype, decoder=decoder,
    )  # fmt: skip
    rows, cache = open_rows(videos, flow=clip.modality == "flow")
    if flip_map is not None:
        _check_flip_map(flip_map, rows)
    elif isinstance(videos, (str, os.PathLike)):
        flip_map = flips_of(Path(videos), _class_names(Path(videos), rows))
    task = TrainTask(
        rows,
        clip,
        net_input,
        augment=augment,
        batch_size=batch_size,
        seed=seed,
        flip_map=flip_map,
        multi_label=multi_label,
        repeats=repeats,
        balanced=balanced,
        keep_last=keep_last,
        rank=rank,
        world=world,
    )
    return Loader(
        task,
        index=index,
        cache=cache,
        device=device,
        workers=workers,
        prefetch=prefetch,
        dtype=dtype,
        channels_last=channels_last,
        decoder=decoder,
    )


@checked
def eval_loader(
    videos: Rows,
    clip: Clip,
    net_input: Input,
    *,
    views: Views | None = None,
    protocol: Protocol | None = None,
    fps: float | None = None,
    batch_size: int = 4,
    device: str | torch.device = "cpu",
    index: Index | None = None,
    multi_label: int | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
    prefetch: int = 2,
    dtype: Dtype = "float32",
    channels_last: bool = False,
    decoder: Decoder = "auto",
) -> Loader:
    """All views of every video, each video decoded once and in the order of the list.

        net = actrec.net("tiny3d", num_classes=8)
        views = actrec.Views(clips=4, crops=3)
        loader = actrec.eval_loader("val.txt", actrec.Clip(frames=8), net.input, views=views)
        print(actrec.evaluate(net, loader).top1)

    The clips of a batch are (N * clips * crops, C, T, size, size): all views of a video together, ordered by crop, then
    by clip. Nothing is dropped, padded or repeated.

    Args:
        videos, clip, net_input, device, index, workers, prefetch, dtype, channels_last, decoder: as for `train_loader`.
        views: clips and crops of each video; the defaults of `actrec.Views` if not given.
        protocol: takes the frames and crops of a published evaluation instead (`actrec.protocol`), and its mean and
            standard deviation. With some protocols, every batch is one video.
        fps: frames per second of the frame folders that do not state it, for a protocol that needs it.
        batch_size: videos of a batch, each with all of its views.
        multi_label: the number of classes, if videos may have several labels or none.
        rank, world: the number of this process, and of all processes. Each takes every world-th video.

    Returns:
        An iterable of `Batch`. Its length is the number of batches.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: an argument has an illegal type or value, the list is empty, or views and a protocol are given.
    """
    if views is not None and protocol is not None:
        raise OptionError(f"`views` with protocol {protocol.name}, which has its own: expected one of the two")
    check_value("fps", fps, float | None, above=0)
    views = views if views is not None else Views()
    _check_arguments(
        batch_size=batch_size, workers=workers, prefetch=prefetch, channels_last=channels_last,
        multi_label=multi_label, rank=rank, world=world, dtype=dtype, decoder=decoder,
    )  # fmt: skip
    rows, cache = open_rows(videos, flow=clip.modality == "flow")
    task = EvalTask(
        rows,
        clip,
        net_input,
        views=views,
        batch_size=batch_size,
        protocol=protocol,
        fps=fps,
        multi_label=multi_label,
        rank=rank,
        world=world,
    )
    return Loader(
        task,
        index=index,
        cache=cache,
        device=device,
        workers=workers,
        prefetch=prefetch,
        dtype=dtype,
        channels_last=channels_last,
        decoder=decoder,
    )


def _check_memory(task: Task, device: torch.device, prefetch: int, dtype: torch.dtype) -> None:
    """Raises OptionError if not even the clips of the batches fit into memory. The system would kill the process.

    A GPU whose memory is full raises an error of its own.
    """
    if device.type == "cuda":
        return
    size, frames, channels = task.input.side, task.clip.frames or task.input.frames, len(task.input.mean)
    views = task.batch_size * (task.num_views or 1)
    needed = (1 + prefetch) * views * channels * frames * size * size * dtype.itemsize
    there = usable_memory()
    if needed > there:
        batches, clips = counted(1 + prefetch, "batch"), f"{counted(views, 'clip')} of {counted(frames, 'frame')}"
        raise OptionError(
            f"{batches} of {clips} of {size}x{size} need {needed / 2**30:,.0f} GiB of memory, and there are "
            f"{there / 2**30:,.0f} GiB: expected a smaller `batch_size`, `size` or `frames`"
        )


def _check_arguments(
    *,
    multi_label: int | None,
    rank: int,
    world: int,
    channels_last: bool,
    dtype: Dtype,
    decoder: Decoder,
    seed: int = 0,
    **options: Any,
) -> None:
    """Checks the arguments of a loader that do not depend on the list. Raises ValueError.

    Args:
        options: those of `config.Loader`.
    """
    config.Loader(**options)
    check_fields(config.Run, {"seed": seed, "channels_last": channels_last})
    check_value("multi_label", multi_label, int | None, at_least=1)
    check_value("world", world, int, at_least=1)
    check_value("rank", rank, int, at_least=0)
    if rank >= world:
        raise ValueError(f"rank {rank} with world {world}: expected less than world")
    check_value("dtype", dtype, Dtype)
    check_value("decoder", decoder, Decoder)


def _class_names(path: Path, rows: Sequence[Video]) -> list[str]:
    """The class names next to a list, or the numbers up to its largest label."""
    found = find_labels(path.parent)
    return read_labels(found) if found else list(map(str, range(label_columns(rows)[0].max(initial=-1) + 1)))


def _check_flip_map(flip_map: Sequence[int], videos: Sequence[Video]) -> None:
    """Raises ValueError if `flip_map` is malformed, or lacks a label of the list."""
    expected = "expected for each class the label of its mirror image, or -1"
    try:
        mirrored = np.asarray(flip_map)
    except ValueError:
        mirrored = np.empty(0)
    if mirrored.ndim != 1 or mirrored.dtype.kind != "i":
        raise ValueError(f"flip_map {flip_map!r}: {expected}")
    for label in np.flatnonzero((mirrored < -1) | (mirrored >= len(mirrored)))[:1]:
        raise ValueError(f"flip_map {mirrored[label]} for class {label} of {len(mirrored)}: {expected}")
    largest = label_columns(videos)[0].max(initial=-1)
    if largest >= len(mirrored):
        raise ValueError(f"flip_map of {len(mirrored)} classes with a list that has label {largest}: {expected}")


def _dali_feeder(task: Task, device: torch.device, threads: int, dtype: str, budget: int | None) -> Feeder:
    """What finishes clips with DALI. Raises ValueError where DALI is not installed."""
    try:
        importlib.import_module("nvidia.dali")
    except ImportError:
        raise ValueError(
            "decoder dali and augmentations that change pixels need NVIDIA DALI, which is not installed here "
            "(it exists for Linux only): everything else works without it"
        ) from None
    from actrec.pipelines.dali.feed import Feeder
    from actrec.pipelines.dali.graph import graph_of

    define = functools.partial(graph_of, task, device=device.type, device_id=device.index, threads=threads, dtype=dtype)
    return Feeder(define, task.input, device, budget=budget)


def _dali_faults(device: torch.device, decoder: Decoder) -> Collection[str]:
    """What DALI cannot do on a GPU, see `selftest.faults_of`. With decoder="dali", it is used without a test."""
    if device.type != "cuda" or decoder == "dali":
        return ()
    from actrec.pipelines.dali.selftest import faults_of

    return faults_of(device).keys()


def _device(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device {show(device)}: expected cpu, cuda or cuda:N") from None
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device}: expected cpu, cuda or cuda:N")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device}: torch finds no GPU; device='cpu' works without one")
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return chosen
