"""Exactly these frames of a video.

Frame *i* of a video is the *i*-th picture of a plain decode from its start, whatever the container claims. A file may
be entered at a keyframe only when a `Certificate` proves that this gives the same pictures.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import av
import numpy as np

from actrec.data.video import mpeg4
from actrec.data.video.certificate import Certificate, Examiner
from actrec.data.video.color import Converter, Region, picture_checksum, to_bgr, to_yuv420, with_range
from actrec.data.video.container import DecodeObserver, MediaError, SurpriseError, iter_decoded, open_video
from actrec.data.video.damage import DamageCount, Gaps
from actrec.data.video.orientation import Orientation
from actrec.data.video.packets import open_packets, plan_runs
from actrec.data.video.promise import check_complete
from actrec.data.video.timestamps import PictureTimes


@dataclass(frozen=True)
class Decoded:
    """How a decode went.

    Args:
        clamped: how many wanted frames are past the last picture and became that one.
        decoded: how many pictures the decoder decoded.
        certificate: of the file, if it was decoded to its end to earn one, and did.
        damaged: how many packets or pictures had errors, if the file was decoded to its end.
    """

    clamped: int
    decoded: int
    certificate: Certificate | None = None
    damaged: int = 0


@dataclass(frozen=True)
class Picture:
    """A decoded picture. It is converted only on request, and directly to the requested size.

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
    _orientation: Orientation

    def bgr(self, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3) as displayed, antialiased where that is smaller; blue first, as in OpenCV."""
        bgr = to_bgr(self._frame, *self._stored(width, height))
        return np.ascontiguousarray(self._orientation.apply(bgr)) if self._orientation else bgr

    def yuv420(self, width: int, height: int) -> np.ndarray:
        """For an encoder: uint8 (height * 3 // 2, width), BT.601 in limited range, one plane after another.

        There is no conversion to RGB on the way. Both sides must be even.
        """
        planes = to_yuv420(self._frame, *self._stored(width, height))
        return np.concatenate([self._orientation.apply(plane).ravel() for plane in planes]).reshape(-1, width)

    def _stored(self, width: int, height: int) -> tuple[int, int]:
        return self._orientation.size(width, height)


def verify_video(path: str | os.PathLike[str]) -> Decoded:
    """Decodes a file to its end, counts damage and checks whether the file earns a certificate.

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
    """
    return _read_from_start(path, np.zeros(1, np.int64), _Discard(), certify=True, strict=True)


def iter_frames(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray, float | None]]:
    """Every frame in order: (RGB uint8 (H, W, 3) as displayed, time in seconds or None).

    Damaged packets are skipped, as FFmpeg does. Times are those that the file states, from which `frame_times` counts
    differently: its time 0 is the start of the file. They ascend, also in a file that stores none for B-frames (AVI).

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
    """
    with open_video(path) as (container, stream):
        check_complete(path, container, stream)
        to_rgb, count, times = Converter(), 0, PictureTimes(container, stream)
        for picture, time, _ in times.timed(iter_decoded(container, stream, times)):
            count += 1
            yield to_rgb(picture), time
        if not count:
            raise MediaError(path, "no frame of its video stream decodes")


def iter_pictures(
    path: str | os.PathLike[str],
    image_range: tuple[float, float] | None = None,
    *,
    damage: DamageCount | None = None,
) -> Iterator[Picture]:
    """The same frames as `iter_frames`, unconverted; much faster where the result is smaller than the video.

    Args:
        image_range: as for `Converter`.
        damage: counts the frames with errors.

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
    """
    with open_video(path) as (container, stream):
        check_complete(path, container, stream)
        times, orientation = PictureTimes(container, stream), None
        observer = _Both(times, damage) if damage else times
        for frame, time, seconds in times.timed(iter_decoded(container, stream, observer)):
            orientation = Orientation.of(frame) if orientation is None else orientation
            width, height = orientation.size(frame.width, frame.height)
            shown = with_range(frame, image_range) if image_range else frame
            yield Picture(width, height, time, seconds, shown, orientation)
        if orientation is None:
            raise MediaError(path, "no frame of its video stream decodes")


def iter_wanted(
    path: str | os.PathLike[str], wanted: np.ndarray, *, region: Region | None = None
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Decodes a file from its start and gives the wanted frames: (frame number, RGB uint8 (H, W, 3) as displayed).

    If the file ends before the last wanted frame, the last frame that decodes is given too, whether it is wanted or
    not. Closing the iterator closes the file.

    Args:
        wanted: ascending frame numbers without repetition, at least one.
        region: as for `read_frames`: the memory of a picture may be overwritten by the next one.

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
    """
    convert, place, i, picture = Converter(region), 0, -1, None
    with contextlib.closing(_iter_needed(path, wanted)) as pictures:
        for i, picture in pictures:
            convert.see(picture)
            if i == wanted[place]:
                yield i, convert(picture)
                place += 1
                if place == len(wanted):
                    return
    if picture is None:
        raise MediaError(path, "no frame of its video stream decodes")
    if not place or wanted[place - 1] != i:
        yield i, convert(picture)


def read_frames(
    path: str | os.PathLike[str],
    wanted: Sequence[int] | np.ndarray,
    receive: Callable[[int, np.ndarray], None],
    certificate: Certificate | None = None,
    *,
    region: Region | None = None,
    certify: bool = False,
    image_range: tuple[float, float] | None = None,
    swscale: bool = False,
) -> Decoded:
    """Decodes exactly the wanted frames and hands each to `receive(i, rgb)`.

    Args:
        wanted: ascending frame numbers without repetition, at least 0. One past the last frame becomes the last frame.
        receive: called in ascending order; `i` is the index in `wanted` and `rgb` a uint8 (H, W, 3) array as displayed.
        certificate: of this file. Without one, the file is decoded from its start.
        region: hand out only this part of each frame, in memory that the next frame may overwrite.
        certify: decode to the end of the file and check whether it earns a certificate.
        image_range, swscale: as for `Converter`.

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
        ChangedError: the file is not the one that the certificate describes.
        SurpriseError: decoding from a keyframe gave something else than the certificate says. `receive` may have got
            some frames. Without the certificate, the file can be read.
    """
    wanted = np.asarray(wanted, np.int64)
    assert len(wanted)
    assert wanted[0] >= 0
    assert (np.diff(wanted) > 0).all()
    sink = _ConvertAndReceive(Converter(region, image_range, swscale=swscale), receive)
    if certificate is not None:
        return _read_runs(path, wanted, sink, certificate)
    return _read_from_start(path, wanted, sink, certify)


def decode_frames(
    path: str | os.PathLike[str], wanted: Sequence[int] | np.ndarray, certificate: Certificate | None
) -> Decoded:
    """Decodes as `read_frames` does, without converting or handing out anything: to measure the decoding alone."""
    wanted = np.asarray(wanted, np.int64)
    if certificate is not None:
        return _read_runs(path, wanted, _Discard(), certificate)
    return _read_from_start(path, wanted, _Discard(), certify=False)


class _Both:
    """Two observers of a decode."""

    def __init__(self, *observers: DecodeObserver):
        self._observers = observers

    def packet(self, packet: av.Packet) -> None:
        for observer in self._observers:
            observer.packet(packet)

    def picture(self, picture: av.VideoFrame) -> None:
        for observer in self._observers:
            observer.picture(picture)

    def damaged(self) -> None:
        for observer in self._observers:
            observer.damaged()


class _Sink(Protocol):
    """Takes the wanted pictures."""

    def expect(self, width: int, height: int, orientation: Orientation) -> None:
        """Tells the stored size and the orientation of all pictures, where the pictures themselves do not say it."""

    def see(self, picture: av.VideoFrame) -> None:
        """Called with the file's first picture, even if it is not wanted: it sets the size of all."""

    def put(self, places: range, picture: av.VideoFrame) -> None:
        """Takes a picture for these indices of `wanted`."""


class _ConvertAndReceive:
    def __init__(self, convert: Converter, receive: Callable[[int, np.ndarray], None]):
        self.expect, self.see = convert.expect, convert.see
        self._convert, self._receive = convert, receive

    def put(self, places: range, picture: av.VideoFrame) -> None:
        rgb = self._convert(picture)
        for place in places:
            self._receive(place, rgb)


class _Discard:
    def expect(self, width: int, height: int, orientation: Orientation) -> None:
        pass

    def see(self, picture: av.VideoFrame) -> None:
        pass

    def put(self, places: range, picture: av.VideoFrame) -> None:
        pass


class _Checksums(_Discard):
    def __init__(self) -> None:
        self.found: list[int] = []

    def put(self, places: range, picture: av.VideoFrame) -> None:
        self.found += [picture_checksum(picture)] * len(places)


def _iter_needed(path: str | os.PathLike[str], wanted: np.ndarray) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """(frame number, picture) from the start of a file: the first, the wanted and the last frame, and some others.

    Args:
        wanted: frame numbers.
    """
    number = -1
    with open_video(path) as (container, stream):
        if not mpeg4.is_candidate(stream):
            yield from enumerate(iter_decoded(container, stream))
            return
        with contextlib.suppress(mpeg4.Doubt):
            for number, picture in mpeg4.iter_needed(container, stream, set(wanted.tolist())):
                yield number, picture
            return
    with open_video(path) as (container, stream):
        for i, picture in enumerate(iter_decoded(container, stream)):
            if i > number:
                yield i, picture


def _read_needed(path: str | os.PathLike[str], wanted: np.ndarray, sink: _Sink) -> Decoded:
    """Decodes a file from its start up to the last wanted frame."""
    place, last, decoded = 0, None, 0
    with contextlib.closing(_iter_needed(path, wanted)) as pictures:
        for i, picture in pictures:
            sink.see(picture)
            last, decoded = picture, decoded + 1
            if i == wanted[place]:
                sink.put(range(place, place + 1), picture)
                place += 1
                if place == len(wanted):
                    return Decoded(0, decoded)
    if last is None:
        raise MediaError(path, "no frame of its video stream decodes")
    sink.put(range(place, len(wanted)), last)
    return Decoded(len(wanted) - place, decoded)


def _read_from_start(
    path: str | os.PathLike[str], wanted: np.ndarray, sink: _Sink, certify: bool, strict: bool = False
) -> Decoded:
    """Decodes a file from its start: to its end if it is to be certified."""
    if not certify:
        return _read_needed(path, wanted, sink)
    place, last, decoded = 0, None, 0
    with open_video(path) as (container, stream), Examiner(path, stream, strict=strict) as examiner:
        for i, picture in enumerate(iter_decoded(container, stream, examiner)):
            sink.see(picture)
            if place < len(wanted) and i == wanted[place]:
                sink.put(range(place, place + 1), picture)
                place += 1
            last, decoded = picture, i + 1
        if last is None:
            raise MediaError(path, "no frame of its video stream decodes")
        clamped = len(wanted) - place
        if clamped:
            sink.put(range(place, len(wanted)), last)
    certificate = examiner.certificate()
    if certificate and not _holds(path, certificate, examiner.checksums):
        certificate = None
    return Decoded(clamped, decoded, certificate, examiner.damage.num_damaged)


def _holds(path: str | os.PathLike[str], certificate: Certificate, groups: list[dict[int, int]]) -> bool:
    """Whether entering a file at some keyframes, each with a new decoder, gives the pictures of the plain decode.

    Args:
        groups: checksums of pictures by frame number, of each keyframe.
    """
    for expected in groups:
        sink = _Checksums()
        try:
            _read_runs(path, np.array(list(expected), np.int64), sink, certificate)
        except (MediaError, FileNotFoundError):
            return False
        if sink.found != list(expected.values()):
            return False
    return True


def _read_runs(path: str | os.PathLike[str], wanted: np.ndarray, sink: _Sink, certificate: Certificate) -> Decoded:
    """Enters the file at the keyframe before each wanted frame and skips the packets that no wanted frame needs.

    Every picture that comes out is checked, whether it is wanted or not.
    """
    clamped = int((wanted >= len(certificate.pts)).sum())
    runs = plan_runs(certificate, wanted, with_droppable=False)
    decoded = place = 0
    with open_packets(path, certificate, runs) as source:
        decoder = source.decoder()
        stream, size, gaps = certificate.stream, None, Gaps(decoder.codec.name)
        if stream is not None:
            size = (stream.width, stream.height)
            sink.expect(*size, stream.orientation)
        for run in runs:
            expected = iter(np.sort(certificate.packets["pts"][run.needed]).tolist())
            stop = place + len(run.wanted)
            for picture in _decode_run(path, source.packets(run), decoder):
                size = size or (picture.width, picture.height)
                if why := _why_surprising(picture, next(expected, None), size):
                    raise SurpriseError(path, why)
                if gaps.are_in(picture):
                    raise SurpriseError(path, f"parts of the picture with the timestamp {picture.pts} are missing")
                decoded += 1
                first = place
                # several times at the end, where they are clamped
                while place < stop and picture.pts == run.wanted[place - stop]:
                    place += 1
                if place > first:
                    sink.put(range(first, place), picture)
            if (missing := next(expected, None)) is not None:
                raise SurpriseError(path, f"the picture with the timestamp {missing} is missing")
            depth = decoder.reorder_depth
            decoder.flush_buffers()
            decoder.reorder_depth = depth  # the flush resets it, and the decoder would then drop B-frames
    return Decoded(clamped, decoded)


def _decode_run(
    path: str | os.PathLike[str], packets: Iterator[av.Packet], decoder: av.VideoCodecContext
) -> Iterator[av.VideoFrame]:
    for packet in itertools.chain(packets, [None]):  # None drains what the decoder holds back to reorder it
        try:
            pictures = decoder.decode(packet)
        except (av.error.ExitError, av.error.MemoryError):  # which say nothing about the file
            raise
        except av.error.FFmpegError as error:
            raise SurpriseError(path, f"the decoder refused a packet ({error.strerror})") from None
        yield from pictures


def _why_surprising(picture: av.VideoFrame, pts: int | None, size: tuple[int, int]) -> str | None:
    """What is wrong with a picture, given its timestamp and size according to the certificate; None if nothing is."""
    if picture.pts != pts:
        return f"a picture with the timestamp {picture.pts} in place of {pts}"
    if picture.is_corrupt:
        return f"the picture with the timestamp {pts} is damaged"
    if (picture.width, picture.height) != size:
        return f"a picture of {picture.width}x{picture.height} in place of {size[0]}x{size[1]}"
    return None
