"""From the timestamps of a video file to the times of its frames.

The packets of a file hold them, so nothing is decoded. Some things are not what they seem:

- AVI and raw streams have no timestamps. FFmpeg invents them, and those of B-frames are wrong. The chunks of an AVI are
  counted at the rate in its header, and an empty chunk repeats a picture: the decoding times of FFmpeg say that.
- Clocks restart in the middle of joined recordings (MPEG-TS). The later part then follows the earlier one.
- Pictures that come before the first keyframe do not decode, and some pictures of VP8 and VP9 are never shown.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer

from actrec.data.limits import why_too_long
from actrec.data.storage import stat
from actrec.data.times import LARGEST, FrameTimes, Stamps, rounded_rate
from actrec.data.video.container import MediaError, iter_decoded, iter_packets, open_video
from actrec.data.video.keyframes import HIDDEN

RESTART = 1.0  # seconds; a timestamp that goes back by more belongs to another clock
_LONGEST = 600.0  # seconds; a last picture that is shown for longer has a wrong duration
_REORDERED = 4  # pictures within which times are sorted; encoders rarely use more B-frames in a row
_MAX_WAITING = 40_000_000  # pixels of a picture that may wait for this; one of 8K has 33 million
_CACHED = 64  # files whose times are kept


@dataclass(frozen=True)
class Timing:
    """What the timestamps of a file say.

    Args:
        times: Of its frames. The rate is 0 if it is not known.
        stamped: The file has timestamps. Otherwise, its times follow from the rate in its header.
    """

    times: FrameTimes
    stamped: bool


class PacketTimes:
    """Takes the packets of a stream in the order of the file, and gives the times of the pictures in them."""

    def __init__(self, container: InputContainer, stream: av.VideoStream):
        self._stream = stream
        self._start = None if container.start_time is None else container.start_time / av.time_base
        self._counted = has_no_timestamps(container)
        self._is_hidden = HIDDEN.get(stream.codec_context.codec.canonical_name)
        self._entered = False  # a keyframe that is not shown came first
        self._packets: list[tuple[int | None, int | None, int | None, bool]] = []

    def add(self, packet: av.Packet) -> None:
        """Takes a packet. Those that are empty, or that an edit list drops, show nothing."""
        if not packet.size or packet.is_discard:
            self._entered |= packet.is_keyframe
            return
        if self._is_hidden and self._is_hidden(packet):
            return
        self._packets.append((packet.pts, packet.dts, packet.duration, packet.is_keyframe))

    @property
    def num_keyframes(self) -> int:
        return sum(packet[3] for packet in self._packets)

    @property
    def num_frames(self) -> int:
        """Number of packets with a picture that is shown, at least 1."""
        return max(len(self._packets), 1)

    def timing(self) -> Timing:
        rate, num_frames = float(self._stream.average_rate or 0), self.num_frames
        ticks, is_stamped = self._ticks()
        if ticks is None:
            return Timing(FrameTimes(num_frames, rate), False)
        tick = float(self._stream.time_base or 0)
        borders = np.append(ticks, ticks[-1] + self._last_duration(ticks)) * tick
        # FFmpeg rounds the start of a container to microseconds.
        begins = round(float(borders[0]) - self._start, 6) + 0.0 if self._start is not None else 0.0
        begins = begins if abs(begins) < LARGEST else 0.0
        found = _constant_rate(borders, tick, itertools.chain(_rates(self._stream), _measured(borders)))
        if found:
            return Timing(FrameTimes(num_frames, found, begins), is_stamped)
        borders = np.maximum.accumulate(borders) - borders[0]
        rate = (len(borders) - 1) / float(borders[-1]) if borders[-1] > 0 else 0.0
        if not 0 < rate < LARGEST:
            return Timing(FrameTimes(num_frames, 0.0), False)
        return Timing(FrameTimes(len(borders) - 1, rate, begins, borders + begins).resized(num_frames), is_stamped)

    def stamps(self) -> Stamps | None:
        """The timestamps that the file states; None if it states none, or if the frame rate is unknown."""
        ticks, is_stamped = self._ticks()
        return _stamps(self._stream, ticks) if is_stamped else None

    def _ticks(self) -> tuple[np.ndarray | None, bool]:
        """Ascending timestamps of the pictures, None if there are none; whether the file states them."""
        pts, dts = ([packet[i] for packet in self._packets] for i in (0, 1))
        chosen = dts if self._counted or (None in pts and None not in dts) else pts
        ticks, clock = _without_gaps(chosen), _without_gaps(dts)
        if ticks is None:
            return None, False
        if chosen is pts and None not in pts:
            decodable = self._decodable(ticks)
            ticks, clock = ticks[decodable], None if clock is None else clock[decodable]
        clock = ticks if clock is None else clock
        return _joined(ticks, clock, RESTART / float(self._stream.time_base or 1)), not self._counted

    def _decodable(self, ticks: np.ndarray) -> np.ndarray:
        """Of each packet: it is not before the first keyframe, neither in the file nor on the screen."""
        keys = [i for i, packet in enumerate(self._packets) if packet[3]]
        if not keys or self._entered:
            return np.ones(len(ticks), bool)
        number = np.arange(len(ticks))
        until = keys[1] if len(keys) > 1 else len(ticks)
        return (number >= keys[0]) & ((ticks >= ticks[keys[0]]) | (number >= until))

    def _last_duration(self, ticks: np.ndarray) -> float:
        """How long the last picture is shown, in ticks."""
        stated = max(self._packets, key=lambda packet: packet[0] or 0)[2] or 0
        if self._counted or not 0 < stated * float(self._stream.time_base or 1) <= _LONGEST:
            step = float(np.median(np.diff(ticks))) if len(ticks) > 1 else 0.0
            rate, base = self._stream.average_rate, self._stream.time_base
            return step or (float(1 / (rate * base)) if rate and base else 0.0)
        return float(stated)


def has_no_timestamps(container: InputContainer) -> bool:
    """Whether files of this kind have none, so that FFmpeg invents them: AVI and raw streams."""
    return container.format.name == "avi" or bool(container.format.flags & _NO_TIMESTAMPS)


_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS


def _without_gaps(ticks: Sequence[int | None]) -> np.ndarray | None:
    """Timestamps, those that are missing interpolated; None if more than half of them are missing."""
    if None not in ticks:
        return np.array(ticks, np.float64) if ticks else None
    known = [(i, tick) for i, tick in enumerate(ticks) if tick is not None]
    if len(known) * 2 <= len(ticks):
        return None
    return np.interp(np.arange(len(ticks)), *np.array(known, np.float64).T)


def _joined(ticks: np.ndarray, clock: np.ndarray, restart: float) -> np.ndarray:
    """Timestamps in ascending order. Where the clock restarts, the rest follows what is before.

    Args:
        ticks: In the order of the file.
        clock: When the packets are decoded, if the file says so: unlike `ticks`, it does not go back for B-frames,
            which are far apart in a time lapse.
        restart: By how much it goes back there, in ticks.
    """
    latest = np.maximum.accumulate(clock)
    cuts = np.flatnonzero((np.diff(clock) < -restart) & (clock[1:] < latest[:-1] - restart)) + 1
    if not len(cuts):
        return np.sort(ticks)
    parts = [np.sort(part) for part in np.split(ticks, cuts)]
    step = float(np.median(np.diff(parts[0]))) if len(parts[0]) > 1 else 1.0
    joined = parts[:1]
    for part in parts[1:]:
        joined.append(part - part[0] + joined[-1][-1] + step)
    return np.concatenate(joined)


def _constant_rate(borders: np.ndarray, tick: float, rates: Iterable[float]) -> float | None:
    """The rate at which all frames are, as exactly as the unit of the timestamps allows."""
    number = np.arange(len(borders))
    for rate in rates:
        off = np.abs(borders - borders[0] - number / rate)
        if off[:-1].max() <= 1.01 * tick and off[-1] <= 0.5 / rate:
            return rate
    return None


def _rates(stream: av.VideoStream) -> Iterator[float]:
    for name in ("average_rate", "base_rate", "guessed_rate"):  # they take time
        if rate := getattr(stream, name):
            yield float(rate)


def _measured(borders: np.ndarray) -> Iterator[float]:
    seconds = float(borders[-2] - borders[0])
    if seconds > 0:
        rate = (len(borders) - 2) / seconds
        yield from (found for found in (rounded_rate(rate), rate) if found > 0)


def read_timing(path: str | os.PathLike[str]) -> Timing:
    """Demuxes a whole file.

    Raises:
        FileNotFoundError, MediaError: As `probe_video`.
    """
    with open_video(path) as (container, stream):
        return _demux(path, container, stream).timing()


def read_stamps(path: str | os.PathLike[str]) -> Stamps | None:
    """Demuxes a whole file. An AVI is decoded: FFmpeg invents its timestamps, and they depend on the decoder.

    Returns:
        None if there are no timestamps, or if the frame rate is unknown.

    Raises:
        FileNotFoundError, MediaError: As `probe_video`.
    """
    with open_video(path) as (container, stream):
        if has_no_timestamps(container):
            ticks = [picture.pts for picture in iter_decoded(container, stream)]
            return _stamps(stream, None if None in ticks else np.array(ticks, np.float64))
        return _demux(path, container, stream).stamps()


def _stamps(stream: av.VideoStream, ticks: np.ndarray | None) -> Stamps | None:
    rate, base = stream.guessed_rate, stream.time_base
    if ticks is None or not len(ticks) or not rate or not base:
        return None
    return Stamps(ticks, base, float(stream.duration or 0), float(rate))


def _demux(path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream) -> PacketTimes:
    packets = PacketTimes(container, stream)
    for packet in iter_packets(container, stream):
        packets.add(packet)
        if reason := why_too_long(packets.num_frames):
            raise MediaError(path, reason)
    return packets


def frame_times(path: str | os.PathLike[str]) -> FrameTimes:
    """The times of the frames of a file. Those of the last files are kept until they change.

    Raises:
        FileNotFoundError, MediaError: As `probe_video`.
    """
    found = stat(os.fspath(path))
    return _frame_times(os.fspath(path), found.size, found.version)


@functools.lru_cache(maxsize=_CACHED)
def _frame_times(path: str, size: int, changed: int) -> FrameTimes:
    return read_timing(path).times


def stated_rate(path: str | os.PathLike[str]) -> float:
    """The average rate that a file states (`avg_frame_rate`), 0 if it is unknown.

    In many containers, it differs from the average rate of the timestamps if the frame rate is variable.

    Raises:
        FileNotFoundError, MediaError: As `probe_video`.
    """
    with open_video(path) as (_, stream):
        return float(stream.average_rate or 0)


class PictureTimes:
    """Gives the pictures of a plain decode their times. Observes the decode: see `DecodeObserver`."""

    def __init__(self, container: InputContainer, stream: av.VideoStream):
        self._counted = has_no_timestamps(container)
        self._base = stream.time_base or Fraction(1)
        rate = float(stream.average_rate or 0)
        self._step = 1 / rate if rate else 0.0
        self._decoding_times: deque[int] = deque()

    def packet(self, packet: av.Packet) -> None:
        if self._counted and packet.size and packet.dts is not None:
            self._decoding_times.append(packet.dts)

    def picture(self, picture: av.VideoFrame) -> None:
        pass

    def damaged(self) -> None:
        if self._decoding_times:
            self._decoding_times.pop()  # of the packet that was refused: no picture comes of it

    def timed(self, pictures: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, float | None, float]]:
        """Yields (picture, time in seconds as the file states it, or None, how long it is shown; 0 if unknown)."""
        if not self._counted:
            yield from ((picture, time, self._duration(picture)) for picture, time in _sorted(pictures))
            return
        before: tuple[av.VideoFrame, float | None] | None = None
        for found in ((picture, self._next()) for picture in pictures):
            if before is not None:
                yield *before, self._measure(before[1], found[1])
            before = found
        if before is not None:
            yield *before, self._step

    def _next(self) -> float | None:
        """The time of a picture: the decoding times ascend, and pictures are shown in this order."""
        return float(self._decoding_times.popleft() * self._base) if self._decoding_times else None

    def _measure(self, time: float | None, after: float | None) -> float:
        if time is not None and after is not None and after > time:
            self._step = after - time
        return self._step

    def _duration(self, picture: av.VideoFrame) -> float:
        stated = float(picture.duration * picture.time_base) if picture.duration and picture.time_base else 0.0
        return stated or self._step


def _sorted(pictures: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, float | None]]:
    """Pictures with their times, which are sorted over a few pictures: some containers state when they are decoded.

    A time that goes back by more than `RESTART` belongs to another clock.
    """
    waiting: deque[av.VideoFrame] = deque()
    times: list[float] = []  # a heap
    last: float | None = None

    def first() -> tuple[av.VideoFrame, float | None]:
        picture = waiting.popleft()
        return picture, None if picture.time is None else heapq.heappop(times)

    for picture in pictures:
        keep = _REORDERED if picture.width * picture.height <= _MAX_WAITING else 0
        if picture.time is not None:
            if last is not None and picture.time < last - RESTART:
                keep = 0
            last = picture.time
        while len(waiting) > keep:
            yield first()
        waiting.append(picture)
        if picture.time is not None:
            heapq.heappush(times, picture.time)
    while waiting:
        yield first()
