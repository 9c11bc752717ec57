"""Open a video file and demux it, and the errors that a file can cause."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

import av
import av.logging
from av.container import InputContainer

from actrec.data.errors import ChangedError as ChangedError
from actrec.data.errors import MediaError as MediaError
from actrec.data.errors import SurpriseError as SurpriseError
from actrec.data.limits import limits, why_too_large
from actrec.data.storage import RemoteError, is_remote, local_file, open_bytes
from actrec.data.video.refused import why_no_video
from actrec.opening import check_regular
from actrec.system import raise_if_exhausted

av.logging.set_level(None)  # FFmpeg prints nothing to stderr; what matters is raised or counted

# PyAV 18 raises UnicodeDecodeError for metadata that is not UTF-8 unless it is told to replace it; PyAV 19 replaces it
# anyway and no longer has the parameter.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}

TIMEOUT = 60.0  # seconds for which the opening of a file, and each read, may wait for a slow disk or network

# FFmpeg's readers of files that contain video. It chooses one by the content of a file, whatever its name says. Those
# that are missing open other files or addresses (playlists such as hls, dash and concat; sdp, rtsp, image2, mlv), or
# read what is no video, such as images, text and subtitles.
FORMATS = (
    "mov,matroska,avi,flv,kux,mpegts,mpeg,mpegvideo,asf,ogg,rm,mxf,gxf,dv,nut,wtv,nuv,swf,ty,pva,nsv,dhav,cine,"
    "mjpeg,mpjpeg,smjpeg,gif,apng,yuv4mpegpipe,ivf,av1,obu,h261,h263,h264,hevc,vvc,evc,m4v,vc1,vc1test,"
    "cavsvideo,avs2,avs3,dirac,dnxhd,flic,bink,smk"
)

_SKIPPING = ("mov", "matroska")  # readers that need not read the packets of other streams, such as audio


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

    Only this file is opened, whatever it contains: no playlist, no pipe, no device, and no other file that it names.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError: it is not a video that can be opened or, inside the block, decoded; its pictures have more than
            `Limits.max_pixels` pixels; or it could not be read for `TIMEOUT` seconds.
    """
    path = os.fspath(path)
    with contextlib.ExitStack() as opened:
        try:
            local = opened.enter_context(local_file(path))
            size = local.size if local.size is not None else check_regular(local.path).st_size
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{path}: no such file") from None
        except OSError as error:
            raise unreadable(path, error) from None
        if not size:
            raise MediaError(path, "the file is empty (0 bytes)")
        try:
            container = opened.enter_context(_open(path, **decoder_limit()))
        except av.error.ExitError as error:
            raise decode_error(path, error) from None
        except av.error.FFmpegError as error:
            raise_if_exhausted(path, error)
            raise MediaError(path, _why_not_opened(path, error)) from None
        stream = video_stream(path, container)
        _check_size(path, stream)
        stream.codec_context.options = decoder_limit()  # the size may change later
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        try:
            yield container, stream
        except av.error.FFmpegError as error:
            raise decode_error(path, error) from None


def open_audio(path: str | os.PathLike[str]) -> tuple[InputContainer, av.AudioStream] | None:
    """A file and its best audio stream; None if it has none that FFmpeg knows. The caller closes the file."""
    path = os.fspath(path)
    try:
        with local_file(path) as local:  # once it is open, its content stays, whatever the cache removes
            check_regular(local.path)
            container = _open(path, **decoder_limit())
    except (av.error.FFmpegError, OSError, MediaError):
        return None
    stream = container.streams.best("audio")
    if isinstance(stream, av.AudioStream) and stream.codec_context is not None:
        return container, stream
    container.close()
    return None


def _open(path: str, **options: str) -> InputContainer:
    with local_file(path) as local:
        address, protocols = f"file:{local.path}", "file"
        if local.size is not None:  # a part of a file; positions are relative to its start
            address = f"subfile,,start,{local.offset},end,{local.offset + local.size},,:{address}"
            protocols = "file,subfile"
        whitelists = {"protocol_whitelist": protocols, "format_whitelist": FORMATS}
        settings: dict[str, Any] = {"options": whitelists | options, "timeout": (TIMEOUT, TIMEOUT), **_METADATA}
        try:
            return av.open(address, "r", **settings)
        except av.error.ArgumentError:
            if not _is_raw_mjpeg(path):
                raise
            return av.open(address, "r", format="mjpeg", **settings)


def _is_raw_mjpeg(path: str) -> bool:
    """FFmpeg may take its content for a sequence of images."""
    if not path.lower().endswith((".mjpeg", ".mjpg")):
        return False
    with open_bytes(path) as file:
        return file.read(3) == b"\xff\xd8\xff"


def decoder_limit() -> dict[str, str]:
    """The option with which FFmpeg allocates no larger pictures. It needs some more, because decoders add borders."""
    return {"max_pixels": str(limits().max_pixels * 5 // 4 + (1 << 16))}


def _why_not_opened(path: str, error: av.error.FFmpegError) -> str:
    try:
        if reason := why_no_video(path):
            return reason
    except PermissionError:  # FFmpeg's error may only look like one, because some of its readers return -1
        return "no permission to read it"
    except OSError as unreadable:
        return unreadable.strerror or "cannot be read"
    if isinstance(error, av.error.ArgumentError):  # the format is not on the whitelist
        return "not a video, but another kind of file that FFmpeg can read"
    return f"not a video that FFmpeg can open ({error.strerror})"


def _check_size(path: str, stream: av.VideoStream) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if not width * height:  # FFmpeg forgets sizes that are too large for it
        with contextlib.suppress(av.error.FFmpegError), _open(path, analyzeduration="0", probesize="32") as container:
            stated = video_stream(path, container).codec_context
            width, height = stated.width, stated.height
    if reason := why_too_large(width, height):
        raise MediaError(path, f"its frames are too large: {reason}")


def unreadable(path: str | os.PathLike[str], error: OSError) -> MediaError:
    """The error to raise for one of the system. That of a URL, such as refused access, says nothing about the file."""
    reason = (error.strerror or str(error)).encode("utf-8", "backslashreplace").decode()
    return (RemoteError if is_remote(path) else MediaError)(path, reason)


def decode_error(path: str | os.PathLike[str], error: av.error.FFmpegError) -> MediaError:
    """The error to raise for one of FFmpeg's while a file is decoded."""
    if isinstance(error, av.error.ExitError):
        reason = f"no data could be read for {TIMEOUT:g} seconds: check the disk or network share"
        return MediaError(path, reason)
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


def padded_packet(data: bytes) -> av.Packet:
    """A packet of these bytes with zeros after them, which decoders may read. `av.Packet(data)` does not add zeros."""
    packet = av.Packet(len(data))
    packet.update(data)
    return packet


def demux(container: InputContainer, *streams: av.stream.Stream) -> Iterator[av.Packet]:
    """The packets of some streams, of all if none is given; at the end, an empty packet for each of them."""
    # PyAV fails after these if more streams have appeared since the file was opened, as in MPEG-TS.
    with contextlib.suppress(IndexError):
        yield from container.demux(*streams)


def iter_packets(
    container: InputContainer, stream: av.VideoStream, observer: DecodeObserver | None = None
) -> Iterator[av.Packet]:
    """The packets up to the end of the file, or to where it is torn. The last one is empty and flushes the decoder."""
    if container.format.name.startswith(_SKIPPING):
        for other in container.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all
    packets = demux(container, stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.ExitError:  # the time limit says nothing about the file
            raise
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
