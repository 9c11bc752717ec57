"""Whether a plain FFmpeg decode of VP9 shows one picture per packet, in the order of the timestamps.

Sections are those of the VP9 bitstream specification. FFmpeg means the VP9 decoder of libavcodec 62 with one thread. A
filter splits a packet into frames (annex B). A frame that is shown comes out at once, as does an earlier one that is
shown again, and both have the timestamp of the packet. FFmpeg refuses a frame if its uncompressed header does not parse
(6.2), which its own parser and `decode_frame_header` do, if a reference is missing, or if the sizes or the first bits
of the compressed header or of tiles are wrong (6.1, 6.4). All of that is checked here. A keyframe sets all references,
probabilities, adjustments and segments. Frames that are intra-only change the colors for FFmpeg and are not judged.

FFmpeg also refuses a frame if its entropy decoder runs past the end of a tile, because of damage or because a packet
before is missing. That is not seen here, so this judgment is only proven for files that are intact.
"""

from __future__ import annotations

from actrec.data.video.keyframes import KeyframeCheck
from actrec.data.video.structure.bits import Bits, DoubtError
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.order import PacketOrder

_HEAD = 160  # bytes; the longest uncompressed header is shorter
_RGB = 7
_NOT_ALLOWED = "a header holds a value that is not allowed"


class Vp9Check:
    """See `StructureCheck`."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._can_begin = KeyframeCheck("vp9")
        self._order = PacketOrder()
        self._format: tuple[int, ...] | None = None  # profile, depth and colors
        self._size = (0, 0)

    def doubt(self) -> str | None:
        return self.reason

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        if self.reason is None:
            try:
                shown = sum(self._frame(data[start:end]) for start, end in _split(data))
                if shown != 1:
                    raise DoubtError(f"a packet shows {shown or 'no'} picture{'s' if shown else ''}")
                self._order.add(pts)
            except DoubtError as error:
                self.reason = str(error)
        return PacketFacts(is_key and self._can_begin(data))

    def _frame(self, data: bytes) -> bool:
        """Whether a frame is shown. Raises `DoubtError` if FFmpeg may refuse it."""
        bits = Bits(data[:_HEAD])
        if bits.take(2) != 2 or data[-1] >> 5 == 6:  # FFmpeg's parser would take it for another superframe
            raise DoubtError(_NOT_ALLOWED)
        profile = bits.take(1) | bits.take(1) << 1
        if profile == 3 and bits.take(1):
            raise DoubtError(_NOT_ALLOWED)
        if bits.take(1):
            bits.take(3)
            if self._format is None:
                raise DoubtError("it does not begin with a keyframe that resets the decoder")
            _check_alignment(bits)
            return True
        is_key, is_shown, is_resilient = not bits.take(1), bool(bits.take(1)), bool(bits.take(1))
        if is_key:
            self._parse_key(bits, profile)
        elif self._format is None:
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        else:
            self._parse_inter(bits, profile, is_shown, is_resilient)
        if not is_resilient:
            bits.take(2)
        bits.take(2)
        _skip_filter(bits)
        bits.take(8)
        for _ in range(3):
            if bits.take(1):
                bits.take(5)
        _skip_segments(bits)
        self._check_tiles(bits, data)
        return is_shown

    def _parse_key(self, bits: Bits, profile: int) -> None:
        if bits.take(24) != 0x498342:
            raise DoubtError(_NOT_ALLOWED)
        depth = bits.take(1) if profile >= 2 else 0
        space = bits.take(3)
        if space == _RGB:
            if not profile & 1 or bits.take(1):
                raise DoubtError(_NOT_ALLOWED)
            found: tuple[int, ...] = (profile, depth, space)
        else:
            found = (profile, depth, space, bits.take(1))
            if profile & 1:
                across, down = bits.take(1), bits.take(1)
                if (across and down) or bits.take(1):
                    raise DoubtError(_NOT_ALLOWED)
                found = (*found, across, down)
        size = (bits.take(16) + 1, bits.take(16) + 1)
        if bits.take(1):
            bits.take(32)
        if self._format is None:
            self._format, self._size = found, size
        elif (found, size) != (self._format, self._size):
            raise DoubtError("its pictures have several sizes or formats")

    def _parse_inter(self, bits: Bits, profile: int, is_shown: bool, is_resilient: bool) -> None:
        assert self._format is not None
        if profile != self._format[0]:
            raise DoubtError("its pictures have several sizes or formats")
        if not is_shown and bits.take(1):
            raise DoubtError("it has intra-only frames")
        if not is_resilient:
            bits.take(2)
        bits.take(8)
        bits.take(12)  # the references, all of which exist and have the same size
        if not (bits.take(1) or bits.take(1) or bits.take(1)) and (
            (bits.take(16) + 1, bits.take(16) + 1) != self._size
        ):
            raise DoubtError("its pictures have several sizes or formats")
        if bits.take(1):
            bits.take(32)
        bits.take(1)
        if not bits.take(1):
            bits.take(2)

    def _check_tiles(self, bits: Bits, data: bytes) -> None:
        blocks = (self._size[0] + 63) // 64
        columns = max(0, (blocks - 1).bit_length() - 6)  # log2
        while blocks >> columns + 1 >= 4:
            if not bits.take(1):
                break
            columns += 1
        rows = bits.take(1) and 1 + bits.take(1)
        header_size = bits.take(16)
        _check_alignment(bits)
        i = min(len(data), _HEAD) - bits.left // 8
        i = _check_part(data, i, header_size)
        for _ in range((1 << columns + rows) - 1):
            i = _check_part(data, i + 4, int.from_bytes(data[i : i + 4], "big"))
        _check_part(data, i, len(data) - i)


def _check_part(data: bytes, i: int, size: int) -> int:
    """The end of a part that is coded by itself. Its first bit has to be 0 (section 9.2.1)."""
    if size < 1 or i + size > len(data) or data[i] & 0x80:
        raise DoubtError("the sizes in a packet do not add up")
    return i + size


def _check_alignment(bits: Bits) -> None:
    if bits.take(bits.left % 8):
        raise DoubtError(_NOT_ALLOWED)


def _split(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of the frames of a packet (annex B)."""
    marker = data[-1]
    size, count = 1 + (marker >> 3 & 3), 1 + (marker & 7)
    index = len(data) - 2 - size * count
    if marker >> 5 != 6 or index < 0 or data[index] != marker:
        return [(0, len(data))]
    places, i = [], 0
    for at in range(index + 1, index + 1 + size * count, size):
        start = i
        i += int.from_bytes(data[at : at + size], "little")
        if i == start or i > index:
            raise DoubtError("the sizes in a packet do not add up")
        places.append((start, i))
    return places


def _skip_filter(bits: Bits) -> None:
    bits.take(9)
    if bits.take(1) and bits.take(1):
        for _ in range(6):
            if bits.take(1):
                bits.take(7)


def _skip_segments(bits: Bits) -> None:
    if not bits.take(1):
        return
    if bits.take(1):
        for _ in range(7):
            if bits.take(1):
                bits.take(8)
        if bits.take(1):
            for _ in range(3):
                if bits.take(1):
                    bits.take(8)
    if bits.take(1):
        bits.take(1)
        for _ in range(8):
            for size in (9, 7, 2, 0):
                if bits.take(1):
                    bits.take(size)
