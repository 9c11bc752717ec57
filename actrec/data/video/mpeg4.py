"""Decodes MPEG-4 part 2 from the start, without the B-pictures that are not wanted, bit-identical to a plain decode.

No picture refers to a B-picture, so leaving one out changes no other picture. Two questions remain:

- **What is the frame number of a B-picture?** A decoder returns a B-picture as soon as it is decoded, so its frame
  number is the number of pictures before it. Whether the decoder would return it follows from the headers (ISO/IEC
  14496-2, sections 6.2.3 and 6.2.5), which are read here as in FFmpeg's decoder. Packed bitstreams, which XviD and DivX
  write, have a P- and a B-picture in one packet, and an empty picture later. They are split as in the decoder.
- **Does a B-picture change the state of the decoder?** FFmpeg counts how pictures end, to detect encoders that do not
  pad them. This count decides only how it judges the end of a picture, so it matters only if a picture ends in the
  wrong place. The decoder is therefore told to expect correct ends (`bug=0`), and it prints a message about every
  picture that ends otherwise. Encoders for which FFmpeg changes anything else are not accepted.

In all unusual cases, `Doubt` is raised, and the file must be decoded plainly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

import av
from av.container import InputContainer

from actrec.data.video.container import decoder_limit, iter_packets, padded_packet
from actrec.data.video.damage import Complaints

_START_CODE = re.compile(rb"\x00\x00\x01(?=(.))", re.DOTALL)
_ANY_CODE, _VOP_CODE = b"\0\0\x01", b"\0\0\x01\xb6"
_SEQUENCE, _USER_DATA, _GROUP, _VISUAL_OBJECT, _VOP = 0xB0, 0xB2, 0xB3, 0xB5, 0xB6
_VOL = range(0x20, 0x30)
_HARMLESS = (*range(0x20), _SEQUENCE, _VISUAL_OBJECT)  # headers that say nothing about the order of pictures
_P, _B = 1, 2
_STUDIO = (14, 15)  # object types of another syntax
_RECTANGULAR, _GMC = 0, 2
_EMPTY_VOP = 19  # bytes at most of the picture without content that follows packed pictures
_OWN_RULES = ("XVIX", "UMP4", "WV1F", "QMP4")  # FourCCs that FFmpeg's decoder treats differently
_UNKNOWN_ENCODER = ("XVID", "RMP4", "ZMP4", "SIPP", "DIVX")  # the same, if nothing names the encoder
# Builds for which FFmpeg's decoder changes nothing.
_FIRST_XVID = 33
_FIRST_LAVC, _BAD_LAVC = 4713, range(55 << 16, (58 << 16))
_ENCODER = re.compile(rb"XviD(\d+)|Lavc(\d+)\.(\d+)\.(\d+)|DivX\d+(?:Build|b)\d+(p?)(?!\w)")
_OTHER_ENCODER = re.compile(rb"DivX|XviD|Lavc|FFmpe|ffmpeg")


class Doubt(Exception):
    """The file is unusual, so only a plain decode certainly gives the frames of FFmpeg."""


def is_candidate(stream: av.VideoStream) -> bool:
    """Whether it is worth trying `iter_needed`."""
    return stream.codec_context.name == "mpeg4"


def iter_needed(
    container: InputContainer, stream: av.VideoStream, wanted: Set[int]
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (frame number, picture) of a plain decode, without the B-pictures that are not wanted.

    Args:
        container, stream: as `open_video` gives them. Nothing was read from them.
        wanted: frame numbers.

    Raises:
        Doubt: The file must be decoded plainly. The pictures that were yielded are correct.
    """
    context, vops, number, is_last_missing = stream.codec_context, _Vops(stream), 0, False
    context.options = {**decoder_limit(), "bug": "0"}
    with Complaints() as complaints:
        for packet in iter_packets(container, stream):
            if packet.is_discard or packet.is_corrupt:
                raise Doubt
            for picture_data, is_b in vops.split(packet):
                if is_b and vops.may_skip and number not in wanted:
                    number, is_last_missing = number + 1, True
                    continue
                single = packet if picture_data is None else padded_packet(picture_data)
                try:
                    pictures, is_damaged = complaints.decode(context, single)
                except (av.error.ExitError, av.error.MemoryError):  # which say nothing about the file
                    raise
                except av.error.FFmpegError:
                    raise Doubt from None
                if is_damaged or (is_b and len(pictures) != 1):
                    raise Doubt
                vops.may_skip |= is_b  # the first one may still change what the decoder knows of the stream
                for picture in pictures:
                    if picture.is_corrupt:
                        raise Doubt
                    yield number, picture
                    number, is_last_missing = number + 1, False
    if is_last_missing:  # wanted frames after the last one become the last one
        raise Doubt


class _Vops:
    """Splits packets into single pictures (VOPs), as FFmpeg's decoder does.

    Attributes:
        may_skip: a B-picture may be left out.
    """

    def __init__(self, stream: av.VideoStream):
        self.may_skip = False
        self._tag = stream.codec_context.codec_tag
        self._pending: bytes | None = None  # the B-picture that the decoder keeps for the next packet
        self._vol: bytes | None = None
        self._bits, self._resolution = 0, 0
        self._encoders: frozenset[bytes] = frozenset()
        self._is_packed, self._has_begun = False, False
        self._base = self._last_base = self._last_time = self._distance = 0
        if self._tag in _OWN_RULES:
            raise Doubt
        if extradata := stream.codec_context.extradata:
            if self._headers(extradata):
                raise Doubt
            self._check_encoder()

    def split(self, packet: av.Packet) -> list[tuple[bytes | None, bool]]:
        """The pictures of a packet, and whether each is a B-picture, which the decoder then returns.

        None stands for the packet itself.
        """
        if not packet.size:  # the end
            return [(None, False)]
        data = bytes(packet)
        if self._pending is not None:
            pending, self._pending = self._pending, self._next_pending(data)
            return [(pending, self._follow(pending, 0))]
        places = self._headers(data)
        if not places:
            return [(None, False)]
        is_b = self._follow(data, places[0])
        if len(places) == 1:
            return [(None, is_b)]
        second = places[1]
        if not self._is_packed or len(places) > 2 or self._header(data, second)[0] != _B:
            raise Doubt
        self._pending = data[second:]
        return [(data[:second], is_b)]

    def _next_pending(self, data: bytes) -> bytes | None:
        """The picture that the decoder keeps from a packet, while it decodes the one that it kept before."""
        if not data.startswith(_VOP_CODE):
            if len(data) > _EMPTY_VOP or _ANY_CODE in data:
                raise Doubt
            return None
        if data.find(_ANY_CODE, 4) >= 0:
            raise Doubt
        kind, _, _, is_coded = self._header(data, 0)
        if kind == _B:
            return data
        if kind != _P or is_coded or len(data) > _EMPTY_VOP:
            raise Doubt
        return None

    def _headers(self, data: bytes) -> list[int]:
        """Reads the headers in front of pictures and returns where the pictures begin."""
        if self._has_begun and data.startswith(_VOP_CODE):  # the usual cases, in a fraction of the time
            second = data.find(_ANY_CODE, 4)
            if second < 0:
                return [0]
            if data.startswith(_VOP_CODE, second) and data.find(_ANY_CODE, second + 4) < 0:
                return [0, second]
        codes = [(found.start(), found[1][0]) for found in _START_CODE.finditer(data)]
        places, encoders = [], set()
        for (start, code), (end, _) in zip(codes, [*codes[1:], (len(data), 0)]):
            if code == _VOP:
                places.append(start)
            elif places:
                raise Doubt  # a header between two pictures of a packet, or after them
            elif code in _VOL:
                self._read_vol(data[start:end])
            elif code == _GROUP:
                self._read_group(data, start)
            elif code == _USER_DATA:
                encoders.add(data[start + 4 : end].partition(b"\0")[0])
            elif code not in _HARMLESS:
                raise Doubt
        if encoders and self._has_begun and not encoders <= self._encoders:
            raise Doubt
        self._encoders |= encoders
        if places and not self._has_begun:
            self._has_begun = True
            self._check_encoder()
        return places

    def _check_encoder(self) -> None:
        named = False
        for text in self._encoders:
            if found := _ENCODER.match(text):
                xvid, *lavc, packed = found.groups()
                if xvid is not None:
                    named = True
                    if int(xvid) < _FIRST_XVID:
                        raise Doubt
                elif lavc[0] is not None:
                    named = True
                    major, minor, micro = (min(int(number), 255) for number in lavc)
                    build = major << 16 | minor << 8 | micro
                    if build < _FIRST_LAVC or build in _BAD_LAVC:
                        raise Doubt
                elif not any(text.startswith(b"XviD") for text in self._encoders):
                    raise Doubt  # DivX itself: XviD only claims to be compatible with it
                self._is_packed = self._is_packed or packed == b"p"
            elif _OTHER_ENCODER.match(text):
                raise Doubt
        if not named and self._tag in _UNKNOWN_ENCODER:
            raise Doubt

    def _read_vol(self, data: bytes) -> None:
        """ISO/IEC 14496-2, section 6.2.3."""
        if self._vol is not None:
            if data != self._vol:
                raise Doubt
            return
        bits = _Bits(data, 4)
        bits.take(1)
        if bits.take(8) in _STUDIO:
            raise Doubt
        version = bits.take(7) >> 3 if bits.take(1) else 1
        if bits.take(4) == 15:  # the aspect ratio
            bits.take(16)
        if bits.take(1):
            bits.take(3)
            if bits.take(1):
                bits.take(79)
        shape, marker, resolution, _ = bits.take(2), bits.take(1), bits.take(16), bits.take(1)
        self._bits = max(1, (resolution - 1).bit_length())
        if bits.take(1):
            bits.take(self._bits)
        bits.take(29)  # width and height
        is_interlaced, _, sprite = bits.take(1), bits.take(1), bits.take(1 if version == 1 else 2)
        if shape != _RECTANGULAR or not marker or not resolution or is_interlaced or sprite not in (0, _GMC):
            raise Doubt
        self._vol, self._resolution = data, resolution

    def _read_group(self, data: bytes, start: int) -> None:
        bits = _Bits(data, start + 4)
        hours, minutes, _, seconds = bits.take(5), bits.take(6), bits.take(1), bits.take(6)
        if not bits.is_valid:
            raise Doubt
        self._base = seconds + 60 * (minutes + 60 * hours)

    def _header(self, data: bytes, start: int) -> tuple[int, int, int, int]:
        """Section 6.2.5: the kind of a picture; its time in seconds and fractions, relative to others; is it coded."""
        begin = data[start + 4 : start + 12]
        found = int.from_bytes(begin if len(begin) == 8 else begin.ljust(8, b"\0"), "big")
        left, seconds = 61, 0
        while left and found >> left & 1:
            left, seconds = left - 1, seconds + 1
        left -= self._bits + 3
        if self._vol is None or left < 0:
            raise Doubt
        marker, increment, again = found >> left + self._bits + 2, found >> left + 2, found >> left + 1
        if not marker & again & 1:
            raise Doubt
        return found >> 62, seconds, increment & (1 << self._bits) - 1, found >> left & 1

    def _follow(self, data: bytes, start: int) -> bool:
        """Follows the times as the decoder does. Returns whether this is a B-picture that the decoder returns."""
        kind, seconds, increment, is_coded = self._header(data, start)
        if kind != _B:
            self._last_base = self._base
            self._base += seconds
            time = self._base * self._resolution + increment
            self._distance, self._last_time = time - self._last_time, time
            return False
        time = (self._last_base + seconds) * self._resolution + increment
        since = self._distance - (self._last_time - time)  # the reference picture before it
        if not is_coded or start or not 0 < since < self._distance < 1 << 16:
            raise Doubt
        return True


class _Bits:
    """Reads bits; zeros after the end."""

    def __init__(self, data: bytes, start: int):
        part = data[start : start + 48]
        self._value, self._left = int.from_bytes(part, "big"), 8 * len(part)

    @property
    def is_valid(self) -> bool:
        return self._left >= 0

    def take(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)
