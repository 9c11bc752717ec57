"""Whether a plain FFmpeg decode of VP8 provably shows one picture per packet, in the order of the timestamps.

Sections are those of RFC 6386. FFmpeg means the VP8 decoder of libavcodec 62 with one thread. It shows the picture of a
packet at once, unless the packet says that it is not shown, and it refuses a packet only if its header or the sizes of
its partitions are wrong (`vp8_decode_frame_header`), so these are parsed here (9.2 to 9.6). Damage inside the
partitions loses no picture. A keyframe sets the size, all references, probabilities and adjustments. What FFmpeg keeps
is the map of segments: a stream is not judged that uses one which was set before the last keyframe, or before a picture
without segments.
"""

from __future__ import annotations

from actrec.data.video.keyframes import KeyframeCheck
from actrec.data.video.structure.bits import DoubtError
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.order import PacketOrder


class _Decoder:
    """The boolean entropy decoder (section 7.3), for bits of which both values are equally likely.

    Args:
        data: from the first partition on. Zeros follow it.
    """

    def __init__(self, data: bytes):
        self._value, self._bits = int.from_bytes(data, "big"), 8 * len(data)
        self._range = 255

    def take(self, count: int) -> int:
        """The next bits as a number, the most significant one first."""
        found = 0
        for _ in range(count):
            if self._bits < 16:
                self._value, self._bits = self._value << 64, self._bits + 64
            split = 1 + ((self._range - 1) * 128 >> 8)
            limit = split << self._bits - 8
            if self._value >= limit:
                self._value -= limit
                self._range, bit = self._range - split, 1
            else:
                self._range, bit = split, 0
            shift = 8 - self._range.bit_length()
            self._range <<= shift
            self._bits -= shift
            found = found << 1 | bit
        return found


class Vp8Check:
    """See `StructureCheck`."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._can_begin = KeyframeCheck("vp8")
        self._order = PacketOrder()
        self._size: bytes | None = None
        self._has_map = False

    def doubt(self) -> str | None:
        return self.reason

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        if self.reason is None:
            try:
                self._picture(data)
                self._order.add(pts)
            except DoubtError as error:
                self.reason = str(error)
        return PacketFacts(is_key and self._can_begin(data))

    def _picture(self, data: bytes) -> None:
        """Section 9.1 and the following ones."""
        if len(data) < 3:
            raise DoubtError("a packet is too short")
        tag = int.from_bytes(data[:3], "little")
        is_key, first = not tag & 1, tag >> 5
        if not tag >> 4 & 1:
            raise DoubtError("it has pictures that are not shown")
        start = 10 if is_key else 3
        if not 1 <= first <= len(data) - start:
            raise DoubtError("a packet is too short")
        if is_key:
            if data[3:6] != b"\x9d\x01\x2a":
                raise DoubtError("a header holds a value that is not allowed")
            if self._size not in (None, data[6:10]) or not (data[6] or data[7] & 63) or not (data[8] or data[9] & 63):
                raise DoubtError("its pictures have several sizes")
            self._size, self._has_map = data[6:10], False
        elif self._size is None:
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        bits = _Decoder(data[start : start + min(first, 64)])
        if is_key:
            bits.take(2)
        self._parse_segments(bits)
        bits.take(10)  # the filter
        if bits.take(1) and bits.take(1):  # its adjustments
            for _ in range(8):
                if bits.take(1):
                    bits.take(7)
        self._check_partitions(data, start + first, 1 << bits.take(2))

    def _parse_segments(self, bits: _Decoder) -> None:
        """Section 9.3."""
        if not bits.take(1):
            self._has_map = False
            return
        has_map, has_data = bits.take(1), bits.take(1)
        if has_data:
            bits.take(1)
            for size in (7, 6):
                for _ in range(4):
                    if bits.take(1):
                        bits.take(size + 1)
        if has_map:
            for _ in range(3):
                if bits.take(1):
                    bits.take(8)
        elif not self._has_map:
            raise DoubtError("it uses segments that it has not set")
        self._has_map = True

    @staticmethod
    def _check_partitions(data: bytes, start: int, count: int) -> None:
        """Section 9.5."""
        left = len(data) - start - 3 * (count - 1)
        for i in range(start, start + 3 * (count - 1), 3):
            size = int.from_bytes(data[i : i + 3], "little")
            if not size:
                raise DoubtError("a packet is too short")
            left -= size
        if left < 1:
            raise DoubtError("a packet is too short")
