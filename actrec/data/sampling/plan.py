"""Everything random about one sample, decided before a pixel is read.

A training plan depends on (seed, epoch, row, repeat), on the options, and on the number of frames and the size that the
index knows of the video: `actrec index --verify` can correct this number, and then changes the plan. An evaluation plan
is not random. Neither depends on the process, on the number of workers, or on what was drawn before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from actrec.config import Augment, Clip, OptionError, Views
from actrec.data.sampling import samplers
from actrec.data.sampling.geometry import Box, crop_flips, crop_offsets, eval_resize, train_box
from actrec.data.sampling.protocols import Protocol
from actrec.data.times import Stamps

# Every plan draws as many variates, whatever it uses: 10 x (area, aspect ratio), x, y, the stride, and one to spare.
_NUM_VARIATES = 24
_STRIDE = 22
# The samplers without the checks of their arguments: the options were checked before.
_dense: Callable[..., np.ndarray] = inspect.unwrap(samplers.dense)
_uniform: Callable[..., np.ndarray] = inspect.unwrap(samplers.uniform)


@dataclass(frozen=True)
class TrainPlan:
    """One training clip.

    Args:
        frames: (T,) int64 positions relative to the video's first frame. They ascend unless the sampling rule wraps
            around or an augmentation reorders them.
        box: region (x, y, w, h) of the displayed picture that is resized to the net's size.
        flip: the clip is mirrored left to right.
        drawn: the random numbers of each augmentation that is switched on, by its name (`actrec.pipelines.augment`).
    """

    antialias: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    swscale: ClassVar[bool] = False
    wrong_matrix: ClassVar[bool] = False

    frames: np.ndarray
    box: Box
    flip: bool
    drawn: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def crops(self) -> list[tuple[int, int, bool]]:
        """(x, y, mirrored) of each crop of the resized picture; in training the resized box is the only crop."""
        return [(0, 0, self.flip)]


@dataclass(frozen=True)
class EvalPlan:
    """All views of one video.

    Args:
        frames: (clips, T) int64 positions relative to the video's first frame.
        resize: (width, height) to which the whole picture is resized before the crops are taken.
        offsets: (crops, 2) int64, x and y of each crop in the resized picture.
        flips: (crops,) bool, which crops are mirrored.
        crop: width and height of a crop.
        antialias: whether the picture is resized with antialiasing.
        exact: whether resized values are rounded to the nearest integer, as for `actrec.pipelines.workers.resize`.
        swscale: whether the decode workers convert colors with swscale.
        wrong_matrix: show the colors of a program that takes the wrong color matrix: BT.709 for BT.601, and BT.601 for
            all others.
    """

    frames: np.ndarray
    resize: tuple[int, int]
    offsets: np.ndarray
    flips: np.ndarray
    crop: tuple[int, int]
    antialias: bool = True
    exact: bool = False
    swscale: bool = False
    wrong_matrix: bool = False

    @property
    def num_views(self) -> int:
        return len(self.frames) * len(self.flips)

    @property
    def crops(self) -> list[tuple[int, int, bool]]:
        """(x, y, mirrored) of each crop of the resized picture."""
        return [(x, y, flip) for (x, y), flip in zip(self.offsets.tolist(), self.flips.tolist())]

    def boxes(self, width: int, height: int) -> list[tuple[float, float, float, float]]:
        """The box (x, y, w, h) of each crop, in pixels of a video of this size. They are not whole numbers."""
        across, down = width / self.resize[0], height / self.resize[1]
        w, h = self.crop[0] * across, self.crop[1] * down
        return [(x * across, y * down, w, h) for x, y in self.offsets.tolist()]


def plan_train(
    *,
    num_frames: int,
    width: int,
    height: int,
    clip: Clip,
    size: int,
    augment: Augment,
    seed: int,
    epoch: int,
    row: int,
    repeat: int = 0,
    may_flip: bool = True,
) -> TrainPlan:
    """The plan of one training sample: its frames, box and flip.

    Args:
        num_frames, width, height: of the video, as displayed.
        clip: with `frames` set.
        size: height and width of the net's input.
        augment: options that `check_sampling` accepts.
        row: of the list.
        repeat: how often `row` was drawn before in this epoch.
        may_flip: False if the mirror image of the video's class is not a class.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, row, repeat])))
    draws = rng.random(_NUM_VARIATES + 1)
    variates, flip = draws[:-1], bool(draws[-1] < 0.5) and augment.flip and may_flip
    return TrainPlan(
        frames=_train_frames(clip, num_frames, augment, rng, variates[_STRIDE]),
        box=train_box(width, height, size, augment, variates),
        flip=flip,
    )


def check_sampling(clip: Clip, augment: Augment) -> None:
    """Raises ValueError if `augment` asks for training clips that `clip` cannot provide."""
    if augment.stride_range is not None:
        limits = "`stride_range` {} {}".format(*augment.stride_range)
        if clip.sampling != "dense":
            raise OptionError(f"{limits} with `sampling` {clip.sampling}: expected `sampling` dense")
        if clip.stride != 1:
            raise OptionError(f"{limits} with `stride` {clip.stride}: expected one of the two")
    if augment.clip_position == "center" and clip.sampling == "dense" and clip.rule == "ibm":
        raise OptionError("`clip_position` center with sampling rule ibm: its only dense clip is the first one")


def plan_eval(*, num_frames: int, width: int, height: int, clip: Clip, size: int, views: Views) -> EvalPlan:
    """The views of one video. Nothing about them is random."""
    resize = eval_resize(width, height, size, views.crop_ratio)
    offsets, flips = crop_offsets(*resize, size, views.crops, rule=views.rule), crop_flips(views.crops)
    offsets = offsets.repeat(len(flips) // len(offsets), axis=0)
    frames = sample(clip, num_frames=num_frames, clips=views.clips)
    return EvalPlan(frames, resize, offsets, np.array(flips), (size, size))


def plan_protocol(
    protocol: Protocol,
    *,
    num_frames: int,
    width: int,
    height: int,
    fps: float | None = None,
    stamps: Stamps | None = None,
) -> EvalPlan | None:
    """The views of one video as a published evaluation takes them. None if it leaves such a video out.

    Args:
        fps, stamps: as for `Protocol.frames`.
    """
    frames = protocol.frames(num_frames, fps, stamps)
    if frames is None:
        return None
    resized, crop, crops = protocol.geometry(width, height)
    offsets, flips = np.array([(x, y) for x, y, _ in crops], np.int64), np.array([flip for _, _, flip in crops])
    antialias, exact = protocol.kernel == "pillow", protocol.kernel != "opencv"
    return EvalPlan(frames, resized, offsets, flips, crop, antialias=antialias, exact=exact, swscale=True)


def sample(clip: Clip, *, num_frames: int, clips: int = 1, rng: np.random.Generator | None = None) -> np.ndarray:
    """Calls the sampler that `clip` names. Returns (clips, T) int64; random if `rng` is given."""
    assert clip.frames is not None
    if clip.sampling == "dense":
        assert clip.rule != "comb"
        return _dense(
            num_frames=num_frames, frames=clip.frames, stride=clip.stride, clips=clips, rng=rng, rule=clip.rule
        )
    return _uniform(num_frames=num_frames, frames=clip.frames, clips=clips, rng=rng, rule=clip.rule)


def _train_frames(clip: Clip, num_frames: int, augment: Augment, rng: np.random.Generator, stride: float) -> np.ndarray:
    """The frames of a training clip, (T,) int64. `stride` is a uniform number in [0, 1)."""
    if augment.stride_range is not None:
        low, high = augment.stride_range
        clip = replace(clip, stride=low + int(stride * (high - low + 1)))
    frames: np.ndarray = sample(clip, num_frames=num_frames, rng=rng if augment.clip_position == "random" else None)[0]
    return frames
