"""Whether a plain decode of AV1 by dav1d in FFmpeg shows one picture per packet, in the order of the timestamps.

Sections are those of the AV1 bitstream specification. A packet holds the units (OBUs) of a temporal unit. dav1d shows a
frame at once, whether it is new or was stored before, and FFmpeg gives it the timestamp of its packet. So each packet
must have exactly one frame that is shown, of a stream with one sequence header and one spatial layer, and all frames
must have the size that this header states. A keyframe that is shown, with the sequence header in front of it, sets all
that later frames refer to (7.20, 7.21). Film grain depends on the header of its frame and on what that refers to
(6.8.20).

dav1d refuses a frame if the rest of its header or its tiles are damaged, or if they do not fit the references because a
packet is missing. That is not seen here, so this judgment is only proven for files that are intact.
"""

from __future__ import annotations

from dataclasses import dataclass

from actrec.data.video.keyframes import KeyframeCheck
from actrec.data.video.structure.bits import Bits, DoubtError
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.order import PacketOrder

# types of OBUs (section 6.2.2)
_SEQUENCE, _DELIMITER, _HEADER, _TILES, _METADATA, _FRAME, _REPEATED, _PADDING = 1, 2, 3, 4, 5, 6, 7, 15
_KEY, _INTER, _INTRA_ONLY, _SWITCH = range(4)  # types of frames
_CHOSEN_LATER = 2  # each frame says whether it uses a tool
_HEAD = 64  # bytes of a frame in which the beginning of its header is
_PLAIN_METADATA = frozenset({1, 2})  # light levels and mastering displays
_NOT_ALLOWED = "a header holds a value that is not allowed"


@dataclass(frozen=True)
class _Sequence:
    """What frame headers depend on (section 5.5)."""

    is_still: bool
    layers: int  # a mask of the temporal layers that are decoded; 0: all
    size_bits: tuple[int, int]
    size: tuple[int, int]
    has_ids: bool
    id_bits: int
    id_difference_bits: int
    order_bits: int
    screen_content: int
    integer_motion: int
    time_bits: int  # of the time of presentation; 0: frames do not state it
    has_model: bool  # of decoders
    removals: list[tuple[int, int]]  # of each operating point with such a model: its mask, and bits of a time


def _parse_sequence(data: bytes) -> _Sequence:
    bits = Bits(data)
    bits.take(3)
    bits.take(1)
    removals: list[tuple[int, int]] = []
    time_bits = layers = model_bits = 0
    is_still = bool(bits.take(1))
    if is_still:
        bits.take(5)
    else:
        removal_bits = presentation_bits = 0
        is_even = True
        if bits.take(1):
            bits.take(64)
            is_even = bool(bits.take(1))
            if is_even:
                bits.unsigned()
            if bits.take(1):
                model_bits = bits.take(5) + 1
                bits.take(32)
                removal_bits, presentation_bits = bits.take(5) + 1, bits.take(5) + 1
        has_delay = bits.take(1)
        for number in range(bits.take(5) + 1):
            mask = bits.take(12)
            if not number:
                if mask >> 8 > 1:
                    raise DoubtError("it has several layers")
                layers = mask & 255
            if bits.take(5) > 7:
                bits.take(1)
            if model_bits and bits.take(1):
                bits.take(2 * model_bits + 1)
                removals.append((mask, removal_bits))
            if has_delay and bits.take(1):
                bits.take(4)
        time_bits = 0 if is_even else presentation_bits
    size_bits = bits.take(4) + 1, bits.take(4) + 1
    size = bits.take(size_bits[0]) + 1, bits.take(size_bits[1]) + 1
    has_ids, id_bits, id_difference_bits = False, 0, 0
    if not is_still and bits.take(1):
        has_ids, id_difference_bits = True, bits.take(4) + 2
        id_bits = bits.take(3) + id_difference_bits + 1
    bits.take(3)
    order_bits, screen_content, integer_motion = 0, _CHOSEN_LATER, _CHOSEN_LATER
    if not is_still:
        bits.take(4)
        has_order = bits.take(1)
        if has_order:
            bits.take(2)
        if not bits.take(1):
            screen_content = bits.take(1)
        if screen_content and not bits.take(1):
            integer_motion = bits.take(1)
        if has_order:
            order_bits = bits.take(3) + 1
    bits.take(3)
    return _Sequence(
        is_still=is_still,
        layers=layers,
        size_bits=size_bits,
        size=size,
        has_ids=has_ids,
        id_bits=id_bits,
        id_difference_bits=id_difference_bits,
        order_bits=order_bits,
        screen_content=screen_content,
        integer_motion=integer_motion,
        time_bits=time_bits,
        has_model=model_bits > 0,
        removals=removals,
    )


def _units(data: bytes) -> list[tuple[int, int, int, int]]:
    """(type, temporal layer, start and end of the payload) of each OBU (section 5.3)."""
    found, i, total = [], 0, len(data)
    while i < total:
        header = data[i]
        if header & 0x81:
            raise DoubtError(_NOT_ALLOWED)
        layer, i = 0, i + 1
        if header & 4:
            if i >= total or data[i] & 0x18:
                raise DoubtError("it has several layers")
            layer, i = data[i] >> 5, i + 1
        size = total - i
        if header & 2:
            size = shift = 0
            while True:
                if i >= total or shift > 28:
                    raise DoubtError("the sizes in a packet do not add up")
                byte = data[i]
                size, shift, i = size | (byte & 127) << shift, shift + 7, i + 1
                if byte < 128:
                    break
        if i + size > total:
            raise DoubtError("the sizes in a packet do not add up")
        found.append((header >> 3, layer, i, i + size))
        i += size
    return found


class Av1Check:
    """See `StructureCheck`."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._can_begin = KeyframeCheck("av1")
        self._order = PacketOrder()
        self._header: bytes | None = None
        self._sequence: _Sequence | None = None
        self._started = False

    def doubt(self) -> str | None:
        return self.reason

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        if self.reason is None:
            try:
                shown = self._count_shown(data)
                if shown != 1:
                    raise DoubtError(f"a packet shows {shown or 'no'} picture{'s' if shown else ''}")
                self._order.add(pts)
            except DoubtError as error:
                self.reason = str(error)
        return PacketFacts(is_key and self._can_begin(data))

    def _count_shown(self, data: bytes) -> int:
        shown, awaits_tiles = 0, False
        for kind, layer, start, end in _units(data):
            sequence = self._sequence
            if sequence and sequence.layers and not sequence.layers >> layer & 1 and kind > _DELIMITER:
                raise DoubtError("it has several layers")
            if awaits_tiles and kind not in (_TILES, _REPEATED, _METADATA, _PADDING):
                raise DoubtError(_NOT_ALLOWED)
            if kind == _SEQUENCE:
                self._parse_sequence(data[start:end])
            elif kind in (_FRAME, _HEADER):
                is_shown, is_new = self._parse_frame(Bits(data[start : min(end, start + _HEAD)]))
                if kind == _FRAME and not is_new:
                    raise DoubtError(_NOT_ALLOWED)
                shown += is_shown
                awaits_tiles = kind == _HEADER and is_new
            elif kind == _TILES:
                awaits_tiles = False
            elif kind == _METADATA:
                if start == end or data[start] not in _PLAIN_METADATA:
                    raise DoubtError("it has registered user data")
            elif kind not in (_DELIMITER, _REPEATED, _PADDING):
                raise DoubtError(f"it has units of type {kind}")
        if awaits_tiles:
            raise DoubtError(_NOT_ALLOWED)
        return shown

    def _parse_sequence(self, data: bytes) -> None:
        if self._header is None:
            self._header, self._sequence = data, _parse_sequence(data)
        elif data != self._header:
            raise DoubtError("its sequence header changes")

    def _parse_frame(self, bits: Bits) -> tuple[bool, bool]:
        """The beginning of a frame header (section 5.9.2). Returns whether it is shown, and whether it is new."""
        sequence = self._sequence
        if sequence is None:
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        if sequence.is_still:
            kind, is_shown, is_resilient = _KEY, True, True
        else:
            if bits.take(1):
                if not self._started:
                    raise DoubtError("it does not begin with a keyframe that resets the decoder")
                return True, False
            kind, is_shown = bits.take(2), bool(bits.take(1))
            if is_shown:
                bits.take(sequence.time_bits)
            else:
                bits.take(1)
            is_resilient = kind == _SWITCH or (kind == _KEY and is_shown) or bool(bits.take(1))
        if not self._started and not (kind == _KEY and is_shown):
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        bits.take(1)
        allows = bits.take(1) if sequence.screen_content == _CHOSEN_LATER else sequence.screen_content
        if allows and sequence.integer_motion == _CHOSEN_LATER:
            bits.take(1)
        if sequence.has_ids:
            bits.take(sequence.id_bits)
        has_size = kind == _SWITCH or (not sequence.is_still and bool(bits.take(1)))
        bits.take(sequence.order_bits)
        is_intra = kind in (_KEY, _INTRA_ONLY)
        if not is_intra and not is_resilient:
            bits.take(3)
        if sequence.has_model and bits.take(1):
            if any(mask for mask, _ in sequence.removals):
                raise DoubtError("it has several layers")
            for _, count in sequence.removals:
                bits.take(count)
        refreshed = 255 if kind == _SWITCH or (kind == _KEY and is_shown) else bits.take(8)
        if (not is_intra or refreshed != 255) and is_resilient and sequence.order_bits:
            for _ in range(8):
                bits.take(sequence.order_bits)
        if is_intra:
            self._check_size(bits, has_size)
        else:
            self._parse_references(bits, has_size, is_resilient)
        return is_shown, True

    def _parse_references(self, bits: Bits, has_size: bool, is_resilient: bool) -> None:
        sequence = self._sequence
        assert sequence is not None
        is_short = bool(sequence.order_bits and bits.take(1))
        if is_short:
            bits.take(6)
        for _ in range(7):
            if not is_short:
                bits.take(3)
            if sequence.has_ids:
                bits.take(sequence.id_difference_bits)
        if has_size and not is_resilient and any(bits.take(1) for _ in range(7)):
            return  # the size of a reference
        self._check_size(bits, has_size)

    def _check_size(self, bits: Bits, has_size: bool) -> None:
        """Section 5.9.5."""
        sequence = self._sequence
        assert sequence is not None
        if has_size:
            size = bits.take(sequence.size_bits[0]) + 1, bits.take(sequence.size_bits[1]) + 1
            if size != sequence.size:
                raise DoubtError("its pictures have several sizes")
        self._started = True
