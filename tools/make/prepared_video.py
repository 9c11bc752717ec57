"""One video to one that decodes fast: small, short GOPs, no B-frames; and the proof that it is the same video."""

from __future__ import annotations

import collections
import heapq
import itertools
import math
import os
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from actrec.config import EncoderPreset, PrepareOptions
from actrec.data.video.certificate import load_certificate
from actrec.data.video.container import MediaError
from actrec.data.video.encode import EncoderError, VideoWriter, can_encode
from actrec.data.video.read import Picture, iter_pictures
from actrec.files import scratch_folder, writing
from actrec.tools.make.frame_rate import MAX_STILL, resampled
from actrec.tools.make.jobs import Stop, Stopped

PRESETS = typing.get_args(EncoderPreset)
_NVENC_PRESETS = ("p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7")
_TREE = 112  # pixels
_TICK = Fraction(1, 90000)  # of timestamps: exact for the usual frame rates
_UNKNOWN = 0.04  # seconds that a picture is shown where the file does not say it
_REORDERED = 4  # pictures between which timestamps may be out of order
_JITTER = 1.0  # seconds that a timestamp may run backwards; by more, and it is another clock
_GRID = 16  # most cells along a side of the thumbnails by which frames are told apart
_CELL = 8  # pixels along a side of a cell at least: the mean of a block is what encoders keep best
_FINE = 256  # steps of a gray level in them


class NotEqualError(ValueError):
    """What was written is not what was read. The file lies in quarantine."""


def encoders_for(options: PrepareOptions) -> tuple[str, ...]:
    """FFmpeg's names of the encoders to try on this machine, the best first.

    Raises:
        ValueError: NVENC is asked for and there is none.
    """
    nvenc, cpu = f"{options.codec}_nvenc", {"h264": "libx264", "hevc": "libx265"}[options.codec]
    if options.encoder == "cpu" or (options.encoder == "auto" and not can_encode(nvenc)):
        return (cpu,)
    if not can_encode(nvenc):
        raise ValueError(
            f"encoder nvenc: {nvenc} does not work on this machine: expected an NVIDIA GPU that encodes, or "
            "--encoder cpu"
        )
    return (nvenc,) if options.encoder == "nvenc" else (nvenc, cpu)


def encoder_flags(options: PrepareOptions, encoder: str, size: tuple[int, int]) -> dict[str, str]:
    """What that encoder is told for pictures of this width and height."""
    crf = str(options.crf)
    if encoder.endswith("_nvenc"):
        preset = _NVENC_PRESETS[PRESETS.index(options.preset)]
        return {"preset": preset, "tune": "hq", "rc": "vbr", "cq": crf, "b": "0", "no-scenecut": "1"}
    flags = {"preset": options.preset, "crf": crf, "tune": "fastdecode"}
    if encoder == "libx265":
        alone = "pools=none:frame-threads=1"  # one video is one thread's work
        return flags | {"x265-params": f"log-level=error:scenecut=0:open-gop=0:{alone}"}
    # Of pictures a few blocks wide, x264's macroblock tree makes other bytes from run to run.
    return flags | {"sc_threshold": "0", "mbtree": str(int(min(size) >= _TREE))}


@dataclass(frozen=True)
class Prepared:
    """One prepared video.

    Args:
        frames: 0 if it was there before.
        before, after: bytes.
    """

    frames: int
    before: int
    after: int


def prepare_video(
    path: Path, target: Path, quarantine: Path, options: PrepareOptions, *, stop: Stop | None = None
) -> Prepared:
    """Writes one prepared video; `target` appears whole and proven, or not at all.

    Args:
        quarantine: where the file goes if it is not the same video.
        stop: asked before each frame.

    Raises:
        FileNotFoundError, MediaError, cv2.error: the video is unusable.
        EncoderError: the encoder does not work, or not for this size.
        NotEqualError: the written file has other frames, or cannot be entered where it should.
        OutputError: the file cannot be written.
        Stopped: `stop` said so.
    """
    encoders = encoders_for(options)
    with scratch_folder(target) as folder:
        made = folder / f"video{target.suffix}"
        for encoder in encoders:
            try:
                thumbnails = _encode(path, made, encoder, options, stop)
                break
            except EncoderError:  # too small a picture, too many videos at a time
                if encoder == encoders[-1]:
                    raise
        if fault := find_fault(made, thumbnails, options, stop):
            with writing(quarantine):
                quarantine.parent.mkdir(parents=True, exist_ok=True)
                os.replace(made, quarantine)
            raise NotEqualError(f"{fault}: in quarantine")
        size = made.stat().st_size
        with writing(target):
            os.replace(made, target)
    quarantine.unlink(missing_ok=True)  # of an earlier run
    return Prepared(len(thumbnails), path.stat().st_size, size)


def _encode(path: Path, made: Path, encoder: str, options: PrepareOptions, stop: Stop | None) -> np.ndarray:
    """Writes the file. Returns a thumbnail of each frame."""
    shown = resampled(iter_pictures(path), path=path, fps=options.fps)
    first, times = next(shown)
    size = options.size(first.width, first.height)
    rate = Fraction(options.fps or min(max(1 / (first.seconds or _UNKNOWN), 1), 240)).limit_denominator(1001)
    thumbnails = []
    video = VideoWriter(
        made,
        width=size[0],
        height=size[1],
        rate=rate,
        time_base=None if options.fps else _TICK,
        codec=encoder,
        options=encoder_flags(options, encoder, size),
        gop=options.gop,
    )
    with writing(made), video:
        for picture, copies, pts in _timed(itertools.chain([(first, times)], shown), options.fps):
            if stop and stop():
                raise Stopped
            planes = picture.yuv420(*size)
            for _ in range(copies):
                video.write_yuv420(planes, pts)
            thumbnails += [_thumbnail(planes, size)] * copies
    return np.stack(thumbnails)


def _timed(shown: Iterable[tuple[Picture, int]], fps: float | None) -> Iterator[tuple[Picture, int, int | None]]:
    """(picture, copies, timestamp or None). Without `fps` each picture keeps its time, from 0 for the first.

    A picture without a time, or with one far from that of the one before, follows it at the average rate.
    """
    if fps:
        yield from ((picture, copies, None) for picture, copies in shown)
        return
    last, shift, seconds = -1, None, 0.0
    for picture, time in _ascending(picture for picture, _ in shown):
        shift = -time if shift is None else shift
        pts = round((time + shift) / _TICK)
        if not -_JITTER <= (pts - last) * _TICK <= MAX_STILL:
            pts = last + round(seconds / _TICK)
            shift = pts * _TICK - time
        last, seconds = max(pts, last + 1), _seconds(picture)
        yield picture, 1, last


def _ascending(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, float]]:
    """Each with its time, in seconds. AVI counts B-frames in the order of the file: sorted over a few pictures."""
    waiting, times, before = collections.deque(), [], 0.0
    for picture in pictures:
        time = picture.time if picture.time is not None else before + _seconds(waiting[-1]) if waiting else 0.0
        keep = _REORDERED if time > before - _JITTER else 0
        while len(waiting) > keep:
            yield waiting.popleft(), heapq.heappop(times)
        waiting.append(picture)
        heapq.heappush(times, time)
        before = time
    while waiting:
        yield waiting.popleft(), heapq.heappop(times)


def _seconds(picture: Picture) -> float:
    return picture.seconds if _TICK <= picture.seconds <= MAX_STILL else _UNKNOWN


# ---- the proof ----


def find_fault(made: Path, thumbnails: np.ndarray, options: PrepareOptions, stop: Stop | None = None) -> str | None:
    """Decodes a written file to its end. Says what is wrong with it; None if nothing is.

    Args:
        thumbnails: of the frames that were encoded.
    """
    frames, errors, last = len(thumbnails), [], -math.inf
    try:
        for i, picture in enumerate(iter_pictures(made)):
            if stop and stop():
                raise Stopped
            if picture.time is None or picture.time <= last:
                return f"frame {i + 1} is not later than the one before"
            last, size = picture.time, (picture.width, picture.height)
            if i < frames:
                errors.append(_errors(_thumbnail(picture.yuv420(*size), size), thumbnails, i))
        certificate = load_certificate(made)
    except MediaError as error:
        return error.reason
    if i + 1 != frames:
        return f"{i + 1} frames were written of {frames}"
    if (wrong := _first_wrong(np.array(errors), thumbnails.shape[1], options.crf)) is not None:
        return f"frame {wrong + 1} is not the one that it should be"
    if certificate is None or len(certificate.pts) != frames:
        return "it cannot be entered at its keyframes"
    keys = np.searchsorted(certificate.pts, certificate.key_pts)
    longest = int(np.diff(keys, append=frames).max())
    if longest > options.gop:
        return f"{longest} frames from one keyframe to the next, expected {options.gop} at most"
    return None


def _thumbnail(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint16, flat: the means of luma in cells, `_FINE` steps to a gray level."""
    luma = planes[: size[1]].astype(np.float32)
    means = cv2.resize(luma, tuple(min(_GRID, side // _CELL) for side in size), interpolation=cv2.INTER_AREA)
    return (means * _FINE).astype(np.uint16).ravel()


def _errors(seen: np.ndarray, wanted: np.ndarray, i: int) -> tuple[float, float, float]:
    """How far the frame at place i is from the one that belongs there, and from the nearer one of that one's
    neighbors; and how far the neighbor is from it towards which it has gone most of the way. In gray levels."""
    error = (seen.astype(np.float32) - wanted[i]) / _FINE
    steps = (wanted[max(i - 1, 0) : i + 2].astype(np.float32) - wanted[i]) / _FINE
    steps = np.delete(steps, min(i, 1), axis=0)
    length = np.square(steps).mean(axis=1)
    gone = length[(steps * error).mean(axis=1) > 0.75 * length]
    near = np.square(error - steps).mean(axis=1).min(initial=np.inf)
    return tuple(map(math.sqrt, (np.square(error).mean(), near, gone.max(initial=0))))


def _first_wrong(errors: np.ndarray, cells: int, crf: int) -> int | None:
    """The first frame that looks like a neighbor of the one that belongs there, or like none of them.

    What an encoder does to thumbnails was measured: 0.1 to 0.85 gray levels at CRF 23, twice that for each 6 more, and
    less than half of the way to a neighbor that differs by more than that. A block that changes little it leaves for
    later, which counts for more where there are few. Frames that differ by less are not told apart: a still video is
    right in any order.
    """
    own, near, gone = errors.T
    step = 2 ** ((crf - 23) / 6)
    noise = np.pad(np.minimum(own, near), 8, mode="edge")
    noise = np.median(np.lib.stride_tricks.sliding_window_view(noise, 17), axis=1)
    wrong = (gone > 0.3 * step * _GRID / math.sqrt(cells) + np.minimum(noise, step)) | (own > 6 * step)
    return int(wrong.argmax()) if wrong.any() else None
