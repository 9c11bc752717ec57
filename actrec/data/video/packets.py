"""The packets of a certified file that wanted frames need, to decode them or to copy them."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from actrec.data.storage import is_local, read_ranges
from actrec.data.video.certificate import MAX_HEADER, Certificate, StreamInfo, file_version
from actrec.data.video.container import (
    ChangedError,
    decode_error,
    decoder_limit,
    demux,
    open_video,
    padded_packet,
)
from actrec.opening import open_regular
from actrec.system import read_at

_AT_ONCE = 64 << 20  # bytes that are fetched together; many frames of a long video need more
# Format and content of files without a picture: an access unit delimiter, or the header of an IVF file.
_EMPTY_FILES = {
    "h264": ("h264", b"\0\0\0\1\x09\x10"),
    "hevc": ("hevc", b"\0\0\0\1\x46\x01\x10"),
    "vp8": ("ivf", b"DKIF\0\0 \0VP80".ljust(32, b"\1")),
    "vp9": ("ivf", b"DKIF\0\0 \0VP90".ljust(32, b"\1")),
    "av1": ("ivf", b"DKIF\0\0 \0AV01".ljust(32, b"\1")),
}


@dataclass(frozen=True)
class Run:
    """What some wanted frames need that are decoded from the same keyframe.

    Args:
        key: number of the keyframe in the certificate.
        wanted: timestamps of the wanted frames, ascending. Those after the last frame have that of the last one.
        needed: places of the needed packets in `Certificate.packets`, ascending: in decoding order.
    """

    key: int
    wanted: list[int]
    needed: np.ndarray


def plan_runs(certificate: Certificate, positions: np.ndarray, *, with_droppable: bool) -> list[Run]:
    """The runs that frames need, in the order in which the frames are shown.

    Args:
        positions: ascending frame numbers. One past the last frame becomes the last frame.
        with_droppable: include the packets that no wanted frame needs.
    """
    place = certificate.place_of_frame[np.minimum(positions, len(certificate.pts) - 1)]
    pts = certificate.packets["pts"][place]
    key_of = np.searchsorted(certificate.key_pts, pts, side="right") - 1
    keys, begins = np.unique(key_of, return_index=True)
    runs = []
    for key, begin, end in zip(keys.tolist(), begins.tolist(), [*begins[1:].tolist(), len(pts)]):
        first, found = int(certificate.place_of_key[key]), place[begin:end]
        is_needed = ~certificate.packets["droppable"][first : found.max() + 1] | with_droppable
        is_needed[found[found >= first] - first] = True
        runs.append(Run(key, pts[begin:end].tolist(), first + np.flatnonzero(is_needed)))
    return runs


def needed_ranges(
    certificate: Certificate, positions: Sequence[int] | np.ndarray, *, with_droppable: bool = False
) -> tuple[list[tuple[int, int]], list[int] | None]:
    """Which bytes of a file some frames need: (offset, size) of each packet, ascending, and the CRC-32 of each.

    Args:
        certificate: of the file. It must say where its packets are (`Certificate.stream`).
        positions, with_droppable: as for `plan_runs`.
    """
    runs = plan_runs(certificate, np.asarray(positions, np.int64), with_droppable=with_droppable)
    places = np.unique(np.concatenate([run.needed for run in runs]))
    return _ranges_of(certificate, places)


def _ranges_of(certificate: Certificate, places: np.ndarray) -> tuple[list[tuple[int, int]], list[int] | None]:
    needed = certificate.packets[places]
    crcs = None if certificate.crcs is None else certificate.crcs[places].tolist()
    return list(zip(needed["offset"].tolist(), needed["size"].tolist())), crcs


class PacketSource(Protocol):
    """An open file whose packets can be read from any keyframe on."""

    def decoder(self) -> av.VideoCodecContext:
        """A decoder for its packets."""

    def add_stream(self, output: OutputContainer) -> av.VideoStream:
        """Adds a stream to a file to be written that takes copies of its packets."""

    def packets(self, run: Run) -> Iterator[av.Packet]:
        """The needed packets of a run. It ends early if one is missing."""


@contextlib.contextmanager
def open_packets(path: str | os.PathLike[str], certificate: Certificate, runs: Sequence[Run]) -> Iterator[PacketSource]:
    """Opens a certified file, without its container where the certificate says where the packets are located.

    Args:
        runs: All runs that will be read, in this order.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError: it cannot be opened or, inside the block, decoded.
        ChangedError: it is not the file that the certificate describes.
    """
    if certificate.stream is None or (certificate.crcs is None and not is_local(path)):
        with open_video(path) as (container, stream):
            yield _ContainerPackets(container, stream, certificate)
        return
    if not is_local(path):
        yield _DistantPackets(path, certificate, certificate.stream, runs)
        return
    try:
        with open_regular(path, buffering=0) as file:
            if file_version(file) != certificate.stream.file_version:
                raise ChangedError(path, "the file has changed since it was indexed")
            yield _FilePackets(file, certificate, certificate.stream)
    except FileNotFoundError:
        raise FileNotFoundError(f"{os.fspath(path)}: no such file") from None
    except av.error.FFmpegError as error:
        raise decode_error(path, error) from None


class _DirectPackets:
    """Reads packets from where they are located: no container is opened, and what is not needed is not even read."""

    def __init__(self, certificate: Certificate, stream: StreamInfo):
        self._certificate, self._stream = certificate, stream

    def decoder(self) -> av.VideoCodecContext:
        context = av.CodecContext.create(self._stream.codec, "r")
        assert isinstance(context, av.VideoCodecContext)
        context.thread_count, context.thread_type = 1, "NONE"
        context.reorder_depth = self._stream.reorder_depth
        context.options = _decoder_options(self._stream.codec)
        self._describe(context)
        return context

    def add_stream(self, output: OutputContainer) -> av.VideoStream:
        # PyAV copies streams, but does not make them from a description: so copy one that is empty and describe it.
        form, content = _EMPTY_FILES[self._stream.codec.removeprefix("libda").replace("v1d", "av1")]
        with av.open(io.BytesIO(content), "r", format=form) as empty:
            stream = output.add_stream_from_template(empty.streams.video[0], opaque=True)
        self._describe(stream.codec_context)
        return stream

    def _describe(self, context: av.VideoCodecContext) -> None:
        stream = self._stream
        context.extradata = stream.extradata
        context.width, context.height = stream.width, stream.height  # some containers crop what the codec does not
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = stream.color

    def packets(self, run: Run) -> Iterator[av.Packet]:
        key_pts = int(self._certificate.key_pts[run.key])
        for pts, data in zip(self._certificate.packets["pts"][run.needed].tolist(), self._read(run)):
            packet = padded_packet(self._certificate.preamble + data if pts == key_pts else data)
            packet.pts, packet.is_keyframe = pts, pts == key_pts
            yield packet

    def _read(self, run: Run) -> Iterator[bytes]:
        """The bytes of the needed packets."""
        raise NotImplementedError


class _FilePackets(_DirectPackets):
    """Those of a local file."""

    def __init__(self, file: BinaryIO, certificate: Certificate, stream: StreamInfo):
        super().__init__(certificate, stream)
        self._file = file

    def _read(self, run: Run) -> Iterator[bytes]:
        for _, offset, size, _ in self._certificate.packets[run.needed].tolist():
            yield read_at(self._file, offset, size)


class _DistantPackets(_DirectPackets):
    """Those of a URL, or of a member of an archive: the packets of several runs are fetched together."""

    def __init__(self, path: str | os.PathLike[str], certificate: Certificate, stream: StreamInfo, runs: Sequence[Run]):
        super().__init__(certificate, stream)
        self._path, self._coming = path, list(runs)
        self._data: dict[int, bytes] = {}  # by the place of the packet

    def _read(self, run: Run) -> Iterator[bytes]:
        if not set(run.needed.tolist()) <= self._data.keys():
            self._fetch()
        self._coming.pop(0)
        return map(self._data.__getitem__, run.needed.tolist())

    def _fetch(self) -> None:
        """Reads the packets of the next runs, at least of one."""
        sizes, fetched, size = self._certificate.packets["size"], list[Run](), 0
        for run in self._coming:
            size += int(sizes[run.needed].sum())
            if fetched and size > _AT_ONCE:
                break
            fetched.append(run)
        places = np.unique(np.concatenate([run.needed for run in fetched]))
        ranges, crcs = _ranges_of(self._certificate, places)
        self._data = dict(zip(places.tolist(), read_ranges(os.fspath(self._path), ranges, crcs)))


class _ContainerPackets:
    """Seeks in the container and demuxes from there."""

    def __init__(self, container: InputContainer, stream: av.VideoStream, certificate: Certificate):
        self._container, self._stream, self._certificate = container, stream, certificate

    def decoder(self) -> av.VideoCodecContext:
        context = self._stream.codec_context
        context.options = _decoder_options(context.codec.name)
        return context

    def add_stream(self, output: OutputContainer) -> av.VideoStream:
        return output.add_stream_from_template(self._stream, opaque=True)  # AV1 has no encoder of the decoder's name

    def packets(self, run: Run) -> Iterator[av.Packet]:
        certificate, entered = self._certificate, False
        missing = {pts: place for pts, *place, _ in certificate.packets[run.needed].tolist()}
        key_pts = int(certificate.key_pts[run.key])
        self._container.seek(int(certificate.key_dts[run.key]), stream=self._stream, backward=True)
        for packet in demux(self._container, self._stream):
            pts = packet.pts
            if pts is None or not packet.size:
                continue
            if not entered and pts != key_pts:
                if packet.is_keyframe and pts > key_pts:
                    return  # the container's table of seek points leads past it: the caller reports that
                continue
            if pts in missing and not _is_at(packet, *missing[pts]):
                return  # the container's table of seek points names another packet
            if not entered and certificate.preamble:
                packet = _with_preamble(packet, certificate.preamble)
            entered = True
            if missing.pop(pts, None) is not None:
                yield packet
            if not missing:
                return


def _is_at(packet: av.Packet, offset: int, size: int) -> bool:
    """Whether a packet is the one of a certificate that is stored there."""
    position = -1 if packet.pos is None else packet.pos
    return packet.size == size and (offset < 0 or position <= offset <= position + MAX_HEADER)


def _decoder_options(codec: str) -> dict[str, str]:
    """These decoders leave what they show in place of a damaged part to chance, and tell it only if asked."""
    return decoder_limit() | ({"err_detect": "explode"} if codec in ("h264", "hevc", "mjpeg") else {})


def _with_preamble(packet: av.Packet, preamble: bytes) -> av.Packet:
    longer = padded_packet(preamble + bytes(packet))
    longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
    longer.is_keyframe, longer.stream = packet.is_keyframe, packet.stream
    return longer
