"""What the NAL units of an H.264 or HEVC packet say of it (ITU-T H.264 section 7.3.1, H.265 section 7.3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

NAL_CODECS = frozenset({"h264", "hevc"})
_IDR_SLICES = {"h264": {5}, "hevc": {19, 20}}
_PARAMETER_SETS = {"h264": {7, 8, 13, 15}, "hevc": {32, 33, 34}}
_SEI = {"h264": {6}, "hevc": {39}}  # supplemental enhancement information, before the picture
_USER_DATA, _FILM_GRAIN = 5, 19  # payload types of SEI messages
# x264 names its build in the user data of its first packet. FFmpeg decodes what builds before 151 wrote as they meant
# it, for example 4:4:4 with CABAC, and remembers the build until another message names one.
_X264 = re.compile(rb"x264\s*-\s*core\s*(\d+)")
_X264_ID = bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef")
_X264_CORRECT = 151


@dataclass(frozen=True)
class NalSummary:
    """One coded picture.

    Args:
        is_idr: it is an IDR picture: nothing after it refers to anything before it.
        is_non_reference: no picture of the same temporal layer refers to it.
        temporal_layer: 0 for H.264.
        parameter_sets: those in the packet that the container's header does not hold.
        x264: what the packet says of the build of x264 that wrote it, such as b"x264 - core 148". b"" for a build
            without known faults; None if the packet says nothing.
        has_film_grain: the decoder adds noise to this picture and to those after it.
    """

    is_idr: bool
    is_non_reference: bool
    temporal_layer: int
    parameter_sets: frozenset[bytes]
    x264: bytes | None = None
    has_film_grain: bool = False


def summarize_packet(data: bytes, codec: str, extradata: bytes) -> NalSummary:
    """Parses the headers of a packet's NAL units.

    Args:
        data: length-prefixed as in MP4 and Matroska, or with start codes as in MPEG-TS.
        codec: one of `NAL_CODECS`.
        extradata: of the container. It tells which of the two forms `data` has.
    """
    kinds, layers, non_reference, sets = [], [0], [], set()
    x264, has_film_grain = None, False
    for unit in _iter_units(data, codec, extradata):
        if codec == "h264":
            kind = unit[0] & 31
            if 1 <= kind <= 5:
                kinds.append(kind)
                non_reference.append(not unit[0] >> 5 & 3)
        else:
            kind = unit[0] >> 1 & 63
            if kind < 32:
                kinds.append(kind)
                layers.append(unit[1] & 7)
                non_reference.append(kind < 16 and kind % 2 == 0)
        if kind in _PARAMETER_SETS[codec]:
            sets.add(bytes(unit).rstrip(b"\0"))
        if kind in _SEI[codec]:
            for payload_type, payload in _iter_messages(bytes(unit[1 if codec == "h264" else 2 :])):
                has_film_grain = has_film_grain or payload_type == _FILM_GRAIN
                if codec == "h264" and payload_type == _USER_DATA and (named := _X264.match(payload[16:])):
                    x264 = named[0] if int(named[1]) < _X264_CORRECT else b""
    return NalSummary(
        is_idr=bool(kinds) and kinds[0] in _IDR_SLICES[codec],
        is_non_reference=bool(kinds) and all(non_reference),
        temporal_layer=max(layers),
        parameter_sets=frozenset(found for found in sets if found not in extradata),
        x264=x264,
        has_film_grain=has_film_grain,
    )


def x264_unit(name: bytes, extradata: bytes) -> bytes:
    """An SEI unit for the front of an H.264 packet, from which a decoder learns the build of x264.

    Args:
        name: as in `NalSummary.x264`.
        extradata: of the container. It tells the form of the packets.
    """
    payload = _X264_ID + name
    unit = bytes([6, _USER_DATA, len(payload)]) + payload + b"\x80"
    size = _prefix_size(extradata, "h264")
    return (len(unit).to_bytes(size, "big") if size else b"\0\0\0\1") + unit


def _iter_messages(escaped: bytes) -> Iterator[tuple[int, bytes]]:
    """(payload type, payload) of each message of an SEI unit (H.264 section 7.3.2.3.1, H.265 section 7.3.5)."""
    data, i = escaped.replace(b"\0\0\3", b"\0\0"), 0
    while i + 2 < len(data):  # the last byte ends the unit
        header = []
        for _ in range(2):
            start = i
            while i < len(data) - 1 and data[i] == 255:
                i += 1
            header.append(255 * (i - start) + data[i])
            i = min(i + 1, len(data) - 1)
        yield header[0], data[i : i + header[1]]
        i += header[1]


def _prefix_size(extradata: bytes, codec: str) -> int:
    """The bytes of the length before each NAL unit; 0 if the units have start codes."""
    if extradata[:1] != b"\x01":
        return 0
    position = 4 if codec == "h264" else 21  # in avcC and hvcC
    return (extradata[position] & 3) + 1 if len(extradata) > position else 4


def _iter_units(data: bytes, codec: str, extradata: bytes) -> Iterator[memoryview]:
    """The NAL units of two bytes or more."""
    view = memoryview(data)
    if size := _prefix_size(extradata, codec):
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
