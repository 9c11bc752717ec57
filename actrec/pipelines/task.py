"""What a loader is asked for: `TrainTask` (random clips) and `EvalTask` (all views of every video). numpy only.

A task says how many draws an epoch has, which draws a step takes, the plan of a draw (which frames, which box, mirrored
or not), the geometry of a plan (what is cut out of each frame, and to which size it is resized) and the labels of a
plan. A `Loader` does the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from actrec.config import FLOW_CHANNELS, Augment, Clip, Input, OptionError, Views
from actrec.data.errors import LeftOutError, MediaError
from actrec.data.index import Media
from actrec.data.index.probe import FPS
from actrec.data.limits import why_too_large
from actrec.data.lists import Video, check_labels
from actrec.data.sampling.geometry import Box, crop_flips
from actrec.data.sampling.order import EpochDraws, batch_slice, single_labels
from actrec.data.sampling.plan import EvalPlan, TrainPlan, check_sampling, plan_eval, plan_protocol, plan_train
from actrec.data.sampling.protocols import Protocol
from actrec.data.video.timestamps import read_stamps, stated_rate
from actrec.pipelines import augment as augmentations
from actrec.words import counted

Plan = TrainPlan | EvalPlan


class TrainTask:
    """Random clips of a list. `train_loader` explains the arguments and the errors.

    Attributes:
        clip: with the number of frames set, by the net if the caller left it open.
        augmentations: those that are switched on, in the order in which they are applied.
        num_clips: of an epoch's batches, over all ranks, including those that cannot be decoded.
        num_steps: batches of an epoch.
        left_out: the rows of the list that are not drawn (see `leave_out`).
        num_views: clips per video in a batch.
        changes_pixels: whether an augmentation changes pictures after they are resized.
    """

    num_views: int | None = 1

    def __init__(
        self,
        videos: Sequence[Video],
        clip: Clip,
        net_input: Input,
        *,
        augment: Augment,
        batch_size: int,
        seed: int = 0,
        flip_map: Sequence[int] | None = None,
        multi_label: int | None = None,
        repeats: int = 1,
        balanced: bool = False,
        keep_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ):
        _check(videos, clip, net_input, multi_label)
        check_sampling(clip, augment)
        self.videos, self.input, self.multi_label, self.batch_size = videos, net_input, multi_label, batch_size
        self.clip = _with_frames(clip, net_input)
        self.augmentations = augmentations.active(augment)
        self.changes_pixels = any(augmentation.changes_pixels for augmentation in self.augmentations)
        if clip.modality == "flow":
            _check_colors(self.augmentations)
        self._augment, self._seed, self._flip_map = augment, seed, flip_map
        self._rank, self._world = rank, world
        self._repeats, self._keep_last = repeats, keep_last
        self._labels = single_labels(videos) if balanced else None
        self.leave_out(())

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""
        assert self.clip.frames is not None
        return self.clip.frames

    def leave_out(self, rows: Collection[int]) -> None:
        """Sets the rows that are not drawn, because their videos cannot be used. Batches are filled with others.

        Raises:
            OptionError: the others are fewer than one batch.
        """
        num_usable = len(self.videos) - len(rows)
        num_draws = num_usable * self._repeats
        full, rest = divmod(num_draws, self.batch_size)
        if not full and not (rest and self._keep_last):
            of_list = f"{num_usable} usable of " if rows else ""
            each = f", {self._repeats} clips of each" if self._repeats > 1 else ""
            advice = (
                f"expected at most {num_draws}; set `batch_size` to {2 ** (num_draws.bit_length() - 1)}, or set "
                "`keep_last`"
                if num_draws
                else "none is left to train on"
            )
            raise OptionError(
                f"`batch_size` {self.batch_size} with {of_list}{counted(len(self.videos), 'video')}{each}: {advice}"
            )
        self.left_out = frozenset(rows)
        self._num_draws = num_draws
        self.num_steps = full + (1 if rest and self._keep_last else 0)
        self.num_clips = full * self.batch_size + (rest if self._keep_last else 0)
        draws_of = functools.partial(
            EpochDraws,
            len(self.videos),
            seed=self._seed,
            repeats=self._repeats,
            labels=self._labels,
            left_out=self.left_out,
        )
        self._epoch_draws = functools.lru_cache(maxsize=1)(draws_of)

    def draws(self, epoch: int, step: int) -> np.ndarray:
        """What this rank draws in a step: (n, 2) int64, row of the list and how often it was drawn before."""
        part = batch_slice(
            step, batch_size=self.batch_size, num_draws=self._num_draws, rank=self._rank, world=self._world
        )
        return self._epoch_draws(epoch=epoch)[part]

    def plan(self, epoch: int, row: int, repeat: int, media: Media) -> TrainPlan:
        """Everything random about one draw."""
        plan = plan_train(
            num_frames=media.positions,
            width=media.width,
            height=media.height,
            clip=self.clip,
            size=self.input.side,
            augment=self._augment,
            seed=self._seed,
            epoch=epoch,
            row=row,
            repeat=repeat,
            may_flip=self._flip_map is None or all(self._flip_map[label] >= 0 for label in self.videos[row].labels),
        )
        if not self.augmentations:
            return plan
        key = (self._seed, epoch, row, repeat)
        drawn = augmentations.draw(self.augmentations, size=self.input.side, key=key)
        return replace(plan, drawn=drawn, frames=augmentations.reorder(self.augmentations, plan.frames, drawn))

    def geometry(self, plan: TrainPlan, media: Media) -> tuple[Box, tuple[int, int]]:
        """The box (x, y, w, h) of each frame, and the (width, height) to which it is resized."""
        return plan.box, (self.input.side, self.input.side)

    def labels(self, row: int, plan: TrainPlan) -> list[int]:
        """The labels of a clip; those of a mirrored clip follow `flip_map`."""
        labels = list(self.videos[row].labels)
        if self._flip_map is None or not plan.flip:
            return labels
        return [self._flip_map[label] for label in labels]

    def should_certify(self, epoch: int) -> bool:
        """Whether to decode a video of unknown structure to its end, so that later epochs decode less: always."""
        return True


class EvalTask:
    """All views of every video, in the order of the list. `eval_loader` explains the arguments and the errors.

    Attributes: as those of `TrainTask`, and:
        flips: which of the crops are mirrored.
        crop: width and height of the crops.
        antialias: whether pictures are resized with antialiasing.
        protocol: the published evaluation that decides about frames, crops and normalization.

    With some protocols, the number of clips or the size of the crops differs from video to video. `num_views` or `crop`
    is then None, and a batch is one video.
    """

    changes_pixels = False
    left_out: frozenset[int] = frozenset()

    def __init__(
        self,
        videos: Sequence[Video],
        clip: Clip,
        net_input: Input,
        *,
        views: Views,
        batch_size: int,
        protocol: Protocol | None = None,
        fps: float | None = None,
        multi_label: int | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        if protocol is not None:
            net_input, clip = _as_measured(protocol, clip, net_input)
        _check(videos, clip, net_input, multi_label)
        self.videos, self.input, self.multi_label, self.batch_size = videos, net_input, multi_label, batch_size
        self.clip, self.views, self.protocol, self._fps = _with_frames(clip, net_input), views, protocol, fps
        self.clips: int | None = views.clips
        self.flips, self.antialias = crop_flips(views.crops), True
        self.crop: tuple[int, int] | None = (net_input.side, net_input.side)
        if protocol is not None:
            self.clips, self.antialias = protocol.clips, protocol.kernel == "pillow"
            self.flips = tuple(flip for *_, flip in protocol.geometry(320, 240).crops)
            self.crop = None if protocol.crop is None else self.crop
        self.num_views: int | None = None if self.clips is None else self.clips * len(self.flips)
        if self.num_views is None or self.crop is None:
            self.num_views, self.batch_size = None, 1
        self._rows = np.arange(rank, len(videos), world)
        self.num_steps = -(-len(self._rows) // self.batch_size)
        self.num_clips = len(videos) * (self.num_views or len(self.flips))

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""
        assert self.clip.frames is not None
        return self.clip.frames

    def draws(self, epoch: int, step: int) -> np.ndarray:
        """See `TrainTask.draws`. Nothing is dropped, padded or repeated."""
        rows = self._rows[batch_slice(step, batch_size=self.batch_size, num_draws=len(self._rows))]
        return np.stack([rows, np.zeros_like(rows)], axis=1)

    def leave_out(self, rows: Collection[int]) -> None:
        """See `TrainTask.leave_out`. Evaluation tries every video, so that each has a score or a reason."""

    def plan(self, epoch: int, row: int, repeat: int, media: Media) -> EvalPlan:
        """The views of one video. Nothing about them is random.

        Raises:
            LeftOutError: the protocol leaves the video out.
            MediaError: the protocol needs the number of frames per second, which is not known; or the frames become
                too large, because one side is much longer than the other.
        """
        if self.protocol is not None:
            plan = self._plan_protocol(self.protocol, media)
        else:
            plan = plan_eval(
                num_frames=media.positions,
                width=media.width,
                height=media.height,
                clip=self.clip,
                size=self.input.side,
                views=self.views,
            )
        if reason := why_too_large(*plan.resize):
            raise MediaError(media.path, f"after resizing the frames of {media.width}x{media.height}, {reason}")
        return plan

    def _plan_protocol(self, protocol: Protocol, media: Media) -> EvalPlan:
        fps, stamps = media.rate or self._fps, None
        if protocol.target_fps is not None and not fps:
            where = f"the folder has no file `{FPS}` that contains it" if media.template else "the file does not say it"
            raise MediaError(
                media.path,
                f"protocol {protocol.name} needs the number of frames per second, and {where} (--fps sets it)",
            )
        if protocol.target_fps is not None and media.template is None:
            if protocol.fps_from == "guessed" and (whole := read_stamps(media.path)):
                stamps = whole.part(media.start, media.start + media.frames)
            elif media.variable:
                fps = stated_rate(media.path) or fps
        plan = plan_protocol(
            protocol, num_frames=media.positions, width=media.width, height=media.height, fps=fps, stamps=stamps
        )
        if plan is None:
            length = counted(media.positions, "frame")
            raise LeftOutError(
                media.path, f"{length} at {fps:.4g} frames per second: too short for a clip of {protocol.name}"
            )
        return plan

    def geometry(self, plan: EvalPlan, media: Media) -> tuple[Box, tuple[int, int]]:
        """See `TrainTask.geometry`. The whole picture is resized; the workers or DALI take the crops afterwards."""
        return (0, 0, media.width, media.height), plan.resize

    def labels(self, row: int, plan: EvalPlan) -> list[int]:
        return list(self.videos[row].labels)

    def should_certify(self, epoch: int) -> bool:
        """See `TrainTask.should_certify`. A first pass needs each file once, so decoding more would not pay."""
        return epoch > 0


Task = TrainTask | EvalTask


def _with_frames(clip: Clip, net_input: Input) -> Clip:
    return clip if clip.frames is not None else replace(clip, frames=net_input.frames)


def _as_measured(protocol: Protocol, clip: Clip, net_input: Input) -> tuple[Input, Clip]:
    if clip.modality == "flow":
        raise OptionError(f"`modality` flow with protocol {protocol.name}: expected rgb")
    size = protocol.crop or net_input.size
    net_input = replace(net_input, mean=protocol.mean, std=protocol.std, frames=protocol.clip_frames, size=size)
    return net_input, replace(clip, frames=protocol.clip_frames)


def _check(videos: Sequence[Video], clip: Clip, net_input: Input, multi_label: int | None) -> None:
    if not len(videos):
        raise ValueError("the list holds no video")
    channels = FLOW_CHANNELS if clip.modality == "flow" else 3
    if len(net_input.mean) != channels or len(net_input.std) != channels:
        raise ValueError(
            f"mean and std of {len(net_input.mean)} and {len(net_input.std)} channels with modality {clip.modality}: "
            f"expected {channels}, those of actrec.net(name, in_channels={channels}).input"
        )
    if clip.modality == "flow" and len({*net_input.mean}) + len({*net_input.std}) > 2:
        raise ValueError("mean and std of flow differ from channel to channel: expected the same for all")
    if multi_label is not None:
        check_labels(videos, multi_label, multi_label=True)


def _check_colors(active: Sequence[augmentations.Augmentation]) -> None:
    for augmentation in active:
        if augmentation.needs_colors:
            others = ", ".join(kind.name for kind in augmentations.registered() if not kind.needs_colors)
            raise ValueError(f"{augmentation.name} with modality flow: flow has no colors; {others} work with it")
