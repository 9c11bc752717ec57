"""The proof that a file may be entered at its keyframes, and which packets a frame then needs."""

from __future__ import annotations

import contextlib
import functools
import os
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Self

import av
import numpy as np

from actrec.data.storage import is_local, local_file
from actrec.data.video.color import picture_checksum
from actrec.data.video.container import iter_decoded, iter_packets, open_video
from actrec.data.video.damage import DamageCount, Gaps
from actrec.data.video.orientation import Orientation
from actrec.data.video.structure import MISSING, StructureCheck, x264_unit
from actrec.opening import open_regular
from actrec.system import read_at

# Decoders in which a keyframe resets everything. H.264 and HEVC keyframes qualify one by one: only IDR pictures do.
# Those of VP8, VP9, AV1 and MJPEG are checked by their first bytes (`KeyframeCheck`).
# MPEG-1, -2 and -4 do not qualify: open GOPs and packed B-frames leak across keyframes without an error.
SEEKABLE = {"h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mjpeg"}
DIRECT = {*SEEKABLE} - {"mjpeg"}  # what an MJPEG decoder does depends on more of the container than is kept here
# If a packet ends too early, FFmpeg's VP8 decoder shows old content of its memory, without an error.
_SILENT = {"vp8"}
_SAMPLED = (0, 4)  # the pictures of a group whose checksums are kept: the keyframe, and the fourth after it
_MAX_GROUPS = 8  # groups of which checksums are kept
_LARGEST_HEAD = 1 << 20  # bytes of packets that are kept to decode the first picture, which rarely needs more
_BLOCK = 1 << 18  # bytes of the file that are read at a time to find packets in it
MAX_HEADER = 64  # bytes between a packet's position, as the container gives it, and its first byte
# A packet in a file. `droppable`: no other picture refers to its picture. It is found out for H.264 and HEVC only.
PACKET = np.dtype([("pts", "i8"), ("offset", "i8"), ("size", "i4"), ("droppable", "?")])


@dataclass(frozen=True)
class StreamInfo:
    """What the container says of a video stream: with it, packets are decoded without the container.

    Args:
        color: colorspace, range, primaries and transfer, as FFmpeg numbers them.
        width, height: in pixels, as stored.
        orientation: from the stored to the displayed picture.
        file_version: of the file that was examined.
    """

    codec: str
    extradata: bytes | None
    color: tuple[int, int, int, int]
    reorder_depth: int
    width: int
    height: int
    orientation: Orientation
    file_version: tuple[int, int]


@dataclass(frozen=True)
class Certificate:
    """Proof that a file may be entered at any keyframe.

    Args:
        pts: timestamp of every frame, ascending; frame i of a plain decode has pts[i].
        key_pts, key_dts: timestamps of the keyframes, ascending.
        packets: where each packet is located in the file, in decoding order: an array of `PACKET`.
        stream: how to decode those packets; None if some are not stored in one piece.
        preamble: what a decoder that enters must read in front of the first packet: the file's first packet said it.
        crcs: CRC-32 of each packet, if the file is at a URL or in an archive; None for other files.
    """

    pts: np.ndarray
    key_pts: np.ndarray
    key_dts: np.ndarray
    packets: np.ndarray
    stream: StreamInfo | None = None
    preamble: bytes = b""
    crcs: np.ndarray | None = None

    @functools.cached_property
    def place_of_frame(self) -> np.ndarray:
        """For each frame the place of its packet in `packets`."""
        return np.argsort(self.packets["pts"]).astype(np.int32)

    @functools.cached_property
    def place_of_key(self) -> np.ndarray:
        """For each keyframe the place of its packet in `packets`."""
        return self.place_of_frame[np.searchsorted(self.pts, self.key_pts)]

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        arrays = (self.pts, self.key_pts, self.key_dts, self.packets, self.crcs, self.place_of_frame, self.place_of_key)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class Finding:
    """What the packets of a file say about entering it.

    Args:
        certificate: of the file, if decoding it gives one picture per packet, in the order of the timestamps. None if
            decoding may not start at its keyframes even then.
        doubt: why this is not certain without decoding the whole file; None if it is certain.
    """

    certificate: Certificate | None
    doubt: str | None = None


def file_version(file: BinaryIO) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds: they tell whether a file has changed."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


class PacketExaminer:
    """Reads the packets of a file, from first to last, and finds where decoding may start. A context manager.

    Nothing that decoders remember may change between the keyframes. A picture of another size is shown in the size of
    the first one, which must be known, so a file with such a picture cannot be entered in the middle.
    """

    def __init__(self, path: str | os.PathLike[str], stream: av.VideoStream):
        self._path = path
        self._context = stream.codec_context
        self._codec = self._context.codec.canonical_name
        self._extradata = self._context.extradata or b""
        self._sound = self._codec in SEEKABLE
        self._packets: list[tuple[int, int, int]] = []  # pts, offset and size in the file
        self._crcs: list[int] | None = None if is_local(path) else []
        self._read, self._read_from = b"", 0  # a part of the file, and where it begins
        self._layers: list[tuple[bool, int]] = []  # of each packet: non-reference in its temporal layer; that layer
        self._keys: list[tuple[int, int]] = []  # pts, dts
        self._size: tuple[int, int] | None = None
        self._orientation = Orientation()
        self._sets: frozenset[bytes] | None = None  # parameter sets that each keyframe brings along
        self._x264 = b""  # what the first packet says of the encoder
        container = stream.container.format.name
        self._structure = StructureCheck(self._codec, self._extradata, container, self._context.reorder_depth)
        self._reason: str | None = None  # why the container alone puts the file in doubt

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            found = opened.enter_context(local_file(self._path))
            self._file = opened.enter_context(open_regular(found.path, buffering=0))
            self._begin = found.offset
            self._version = file_version(self._file)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def packet(self, packet: av.Packet) -> None:
        """Takes the next packet."""
        if not self._sound or not packet.size:
            return
        added = {part.data_type for part in packet.iter_sidedata()}
        if packet.pts is None or packet.is_discard or packet.is_corrupt or "new_extradata" in added:
            self._sound = False
            return
        pts, data = packet.pts, bytes(packet)
        facts = self._structure.packet(data, pts, packet.is_keyframe)
        if facts.is_sync or facts.parameter_sets:
            self._check_parameter_sets(facts.parameter_sets, facts.is_sync)
        if not self._packets or facts.x264 is not None or facts.has_film_grain:
            self._check_messages(facts.x264, facts.has_film_grain)
        self._layers.append((facts.is_non_reference, facts.temporal_layer))
        self._packets.append((pts, self._offset(packet.pos, data), len(data)))
        if self._crcs is not None:
            self._crcs.append(zlib.crc32(data))
        if facts.is_sync:
            self._keys.append((pts, pts if packet.dts is None else packet.dts))
        if "skip_samples" in added:
            self._reason = "the container says that samples are skipped"

    def picture(self, picture: av.VideoFrame) -> None:
        """Takes the first picture of a plain decode."""
        self._size, self._orientation = (picture.width, picture.height), Orientation.of(picture)
        self._sound = self._sound and picture.pts is not None and not picture.is_corrupt

    @property
    def is_first_picture_first(self) -> bool:
        """Whether the first packet holds a picture that needs no other one, and is shown before all others."""
        return bool(self._sound and self._keys) and self._keys[0][0] == self._packets[0][0] == min(self._packets)[0]

    def damaged(self) -> None:
        """Notes that the file is torn."""
        self._sound = False

    def certificate(self) -> Certificate | None:
        """The certificate, if decoding gives one picture per packet, in the order of the timestamps.

        None if the file may not be entered at its keyframes even then.
        """
        pts = self._timestamps()
        if not self._sound or self._size is None or not self._keys or self._keys[0][0] > pts[0]:
            return None
        if len(self._packets) != len(pts):
            return None
        if self._structure.doubt() == MISSING:  # FFmpeg fills the gap with the last picture, which may be one to skip
            return None
        key_pts, key_dts = np.array(sorted(self._keys), np.int64).T
        preamble = x264_unit(self._x264, self._extradata) if self._x264 else b""
        crcs = None if self._crcs is None else np.array(self._crcs, np.uint32)
        return Certificate(np.array(pts, np.int64), key_pts, key_dts, *self._packets_in_file(), preamble, crcs)

    def finding(self) -> Finding:
        """What is known after the last packet and the first picture."""
        doubt = self._reason or self._structure.doubt()
        if doubt is None and self._structure.hides_damage:
            doubt = "damage inside its pictures would not be seen"
        return Finding(self.certificate(), doubt)

    def _timestamps(self) -> list[int]:
        return sorted({pts for pts, _, _ in self._packets})

    def _check_parameter_sets(self, sets: frozenset[bytes], is_key: bool) -> None:
        """A decoder that enters at a keyframe must know all parameter sets that a plain decode has met by then."""
        if is_key and self._sets is None:
            self._sets = sets
        if not (sets == self._sets if is_key else sets <= (self._sets or frozenset())):
            self._sound = False

    def _check_messages(self, x264: bytes | None, has_film_grain: bool) -> None:
        """A decoder that enters at a keyframe must know what a plain decode has learned of the encoder by then.

        FFmpeg counts the keyframes to choose the noise of film grain, so it depends on everything before.
        """
        if not self._packets:
            self._x264 = x264 or b""
        self._sound = self._sound and not has_film_grain and (x264 is None or x264 == self._x264)

    def _offset(self, position: int | None, data: bytes) -> int:
        """Where a packet's bytes begin in the file; -1 if they are not stored in one piece."""
        if position is None or position < 0:
            return -1
        at, size = position - self._read_from, len(data)
        if at < 0 or at + size + MAX_HEADER > len(self._read):
            self._read_from, at = position, 0
            self._read = read_at(self._file, self._begin + position, max(_BLOCK, size + MAX_HEADER))
        if self._read[at : at + size] == data:  # as in MP4
            return position
        found = self._read.find(data, at, at + size + MAX_HEADER)
        return position + found - at if found >= 0 else -1

    def _packets_in_file(self) -> tuple[np.ndarray, StreamInfo | None]:
        assert self._size is not None
        packets = np.zeros(len(self._packets), PACKET)
        packets["pts"], packets["offset"], packets["size"] = np.array(self._packets, np.int64).T
        if self._structure.knows_references:
            packets["droppable"] = droppable(self._layers)
        if (packets["offset"] < 0).any() or self._codec not in DIRECT:
            return packets, None
        context = self._context
        return packets, StreamInfo(
            codec=context.codec.name,
            extradata=context.extradata,
            color=(
                int(context.colorspace),
                int(context.color_range),
                int(context.color_primaries),
                int(context.color_trc),
            ),
            reorder_depth=context.reorder_depth,
            width=self._size[0],
            height=self._size[1],
            orientation=self._orientation,
            file_version=self._version,
        )


class Examiner(PacketExaminer):
    """Observes a plain decode and judges whether the file may be entered at its keyframes. A context manager.

    A file earns a certificate if its decode gave exactly the timestamps of its packets, in order, without damage, if
    all its pictures have one size, and if its packets allow it (`PacketExaminer`).

    Args:
        strict: count all damage: hear what the decoder prints, and decode MJPEG a second time.

    Attributes:
        damage: how many packets or pictures had errors.
        checksums: of pictures after the first group, for a test of the certificate.
    """

    def __init__(self, path: str | os.PathLike[str], stream: av.VideoStream, *, strict: bool = False):
        super().__init__(path, stream)
        self._strict = _strict_decoder(self._context) if strict and self._codec == "mjpeg" else None
        self.damage = DamageCount(self._context.codec.name if strict else None)
        self._gaps = Gaps(self._context.codec.name) if strict else None
        self._is_strict, self._is_silent = strict, self._codec in _SILENT
        self._pictures: list[int | None] = []
        self._key_pts: set[int] = set()
        self._group, self._since, self._step = -1, 0, 1
        self._samples: dict[int, dict[int, int]] = {}  # checksums by frame number, by number of the group

    def __enter__(self) -> Self:
        super().__enter__()
        self.damage.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.damage.__exit__()
        super().__exit__()

    def packet(self, packet: av.Packet) -> None:
        """See `DecodeObserver`."""
        self.damage.packet(packet)
        if self._strict and packet.size and not _decodes(self._strict, packet):
            self.damage.damaged()
        super().packet(packet)
        if self._keys:
            self._key_pts.add(self._keys[-1][0])

    def picture(self, picture: av.VideoFrame) -> None:
        """See `DecodeObserver`."""
        self.damage.picture(picture)
        if self._gaps and self._gaps.are_in(picture):
            self.damage.damaged()
            self._sound = False
        self._pictures.append(picture.pts)
        if self._size is None:
            super().picture(picture)
        size = (picture.width, picture.height)
        self._sound = self._sound and picture.pts is not None and not picture.is_corrupt and size == self._size
        if self._sound:
            self._sample(picture)

    def damaged(self) -> None:
        """See `DecodeObserver`."""
        super().damaged()
        if not self._is_strict:
            self.damage.damaged()

    def certificate(self) -> Certificate | None:
        """The certificate, or None if the file has not earned one."""
        return super().certificate() if self._pictures == self._timestamps() else None

    @property
    def checksums(self) -> list[dict[int, int]]:
        """Those of some groups of pictures, by frame number: of all, if the decoder does not tell of damage."""
        groups = sorted(self._samples)
        is_sampled = groups and not self._is_silent
        chosen = sorted({groups[0], groups[len(groups) // 2], groups[-1]}) if is_sampled else groups
        return [self._samples[group] for group in chosen]

    def _sample(self, picture: av.VideoFrame) -> None:
        """Keeps the checksums of some pictures of a few groups, which are spread over the video."""
        self._since += 1
        if picture.pts in self._key_pts:
            self._group, self._since = self._group + 1, 0
        is_sampled = not self._group % self._step and self._since in _SAMPLED
        if self._group < 1 or not (is_sampled or self._is_silent):
            return
        self._samples.setdefault(self._group, {})[len(self._pictures) - 1] = picture_checksum(picture)
        if len(self._samples) > _MAX_GROUPS and not self._is_silent:
            self._step *= 2
            self._samples = {group: kept for group, kept in self._samples.items() if not group % self._step}


def _strict_decoder(context: av.VideoCodecContext) -> av.VideoCodecContext:
    """A decoder that refuses what is damaged."""
    strict = av.CodecContext.create(context.codec.name, "r")
    assert isinstance(strict, av.VideoCodecContext)
    strict.extradata = context.extradata
    strict.options = {"err_detect": "explode"}
    return strict


def _decodes(decoder: av.VideoCodecContext, packet: av.Packet) -> bool:
    try:
        decoder.decode(av.Packet(bytes(packet)))
    except av.error.FFmpegError:
        return False
    return True


def droppable(layers: list[tuple[bool, int]]) -> list[bool]:
    """Whether no other picture refers to each of some pictures.

    An HEVC picture that its own temporal layer does not refer to may still be referred to by a higher layer.

    Args:
        layers: of each picture: it is a non-reference picture in its temporal layer; that layer.
    """
    top = max((layer for _, layer in layers), default=0)
    return [non_reference and layer == top for non_reference, layer in layers]


class Head:
    """The first packets of a file, from which its first picture is decoded once all packets were seen."""

    def __init__(self) -> None:
        self._packets: list[av.Packet] = []
        self._size = 0
        self._is_whole = True

    def add(self, packet: av.Packet) -> None:
        """Takes the next packet."""
        self._size += packet.size
        self._is_whole = self._is_whole and self._size <= _LARGEST_HEAD
        if self._is_whole:
            self._packets.append(packet)

    def first_picture(
        self, path: str | os.PathLike[str], context: av.VideoCodecContext, examiner: PacketExaminer
    ) -> av.VideoFrame | None:
        """The first picture of a plain decode; None if nothing decodes.

        Args:
            path, context: the file, and its decoder, which has decoded nothing yet.
            examiner: has seen all packets of the file.
        """
        is_short = examiner.is_first_picture_first
        # The empty packet drains the decoder, which would otherwise wait for others, to reorder them.
        for packet in [self._packets[0], av.Packet()] if is_short else self._packets:
            with contextlib.suppress(av.error.FFmpegError):
                for picture in context.decode(packet):
                    return picture
        if self._is_whole and not is_short:
            return None
        with open_video(path) as (container, stream):
            return next(iter_decoded(container, stream), None)


def find_certificate(path: str | os.PathLike[str]) -> Finding:
    """What the packets of a file say about entering it, by demuxing alone.

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
    """
    with open_video(path) as (container, stream), PacketExaminer(path, stream) as examiner:
        head = Head()
        for packet in iter_packets(container, stream, examiner):
            examiner.packet(packet)
            head.add(packet)
        first = head.first_picture(path, stream.codec_context, examiner)
        if first is None:
            return Finding(None)
        examiner.picture(first)
        return examiner.finding()
