"""Everything random about one sample, decided before a pixel is touched.

A plan depends on (seed, epoch, index, repeat) and on what the index knows of the video: never on the process, the
number of workers or what was drawn before. Pixels are those of the displayed picture; boxes are (x, y, w, h).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from actrec.config import Augment, Clip, Views
from actrec.data.sampling import samplers, streams
from actrec.data.sampling.look import Look, plan_look

_SPATIAL_DRAWS = 24  # every plan draws as many, whatever it needs: 10 x (area, aspect), x, y, the stride, one to spare
_STRIDE_DRAW = 22

# The thirteen places of a multiscale crop, as quarters of the free space (TSN, Wang et al. 2016).
_PLACES = (
    (0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3),
)  # fmt: skip


@dataclass(frozen=True)
class TrainPlan:
    """One training clip.

    Args:
        frames: (T,) int64 positions relative to the video's first frame, ascending unless the rule wraps around.
        box: region (x, y, w, h) that is resized to the net's size.
        flip: mirrored left to right.
        look: what is done to its colors.
    """

    frames: np.ndarray
    box: tuple[int, int, int, int]
    flip: bool
    look: Look = Look()

    @property
    def crops(self) -> list[tuple[int, int, bool]]:
        """x, y and whether it is mirrored, of each crop of the resized picture: here the whole."""
        return [(0, 0, self.flip)]


@dataclass(frozen=True)
class EvalPlan:
    """All views of one video.

    Args:
        frames: (clips, T) int64.
        resize: (width, height) of the whole picture before the crops are taken.
        offsets: (crops, 2) int64, the x and y of each crop in the resized picture.
        flips: (crops,) bool.
        size: height and width of a crop.
    """

    frames: np.ndarray
    resize: tuple[int, int]
    offsets: np.ndarray
    flips: np.ndarray
    size: int

    @property
    def crops(self) -> list[tuple[int, int, bool]]:
        """x, y and whether it is mirrored, of each crop of the resized picture."""
        return [(x, y, flip) for (x, y), flip in zip(self.offsets.tolist(), self.flips.tolist())]


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
    index: int,
    repeat: int = 0,
    may_flip: bool = True,
) -> TrainPlan:
    """The plan of one training sample.

    Args:
        num_frames, width, height: of the video, as displayed.
        clip: with `frames` decided.
        size: height and width that the net takes.
        augment: that `check_sampling` finds nothing wrong with.
        repeat: how often `index` was drawn before in this epoch.
        may_flip: False where the mirror image of the video's class is no class.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index, repeat])))
    draws = rng.random(_SPATIAL_DRAWS)
    flip = bool(rng.random() < 0.5) and augment.flip and may_flip
    return TrainPlan(
        frames=_frames(clip, num_frames, augment, rng, draws[_STRIDE_DRAW]),
        box=_GEOMETRY[augment.geometry](width, height, size, augment, draws),
        flip=flip,
        look=plan_look(augment=augment, size=size, key=(seed, epoch, index, repeat)),
    )


def check_sampling(clip: Clip, augment: Augment) -> None:
    """Raises ValueError if `augment` wants training clips that `clip` cannot be."""
    if augment.stride_range is not None:
        limits = "stride_range {} {}".format(*augment.stride_range)
        if clip.sampling != "dense":
            raise ValueError(f"{limits} with sampling {clip.sampling}: a stride belongs to --sampling dense")
        if clip.stride != 1:
            raise ValueError(f"{limits} with stride {clip.stride}: expected one of the two")
    if augment.clip_position == "center" and clip.sampling == "dense" and clip.rule == "ibm":
        raise ValueError("clip_position center with sampling rule ibm: its only dense clip is the first one")


def _frames(clip: Clip, num_frames: int, augment: Augment, rng: np.random.Generator, draw: float) -> np.ndarray:
    """Of a training clip: (T,) int64."""
    if augment.stride_range is not None:
        low, high = augment.stride_range
        clip = replace(clip, stride=low + int(draw * (high - low + 1)))
    return sample(clip, num_frames=num_frames, rng=rng if augment.clip_position == "random" else None)[0]


def plan_eval(*, num_frames: int, width: int, height: int, clip: Clip, size: int, views: Views) -> EvalPlan:
    """The views of one video: deterministic."""
    resize = eval_resize(width, height, size, views.crop_ratio)
    offsets = crop_offsets(*resize, size, views.crops, rule=views.rule)
    flips = np.zeros(len(offsets), bool)
    if views.crops == 10:  # each crop, then its mirror image
        offsets, flips = offsets.repeat(2, axis=0), np.tile([False, True], 5)
    frames = sample(clip, num_frames=num_frames, clips=views.clips)
    return EvalPlan(frames, resize, offsets, flips, size)


def sample(clip: Clip, *, num_frames: int, clips: int = 1, rng: np.random.Generator | None = None) -> np.ndarray:
    """The sampler that `clip` names. (clips, T) int64."""
    if clip.sampling == "dense":
        return samplers.dense(
            num_frames=num_frames, frames=clip.frames, stride=clip.stride, clips=clips, rng=rng, rule=clip.rule
        )
    return samplers.uniform(num_frames=num_frames, frames=clip.frames, clips=clips, rng=rng, rule=clip.rule)


def epoch_order(num_videos: int, *, seed: int, epoch: int) -> np.ndarray:
    """The one permutation of an epoch, the same on every rank. (num_videos,) int64."""
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=streams.ORDER)
    return np.random.Generator(np.random.PCG64(sequence)).permutation(num_videos)


def batch_slice(step: int, *, batch_size: int, num_videos: int, rank: int = 0, world: int = 1) -> slice:
    """Where in the epoch's order a rank finds its part of global batch `step`.

    `batch_size` is the global one. The parts of all ranks tile the batch; an incomplete last batch leaves some ranks
    fewer samples, or none.
    """
    begin = step * batch_size
    end = min(begin + batch_size, num_videos)
    cuts = [begin + batch_size * r // world for r in (rank, rank + 1)]
    return slice(min(cuts[0], end), min(cuts[1], end))


def eval_resize(width: int, height: int, size: int, crop_ratio: float) -> tuple[int, int]:
    """Resized (width, height): the short side becomes size / crop_ratio, the long side keeps the aspect, truncated.

    The rule of torchvision's Resize; never smaller than the crop.
    """
    short = int(size / crop_ratio + 0.5)
    if width <= height:
        return short, max(short, int(short * height / width))
    return max(short, int(short * width / height)), short


def crop_offsets(width: int, height: int, size: int, crops: int, *, rule: str = "actrec") -> np.ndarray:
    """Top left corners (x, y) of 1, 3 or 5 crops (10 are the same 5). (crops or 5, 2) int64.

    Three crops lie along the longer side: first, last, center. Five are the corners, then the center. By the rule
    "actrec" they touch the border and share the one-crop center; by "ibm" they lie at quarters of the free space, up to
    3 pixels inside, as in the reference.
    """
    free = np.array([width - size, height - size])
    if rule == "ibm" and crops > 1:
        quarters = free // 4
        center, end = 2 * quarters, 4 * quarters
    else:
        center, end = np.array([round(f / 2) for f in free]), free
    if crops == 1:
        return center[None]
    if crops == 3:
        along = np.array([1, 0]) if width >= height else np.array([0, 1])
        across = center * (1 - along)
        return np.stack([across, end * along + across, center])
    return np.stack([[0, 0], [end[0], 0], [0, end[1]], end, center])


def multiscale_choices(width: int, height: int, size: int, scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """The (w, h) that a multiscale crop chooses from: neighboring scales of the short side, nearly `size` made it."""
    short = min(width, height)
    sides = [int(short * s) for s in scales]
    sides = [size if abs(s - size) < 3 and size <= short else max(1, s) for s in sides]
    return [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]


def multiscale_places(width: int, height: int, w: int, h: int) -> list[tuple[int, int]]:
    """The thirteen (x, y) of a (w, h) crop."""
    step_x, step_y = (width - w) // 4, (height - h) // 4
    return [(x * step_x, y * step_y) for x, y in _PLACES]


def _multiscale(width: int, height: int, size: int, augment: Augment, draws: np.ndarray) -> tuple[int, int, int, int]:
    choices = multiscale_choices(width, height, size, augment.scales)
    w, h = choices[int(draws[0] * len(choices))]
    places = multiscale_places(width, height, w, h)
    x, y = places[int(draws[1] * len(places))]
    return x, y, w, h


def _corner(width: int, height: int, size: int, augment: Augment, draws: np.ndarray) -> tuple[int, int, int, int]:
    """A square in a corner or the center, as in Hara's 3D-ResNets (Wang et al. 2015)."""
    scale = augment.scales[int(draws[0] * len(augment.scales))]
    side = max(1, int(min(width, height) * scale))
    x, y = crop_offsets(width, height, side, 5)[int(draws[1] * 5)].tolist()
    return x, y, side, side


def _jitter(width: int, height: int, size: int, augment: Augment, draws: np.ndarray) -> tuple[int, int, int, int]:
    """A size x size crop out of a picture resized to a random short side, as a box of the unresized picture."""
    low, high = augment.short_sides
    short = low + int(draws[0] * (high - low + 1))
    side = min(round(size * min(width, height) / short), min(width, height))
    return _place(width, height, max(1, side), max(1, side), draws[1:3])


def _random_resized(
    width: int, height: int, size: int, augment: Augment, draws: np.ndarray
) -> tuple[int, int, int, int]:
    """Inception's crop: random area, log-uniform aspect, ten tries, else the largest centerd box (as torchvision)."""
    low, high = np.log(augment.aspect)
    for area_draw, aspect_draw in draws[:20].reshape(10, 2):
        area = width * height * (augment.area[0] + area_draw * (augment.area[1] - augment.area[0]))
        aspect = np.exp(low + aspect_draw * (high - low))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return _place(width, height, w, h, draws[20:22])
    aspect = min(max(width / height, augment.aspect[0]), augment.aspect[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (width - w) // 2, (height - h) // 2, max(1, w), max(1, h)


def _center(width: int, height: int, size: int, augment: Augment, draws: np.ndarray) -> tuple[int, int, int, int]:
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def _place(width: int, height: int, w: int, h: int, draws: np.ndarray) -> tuple[int, int, int, int]:
    """A uniformly random place, both ends included."""
    return int(draws[0] * (width - w + 1)), int(draws[1] * (height - h + 1)), w, h


_GEOMETRY = {
    "multiscale": _multiscale,
    "corner": _corner,
    "jitter": _jitter,
    "random-resized": _random_resized,
    "center": _center,
}
