"""Counts the frames of a video that decode with errors."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import av
import av.logging
import numpy as np

from actrec.words import counted, some_of

_MOST_NAMED = 10  # videos in a message
_KEPT = 8  # pictures after which a decoder rarely refers to a picture
# Errors that a decoder prints and that mean damage. Others are about references that a stream does not contain, as
# after a cut, about options of the stream, or about what some encoders of MS-MPEG-4 do.
_DAMAGE = re.compile(
    r"crc|conceal|corrupt|damaged|(?<!ignoring )overflow|out of bounds|outside the valid range|invalid|illegal|"
    r"absent|error",
    re.I,
)


class DamageCount:
    """Observes a decode (see `DecodeObserver`), in one thread. A context manager.

    Most decoders mark a picture that has errors, or refuse its packet. Some, such as those of FFV1, DV and Theora, only
    print a message.

    Args:
        decoder: FFmpeg's name of the decoder, to hear its messages. Default: they are not heard.
    """

    def __init__(self, decoder: str | None = None):
        self._num_marked = self._num_complained = 0
        self._decoder = decoder
        self._messages: list[tuple[int, str, str]] = []
        self._capture: Any = None

    def __enter__(self) -> DamageCount:
        if self._decoder is not None:
            _log.enter(av.logging.ERROR)
            self._capture = av.logging.Capture()
            self._messages = self._capture.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._capture is not None:
            self._take()
            self._capture.__exit__(None, None, None)
            _log.leave(av.logging.ERROR)

    @property
    def num_damaged(self) -> int:
        """How many packets or pictures had errors; known when closed."""
        return max(self._num_marked, self._num_complained)  # many errors are marked and printed

    def packet(self, packet: av.Packet) -> None:
        """See `DecodeObserver`."""
        self._take()

    def picture(self, picture: av.VideoFrame) -> None:
        """See `DecodeObserver`."""
        self._num_marked += picture.is_corrupt

    def damaged(self) -> None:
        """See `DecodeObserver`."""
        self._num_marked += 1

    def _take(self) -> None:
        """Counts the last packet if the decoder has complained of it."""
        self._num_complained += any(
            level <= av.logging.ERROR and name == self._decoder and _DAMAGE.search(message) is not None
            for level, name, message in self._messages
        )
        self._messages.clear()


class Complaints:
    """Tells whether a decoder prints anything. A context manager, in which any thread may decode.

    FFmpeg prints that it conceals missing parts of a picture as information, not as an error.
    """

    def __enter__(self) -> Complaints:
        _log.enter(av.logging.INFO)
        return self

    def __exit__(self, *exc: Any) -> None:
        _log.leave(av.logging.INFO)

    def decode(self, context: av.VideoCodecContext, packet: av.Packet) -> tuple[list[av.VideoFrame], bool]:
        """The pictures that the decoder returns for a packet, and whether it printed anything."""
        with av.logging.Capture() as messages:
            pictures = context.decode(packet)
        return pictures, bool(messages) and any(name == context.codec.name for _, name, _ in messages)


class Gaps:
    """Finds pictures with parts that were not decoded, in one thread. It sees all pictures of a decoder.

    If damage ends a slice of HEVC or a packet of VP8 too early, FFmpeg's decoders report no error, and the rest shows
    what the memory of the picture contained before. If it hides the scan of an MJPEG, the whole picture does so. New
    memory is zero, but later pictures get the memory of earlier ones. So the chroma of a picture is set to zero here as
    soon as the decoder does not refer to it anymore. If a later picture has 0 in both chroma planes, a part of it was
    not decoded: no color is stored like this.

    Args:
        decoder: FFmpeg's name of the decoder. Others leave no such gaps.
    """

    def __init__(self, decoder: str):
        self._is_needed, self._is_whole = decoder in ("hevc", "mjpeg", "vp8"), decoder == "mjpeg"
        self._pictures: deque[av.VideoFrame] = deque()

    def are_in(self, picture: av.VideoFrame) -> bool:
        """Whether parts of the next picture are missing. The caller must not use a picture after the next one."""
        if not self._is_needed or not picture.format.name.startswith("yuv"):  # in RGB, black is 0
            return False
        self._pictures.append(picture)
        if len(self._pictures) > _KEPT:
            _erase_chroma(self._pictures.popleft())
        blue, red = (samples[::4] for samples in _chroma(picture))  # blocks have at least 8 rows
        if self._is_whole:
            return not (blue.any() or red.any())
        return not blue.min() and not red.min() and not (blue | red).all()


def _chroma(picture: av.VideoFrame) -> list[np.ndarray]:
    """Both planes, as views of the picture's memory."""
    sample = np.uint8 if picture.format.components[1].bits == 8 else np.uint16
    return [
        np.frombuffer(memoryview(plane), sample).reshape(plane.height, -1)[:, : plane.width]
        for plane in picture.planes[1:3]
    ]


def _erase_chroma(picture: av.VideoFrame) -> None:
    place = picture.planes[1].buffer_ptr
    picture.make_writable()
    if picture.planes[1].buffer_ptr == place:  # otherwise it is a copy now, because the decoder still refers to it
        for samples in _chroma(picture):
            samples.fill(0)


def damaged_line(damaged: Mapping[str, int]) -> str:
    """The message that some videos have frames with errors.

    Args:
        damaged: {name of a video: number of its frames with errors}.
    """
    named = some_of([f"{name} ({counted(damaged[name], 'frame')})" for name in sorted(damaged)], _MOST_NAMED)
    return f"{counted(len(damaged), 'video')} with frames that decode with errors, used as far as they decode: {named}"


class _Log:
    """FFmpeg's messages, which are turned on while anybody listens. Those of other threads are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[int] = []  # the levels up to which they listen
        self._before: tuple[int | None, bool] = (None, True)
        self._others: Any = None

    def enter(self, level: int) -> None:
        """Turns on messages up to this level."""
        with self._lock:
            if not self._listeners:
                self._before = av.logging.get_level(), av.logging.get_skip_repeated()
                self._others = av.logging.Capture(local=False)
                self._others.__enter__()
                av.logging.set_skip_repeated(False)
            self._others.logs.clear()
            self._listeners.append(level)
            self._set_level()

    def leave(self, level: int) -> None:
        with self._lock:
            self._listeners.remove(level)
            if self._listeners:
                self._set_level()
                return
            before, skip_repeated = self._before
            av.logging.set_level(before)
            av.logging.set_skip_repeated(skip_repeated)
            self._others.__exit__(None, None, None)

    def _set_level(self) -> None:
        level = max(self._listeners)
        if av.logging.get_level() != level:
            av.logging.set_level(level)


_log = _Log()
