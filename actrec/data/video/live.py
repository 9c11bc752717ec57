"""The newest frames of a camera or network stream.

A thread reads and decodes the source all the time, even if nobody takes its frames, so no frame waits in a queue. The
thread keeps the frames of the last few seconds, made smaller by the caller's function, and drops older ones.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

import av
import numpy as np
from av.container import InputContainer

from actrec.data.storage.paths import hide_secrets
from actrec.data.video.color import Converter, Region
from actrec.data.video.container import MediaError, decoder_limit, demux, video_stream
from actrec.data.video.orientation import Orientation

# What FFmpeg may open for an address that starts so, and its options. No source may open a file, and only HTTP may name
# other addresses: those of an HLS playlist and of a redirect, which must be HTTP too.
_HTTP = "http,https,tcp,tls,crypto"
_PROTOCOLS: dict[str, tuple[str, dict[str, str]]] = {
    "rtsp": ("tcp", {"rtsp_transport": "tcp"}),
    "rtsps": ("tcp,tls", {"rtsp_transport": "tcp"}),
    "rtmp": ("rtmp,tcp", {}),
    "rtmps": ("rtmps,tcp,tls", {}),
    "http": (_HTTP, {}),
    "https": (_HTTP, {}),
    "tcp": ("tcp", {}),
    "udp": ("udp", {"overrun_nonfatal": "1"}),
}
# The demuxers. Those that are missing, such as sdp and concat, open the addresses that a stream names.
_FORMATS = (
    "mpegts,mpeg,matroska,mov,flv,avi,asf,nut,ogg,h264,hevc,av1,obu,ivf,m4v,mpegvideo,mjpeg,mpjpeg,rtsp,"
    "aac,mp3,ac3,eac3,webvtt"  # the parts of an HLS stream
)
_LATE, _FAR = 0.5, 2.0  # seconds of lag from which pictures are skipped: those of no use to others; all to a keyframe
_JUMP = 5.0  # seconds: a larger step of the timestamps is a jump, not time that has passed
_PAUSES = 0.5, 5.0  # seconds before the first further attempt to open a source, and the longest pause
_MAX_RATE = 240  # frames per second that are kept at most
_ROUNDING = 1e-3  # seconds by which timestamps may be rounded
_REORDERED = 64  # more packets than a decoder holds back
_IDLE = 0.3  # a reader that waits for this fraction of the time keeps up with the source


@dataclass(frozen=True)
class LiveFrame:
    """A frame of a live source.

    Args:
        number: Counts the decoded frames from 0. Reconnecting does not reset it.
        time: In seconds. It never jumps: where timestamps are missing or jump, it continues with the clock.
        stream_time: The timestamp in seconds; None if there is none.
        arrived: When it was read from the source, by `time.monotonic`.
        lag: Seconds of the source that had arrived but were not read yet.
        width, height: As displayed.
        data: The result of `prepare`.
    """

    number: int
    time: float
    stream_time: float | None
    arrived: float
    lag: float
    width: int
    height: int
    data: np.ndarray


@dataclass(frozen=True)
class Snapshot:
    """The newest frames of a live source, and what it has counted so far.

    Args:
        frames: In their order.
        full: Whether they cover the time, or the number of frames, that was asked for.
        decoded: Number of decoded frames.
        skipped: Number of received frames that were not decoded, to catch up with the source or because of damage.
        reconnects: How often the source was lost and came back.
    """

    frames: list[LiveFrame] = field(default_factory=list)
    full: bool = False
    decoded: int = 0
    skipped: int = 0
    reconnects: int = 0


class LiveSource:
    """Reads a live source in a thread. A context manager.

    A source that stalls or disappears is opened again, with growing pauses between attempts. Earlier frames are then
    dropped. If decoding is slower than the source, pictures that no other picture refers to are skipped first, then all
    pictures up to the next keyframe. HLS arrives in pieces of some seconds and is read as it arrives. A recording (a
    source that states its duration) is read at its own speed, and is not opened again after its end.

    Args:
        source: An address that starts with rtsp://, rtsps://, rtmp://, rtmps://, http://, https://, tcp:// or udp://; a
            camera, as /dev/video0 or by its number.
        prepare: Makes of each frame (RGB uint8 (H, W, 3) as displayed, in memory that the next one overwrites) what is
            kept. Called in the thread. All frames of a connection have the size of its first one.
        seconds: The frames of the last `seconds` seconds are kept.
        frames: The last `frames` frames are kept instead.
        timeout: Seconds without a frame after which the source counts as lost.
        retry: Seconds after which a lost source is given up.
        tell: Called in the thread with a line when the source is lost or back.

    Raises:
        ValueError: `source` is none of these.
        FileNotFoundError: There is no such camera.
    """

    def __init__(
        self,
        source: str,
        prepare: Callable[[np.ndarray], np.ndarray],
        *,
        seconds: float | None = None,
        frames: int | None = None,
        timeout: float = 10.0,
        retry: float = 30.0,
        tell: Callable[[str], None] | None = None,
    ):
        assert (seconds is None) != (frames is None)
        self.name = shown(source)
        self._address, self._format, self._options = _parse(source)
        self._prepare, self._tell = prepare, tell or (lambda line: None)
        self._seconds, self._timeout, self._retry = seconds, timeout, retry
        self._frames: deque[LiveFrame] = deque(maxlen=frames or max(1, int(_MAX_RATE * (seconds or 0))))
        self._full = self._ended = False
        self._decoded = self._skipped = self._reconnects = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._alive = time.monotonic()  # when the thread last did something
        self._reading = False  # the thread waits for data
        self._lost = False  # since the last frame
        self._last_frame = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="live source", daemon=True)

    def __enter__(self) -> LiveSource:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._stop.set()
        self._thread.join(0.05)
        deadline = time.monotonic() + 1
        while self._thread.is_alive() and not self._reading and time.monotonic() < deadline:
            self._thread.join(0.05)  # a thread that waits for data ends after `timeout`; nothing depends on it

    def wait(self, after: int, until: float) -> bool:
        """Waits for a frame after frame number `after`, at most until this time of `time.monotonic`.

        Returns:
            Whether there is one. If not, see `ended`.

        Raises:
            MediaError: The source was lost, or never started.
        """
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if self._decoded > after + 1:
                    return True
                now = time.monotonic()
                if self._ended or now >= until:
                    return False
                if now - self._alive > 2 * self._timeout + 5:  # opening has two parts, each with this limit
                    raise MediaError(self.name, "does not answer")
                self._changed.wait(min(until - now, 0.5))  # not longer, so that Ctrl-C works on Windows too

    @property
    def ended(self) -> bool:
        """Whether a recording has ended."""
        return self._ended

    def snapshot(self) -> Snapshot:
        with self._changed:
            return Snapshot(list(self._frames), self._full, self._decoded, self._skipped, self._reconnects)

    # ---- the thread ----

    def _run(self) -> None:
        try:
            self._read_until_given_up()
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _read_until_given_up(self) -> None:
        pause = _PAUSES[0]
        while not self._stop.is_set():
            before = self._decoded
            reason = self._read_once()
            if self._stop.is_set():
                return
            if reason is None:
                with self._changed:
                    self._ended = True
                    self._changed.notify_all()
                return
            if self._decoded > before:
                pause = _PAUSES[0]
            if time.monotonic() + pause - self._last_frame > self._retry:
                raise MediaError(self.name, reason)
            if not self._lost or self._decoded > before:
                self._tell(f"{self.name}: {reason}; trying again for {self._retry:g} seconds")
            self._lost = True
            self._stop.wait(pause)
            pause = min(2 * pause, _PAUSES[1])
            self._alive = time.monotonic()

    def _read_once(self) -> str | None:
        """Reads until the source is lost, and returns why; None if a recording has ended."""
        opened, self._reading = False, True
        try:
            with av.open(
                self._address, format=self._format, options=self._options, timeout=(self._timeout, self._timeout)
            ) as container:
                opened, self._reading = True, False
                return _Connection(self, container).read()
        except av.error.ExitError:
            return f"nothing arrived for {self._timeout:g} seconds"
        except av.error.EOFError:
            return "the source ended before its first frame"
        except av.error.FFmpegError as error:
            return (
                f"the connection was lost ({error.strerror})"
                if opened
                else f"the source cannot be opened ({error.strerror})"
            )
        except MediaError as error:
            return error.reason

    def _begin(self) -> None:
        with self._changed:
            self._frames.clear()
            self._full = False

    def _add(self, frame: LiveFrame) -> None:
        with self._changed:
            full = len(self._frames) == self._frames.maxlen
            self._frames.append(frame)
            while self._seconds is not None and self._frames[0].time < frame.time - self._seconds + _ROUNDING:
                self._frames.popleft()
                full = True
            self._full |= full or (self._seconds is None and len(self._frames) == self._frames.maxlen)
            self._decoded += 1
            if back := self._lost:
                self._lost = False
                self._reconnects += frame.number > 0
            self._last_frame = time.monotonic()
            self._changed.notify_all()
        if back:
            self._tell(f"{self.name}: frames arrive")


class _Connection:
    """Reads an open source."""

    def __init__(self, live: LiveSource, container: InputContainer):
        self._live, self._container = live, container
        self._stream = video_stream(live.name, container)
        self._stream.codec_context.options = decoder_limit()
        rate = self._stream.average_rate or self._stream.guessed_rate
        self._step = float(1 / rate) if rate else None
        self._picture_clock, self._lag = _Clock(self._step), 0.0
        # By timestamp: a decoder that reorders pictures returns them later than their packets came.
        self._arrived: dict[int | None, float] = {}
        self._convert: Converter | None = None

    def read(self) -> str | None:
        """As `LiveSource._read_once`."""
        live, decoder, clock = self._live, self._stream.codec_context, _Clock(self._step)
        recorded = self._container.duration is not None and live._format is None
        steady = "hls" not in self._container.format.name.split(",")
        meter, opened, first, resume_at = _Lag(), time.monotonic(), None, None
        live._begin()
        for packet, waited in self._packets():
            now = live._alive = time.monotonic()
            if now - max(opened, live._last_frame) > live._timeout:
                return f"no frame could be decoded for {live._timeout:g} seconds"
            if packet.stream is not self._stream:
                continue
            at = clock.advance(_seconds(packet.dts, packet.time_base), now)
            first = first or (at, now)
            if recorded and (ahead := at - first[0] - (now - first[1])) > 0:
                live._stop.wait(ahead)
                now, waited = time.monotonic(), waited + ahead
            if steady:
                self._lag = meter.measure(at, now, waited=waited)
            if resume_at is None and self._lag > _FAR:
                resume_at = now + live._timeout / 2
            if resume_at is not None:  # a stream without keyframes continues anywhere after a while
                if (not packet.is_keyframe or self._lag > _LATE) and now < resume_at:
                    live._skipped += 1
                    continue
                decoder.flush_buffers()
                resume_at = None
            decoder.skip_frame = "NONREF" if self._lag > _LATE else "DEFAULT"
            self._decode(packet, now)
        return None if recorded else "the source has ended"

    def _packets(self) -> Iterator[tuple[av.Packet, float]]:
        """The packets of all streams (sound must not hide that the picture stands still), and the seconds of waiting.

        Ends when the thread has to stop.
        """
        packets = demux(self._container)
        while True:
            asked, self._live._reading = time.monotonic(), True
            packet = next(packets, None)
            self._live._reading = False
            if packet is None or self._live._stop.is_set():
                return
            yield packet, time.monotonic() - asked

    def _decode(self, packet: av.Packet, now: float) -> None:
        if len(self._arrived) > _REORDERED:
            self._arrived.clear()  # those of pictures that were not decoded
        self._arrived[packet.pts] = now
        try:
            pictures = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            pictures = []
            self._live._skipped += 1
        else:
            self._live._skipped += not pictures and self._lag > _LATE
        for picture in pictures:
            if self._convert is None:
                sides = Orientation.of(picture).size(picture.width, picture.height)
                self._convert = Converter(Region.whole(*sides))
            stream_time = _seconds(picture.pts, picture.time_base)
            at, arrived = self._picture_clock.advance(stream_time, now), self._arrived.pop(picture.pts, now)
            rgb = self._convert(picture)
            number, (height, width, _) = self._live._decoded, rgb.shape
            data = self._live._prepare(rgb)
            self._live._add(LiveFrame(number, at, stream_time, arrived, self._lag, width, height, data))


class _Clock:
    """Computes a time that never jumps from timestamps that may be missing, jump or restart."""

    def __init__(self, step: float | None):
        self._step = step
        self._last: tuple[float | None, float, float] | None = None  # timestamp, when it was seen, and the result

    def advance(self, timestamp: float | None, now: float) -> float:
        """The time of a timestamp that is seen now, in seconds."""
        if self._last is None:
            at = timestamp if timestamp is not None else now
        else:
            before, seen, at = self._last
            if timestamp is not None and before is not None and 0 < timestamp - before <= _JUMP:
                at += timestamp - before
            elif timestamp is None and self._step is not None:
                at += self._step
            else:
                at += now - seen
        self._last = (timestamp, now, at)
        return at


class _Lag:
    """Measures the lag of a reader: how many seconds of the source have arrived but are not read yet.

    The lag is the difference between clock and timestamp, minus the smallest difference so far. Two clocks never run at
    exactly the same speed. The smallest difference is therefore measured again in each second in which the reader
    mostly waited for the source, because its lag was zero then.
    """

    def __init__(self) -> None:
        self._best = self._low = float("inf")
        self._since, self._waited = time.monotonic(), 0.0

    def measure(self, at: float, now: float, *, waited: float) -> float:
        """Seconds. `waited`: for which the reader has waited for what it reads now."""
        difference = now - at
        self._best, self._low = min(self._best, difference), min(self._low, difference)
        self._waited += waited
        if now - self._since >= 1:
            if self._waited > _IDLE * (now - self._since):
                self._best = self._low
            self._low, self._since, self._waited = float("inf"), now, 0.0
        return difference - self._best


def shown(source: str) -> str:
    """A source for messages: an address without its password, and without those of its query."""
    return hide_secrets(re.sub(r"(?<=://)([^/@:]*):[^/]*@", r"\1:***@", source))


def _parse(source: str) -> tuple[str, str | None, dict[str, str]]:
    """(what FFmpeg opens, format, options)"""
    scheme, separator, rest = source.partition("://")
    if separator and scheme.lower() in _PROTOCOLS and rest:
        allowed, options = _PROTOCOLS[scheme.lower()]
        formats = f"{_FORMATS},hls" if allowed == _HTTP else _FORMATS
        whitelists = {"protocol_whitelist": allowed, "format_whitelist": formats}
        at_once = {"fpsprobesize": "0"}  # else opening waits for 20 frames, only to know their rate
        return f"{scheme.lower()}://{rest}", None, options | whitelists | at_once
    if source.isascii() and source.isdigit():
        return _camera(int(source))
    if source.startswith("/dev/"):
        return _device(source)
    is_file = "; a file is no live source" if os.path.exists(source) else ""
    expected = ", ".join(f"{name}://" for name in _PROTOCOLS)
    raise ValueError(
        f"stream {shown(source)!r}: expected a camera, such as /dev/video0 or 0, or one of {expected}{is_file}"
    )


def _camera(number: int) -> tuple[str, str, dict[str, str]]:
    if sys.platform == "darwin":
        return f"{number}:none", "avfoundation", {"framerate": "30"}
    if sys.platform == "win32":
        cameras = [d.name for d in av.enumerate_input_devices("dshow") if "video" in d.media_types]
        if number >= len(cameras):
            raise FileNotFoundError(f"camera {number}: expected a number below {len(cameras)}, the number of cameras")
        return f"video={cameras[number]}", "dshow", {}
    return _device(f"/dev/video{number}")


def _device(path: str) -> tuple[str, str, dict[str, str]]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such camera")
    return path, "v4l2", {}


def _seconds(timestamp: int | None, unit: object) -> float | None:
    return float(timestamp * unit) if timestamp is not None and unit else None  # type: ignore[operator]
