"""What the NAL units of an H.264 or HEVC packet say of it (ITU-T H.264 section 7.3.1, H.265 section 7.3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

NAL_CODECS = frozenset({"h264", "hevc"})
_IDR_SLICES = {"h264": {5}, "hevc": {19, 20}}
_PARAMETER_SETS = {"h264": {7, 8, 13, 15}, "hevc": {32, 33, 34}}


@dataclass(frozen=True)
class NalSummary:
    """One coded picture.

    Args:
        is_idr: it is an IDR picture: nothing after it refers to anything before it.
        is_non_reference: no picture of the same temporal layer refers to it.
        temporal_layer: 0 for H.264.
        parameter_sets: those in the packet that the container's header does not hold.
    """

    is_idr: bool
    is_non_reference: bool
    temporal_layer: int
    parameter_sets: frozenset[bytes]


def summarize_packet(data: bytes, codec: str, extradata: bytes) -> NalSummary:
    """Parses the headers of a packet's NAL units.

    Args:
        data: length-prefixed as in MP4 and Matroska, or with start codes as in MPEG-TS.
        codec: one of `NAL_CODECS`.
        extradata: of the container. It tells which of the two forms `data` has.
    """
    kinds, layers, non_reference, sets = [], [0], [], set()
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
    return NalSummary(
        is_idr=bool(kinds) and kinds[0] in _IDR_SLICES[codec],
        is_non_reference=bool(kinds) and all(non_reference),
        temporal_layer=max(layers),
        parameter_sets=frozenset(found for found in sets if found not in extradata),
    )


def _iter_units(data: bytes, codec: str, extradata: bytes) -> Iterator[memoryview]:
    """The NAL units of two bytes or more."""
    view = memoryview(data)
    if extradata[:1] == b"\x01":
        position = 4 if codec == "h264" else 21  # of the length of the length prefix, in avcC and hvcC
        size = (extradata[position] & 3) + 1 if len(extradata) > position else 4
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
