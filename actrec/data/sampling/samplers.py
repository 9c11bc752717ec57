"""Which frames form a clip: index arithmetic only, in numpy.

Every sampler returns an int64 array (clips, frames) of positions in [0, num_frames), 0-based. With `rng` it draws
(training); without it is deterministic (evaluation). `num_frames` is written M, `frames` T and `clips` k below.

Rules
    actrec  ours, the default.
    comb    uniform training clips share one random offset among all segments, as in the reference; else as actrec.
    ibm     IBM's action-recognition-pytorch, its quirks included, for comparing with published numbers.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

UniformRule = Literal["actrec", "comb", "ibm"]
DenseRule = Literal["actrec", "ibm"]


def uniform(
    *,
    num_frames: int,
    frames: int,
    clips: int = 1,
    per_segment: int = 1,
    rng: np.random.Generator | None = None,
    rule: UniformRule = "actrec",
) -> np.ndarray:
    """One frame (or `per_segment`) out of each of T equal segments of the video: TSN's sampling.

    Evaluation, actrec: clip j takes frame floor((x + (j + 1/2) / k) * M / T) of segment x, so the clips interleave
    and none repeats another while M >= k * T. A video of exactly T frames is used whole.

    Training, actrec: an independent frame of each segment [x * M / T, (x + 1) * M / T), as in TSN (Wang et al. 2016).
    Videos shorter than T repeat frames, in order.

    Args:
        per_segment: T is this many times the number of segments. Each draws from a part of the segment of its own;
            by rule "ibm" from the whole segment, distinct ones where it has so many.

    Returns:
        (clips, frames) int64, each row in ascending order.

    Raises:
        ValueError: for sizes below 1, frames not a multiple of per_segment, or an unknown rule.
    """
    _check(num_frames=num_frames, frames=frames, clips=clips, per_segment=per_segment)
    if frames % per_segment:
        raise ValueError(f"frames {frames} with per_segment {per_segment}: expected a multiple of it")
    _one_of("rule", rule, ("actrec", "comb", "ibm"))
    if rule == "ibm":
        if rng is None:
            return np.stack([_ibm_uniform_eval(num_frames, frames, clips, j) for j in range(clips)])
        return np.stack([_ibm_comb(num_frames, frames // per_segment, per_segment, rng) for _ in range(clips)])
    if rng is None:
        halves = 2 * clips * np.arange(frames) + 2 * np.arange(clips)[:, None] + 1  # (clips, frames), of 1 / (2 * k)
        return halves * num_frames // (2 * clips * frames)  # whole numbers: floats miss the borders by one
    if rule == "comb":
        return np.stack([_comb(num_frames, frames, per_segment, rng) for _ in range(clips)])
    return np.stack([_segment_draw(num_frames, frames, per_segment, rng) for _ in range(clips)])


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

    Evaluation, actrec: a clip spans (T - 1) * stride + 1 frames; the k starts are spread from the first possible to
    the last, round(linspace(0, max(0, M - span), k)), and a single clip is the middle one. Training draws the start
    uniformly from all of them, the last included. Videos shorter than the span repeat their last frame.

    Returns:
        (clips, frames) int64, each row in ascending order (rule "ibm" wraps around short videos instead).

    Raises:
        ValueError: for sizes below 1 or an unknown rule.
    """
    _check(num_frames=num_frames, frames=frames, stride=stride, clips=clips)
    _one_of("rule", rule, ("actrec", "ibm"))
    steps = np.arange(frames) * stride
    if rule == "ibm":
        return (_ibm_dense_starts(num_frames, frames * stride, clips, rng)[:, None] + steps) % num_frames
    room = max(0, num_frames - ((frames - 1) * stride + 1))
    if rng is not None:
        starts = np.floor(rng.random(clips) * (room + 1)).astype(np.int64)
    elif clips == 1:
        starts = np.array([room // 2])
    else:
        starts = np.round(np.linspace(0, room, clips)).astype(np.int64)
    return np.minimum(starts[:, None] + steps, num_frames - 1)


def _floor_positions(segments: np.ndarray, num_frames: int, frames: int) -> np.ndarray:
    """floor(segments * M / T)."""
    return np.minimum(np.floor(segments * num_frames / frames).astype(np.int64), num_frames - 1)


def _segment_draw(num_frames: int, frames: int, per_segment: int, rng: np.random.Generator) -> np.ndarray:
    """TSN: each segment draws on its own. Always draws `frames` variates.

    With several frames a segment, the segment is cut into `per_segment` parts and each part draws one.
    """
    segments = frames // per_segment
    place = (np.arange(per_segment) + rng.random((segments, per_segment))) / per_segment
    return _floor_positions((np.arange(segments)[:, None] + place).reshape(-1), num_frames, segments)


def _comb(num_frames: int, frames: int, per_segment: int, rng: np.random.Generator) -> np.ndarray:
    """One offset for all segments; unlike the reference's it reaches the tail and keeps short videos in order."""
    segments = frames // per_segment
    place = (np.arange(per_segment) + rng.random(per_segment)) / per_segment
    return _floor_positions((np.arange(segments)[:, None] + place).reshape(-1), num_frames, segments)


def _ibm_comb(num_frames: int, segments: int, per_segment: int, rng: np.random.Generator) -> np.ndarray:
    """The reference's training rule: distinct offsets shared by all segments of M // T frames, the tail unused;
    too short a video draws with replacement."""
    length = num_frames // segments
    if length >= per_segment:
        offsets = rng.permutation(length)[:per_segment]
        return np.sort((np.arange(segments)[:, None] * length + offsets).reshape(-1)).astype(np.int64)
    return np.sort(rng.integers(0, num_frames, segments * per_segment))


def _ibm_uniform_eval(num_frames: int, frames: int, clips: int, j: int) -> np.ndarray:
    """The reference's clip j: segment centers shifted by whole frames, so the k clips are nearly the same."""
    if num_frames <= frames:  # an exactly T-frame video too: reference bug B4
        return np.sort(np.random.RandomState(j).randint(0, num_frames, frames)).astype(np.int64)
    tick = num_frames / frames
    offset = j + (-clips // 2) + 1
    if offset >= tick / 2:
        offset = tick / 2 - 1e-4
    elif offset < -tick / 2:
        offset = -tick / 2
    return (tick / 2 + offset + tick * np.arange(frames)).astype(np.int64)


def _ibm_dense_starts(num_frames: int, span: int, clips: int, rng: np.random.Generator | None) -> np.ndarray:
    """The reference's starts: the span is counted as T * stride and the single evaluation clip is the first."""
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


# Kensho Hara's temporal crops (3D-ResNets-PyTorch), for comparing with his results. The number of clips depends on the
# video: a clip that reaches its end is filled by repeating it from its own start, and is the last one.


def even_crop(*, num_frames: int, frames: int, clips: int, subsample: int = 1) -> np.ndarray:
    """Hara's validation: up to `clips` runs of consecutive frames, evenly spread. (1 to clips, frames) int64.

    `subsample` spaces the starts only; the frames of a clip stay consecutive (the reference's bug B27).

    Raises:
        ValueError: for sizes below 1, or clips below 2.
    """
    _check(num_frames=num_frames, frames=frames, subsample=subsample)
    if clips < 2:
        raise ValueError(f"clips {clips}: expected at least 2")
    index = np.arange(0, num_frames, subsample)
    step = max(1, -(-(len(index) - 1 - frames) // (clips - 1)))
    return _runs(index[::step][:clips], index[-1], frames)


def sliding_window(*, num_frames: int, frames: int, step: int) -> np.ndarray:
    """Hara's inference: a clip every `step` frames. (clips, frames) int64.

    Raises:
        ValueError: for sizes below 1.
    """
    _check(num_frames=num_frames, frames=frames, step=step)
    return _runs(np.arange(0, num_frames, step), num_frames - 1, frames)


def center_crop(*, num_frames: int, frames: int) -> np.ndarray:
    """Hara's center clip, repeated from its own start when the video is short. (1, frames) int64."""
    _check(num_frames=num_frames, frames=frames)
    start = max(0, num_frames // 2 - frames // 2)
    return _runs(np.array([start]), num_frames - 1, frames)


def _runs(starts: np.ndarray, last: int, frames: int) -> np.ndarray:
    """Consecutive frames from each start, up to `last`; stops after the first that has to be filled."""
    rows = []
    for start in starts:
        run = np.arange(start, min(start + frames - 1, last) + 1)
        rows.append(np.resize(run, frames))  # np.resize repeats
        if len(run) < frames:
            break
    return np.stack(rows)
