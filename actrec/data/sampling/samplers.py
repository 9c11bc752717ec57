"""Which frames form a clip: index arithmetic only, in numpy.

    actrec.samplers.uniform(num_frames=300, frames=8)  # one frame of each of eight segments
    actrec.samplers.dense(num_frames=300, frames=16, stride=2, clips=10)  # ten clips of every second frame

Every sampler returns an int64 array (clips, frames) of positions in [0, num_frames), counted from 0. With `rng` it
draws at random (training); without it the result is deterministic (evaluation). The formulas below write M for
`num_frames`, T for `frames` and k for `clips`.

The rules are:

- `actrec`: the default.
- `comb`: all segments of a uniform training clip share one random offset, as in IBM's program. The rest is as in
  `actrec`.
- `ibm`: IBM's action-recognition-pytorch with its quirks, for comparisons with published numbers.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from actrec.arguments import checked

UniformRule = Literal["actrec", "comb", "ibm"]
DenseRule = Literal["actrec", "ibm"]


@checked
def uniform(
    *,
    num_frames: int,
    frames: int,
    clips: int = 1,
    rng: np.random.Generator | None = None,
    rule: UniformRule = "actrec",
) -> np.ndarray:
    """One frame of each of T equal segments of the video: TSN's sampling.

        actrec.samplers.uniform(num_frames=100, frames=4)  # [[12, 37, 62, 87]]
        actrec.samplers.uniform(num_frames=100, frames=4, rng=np.random.default_rng(0))  # at random, for training

    Evaluation with rule actrec: clip j takes frame floor((x + (j + 1/2) / k) * M / T) of segment x. The clips
    interleave, and no two share a frame while M >= k * T. A video of exactly T frames is used completely.

    Training with rule actrec: one independent frame of each segment [x * M / T, (x + 1) * M / T), as in TSN (Wang et
    al. 2016). A video shorter than T repeats frames, in order.

    Args:
        num_frames: M, frames of the video.
        frames: T, frames of a clip.
        clips: k.
        rng: draws at random, for training. None: the fixed clips of evaluation.
        rule: how positions are computed, see `actrec.samplers`.

    Returns:
        (clips, frames) int64, each row in ascending order.

    Raises:
        ValueError: a size is below 1, or the rule is unknown.
    """
    _check(num_frames=num_frames, frames=frames, clips=clips)
    _one_of("rule", rule, ("actrec", "comb", "ibm"))
    if rule == "ibm":
        if rng is None:
            return np.stack([_ibm_uniform_eval(num_frames, frames, clips, j) for j in range(clips)])
        return np.stack([_ibm_uniform_train(num_frames, frames, rng) for _ in range(clips)])
    if rng is None:
        halves = 2 * clips * np.arange(frames) + 2 * np.arange(clips)[:, None] + 1  # (clips, frames), in 1 / (2 * k)
        positions: np.ndarray = halves * num_frames // (2 * clips * frames)  # floats are wrong by one at some borders
        return positions
    draws = [rng.random(1 if rule == "comb" else frames) for _ in range(clips)]
    return np.stack([_floor_positions(np.arange(frames) + draw, num_frames, frames) for draw in draws])


@checked
def dense(
    *,
    num_frames: int,
    frames: int,
    stride: int = 1,
    clips: int = 1,
    rng: np.random.Generator | None = None,
    rule: DenseRule = "actrec",
) -> np.ndarray:
    """T frames, `stride` apart.

        actrec.samplers.dense(num_frames=100, frames=4, stride=2)  # [[46, 48, 50, 52]]
        actrec.samplers.dense(num_frames=100, frames=4, stride=2, clips=2)  # [[0, 2, 4, 6], [93, 95, 97, 99]]

    A clip spans (T - 1) * stride + 1 frames. Evaluation with rule actrec: the k starts are spread evenly from the first
    possible start to the last, round(linspace(0, max(0, M - span), k)); a single clip is the middle one. Training draws
    the start uniformly from all possible starts. A video shorter than the span repeats its last frame.

    Args:
        num_frames: M, frames of the video.
        frames: T, frames of a clip.
        stride: frames from one frame of a clip to the next.
        clips: k.
        rng: draws at random, for training. None: the fixed clips of evaluation.
        rule: how positions are computed, see `actrec.samplers`.

    Returns:
        (clips, frames) int64, each row in ascending order (rule "ibm" wraps around in short videos instead).

    Raises:
        ValueError: a size is below 1, or the rule is unknown.
    """
    _check(num_frames=num_frames, frames=frames, stride=stride, clips=clips)
    _one_of("rule", rule, ("actrec", "ibm"))
    steps = np.arange(frames) * stride
    if rule == "ibm":
        wrapped: np.ndarray = (_ibm_dense_starts(num_frames, frames * stride, clips, rng)[:, None] + steps) % num_frames
        return wrapped
    room = max(0, num_frames - ((frames - 1) * stride + 1))
    if rng is not None:
        starts = np.floor(rng.random(clips) * (room + 1)).astype(np.int64)
    elif clips == 1:
        starts = np.array([room // 2])
    else:
        starts = np.round(np.linspace(0, room, clips)).astype(np.int64)
    positions: np.ndarray = np.minimum(starts[:, None] + steps, num_frames - 1)
    return positions


@checked
def sliding_window(*, num_frames: int, frames: int, step: int) -> np.ndarray:
    """A clip of consecutive frames every `step` frames, as in Kensho Hara's 3D-ResNets-PyTorch.

        actrec.samplers.sliding_window(num_frames=6, frames=4, step=4)  # [[0, 1, 2, 3], [4, 5, 4, 5]]

    The number of clips depends on the video. A clip that reaches the end of the video is filled by repeating it from
    its own start, and is the last one.

    Args:
        num_frames: frames of the video.
        frames: frames of a clip.
        step: frames from the start of one clip to the start of the next.

    Returns:
        (clips, frames) int64.

    Raises:
        ValueError: a size is below 1.
    """
    _check(num_frames=num_frames, frames=frames, step=step)
    rows = []
    for start in range(0, num_frames, step):
        run = np.arange(start, min(start + frames, num_frames))
        rows.append(np.resize(run, frames))  # np.resize repeats
        if len(run) < frames:
            break
    return np.stack(rows)


def _floor_positions(segments: np.ndarray, num_frames: int, frames: int) -> np.ndarray:
    """floor(segments * M / T)."""
    return np.minimum(np.floor(segments * num_frames / frames).astype(np.int64), num_frames - 1)


def _ibm_uniform_train(num_frames: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """The reference's training rule: one offset shared by all segments of M // T frames, so the tail is never used.

    A video shorter than T draws with replacement.
    """
    length = num_frames // frames
    if length:
        return np.arange(frames) * length + int(rng.permutation(length)[0])
    return np.sort(rng.integers(0, num_frames, frames))


def _ibm_uniform_eval(num_frames: int, frames: int, clips: int, j: int) -> np.ndarray:
    """The reference's clip j: segment centers shifted by whole frames, so the k clips are nearly the same."""
    if num_frames <= frames:  # also for a video of exactly T frames: reference bug B4
        return np.sort(np.random.RandomState(j).randint(0, num_frames, frames)).astype(np.int64)
    tick = num_frames / frames
    offset: float = j + (-clips // 2) + 1
    if offset >= tick / 2:
        offset = tick / 2 - 1e-4
    elif offset < -tick / 2:
        offset = -tick / 2
    return (tick / 2 + offset + tick * np.arange(frames)).astype(np.int64)


def _ibm_dense_starts(num_frames: int, span: int, clips: int, rng: np.random.Generator | None) -> np.ndarray:
    """The reference's starts: the span counts T * stride frames, and the single evaluation clip is the first one."""
    room = num_frames - span
    if rng is not None:
        return rng.integers(0, room, clips) if room > 0 else np.zeros(clips, np.int64)
    return np.linspace(0, max(0, room), clips).astype(np.int64)


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value}: expected at least 1")


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} {value!r}: expected one of {', '.join(legal)}")
