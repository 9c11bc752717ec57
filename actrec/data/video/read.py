"""Exactly these frames of a video.

Frame *i* of a video is the *i*-th picture of a plain decode from its start, whatever the container claims. A file may
be entered at a keyframe only when a `Certificate` proves that this gives the same pictures.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import av
import numpy as np

from actrec.data.video.certificate import Certificate, Trail, file_stamp
from actrec.data.video.color import Converter, Nothing, Region, rotation_of, to_bgr, to_yuv420
from actrec.data.video.container import ChangedError, MediaError, decode_all, open_video


@dataclass(frozen=True)
class Decoded:
    """How a decode went.

    Args:
        clamped: how many wanted frames lay past the last picture and became that one.
        decoded: how many pictures the decoder worked out.
        certificate: when the file was decoded to its end for it, and earned it.
    """

    clamped: int
    decoded: int
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Picture:
    """A decoded picture, converted only when and as small as it is wanted.

    Args:
        width, height: as displayed.
        time: in seconds, None where the file has no timestamp for it.
        seconds: how long it is shown, 0 if the file does not say.
    """

    width: int
    height: int
    time: float | None
    seconds: float
    _frame: av.VideoFrame
    _turns: int

    def bgr(self, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3) as displayed, antialiased where that is smaller; blue first, as OpenCV has it."""
        stored = (height, width) if self._turns % 2 else (width, height)
        bgr = to_bgr(self._frame, *stored)
        return np.ascontiguousarray(np.rot90(bgr, self._turns)) if self._turns else bgr

    def yuv420(self, width: int, height: int) -> np.ndarray:
        """As `bgr`, for an encoder: uint8 (height * 3 // 2, width), BT.601 in limited range, planes one after another.

        It takes no way through RGB. Both sides have to be even.
        """
        stored = (height, width) if self._turns % 2 else (width, height)
        planes = to_yuv420(self._frame, *stored)
        return np.concatenate([np.rot90(plane, self._turns).ravel() for plane in planes]).reshape(-1, width)


def verify_video(path: str | os.PathLike) -> Decoded:
    """Decodes a file to its end and sees whether it earns a certificate.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    nothing = Nothing()
    return _read_from_start(path, np.zeros(1, np.int64), nothing, nothing, certify=True)


def iter_frames(path: str | os.PathLike) -> Iterator[tuple[np.ndarray, float | None]]:
    """Every frame in order: (RGB uint8 (H, W, 3) as displayed, time in seconds or None).

    Damaged packets are passed over, as FFmpeg does.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    with open_video(path) as (container, stream):
        to_rgb, count = Converter(), 0
        for picture in decode_all(container, stream):
            count += 1
            yield to_rgb(picture), picture.time
        if not count:
            raise MediaError(path, "no frame of its video stream decodes")


def iter_pictures(path: str | os.PathLike) -> Iterator[Picture]:
    """Every picture in order, as `frames` has them; much faster where the result is smaller than the video.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    with open_video(path) as (container, stream):
        rate, turns = float(stream.average_rate or 0), None
        for frame in decode_all(container, stream):
            turns = rotation_of(frame) // 90 if turns is None else turns
            size = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
            yield Picture(*size, frame.time, duration or (1 / rate if rate else 0.0), frame, turns)
        if turns is None:
            raise MediaError(path, "no frame of its video stream decodes")


def read_frames(
    path: str | os.PathLike,
    wanted: Sequence[int] | np.ndarray,
    receive: Callable[[int, np.ndarray], None],
    certificate: Certificate | None = None,
    *,
    region: Region | None = None,
    certify: bool = False,
) -> Decoded:
    """Decodes exactly the wanted frames and hands each to `receive(i, rgb)`.

    Args:
        wanted: ascending positions without repetition, at least 0.
        receive: called in ascending order, `i` is the place in `wanted` and `rgb` a uint8 (H, W, 3) array as displayed.
        certificate: of this very file; without one it is decoded from its start.
        region: hand out only this part of each frame, in memory that the next frame may overwrite.
        certify: decode on to the end of the file and see whether it earns a certificate.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
        ChangedError: the file is not the one that the certificate is of.
    """
    wanted = np.asarray(wanted, np.int64)
    assert len(wanted)
    assert wanted[0] >= 0
    assert (np.diff(wanted) > 0).all()
    to_rgb = Converter(region)
    if certificate is not None:
        return _read_runs(path, wanted, receive, to_rgb, certificate)
    return _read_from_start(path, wanted, receive, to_rgb, certify)


def decode_frames(
    path: str | os.PathLike, wanted: Sequence[int] | np.ndarray, certificate: Certificate | None
) -> Decoded:
    """As `read`, but nothing is converted or handed out: the decoding alone."""
    wanted, nothing = np.asarray(wanted, np.int64), Nothing()
    if certificate is not None:
        return _read_runs(path, wanted, nothing, nothing, certificate)
    return _read_from_start(path, wanted, nothing, nothing, certify=False)


def _read_from_start(path, wanted: np.ndarray, receive: Callable, to_rgb: Converter, certify: bool) -> Decoded:
    place, last, i = 0, None, -1
    with open_video(path) as (container, stream), Trail(path, stream) if certify else contextlib.nullcontext() as trail:
        for i, picture in enumerate(decode_all(container, stream, trail)):
            to_rgb.see(picture)
            if place < len(wanted) and i == wanted[place]:
                receive(place, to_rgb(picture))
                place += 1
            if trail is None and place == len(wanted):
                return Decoded(clamped=0, decoded=i + 1)
            last = picture
        if last is None:
            raise MediaError(path, "no frame of its video stream decodes")
        clamped = len(wanted) - place
        if clamped:
            rgb = to_rgb(last)
            for i in range(place, len(wanted)):
                receive(i, rgb)
        return Decoded(clamped, i + 1, trail.certificate() if trail else None)


def _read_runs(path, wanted: np.ndarray, receive: Callable, to_rgb: Converter, certificate: Certificate) -> Decoded:
    """Enters the file at the keyframe before each wanted frame and leaves out what nobody wants."""
    clamped = int((wanted >= len(certificate.pts)).sum())
    pts = certificate.pts[np.minimum(wanted, len(certificate.pts) - 1)].tolist()
    key_of = np.searchsorted(certificate.key_pts, pts, side="right") - 1
    decoded = place = 0
    enter = _from_container if certificate.stream is None else _from_file
    with enter(path, certificate, to_rgb) as (codec, run_from):
        for key, stop in zip(*np.unique(key_of, return_counts=True)):
            stop += place
            for packet in run_from(int(key), set(pts[place:stop])):
                for picture in codec.decode(packet):
                    decoded += 1
                    if place < stop and picture.pts == pts[place]:
                        rgb = to_rgb(picture)
                        while place < stop and picture.pts == pts[place]:
                            receive(place, rgb)
                            place += 1
            if place < stop:
                raise ChangedError(path, f"frame {wanted[place]} is no longer where it was")
            depth = codec.reorder_depth
            codec.flush_buffers()
            codec.reorder_depth = depth  # the flush forgets it, and the decoder would then drop B-frames
    return Decoded(clamped, decoded)


# Both give (decoder, packets from a keyframe on that are needed for some wanted pictures before the next keyframe). The
# last packet is None and drains what the decoder holds back to reorder it: nothing behind the last wanted is decoded.
RunFrom = Callable[[int, Set[int]], Iterator[av.Packet | None]]


@contextlib.contextmanager
def _from_file(
    path: str | os.PathLike, certificate: Certificate, to_rgb: Converter
) -> Iterator[tuple[av.VideoCodecContext, RunFrom]]:
    """Reads the packets from where they lie: no container is opened, and what nobody needs is not even read."""
    stream, packets = certificate.stream, certificate.packets
    codec = av.CodecContext.create(stream.codec, "r")
    codec.thread_count, codec.thread_type = 1, "NONE"
    codec.extradata, codec.reorder_depth = stream.extradata, stream.reorder_depth
    codec.width, codec.height = stream.width, stream.height  # some containers crop what the codec does not
    codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc = stream.color
    to_rgb.expect(stream.width, stream.height, stream.turns)

    def run_from(key: int, wanted: Set[int]) -> Iterator[av.Packet | None]:
        first = int(np.flatnonzero(packets["pts"] == certificate.key_pts[key])[0])
        found = np.flatnonzero(np.isin(packets["pts"][first:], list(wanted)))
        run = packets[first : first + found[-1] + 1]
        needed = ~run["spare"]
        needed[found] = True
        for pts, at, size, _ in run[needed].tolist():
            packet = av.Packet(os.pread(file.fileno(), size, at))
            packet.pts = pts
            yield packet
        yield None

    try:
        with open(path, "rb", buffering=0) as file:
            if file_stamp(file.fileno()) != stream.file:
                raise ChangedError(path, "the file has changed since it was indexed")
            yield codec, run_from
    except FileNotFoundError:
        raise FileNotFoundError(f"{os.fspath(path)}: no such file") from None
    except av.error.FFmpegError as error:
        raise MediaError(path, f"FFmpeg cannot decode it ({error.strerror})") from None


@contextlib.contextmanager
def _from_container(
    path: str | os.PathLike, certificate: Certificate, to_rgb: Converter
) -> Iterator[tuple[av.VideoCodecContext, RunFrom]]:
    packets = certificate.packets
    spare = set() if packets is None else set(packets["pts"][packets["spare"]].tolist())
    with open_video(path) as (container, stream):

        def run_from(key: int, wanted: Set[int]) -> Iterator[av.Packet | None]:
            missing, key_pts, entered = len(wanted), int(certificate.key_pts[key]), False
            container.seek(int(certificate.key_dts[key]), stream=stream, backward=True)
            for packet in container.demux(stream):
                pts = packet.pts
                if pts is None or not packet.size:
                    continue
                if not entered and pts != key_pts:
                    if packet.is_keyframe and pts > key_pts:
                        return  # the container's index points past it: the caller reports
                    continue
                entered = True
                if pts in wanted or pts not in spare:
                    yield packet
                missing -= pts in wanted
                if not missing:
                    break
            yield None

        yield stream.codec_context, run_from
