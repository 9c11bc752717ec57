"""Open a video file and demux it, and the errors that a file can cause."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

import av
import av.logging
from av.container import InputContainer

av.logging.set_level(None)  # FFmpeg prints nothing to stderr; what matters is raised or counted

# PyAV 18 raises UnicodeDecodeError for metadata that is not UTF-8 unless it is told to replace it; PyAV 19 replaces it
# anyway and no longer has the parameter.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}


class MediaError(ValueError):
    """A file that cannot be used. The message is one line: path, reason."""

    def __init__(self, path: str | os.PathLike[str], reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return (type(self), (str(self).removesuffix(f": {self.reason}"), self.reason))


class ChangedError(MediaError):
    """A file is no longer the one that its certificate describes."""


class DecodeObserver(Protocol):
    """Is told what a decode from the start of a file meets."""

    def packet(self, packet: av.Packet) -> None:
        """Called with each packet, before it is decoded."""

    def picture(self, picture: av.VideoFrame) -> None:
        """Called with each decoded picture."""

    def damaged(self) -> None:
        """Called when the file is torn, or when the decoder refuses a packet."""


@contextlib.contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Opens a file for one thread and gives its container and its best video stream.

    Only local files are opened: a "video" may be a playlist that names addresses, and a name may look like a protocol.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError: it is not a video that can be opened or, inside the block, decoded.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.getsize(path) == 0:
        raise MediaError(path, "the file is empty (0 bytes)")
    try:
        container = av.open(f"file:{path}", "r", options={"protocol_whitelist": "file"}, **_METADATA)
    except PermissionError:
        raise MediaError(path, "no permission to read it") from None
    except av.error.FFmpegError as error:
        raise MediaError(path, f"not a video that FFmpeg can open ({error.strerror})") from None
    with container:
        stream = video_stream(path, container)
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        try:
            yield container, stream
        except av.error.FFmpegError as error:
            raise decode_error(path, error) from None


def open_audio(path: str | os.PathLike[str]) -> tuple[InputContainer, av.AudioStream] | None:
    """A local file and its best audio stream; None if it has none that FFmpeg knows. The caller closes the file."""
    try:
        container = av.open(f"file:{os.fspath(path)}", "r", options={"protocol_whitelist": "file"}, **_METADATA)
    except (av.error.FFmpegError, OSError):
        return None
    stream = container.streams.best("audio")
    if isinstance(stream, av.AudioStream) and stream.codec_context is not None:
        return container, stream
    container.close()
    return None


def decode_error(path: str | os.PathLike[str], error: av.error.FFmpegError) -> MediaError:
    """The error to raise for one of FFmpeg's while a file is decoded."""
    return MediaError(path, f"FFmpeg cannot decode it ({error.strerror})")


def video_stream(path: str, container: InputContainer) -> av.VideoStream:
    """The best video stream of a container. Raises MediaError if it has none that can be decoded."""
    streams = container.streams
    videos = [s for s in streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not videos:
        kind = "a cover picture" if streams.video else "audio" if streams.audio else "other data"
        raise MediaError(path, f"no video stream, only {kind}")
    best = streams.best("video")
    stream = next((video for video in videos if video is best), videos[0])
    if stream.codec_context is None:
        raise MediaError(path, "its video codec is unknown to FFmpeg")
    return stream


def iter_packets(
    container: InputContainer, stream: av.VideoStream, observer: DecodeObserver | None = None
) -> Iterator[av.Packet]:
    """The packets up to the end of the file, or to where it is torn. The last one is empty and flushes the decoder."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            if observer:
                observer.damaged()
            yield av.Packet()
            return
        yield packet


def iter_decoded(
    container: InputContainer, stream: av.VideoStream, observer: DecodeObserver | None = None
) -> Iterator[av.VideoFrame]:
    """The pictures of a plain decode from the start. A packet that the decoder refuses is skipped."""
    for packet in iter_packets(container, stream, observer):
        if observer:
            observer.packet(packet)
        try:
            pictures = stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            if observer:
                observer.damaged()
            continue
        for picture in pictures:
            if observer:
                observer.picture(picture)
            yield picture
