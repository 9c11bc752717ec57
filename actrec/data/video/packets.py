"""The packets of a certified file that wanted frames need, to decode them or to copy them."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Set
from typing import BinaryIO, Protocol

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from actrec.data.storage import is_local
from actrec.data.video.certificate import Certificate, StreamInfo, file_version
from actrec.data.video.container import ChangedError, decode_error, open_video
from actrec.opening import open_regular

# The smallest files that FFmpeg takes for raw H.264 and HEVC: an access unit delimiter.
_EMPTY_STREAMS = {"h264": b"\0\0\0\1\x09\x10", "hevc": b"\0\0\0\1\x46\x01\x10"}


class PacketSource(Protocol):
    """An open file whose packets can be read from any keyframe on."""

    def decoder(self) -> av.VideoCodecContext:
        """A decoder for its packets."""

    def add_stream(self, output: OutputContainer) -> av.VideoStream:
        """Adds a stream to a file to be written that takes copies of its packets."""

    def run(self, key: int, wanted: Set[int], *, with_droppable: bool) -> Iterator[av.Packet]:
        """The packets from a keyframe to the last wanted one, in decoding order. It ends early if one is missing.

        Args:
            key: number of the keyframe in the certificate.
            wanted: timestamps of frames from this keyframe up to the next one.
            with_droppable: include the packets that no wanted frame needs.
        """


@contextlib.contextmanager
def open_packets(path: str | os.PathLike[str], certificate: Certificate) -> Iterator[PacketSource]:
    """Opens a certified file, without its container where the certificate says where the packets are located.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError: it cannot be opened or, inside the block, decoded.
        ChangedError: it is not the file that the certificate describes.
    """
    if certificate.stream is None or not is_local(path):
        with open_video(path) as (container, stream):
            yield _ContainerPackets(container, stream, certificate)
        return
    assert certificate.packets is not None
    try:
        with open_regular(path, buffering=0) as file:
            if file_version(file) != certificate.stream.file_version:
                raise ChangedError(path, "the file has changed since it was indexed")
            yield _FilePackets(file, certificate, certificate.packets, certificate.stream)
    except FileNotFoundError:
        raise FileNotFoundError(f"{os.fspath(path)}: no such file") from None
    except av.error.FFmpegError as error:
        raise decode_error(path, error) from None


class _FilePackets:
    """Reads packets from where they are located: no container is opened, and what is not needed is not even read."""

    def __init__(self, file: BinaryIO, certificate: Certificate, packets: np.ndarray, stream: StreamInfo):
        self._file, self._packets, self._stream = file, packets, stream
        self._key_pts, self._preamble = certificate.key_pts, certificate.preamble

    def decoder(self) -> av.VideoCodecContext:
        context = av.CodecContext.create(self._stream.codec, "r")
        assert isinstance(context, av.VideoCodecContext)
        context.thread_count, context.thread_type = 1, "NONE"
        context.reorder_depth = self._stream.reorder_depth
        self._describe(context)
        return context

    def add_stream(self, output: OutputContainer) -> av.VideoStream:
        # PyAV copies streams, but does not make them from a description: so copy one that is empty and describe it.
        codec = self._stream.codec
        with av.open(io.BytesIO(_EMPTY_STREAMS[codec]), "r", format=codec) as empty:
            stream = output.add_stream_from_template(empty.streams.video[0], opaque=True)
        self._describe(stream.codec_context)
        return stream

    def _describe(self, context: av.VideoCodecContext) -> None:
        stream = self._stream
        context.extradata = stream.extradata
        context.width, context.height = stream.width, stream.height  # some containers crop what the codec does not
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = stream.color

    def _place(self, key: int) -> int:
        """Where a keyframe is in decoding order; the end for those after the last one."""
        if key >= len(self._key_pts):
            return len(self._packets)
        return int(np.flatnonzero(self._packets["pts"] == self._key_pts[key])[0])

    def run(self, key: int, wanted: Set[int], *, with_droppable: bool) -> Iterator[av.Packet]:
        key_pts = int(self._key_pts[key])
        # HEVC: pictures shown before the next keyframe may follow it, but come before the keyframe after that.
        group = self._packets[self._place(key) : self._place(key + 2)]
        found = np.flatnonzero(np.isin(group["pts"], list(wanted)))
        run = group[: found[-1] + 1]
        needed = ~run["droppable"] | with_droppable
        needed[found] = True
        for pts, offset, size, _ in run[needed].tolist():
            self._file.seek(offset)
            data = self._file.read(size)
            packet = av.Packet(self._preamble + data if pts == key_pts else data)
            packet.pts, packet.is_keyframe = pts, pts == key_pts
            yield packet


class _ContainerPackets:
    """Seeks in the container and demuxes from there."""

    def __init__(self, container: InputContainer, stream: av.VideoStream, certificate: Certificate):
        self._container, self._stream, self._certificate = container, stream, certificate
        packets = certificate.packets
        self._droppable = set() if packets is None else set(packets["pts"][packets["droppable"]].tolist())

    def decoder(self) -> av.VideoCodecContext:
        return self._stream.codec_context

    def add_stream(self, output: OutputContainer) -> av.VideoStream:
        return output.add_stream_from_template(self._stream, opaque=True)  # AV1 has no encoder of the decoder's name

    def run(self, key: int, wanted: Set[int], *, with_droppable: bool) -> Iterator[av.Packet]:
        missing, key_pts, entered = len(wanted), int(self._certificate.key_pts[key]), False
        self._container.seek(int(self._certificate.key_dts[key]), stream=self._stream, backward=True)
        for packet in self._container.demux(self._stream):
            pts = packet.pts
            if pts is None or not packet.size:
                continue
            if not entered and pts != key_pts:
                if packet.is_keyframe and pts > key_pts:
                    return  # the container's table of seek points leads past it: the caller reports that
                continue
            if not entered and self._certificate.preamble:
                packet = _with_preamble(packet, self._certificate.preamble)
            entered = True
            if with_droppable or pts in wanted or pts not in self._droppable:
                yield packet
            missing -= pts in wanted
            if not missing:
                return


def _with_preamble(packet: av.Packet, preamble: bytes) -> av.Packet:
    longer = av.Packet(preamble + bytes(packet))
    longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
    longer.is_keyframe, longer.stream = packet.is_keyframe, packet.stream
    return longer
