"""Which packets of VP8, VP9, AV1 and MJPEG a decoder can begin with, and which are not shown, from their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6  # types of OBUs of AV1
_KEY_FRAME = 0


class KeyframeCheck:
    """Sees the packets of a stream in order and tells which of them a decoder can begin with.

    A container marks keyframes, but it may be wrong, and a keyframe may need what an earlier packet said: the sequence
    header in AV1 and the tables in MJPEG.

    Args:
        codec: FFmpeg's name of the codec or decoder. Packets of other codecs than those above all count.
    """

    def __init__(self, codec: str):
        self._known: set[bytes] = set()
        checks: dict[str, Callable[[bytes], bool]] = {
            "vp8": _is_vp8_key,
            "vp9": _is_vp9_key,
            "av1": _is_av1_key,
            "libdav1d": _is_av1_key,
            "mjpeg": self._has_all_tables,
        }
        self._check = checks.get(codec, lambda data: True)

    def __call__(self, data: bytes) -> bool:
        return self._check(data)

    def _has_all_tables(self, data: bytes) -> bool:
        """FFmpeg's decoder keeps tables, and what comments and application segments say, for the packets after."""
        said = set(_iter_jpeg_state(data))
        self._known |= said
        return said == self._known


def _is_vp8_key(data: bytes) -> bool:
    """RFC 6386, section 9.1."""
    return data[0] & 1 == 0


def _is_vp9_key(data: bytes) -> bool:
    """VP9 bitstream specification, section 6.2: marker, profile, show_existing_frame, frame_type."""
    shift = 2 if data[0] >> 4 & 3 != 3 else 1  # profile 3 has a reserved bit
    return data[0] >> 6 == 2 and data[0] >> shift & 3 == 0


def _is_vp8_hidden(packet: av.Packet) -> bool:
    return not memoryview(packet)[0] >> 4 & 1


def _is_vp9_hidden(packet: av.Packet) -> bool:
    """A frame of its own that others refer to. In a superframe (annex B), such a frame comes with one that is shown."""
    data = memoryview(packet)
    end = data[-1]
    index_size = 2 + (end & 7) * (1 + (end >> 3 & 3)) + 1 + (end >> 3 & 3)
    if end >> 5 == 0b110 and len(data) > index_size and data[-index_size] == end:
        return False
    shift = 3 if data[0] >> 4 & 3 != 3 else 2  # of show_existing_frame, which frame_type and show_frame follow
    return data[0] >> 6 == 2 and not data[0] >> shift & 1 and not data[0] >> shift - 2 & 1


# Whether a packet holds only a picture that is not shown, by codec. In other codecs, there are none.
HIDDEN: dict[str, Callable[[av.Packet], bool]] = {"vp8": _is_vp8_hidden, "vp9": _is_vp9_hidden}


def _is_av1_key(data: bytes) -> bool:
    """AV1 bitstream specification, section 7.6.2: a sequence header and a key frame that is shown."""
    header: bytes | None = None
    for kind, payload in _iter_obus(data):
        if kind == _SEQUENCE_HEADER:
            header = payload
        elif kind in (_FRAME_HEADER, _FRAME):
            if not header or not payload:
                return False
            is_still = bool(header[0] >> 3 & 1)  # reduced_still_picture_header
            show_existing, frame_type, is_shown = payload[0] >> 7, payload[0] >> 5 & 3, payload[0] >> 4 & 1
            return is_still or (not show_existing and frame_type == _KEY_FRAME and bool(is_shown))
    return False


def _iter_obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    i = 0
    while i < len(data):
        kind, has_extension, has_size = data[i] >> 3 & 15, data[i] >> 2 & 1, data[i] >> 1 & 1
        i += 1 + has_extension
        size = len(data) - i
        if has_size:
            size, shift = 0, 0
            while i < len(data):
                byte = data[i]
                size, shift, i = size | (byte & 127) << shift, shift + 7, i + 1
                if byte < 128 or shift > 56:
                    break
        yield kind, data[i : i + size]
        i += size


def _iter_jpeg_state(data: bytes) -> Iterator[bytes]:
    """A name for each thing that the headers of a JPEG image tell a decoder for good (ITU-T T.81, annex B)."""
    i = 2
    while i + 4 <= len(data) and data[i] == 0xFF:
        marker, size = data[i + 1], int.from_bytes(data[i + 2 : i + 4], "big")
        segment = data[i + 4 : i + 2 + size]
        if marker == 0xFF:  # a fill byte
            i += 1
            continue
        if marker == 0xDA:  # start of scan
            return
        if marker == 0xDB:  # quantization tables
            while segment:
                yield b"DQT" + segment[:1]
                segment = segment[129 if segment[0] >> 4 else 65 :]
        elif marker == 0xC4:  # Huffman tables
            while len(segment) >= 17:
                yield b"DHT" + segment[:1]
                segment = segment[17 + sum(segment[1:17]) :]
        elif marker == 0xFE or 0xE0 <= marker <= 0xEF:  # a comment, or application data
            yield bytes([marker]) + segment[:4]
        i += 2 + size
