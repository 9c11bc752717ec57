"""Re-encodes one video for fast decoding, and verifies the result.

The prepared video is small, has a keyframe every few frames and no B-frames. After encoding it is decoded completely,
and each frame is compared with its original.
"""

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
from actrec.data.video.certificate import find_certificate
from actrec.data.video.container import MediaError
from actrec.data.video.damage import DamageCount
from actrec.data.video.encode import EncoderError, VideoWriter, can_encode
from actrec.data.video.read import Picture, iter_pictures
from actrec.files import errors_named, scratch_folder, writing
from actrec.system import make_folder
from actrec.tools.make.frame_rate import MAX_STILL, resampled
from actrec.tools.make.jobs import Stop, Stopped, size_of

PRESETS = typing.get_args(EncoderPreset)
_NVENC_PRESETS = ("p1", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p7")
_MBTREE_SIDE = 112  # pixels; from this short side on, x264 may use its macroblock tree
_TICK = Fraction(1, 90000)  # seconds; unit of timestamps, exact for the usual frame rates
_UNKNOWN = 0.04  # seconds; how long a picture is shown if the file does not state it
_REORDERED = 4  # number of successive pictures that may be out of order by their timestamps
_JITTER = 1.0  # seconds; a timestamp that goes back by more belongs to another clock
_GRID = 16  # largest number of cells along a side of the thumbnails by which frames are compared
_CELL = 8  # pixels; shortest side of a cell. Encoders preserve the mean of a block best.
_FINE = 256  # steps of thumbnails per gray level


class NotEqualError(ValueError):
    """The written file does not have the frames of its original. The file was moved to the quarantine folder."""


def encoders_for(options: PrepareOptions) -> tuple[str, ...]:
    """FFmpeg's names of the encoders to try on this machine, the preferred one first.

    Raises:
        ValueError: The options require NVENC, and it does not work on this machine.
    """
    nvenc, cpu = f"{options.codec}_nvenc", {"h264": "libx264", "hevc": "libx265"}[options.codec]
    if options.encoder == "cpu" or (options.encoder == "auto" and not can_encode(nvenc)):
        return (cpu,)
    if not can_encode(nvenc):
        raise ValueError(
            f"encoder nvenc: {nvenc} does not work on this machine: expected an NVIDIA GPU with an encoder, or "
            "--encoder cpu"
        )
    return (nvenc,) if options.encoder == "nvenc" else (nvenc, cpu)


def encoder_flags(options: PrepareOptions, encoder: str, size: tuple[int, int]) -> dict[str, str]:
    """The FFmpeg options of an encoder.

    Args:
        size: Width and height of the pictures.
    """
    crf = str(options.crf)
    if encoder.endswith("_nvenc"):
        preset = _NVENC_PRESETS[PRESETS.index(options.preset)]
        return {"preset": preset, "tune": "hq", "rc": "vbr", "cq": crf, "b": "0", "no-scenecut": "1"}
    flags = {"preset": options.preset, "crf": crf, "tune": "fastdecode"}
    if encoder == "libx265":
        threads = "pools=none:frame-threads=1"  # one thread, because several videos are encoded at a time
        return flags | {"x265-params": f"log-level=error:scenecut=0:open-gop=0:{threads}"}
    # For pictures that are a few blocks wide, the macroblock tree of x264 produces different bytes in each run.
    return flags | {"sc_threshold": "0", "mbtree": str(int(min(size) >= _MBTREE_SIDE))}


@dataclass(frozen=True)
class Prepared:
    """The result for one video.

    Args:
        frames: Number of frames; 0 if the prepared video existed before.
        before, after: Size of the original and of the prepared video in bytes.
        damaged: Number of frames of the original that decode with errors.
    """

    frames: int
    before: int
    after: int
    damaged: int = 0


def prepare_video(
    path: Path | str, target: Path, quarantine: Path, options: PrepareOptions, *, stop: Stop | None = None
) -> Prepared:
    """Writes one prepared video. `target` appears complete and verified, or not at all.

    Args:
        quarantine: Path to which the file is moved if the verification fails.
        stop: Called before each frame; True stops the work.

    Raises:
        FileNotFoundError, MediaError, cv2.error: The video cannot be used.
        EncoderError: The encoder does not work, or does not support this picture size.
        NotEqualError: The written file has other frames than the video, or decoding cannot start at its keyframes.
        OutputError: The file cannot be written.
        Stopped: `stop` returned True.
    """
    encoders = encoders_for(options)
    with scratch_folder(target) as folder:
        made = folder / f"video{target.suffix}"
        for encoder in encoders:
            try:
                with errors_named(made, target), DamageCount() as damage:
                    thumbnails = _encode(path, made, encoder, options, stop, damage)
                break
            except EncoderError:  # NVENC rejects small pictures, and more than a few videos at a time
                if encoder == encoders[-1]:
                    raise
        if fault := find_fault(made, thumbnails, options, stop):
            with writing(quarantine):
                make_folder(quarantine.parent)
                os.replace(made, quarantine)
            raise NotEqualError(f"{fault}: the file was moved to {quarantine}")
        size = made.stat().st_size
        with writing(target):
            os.replace(made, target)
    quarantine.unlink(missing_ok=True)  # a file that an earlier run moved there
    return Prepared(len(thumbnails), size_of(path), size, damage.num_damaged)


def _encode(
    path: Path | str, made: Path, encoder: str, options: PrepareOptions, stop: Stop | None, damage: DamageCount
) -> np.ndarray:
    """Writes the file. Returns a thumbnail of each frame, as `_thumbnail` computes it."""
    pictures = iter_pictures(path, options.image_range, damage=damage)
    shown = resampled(pictures, path=path, fps=options.fps)
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
    """Yields (picture, number of copies, timestamp or None).

    Without `fps`, each picture keeps its time relative to the first picture. If a picture has no time, or one that is
    far from the time of the previous picture, it follows the previous picture at the average rate.
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
    """Yields each picture with its time in seconds.

    In AVI files, the times of B-frames follow the order in the file. Therefore times are sorted over a few pictures.
    """
    waiting: collections.deque[Picture] = collections.deque()
    times: list[float] = []
    before = 0.0
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


# ---- verification ----


def find_fault(made: Path, thumbnails: np.ndarray, options: PrepareOptions, stop: Stop | None = None) -> str | None:
    """Decodes a written file completely and describes what is wrong with it; None if nothing is.

    Args:
        thumbnails: Thumbnails of the frames that were encoded, shape (frames, cells).
    """
    assert options.crf is not None  # set by PrepareOptions
    frames, errors, last = len(thumbnails), [], -math.inf
    try:
        for i, picture in enumerate(iter_pictures(made)):
            if stop and stop():
                raise Stopped
            if picture.time is None or picture.time <= last:
                return f"frame {i + 1} has the time {picture.time}, not after that of the previous frame"
            last, size = picture.time, (picture.width, picture.height)
            if i < frames:
                errors.append(_errors(_thumbnail(picture.yuv420(*size), size), thumbnails, i))
        certificate = find_certificate(made).certificate
    except MediaError as error:
        return error.reason
    if i + 1 != frames:
        return f"the file has {i + 1} frames: expected {frames}"
    if (wrong := _first_wrong(np.array(errors), thumbnails.shape[1], options.crf)) is not None:
        return f"frame {wrong + 1} differs from frame {wrong + 1} of the original"
    if certificate is None or len(certificate.pts) != frames:
        return "decoding cannot start at the keyframes"
    keys = np.searchsorted(certificate.pts, certificate.key_pts)
    longest = int(np.diff(keys, append=frames).max())
    if longest > options.gop:
        return f"{longest} frames from one keyframe to the next, expected {options.gop} at most"
    return None


def _thumbnail(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean luma of each cell, in `_FINE` steps per gray level: uint16, shape (cells,)."""
    luma = planes[: size[1]].astype(np.float32)
    means = cv2.resize(luma, tuple(min(_GRID, side // _CELL) for side in size), interpolation=cv2.INTER_AREA)
    return (means * _FINE).astype(np.uint16).ravel()


def _errors(seen: np.ndarray, wanted: np.ndarray, i: int) -> tuple[float, float, float]:
    """Compares the frame at position i with the expected frames.

    Args:
        seen: Thumbnail of the decoded frame.
        wanted: Thumbnails of all expected frames.

    Returns:
        Root mean square differences in gray levels: from the frame to the expected frame; from the frame to the more
        similar neighbor of the expected frame; and from the expected frame to the neighbor that the frame resembles
        more than the expected frame (0 if there is none).
    """
    error = (seen.astype(np.float32) - wanted[i]) / _FINE
    steps = (wanted[max(i - 1, 0) : i + 2].astype(np.float32) - wanted[i]) / _FINE
    steps = np.delete(steps, min(i, 1), axis=0)
    length = np.square(steps).mean(axis=1)
    crossed = length[(steps * error).mean(axis=1) > 0.75 * length]  # more than 3/4 of the way to a neighbor
    near = np.square(error - steps).mean(axis=1).min(initial=np.inf)
    return math.sqrt(np.square(error).mean()), math.sqrt(near), math.sqrt(crossed.max(initial=0))


def _first_wrong(errors: np.ndarray, cells: int, crf: int) -> int | None:
    """The position of the first wrong frame: it resembles a neighbor of the expected frame, or none of them.

    The limits come from measurements of how encoders change thumbnails: by 0.1 to 0.85 gray levels at CRF 23, and by
    twice as much for each increase of CRF by 6; and by less than half of the way to a neighbor that differs by more
    than that. Encoders update a block that changes little only later, which matters more if there are few cells.
    Frames that differ by less cannot be distinguished. In a still video, therefore, any order of frames is accepted.
    The last frame may be twice as near to the one before: encoders spend least on it, because no other frame needs it.

    Args:
        errors: The results of `_errors`, shape (frames, 3).
        cells: Number of cells of a thumbnail.
    """
    error, near, crossed = errors.T
    step = 2 ** ((crf - 23) / 6)
    noise = np.pad(np.minimum(error, near), 8, mode="edge")
    noise = np.median(np.lib.stride_tricks.sliding_window_view(noise, 17), axis=1)
    near_limit = np.full(len(errors), 0.3 * step * _GRID / math.sqrt(cells))
    near_limit[-1] *= 2
    wrong = (crossed > near_limit + np.minimum(noise, step)) | (error > 6 * step)
    return int(wrong.argmax()) if wrong.any() else None
