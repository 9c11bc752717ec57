"""The frames that the evaluations of other programs take. Each rule computes them as its program does.

A rule gets the number of frames M of a video, its rate, and the protocol, which has T frames per clip, the stride s
and k clips. It returns the frame numbers of the clips, (k, T) int64, or None if the program leaves out the video.
`actrec protocols NAME` prints the first paragraph of its docstring.

Most of these programs compute with floating-point numbers, so rounding can decide which frame is taken. The rules
therefore compute in the same order as the programs, and in float32 where the programs do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from actrec.data.sampling import samplers

if TYPE_CHECKING:
    from actrec.data.sampling.protocols.row import Protocol
    from actrec.data.times import Stamps

# PySlowFast truncates positions to ticks of the file's time base. Where the file is unknown, a frame has this many. The
# files of Kinetics have 500 to 3,600; the exact number matters for one clip in several thousand.
_TICKS_PER_FRAME = 1000.0
_JITTER = 100  # microseconds that PySlowFast's decoder adds to the end of a clip


def ibm_dense(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The clips start at places that are spread over the video. After the end of a short video, a clip continues with
    its first frame.

    IBM, dense TSM, dense I3D of mmaction2.
    """
    return samplers.dense(
        num_frames=num_frames,
        frames=protocol.clip_frames,
        stride=protocol.stride,
        clips=_num_clips(protocol),
        rule="ibm",
    )


def dense_in_64(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The clips start at places that are spread over the video, as if each clip lasted 64 frames. After the end of a
    short video, a clip continues with its first frame.

    Dense TSN of mmaction2.
    """
    starts = samplers.dense(num_frames=num_frames, frames=64, clips=_num_clips(protocol), rule="ibm")[:, 0]
    return _looped(starts, num_frames, protocol)


def ibm_uniform(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The video is divided into as many equal segments as a clip has frames. The first clip has the centers of the
    segments, and the others have the same frames shifted by whole frames. In short videos, frames are drawn with fixed
    seeds.

    IBM.
    """
    return samplers.uniform(num_frames=num_frames, frames=protocol.clip_frames, clips=_num_clips(protocol), rule="ibm")


def sliding_window(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The clips follow each other without a gap. The last one is filled with repeated frames from its own start.

    Hara.
    """
    return samplers.sliding_window(num_frames=num_frames, frames=protocol.clip_frames, step=protocol.clip_frames)


def segment_centers(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The video is divided into as many equal segments as a clip has frames, and the clip has the center of each
    segment.

    TSM, and TSN and TSM of mmaction2.
    """
    return _centers(num_frames, protocol.clip_frames)[None]


def centers_and_starts(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The video is divided into as many equal segments as a clip has frames. The first clip has the centers of the
    segments, the second one their starts.

    `twice_sample` of TSM and mmaction2.
    """
    return np.stack([_centers(num_frames, protocol.clip_frames), _starts(num_frames, protocol.clip_frames)])


def sorted_centers_and_starts(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The video is divided into as many equal segments as a clip has frames. The centers and the starts of the segments
    are sorted, and the two clips get them alternately.

    VideoMAE on Something-Something.
    """
    frames = np.sort(np.append(_centers(num_frames, protocol.clip_frames), _starts(num_frames, protocol.clip_frames)))
    return frames.reshape(-1, 2).T.copy()


def resampled_windows(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray | None:
    """The video is resampled to another frame rate, and the clips are windows of consecutive frames, spread over the
    video. A video that is shorter than one clip is left out.

    torchvision: `VideoClips`, `UniformClipSampler`.
    """
    assert protocol.target_fps is not None
    step = fps / protocol.target_fps
    resampled = math.floor(num_frames * protocol.target_fps / fps)
    if step.is_integer():
        resampled = -(-num_frames // int(step))
    windows = resampled - protocol.clip_frames + 1
    if windows < 1:
        return None
    starts = np.floor(_linspace32(0, windows - 1, _num_clips(protocol))).astype(np.int64)
    positions = starts[:, None] + np.arange(protocol.clip_frames)
    if step.is_integer():
        return np.asarray(positions * int(step))
    frames = np.floor(positions.astype(np.float32) * np.float32(step)).astype(np.int64)
    inside: np.ndarray = np.minimum(frames, num_frames - 1)  # float32 rounds up in videos of many hours
    return inside


def spans_at_rate(num_frames: int, fps: float, protocol: Protocol, stamps: Stamps | None = None) -> np.ndarray:
    """All clips have the same duration in seconds, and start at equal distances. The first one starts with the video,
    and the last one ends before the end of the video. The frames are spread over the clip.

    PySlowFast on Kinetics. A clip lasts T * s frames at 30 frames per second.
    """
    return _spans(num_frames, fps, protocol, stamps, lambda room, clip: room * clip / _num_clips(protocol))


def spans_at_rate_to_end(num_frames: int, fps: float, protocol: Protocol, stamps: Stamps | None = None) -> np.ndarray:
    """All clips have the same duration in seconds, and start at equal distances. The first one starts with the video,
    and the last one ends near the end of the video. The frames are spread over the clip.

    PySlowFast with `USE_OFFSET_SAMPLING`.
    """
    clips = _num_clips(protocol)
    return _spans(num_frames, fps, protocol, stamps, lambda room, clip: clip * math.floor(room / (clips - 1)))


def segment_middles(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The video is divided into as many segments as a clip has frames, with borders at whole frames, and the clip has
    the middle of each segment.

    PySlowFast and Video Swin on Something-Something.
    """
    borders = np.round((num_frames - 1) / protocol.clip_frames * np.arange(protocol.clip_frames + 1)).astype(np.int64)
    middles: np.ndarray = (borders[:-1] + borders[1:]) // 2
    return middles[None]


def looped_edge_to_edge(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The clips are spread over the video: the first one starts with it, and the last one ends with it. After the end
    of a short video, a clip continues with its first frame.

    mmaction2 1.x.
    """
    frames, stride, clips = protocol.clip_frames, protocol.stride, _num_clips(protocol)
    room = max(num_frames - ((frames - 1) * stride + 1), 0)
    starts = np.round(np.arange(clips) * (room / (clips - 1))).astype(np.int64)
    return _looped(starts, num_frames, protocol)


def looped_in_parts(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The possible starts are divided into as many equal parts as there are clips, and a clip starts in the middle of
    each part. After the end of a short video, a clip continues with its first frame.

    mmaction2 0.x, Video Swin.
    """
    clips, span = _num_clips(protocol), protocol.clip_frames * protocol.stride
    starts = np.zeros(clips, np.int64)
    if num_frames >= span:
        part = (num_frames - span + 1) / clips
        starts = (np.arange(clips) * part + part / 2).astype(np.int64)
    return _looped(starts, num_frames, protocol)


def every_nth_padded(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """Only the frames at multiples of the stride are used. A clip is a window of consecutive frames among these, and
    the windows are spread over the video. If the video has fewer such frames than a clip, the last one is repeated.

    VideoMAE on Kinetics.
    """
    taken = np.arange(0, num_frames, protocol.stride)
    taken = np.append(taken, np.full(max(0, protocol.clip_frames - len(taken)), taken[-1]))
    step = (len(taken) - protocol.clip_frames) / (_num_clips(protocol) - 1)
    starts = (np.arange(_num_clips(protocol)) * step).astype(np.int64)
    clips: np.ndarray = taken[starts[:, None] + np.arange(protocol.clip_frames)]
    return clips


def parts_or_overlap(num_frames: int, fps: float, protocol: Protocol) -> np.ndarray:
    """The video is divided into as many equal parts as there are clips, and a clip starts with each part. In a short
    video, the clips overlap.

    V-JEPA and V-JEPA 2. Their evaluations draw the start of a clip at random if a part is longer than the clip. This
    rule returns the clips that their code takes with `random_clip_sampling=False`.
    """
    stride, clips, span = protocol.stride, _num_clips(protocol), protocol.clip_frames * protocol.stride
    part = num_frames // clips
    if part > span:
        clip = np.clip(np.linspace(0, span, protocol.clip_frames), 0, span - 1)
        step = part
    else:
        last = min(span, num_frames) - 1
        clip = np.full(protocol.clip_frames, float(last))
        clip[: last // stride] = np.linspace(0, last, last // stride)
        clip = np.clip(clip, 0, max(last - 1, 0))
        step = max(num_frames - span, 0) // (clips - 1)
    frames: np.ndarray = clip.astype(np.int64) + np.arange(clips)[:, None] * step
    return frames


RULES: dict[str, Callable[[int, float, Protocol], np.ndarray | None]] = {
    rule.__name__: rule
    for rule in (
        ibm_dense,
        dense_in_64,
        ibm_uniform,
        sliding_window,
        segment_centers,
        centers_and_starts,
        sorted_centers_and_starts,
        resampled_windows,
        spans_at_rate,
        spans_at_rate_to_end,
        segment_middles,
        looped_edge_to_edge,
        looped_in_parts,
        every_nth_padded,
        parts_or_overlap,
    )
}
# The rules that take the frames of each clip from all parts of the video
SPREAD = {
    rule.__name__
    for rule in (ibm_uniform, segment_centers, centers_and_starts, sorted_centers_and_starts, segment_middles)
}
# The rules that can use the timestamps of a file
TIMED: dict[str, Callable[[int, float, Protocol, Stamps | None], np.ndarray]] = {
    rule.__name__: rule for rule in (spans_at_rate, spans_at_rate_to_end)
}


def _num_clips(protocol: Protocol) -> int:
    assert protocol.clips is not None, protocol.name
    return protocol.clips


def _centers(num_frames: int, segments: int) -> np.ndarray:
    tick = num_frames / segments
    return (tick / 2 + tick * np.arange(segments)).astype(np.int64)


def _starts(num_frames: int, segments: int) -> np.ndarray:
    return (num_frames / segments * np.arange(segments)).astype(np.int64)


def _looped(starts: np.ndarray, num_frames: int, protocol: Protocol) -> np.ndarray:
    frames: np.ndarray = (starts[:, None] + np.arange(protocol.clip_frames) * protocol.stride) % num_frames
    return frames


def _spans(
    num_frames: int,
    fps: float,
    protocol: Protocol,
    stamps: Stamps | None,
    start_of: Callable[[float, int], float],
) -> np.ndarray:
    """PySlowFast's clips.

    If a video has more than T * s frames, PySlowFast decodes only the frames with timestamps inside the span of a
    clip, and takes T of them. Otherwise, or if no frame is inside, it decodes the whole video.

    Args:
        stamps: the timestamps of the file. PySlowFast does not subtract the first one. None: frame i is shown at
            i / fps.
    """
    assert protocol.target_fps is not None
    if stamps is None:
        ticks, per_frame, tick = (
            np.arange(num_frames) * _TICKS_PER_FRAME,
            _TICKS_PER_FRAME,
            1e6 / fps / _TICKS_PER_FRAME,
        )
        length = fps * (num_frames / fps)
    else:
        fps = float(np.float32(stamps.rate))
        ticks, per_frame, tick = stamps.ticks, stamps.base.denominator / fps, 1e6 * float(stamps.base)
        length = fps * float(stamps.duration * stamps.base)
    shown = np.round(ticks * tick)  # microseconds
    frames, reach = protocol.clip_frames, protocol.clip_frames * protocol.stride
    span = max(1.0, reach / protocol.target_fps * fps)
    clips = []
    for clip in range(_num_clips(protocol)):
        inside = np.arange(0)
        if length > reach:
            start = start_of(max(length - span, 0), clip)
            begin, end = (round(int(place * per_frame) * tick) for place in (start, start + span - 1))
            is_past = shown > end + _JITTER  # the first such frame ends the decoding
            inside = np.flatnonzero((shown >= begin) & ~np.maximum.accumulate(is_past))
        if len(inside):
            positions = inside[np.clip(_linspace32(0, span - 1, frames), 0, len(inside) - 1).astype(np.int64)]
        else:
            start = start_of(max(num_frames - span, 0), clip)
            positions = np.clip(_linspace32(start, start + span - 1, frames), 0, num_frames - 1).astype(np.int64)
        clips.append(positions)
    return np.stack(clips)


def _linspace32(start: float, end: float, steps: int) -> np.ndarray:
    """`torch.linspace` in float32: both halves are computed from their own end, with one rounding each."""
    first, last = np.float32(start), np.float32(end)
    if steps == 1:
        return np.array([first])
    step, places = np.float64((last - first) / np.float32(steps - 1)), np.arange(steps)
    values = np.where(places < steps // 2, first + step * places, last - step * (steps - 1 - places))
    return values.astype(np.float32)
