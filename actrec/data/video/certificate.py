"""Which packets a frame needs, and the proof that a file may be entered at its keyframes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from actrec.data.video.color import rotation_of
from actrec.data.video.container import decode_all, iter_packets, open_video

# Decoders in which a keyframe resets everything. H.264 and HEVC keyframes qualify one by one (`_resets`). MPEG-1, -2
# and -4 do not: open GOPs and packed B-frames leak across keyframes without an error.
_SEEKABLE = {"h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mjpeg"}
RAW = {"h264", "hevc"}  # decoders that are fed from the file, past the container
_RESETS = {"h264": {5}, "hevc": {19, 20}}  # slices of IDR pictures: nothing behind them refers to anything before
_SETS = {"h264": {7, 8, 13, 15}, "hevc": {32, 33, 34}}  # parameter sets
_HEADER = 64  # bytes between a packet's place by the container's word and its first byte
# A packet in a file. `spare`: no other picture refers to its own.
_PACKET = np.dtype([("pts", "i8"), ("at", "i8"), ("size", "i4"), ("spare", "?")])


@dataclass(frozen=True)
class Certificate:
    """Proof that a file may be entered at any keyframe.

    Args:
        pts: timestamp of every frame, ascending; frame i of a plain decode carries pts[i].
        key_pts, key_dts: timestamps of the keyframes, ascending.
        packets: where each packet lies in the file, in decoding order (H.264 and HEVC).
        stream: what a decoder must be told to decode them from there; None where they do not lie there in one piece.
    """

    pts: np.ndarray
    key_pts: np.ndarray
    key_dts: np.ndarray
    packets: np.ndarray | None = None
    stream: Stream | None = None

    @property
    def nbytes(self) -> int:
        arrays = (self.pts, self.key_pts, self.key_dts, self.packets)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class Stream:
    """What the container says of a video stream."""

    codec: str
    extradata: bytes | None
    color: tuple[int, int, int, int]  # colorspace, range, primaries, transfer
    reorder_depth: int
    width: int
    height: int
    turns: int  # counter-clockwise quarter turns from stored to displayed
    file: tuple[int, int]  # its size and time of change


def file_stamp(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


class Trail:
    """Watches a plain decode and judges whether the file may be entered at its keyframes."""

    def __init__(self, path: str | os.PathLike, stream):
        self._context = stream.codec_context
        self._name = self._context.codec.canonical_name
        self._extradata = self._context.extradata or b""
        self._sound = self._name in _SEEKABLE
        self._packets: list[tuple[int, int, int]] = []  # pts, place and size in the file
        self._spare: list[tuple[bool, int]] = []  # of each: it is no reference in its temporal layer; that layer
        self._keys: list[tuple[int, int]] = []
        self._pictures: list[int | None] = []
        self._size: tuple[int, int] | None = None
        self._turns = 0
        self._sets: frozenset[bytes] | None = None  # parameter sets beside the container's, as each keyframe has them
        self._path = path

    def __enter__(self) -> Trail:
        self._file = os.open(self._path, os.O_RDONLY)
        self._stamp = file_stamp(self._file)
        return self

    def __exit__(self, *_) -> None:
        os.close(self._file)

    def packet(self, packet) -> None:
        if not self._sound or not packet.size:
            return
        if packet.pts is None or packet.is_discard or packet.is_corrupt:
            self._sound = False
            return
        key = packet.is_keyframe
        if self._name in RAW:
            data = bytes(packet)
            slices, sets = self._parse(data)
            key = key and bool(slices) and slices[0][0] in _RESETS[self._name]
            self._spare.append((bool(slices) and all(s[2] for s in slices), max((s[1] for s in slices), default=0)))
            self._sets = sets if key and self._sets is None else self._sets
            # Whoever enters at a keyframe has to know what a plain decode has learned by then.
            self._sound = sets == self._sets if key else sets <= (self._sets or frozenset())
            self._packets.append((packet.pts, self._place(packet, data), packet.size))
        else:
            self._packets.append((packet.pts, -1, packet.size))
        if key:
            self._keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))

    def _place(self, packet, data: bytes) -> int:
        """Where a packet's bytes lie in the file; -1 if they do not lie there in one piece."""
        if packet.pos is None or packet.pos < 0 or packet.has_sidedata("new_extradata"):
            return -1
        found = os.pread(self._file, len(data) + _HEADER, packet.pos).find(data)
        return packet.pos + found if found >= 0 else -1

    def picture(self, picture) -> None:
        self._pictures.append(picture.pts)
        size = (picture.width, picture.height)
        if self._size is None:
            self._size, self._turns = size, rotation_of(picture) // 90
        # a picture of another size is shown in the first one's, which has to be known: no entering there
        self._sound = self._sound and picture.pts is not None and not picture.is_corrupt and size == self._size

    def damaged(self) -> None:
        self._sound = False

    def certificate(self, *, proven: bool = False) -> Certificate | None:
        """None if the file did not earn one. `proven`: its pictures were seen before, and were what its packets say."""
        shown = sorted({pts for pts, _, _ in self._packets})
        if not self._sound or not self._keys or (self._pictures != shown and not proven):
            return None
        if len(self._packets) != len(shown) or self._keys[0][0] > shown[0]:
            return None
        key_pts, key_dts = np.array(sorted(self._keys), np.int64).T
        return Certificate(np.array(shown, np.int64), key_pts, key_dts, *self._in_file())

    def _in_file(self) -> tuple[np.ndarray | None, Stream | None]:
        if self._name not in RAW or self._size is None:
            return None, None
        packets = np.zeros(len(self._packets), _PACKET)
        packets["pts"], packets["at"], packets["size"] = np.array(self._packets, np.int64).T
        packets["spare"] = self._unneeded()
        if (packets["at"] < 0).any():
            return packets, None
        said = self._context
        color = tuple(map(int, (said.colorspace, said.color_range, said.color_primaries, said.color_trc)))
        shown = (*self._size, self._turns)
        return packets, Stream(said.codec.name, said.extradata, color, said.reorder_depth, *shown, self._stamp)

    def _unneeded(self) -> list[bool]:
        """H.264's non-reference pictures are nobody's, HEVC's may be those of a higher temporal layer."""
        top = max((layer for _, layer in self._spare), default=0)
        return [nonref and layer == top for nonref, layer in self._spare]

    def _parse(self, data: bytes) -> tuple[list[tuple[int, int, bool]], frozenset[bytes]]:
        """(kind, temporal layer, whether it is no reference) of each coded slice, and the parameter sets that the
        container does not have, of an H.264 or HEVC packet."""
        slices, sets = [], set()
        for unit in _nal_units(data, self._name, self._extradata):
            if self._name == "h264":
                kind = unit[0] & 31
                if 1 <= kind <= 5:
                    slices.append((kind, 0, not unit[0] >> 5 & 3))
            else:
                kind = unit[0] >> 1 & 63
                if kind < 32:
                    slices.append((kind, unit[1] & 7, kind < 16 and kind % 2 == 0))
            if kind in _SETS[self._name]:
                sets.add(bytes(unit).rstrip(b"\0"))
        return slices, frozenset(found for found in sets if found not in self._extradata)


def _nal_units(data: bytes, codec: str, extradata: bytes) -> Iterator[memoryview]:
    """The NAL units of two bytes or more: length-prefixed as in mp4 and mkv, or with start codes as in TS."""
    view = memoryview(data)
    if extradata[:1] == b"\x01":
        at = 4 if codec == "h264" else 21
        size = (extradata[at] & 3) + 1 if len(extradata) > at else 4
        i = 0
        while i + size + 1 < len(data):
            length = int.from_bytes(data[i : i + size], "big")
            yield view[i + size : i + size + max(length, 2)]
            i += size + length
    else:
        i = data.find(b"\x00\x00\x01")
        while 0 <= i < len(data) - 4:
            after = data.find(b"\x00\x00\x01", i + 3)
            yield view[i + 3 : after if after > 0 else len(data)]
            i = after


def load_certificate(path: str | os.PathLike) -> Certificate | None:
    """The certificate of a file that has earned one before, by demuxing alone; None if it does not look so any more.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    with open_video(path) as (container, stream):
        first = next(decode_all(container, stream), None)
    with open_video(path) as (container, stream), Trail(path, stream) as trail:
        for packet in iter_packets(container, stream, trail):
            trail.packet(packet)
        if first is None:
            return None
        trail.picture(first)
        return trail.certificate(proven=True)
