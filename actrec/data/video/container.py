"""Opening a video file and demuxing it, and the errors that a file can cause."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
import av.logging

if TYPE_CHECKING:
    from actrec.data.video.certificate import Trail

av.logging.set_level(None)  # FFmpeg's own lines on stderr; what matters is raised or counted

# PyAV 18 raises UnicodeDecodeError for metadata that is not UTF-8 unless it is told to replace it; PyAV 19 replaces it
# anyway and no longer has the parameter.
_METADATA = {"metadata_errors": "replace"} if hasattr(av.container.InputContainer, "metadata_errors") else {}


class MediaError(ValueError):
    """A file that cannot be used. The message is one line: path, reason."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason

    def __reduce__(self):
        return (type(self), (str(self).removesuffix(f": {self.reason}"), self.reason))


class ChangedError(MediaError):
    """A file is no longer the one that its certificate is of."""


@contextlib.contextmanager
def open_video(path: str | os.PathLike):
    """(container, video stream), for one thread.

    Only local files: a "video" may be a playlist that names addresses, and a name may look like a protocol.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.getsize(path) == 0:
        raise MediaError(path, "the file is empty (0 bytes)")
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, **_METADATA)
    except PermissionError:
        raise MediaError(path, "no permission to read it") from None
    except av.error.FFmpegError as error:
        raise MediaError(path, f"not a video that FFmpeg can open ({error.strerror})") from None
    with container:
        pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures:
            kind = (
                "a cover picture" if container.streams.video else "audio" if container.streams.audio else "other data"
            )
            raise MediaError(path, f"no video stream, only {kind}")
        stream = container.streams.best("video")
        stream = stream if stream in pictures else pictures[0]
        if stream.codec_context is None:
            raise MediaError(path, "its video codec is unknown to FFmpeg")
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        try:
            yield container, stream
        except av.error.FFmpegError as error:
            raise MediaError(path, f"FFmpeg cannot decode it ({error.strerror})") from None


def iter_packets(container, stream, trail: Trail | None = None) -> Iterator[av.Packet]:
    """Packets up to the end of the file or to where it is torn; the last one is empty and flushes the decoder."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            if trail:
                trail.damaged()
            yield av.Packet()
            return
        yield packet


def decode_all(container, stream, trail: Trail | None = None) -> Iterator[av.VideoFrame]:
    """A plain decode. A packet that the decoder refuses is passed over."""
    for packet in iter_packets(container, stream, trail):
        if trail:
            trail.packet(packet)
        try:
            pictures = stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            if trail:
                trail.damaged()
            continue
        for picture in pictures:
            if trail:
                trail.picture(picture)
            yield picture
