"""Whether a plain FFmpeg decode of H.264 provably shows one picture per packet, in the order of the timestamps.

Sections are those of ITU-T H.264. FFmpeg means the H.264 decoder of libavcodec 62 with one thread and its default
options; the functions named here are its own. The argument:

1. *Every packet gives exactly one picture.* `h264_field_start` adds a picture to FFmpeg's list of pictures to be shown.
   Nothing that follows, such as damage in macroblocks, removes it again. This function is reached if the header of the
   first slice parses (`h264_slice_header_parse`), so the whole header is parsed here, with the same limits (7.3.3). It
   is reached only once if no other slice of the packet begins at the first macroblock, and if the reference lists of
   the first slice can be made (`ff_h264_build_ref_list`). They can be made, because a reference always exists, which
   FFmpeg uses in place of missing ones, and because the changes of the lists are within limits. Fields, redundant
   pictures, data partitions and the units of the scalable and multiview extensions are not judged.
2. *All pictures have one size*, and the decoder never restarts. There is one sequence parameter set (SPS), in the
   container's header, and packets contain only parameter sets that are also in that header.
3. *No reference is missing.* `frame_num` advances by one after each reference picture (7.4.3), so there is no gap that
   FFmpeg would fill.
4. *No picture is dropped, and the output order is the order of the picture order counts.* FFmpeg holds back D pictures.
   D is the larger of the container's number and `num_reorder_frames` of the SPS, and it only grows.
   `h264_select_output_frame` adds the new picture to the list. If the list has more than D pictures, it shows the one
   with the smallest count of the oldest period. (A period begins with an IDR picture. A period in which a memory
   management control operation 5 resets the counts is not judged.) A picture would be dropped, or shown too late, only
   if one with a larger count of the same period had been shown before it. Then the D + 1 pictures that were in the list
   at that time all had larger counts and came before it in decoding order. No picture has so many:
   `OutputOrder.delay` counts them. Periods do not mix: pictures of an earlier period are shown first, and the test for
   late pictures restarts at an IDR picture. Counts of types 0 and 2 are computed as in FFmpeg (8.2.1).
5. *The timestamps have the same order as the counts* in each period, and each period is later than the one before.
   This also decides whether the presentation times of a container are real. AVI has none. FFmpeg assigns them in
   decoding order, so they contradict the counts if there are B-frames.
6. *IDR pictures reset the decoder.* `idr` drops all references, counts and frame numbers (8.2.1, 8.2.5.1). Three things
   remain: parameter sets, which do not change; the build of x264, which is in `PacketFacts`; and film grain, which is
   not judged. Contexts of entropy coding restart with each slice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from actrec.data.video.structure.bits import Bits, DoubtError, allow, first_bits, iter_messages, payload_bits
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.order import OutputOrder, order_count
from actrec.data.video.structure.units import UnitReader, prefix_size

_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS, _DELIMITER, _FILLER = 1, 5, 6, 7, 8, 9, 12  # types of NAL units (table 7-1)
_USER_DATA, _FILM_GRAIN, _ORIENTATION = 5, 19, 47  # payload types of SEI messages
_PARAMETER_SETS = frozenset({7, 8, 13, 15})
_P, _B, _I = 0, 1, 2  # slice types (table 7-6)
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 144})
_OLD_PROFILES = frozenset({66, 77, 88})
_MAX_DELAY = 15  # FFmpeg treats a picture that is shown before 16 earlier ones as the beginning of a period
MISSING = "pictures are missing"
_MAX_PIXELS = 1 << 28  # far more than a decoder accepts here
_SLICES = frozenset({_SLICE, _IDR_SLICE})
# x264 names its build in the user data of its first packet. For builds before 151, FFmpeg reproduces their faults, for
# example in 4:4:4 with CABAC. It remembers the build until another message names one.
_X264 = re.compile(rb"x264\s*-\s*core\s*(\d{1,9})")
_X264_ID = bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef")
_X264_CORRECT = 151
# Bytes of a slice in which its header is searched: at first, and if they were too few.
_HEADS = (16, 40, 2000)


@dataclass(frozen=True)
class _Sps:
    """The part of a sequence parameter set on which slice headers depend (section 7.3.2.1.1).

    Args:
        has_more_in_pps: picture parameter sets may continue with the transform size.
        delay: `num_reorder_frames`; None if it is not stated.
        qp_range: largest quantization parameter.
    """

    chroma_format: int
    frame_num_bits: int
    order_type: int
    order_bits: int
    frames_only: bool
    direct_8x8: bool
    has_more_in_pps: bool
    delay: int | None
    bit_depth: int

    @property
    def largest_qp(self) -> int:
        return 51 + 6 * (self.bit_depth - 8)


@dataclass(frozen=True)
class _Pps:
    """The part of a picture parameter set on which slice headers depend (section 7.3.2.2)."""

    cabac: bool
    has_bottom_order: bool
    num_refs: tuple[int, int]
    weighted_p: bool
    weighted_b: bool
    qp: int
    has_deblocking: bool


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    """Section 7.3.2.1.1.1."""
    for number in range(count):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.within(-128, 127)) & 255
            last = following or last


def _skip_buffering(bits: Bits) -> None:
    """Hypothetical reference decoder parameters (section E.1.2)."""
    count = bits.at_most(31) + 1
    bits.take(8)
    for _ in range(count):
        bits.unsigned()
        bits.unsigned()
        bits.take(1)
    bits.take(20)


def _parse_usability(bits: Bits, width: int, height: int) -> int | None:
    """Video usability information (section E.1.1). Returns `num_reorder_frames`."""
    if bits.take(1) and bits.take(8) == 255:
        across, down = bits.take(16), bits.take(16)
        # FFmpeg's decoder restarts at each picture if the sample aspect ratio is impossible.
        if (across or down) and not (across and down and width * across // down and height * down // across):
            raise DoubtError("its sample aspect ratio is impossible")
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.at_most(5)
        bits.at_most(5)
    if bits.take(1):
        bits.take(65)
    has_buffering = 0
    for _ in range(2):
        if bits.take(1):
            _skip_buffering(bits)
            has_buffering = 1
    bits.take(has_buffering + 1)
    if not bits.take(1):
        return None
    bits.take(1)
    for _ in range(4):
        bits.at_most(30)
    delay = bits.at_most(16)
    bits.at_most(30)
    return delay


def _parse_sps(unit: bytes) -> tuple[int, _Sps]:
    """(its number, what it says). Raises `DoubtError` for all that FFmpeg refuses, and more."""
    bits = payload_bits(unit, 1)
    profile, constraints = bits.take(8), bits.take(8)
    bits.take(8)
    number = bits.at_most(31)
    chroma_format, bit_depth = 1, 8
    if profile in _HIGH_PROFILES:
        chroma_format = bits.at_most(3)
        if chroma_format == 3 and bits.take(1):
            raise DoubtError("it has separate color planes")
        bit_depth = 8 + bits.at_most(6)
        if bits.unsigned() != bit_depth - 8 or bit_depth in (11, 13):
            raise DoubtError("its bit depth is unusual")
        bits.take(1)
        if bits.take(1):
            _skip_scaling_lists(bits, 12 if chroma_format == 3 else 8)
    frame_num_bits = 4 + bits.at_most(12)
    order_type, order_bits = bits.at_most(2), 0
    if order_type == 1:
        raise DoubtError("its picture order counts are of type 1")
    if order_type == 0:
        order_bits = 4 + bits.at_most(12)
    bits.at_most(16)  # number of reference frames
    bits.take(1)  # gaps in frame_num are allowed: a file that has none may say so
    width, height = 16 * (bits.at_most(8190) + 1), 16 * (bits.at_most(8190) + 1)
    frames_only = bool(bits.take(1))
    if not frames_only:
        height *= 2
        bits.take(1)
    if width * height > _MAX_PIXELS:
        raise DoubtError("its pictures are too large")
    direct_8x8 = bool(bits.take(1))
    if bits.take(1):
        across = 1 if chroma_format in (0, 3) else 2
        down = (1 if chroma_format != 1 else 2) * (1 if frames_only else 2)
        cropped = [bits.at_most(8190) for _ in range(4)]
        if across * (cropped[0] + cropped[1]) >= width or down * (cropped[2] + cropped[3]) >= height:
            raise DoubtError("it crops the whole picture")
    delay = _parse_usability(bits, width, height) if bits.take(1) else None
    has_more = not (profile in _OLD_PROFILES and constraints & 0xE0)
    return number, _Sps(
        chroma_format, frame_num_bits, order_type, order_bits, frames_only, direct_8x8, has_more, delay, bit_depth
    )


def _parse_pps(unit: bytes, sets: dict[int, _Sps]) -> tuple[int, _Pps]:
    """(its number, what it says). Raises `DoubtError` for all that FFmpeg refuses, and more."""
    bits = payload_bits(unit, 1)
    number, owner = bits.at_most(255), bits.at_most(31)
    if (sps := sets.get(owner)) is None:
        raise DoubtError("a parameter set is missing")
    cabac, has_bottom_order = bool(bits.take(1)), bool(bits.take(1))
    if bits.unsigned():
        raise DoubtError("it has several slice groups")
    num_refs = bits.at_most(31) + 1, bits.at_most(31) + 1
    weighted_p, weighted_b = bool(bits.take(1)), bits.take(2) == 1
    qp = 26 + bits.within(-200, 200) + 6 * (sps.bit_depth - 8)
    bits.within(-200, 200)
    bits.within(-12, 12)
    has_deblocking = bool(bits.take(1))
    bits.take(1)
    if bits.take(1):
        raise DoubtError("it allows redundant pictures")
    if bits.left and sps.has_more_in_pps:
        transform_8x8 = bits.take(1)
        if bits.take(1):
            _skip_scaling_lists(bits, 6 + (6 if sps.chroma_format == 3 else 2) * transform_8x8)
        bits.within(-12, 12)
    return number, _Pps(cabac, has_bottom_order, num_refs, weighted_p, weighted_b, qp, has_deblocking)


class H264Check:
    """See `StructureCheck`."""

    def __init__(self, extradata: bytes, depth: int):
        self.reason: str | None = None
        self._extradata, self._depth = extradata, depth
        self._units = UnitReader(extradata, "h264")
        self._known: set[bytes] = set()
        self._pps: dict[int, _Pps] = {}
        self._order = OutputOrder()
        self._frame_num = self._offset = 0  # of the last picture, whatever it is
        self._reference_num = 0  # frame_num of the last reference picture
        self._anchor = 0  # the order count of the last reference picture
        self._started = False
        try:
            self._read_header()
        except DoubtError as error:
            self.reason = str(error)

    def _read_header(self) -> None:
        sets: dict[int, _Sps] = {}
        for unit in dict.fromkeys(self._units.header_units()):
            kind = unit[0] & 31
            if unit[0] & 0x80:
                raise DoubtError("a NAL unit has a wrong header")
            if kind == _SPS:
                number, sps = _parse_sps(unit)
                sets[number] = self._sps = sps
            elif kind == _PPS:
                number, pps = _parse_pps(unit, sets)
                if number in self._pps:
                    raise DoubtError("two parameter sets have the same number")
                self._pps[number] = pps
            elif kind not in (_SEI, _DELIMITER):
                raise DoubtError(f"the container's header has NAL units of type {kind}")
            self._known.add(unit)
        if len(sets) != 1 or sum(unit[0] & 31 == _SPS for unit in self._known) != 1:
            raise DoubtError("the container's header does not hold one sequence parameter set")
        if self._sps.delay is not None:
            self._depth = max(self._depth, self._sps.delay)

    @property
    def hides_damage(self) -> bool:
        """FFmpeg keeps coefficients of a macroblock in which a code of CAVLC is invalid, and adds them to another."""
        return not all(pps.cabac for pps in self._pps.values())

    def doubt(self) -> str | None:
        if self.reason is None and self._order.delay > min(self._depth, _MAX_DELAY):
            return "pictures are reordered more than the file says"
        return self.reason

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        units, doubt = self._units.split(data)
        self.reason = self.reason or doubt
        first = -1  # header of the first slice
        begin = end = 0
        is_idr = is_uniform = True
        is_non_reference = True
        sets: list[bytes] = []
        x264, has_film_grain = None, False
        for start, stop in units:
            header = data[start]
            kind = header & 31
            if header & 0x80:
                self.reason = self.reason or "a NAL unit has a wrong header"
            if kind in _SLICES:
                is_non_reference = is_non_reference and not header & 0x60
                if first < 0:
                    first, begin, end, is_idr = header, start, stop, kind == _IDR_SLICE
                elif (header ^ first) & 31 or data[start + 1] & 0x80 or (not header & 0x60) != (not first & 0x60):
                    is_uniform = False
            elif kind == _SEI:
                for payload_type, payload in iter_messages(data[start + 1 : stop]):
                    if payload_type == _USER_DATA and (named := _X264.match(payload[16:])):
                        x264 = named[0] if int(named[1]) < _X264_CORRECT else b""
                    elif payload_type == _FILM_GRAIN:
                        has_film_grain = True
                        self.reason = self.reason or "it has film grain"
                    elif payload_type == _ORIENTATION:
                        self.reason = self.reason or "its pictures state how they are turned"
            elif kind in _PARAMETER_SETS:
                unit = data[start:stop].rstrip(b"\0")
                if unit not in self._known:
                    self.reason = self.reason or "a packet holds parameter sets that the container's header does not"
                    if unit not in self._extradata:
                        sets.append(unit)
            elif 2 <= kind <= 4:  # data partitions
                is_non_reference = is_non_reference and not header & 0x60
                self.reason = self.reason or f"it has NAL units of type {kind}"
            elif kind != _DELIMITER and kind != _FILLER:
                self.reason = self.reason or f"it has NAL units of type {kind}"
        if self.reason is None:
            try:
                if first < 0:
                    raise DoubtError("a packet holds no picture")
                if not is_uniform:
                    raise DoubtError("a packet holds more than one picture")
                self._picture(data, begin, end, pts)
            except DoubtError as error:
                self.reason = str(error)
        return PacketFacts(
            is_key and is_idr and first >= 0,
            is_non_reference and first >= 0,
            0,
            frozenset(sets),
            x264,
            has_film_grain,
        )

    def _picture(self, data: bytes, begin: int, end: int, pts: int) -> None:
        """Parses the first slice of a packet. Raises `DoubtError`."""
        for size in _HEADS:
            try:
                parsed = self._parse_slice(first_bits(data, begin, end, size, 1), data[begin])
                break
            except DoubtError:
                if begin + size >= end or size == _HEADS[-1]:
                    raise
        order = self._order_count(*parsed)
        self._order.add(order, pts)

    def _parse_slice(self, bits: Bits, header: int) -> tuple[bool, bool, int, int, int]:
        """The header of a slice (section 7.3.3).

        Returns:
            Whether it belongs to an IDR and to a reference picture; frame_num; the low bits of its picture order count,
            and by how much that of the bottom field is larger.
        """
        is_idr, is_reference = header & 31 == _IDR_SLICE, bool(header & 0x60)
        if is_idr and not is_reference:
            raise DoubtError("a NAL unit has a wrong header")
        if bits.unsigned():
            raise DoubtError("a packet does not begin with the first macroblock")
        kind = bits.at_most(9) % 5
        if kind > _I or (is_idr and kind != _I):
            raise DoubtError("it has slices of an unusual type")
        sps, pps = self._sps, self._pps.get(bits.unsigned())
        if pps is None:
            raise DoubtError("a parameter set is missing")
        frame_num = bits.take(sps.frame_num_bits)
        if not sps.frames_only:
            if not sps.direct_8x8 and kind == _B:
                raise DoubtError("it has slices of an unusual type")
            if bits.take(1):
                raise DoubtError("its pictures are stored as fields")
        if is_idr:
            bits.at_most(65535)
        low = bottom = 0
        if sps.order_type == 0:
            low = bits.take(sps.order_bits)
            if pps.has_bottom_order:
                bottom = bits.within(-4000, 4000)
        if kind == _B:
            bits.take(1)
        if kind != _I:
            self._skip_references(bits, kind, sps, pps)
        if is_reference:
            self._check_marking(bits, is_idr)
        if kind != _I and pps.cabac:
            bits.at_most(2)
        allow(0 <= pps.qp + bits.within(-200, 200) <= sps.largest_qp)
        if pps.has_deblocking and bits.at_most(2) != 1:
            bits.within(-6, 6)
            bits.within(-6, 6)
        return is_idr, is_reference, frame_num, low, bottom

    @staticmethod
    def _skip_references(bits: Bits, kind: int, sps: _Sps, pps: _Pps) -> None:
        """Numbers of references, changes of their lists (section 7.3.3.1) and their weights (section 7.3.3.2)."""
        counts: tuple[int, ...] = pps.num_refs
        if bits.take(1):
            counts = bits.unsigned() + 1, bits.unsigned() + 1 if kind == _B else 1
        counts = counts[: kind + 1]  # one list for P, two for B
        allow(max(counts) <= 16)
        for count in counts:
            if bits.take(1):
                for _ in range(count + 1):
                    if (operation := bits.at_most(3)) == 3:
                        break
                    bits.at_most(31 if operation == 2 else (1 << sps.frame_num_bits) - 1)
                else:
                    raise DoubtError("a header holds a value that is not allowed")
        if pps.weighted_b if kind == _B else pps.weighted_p:
            bits.at_most(7)
            if sps.chroma_format:
                bits.at_most(7)
            for count in counts:
                for _ in range(count):
                    for num in (2, 4) if sps.chroma_format else (2,):
                        if bits.take(1):
                            for _ in range(num):
                                bits.within(-128, 127)

    def _check_marking(self, bits: Bits, is_idr: bool) -> None:
        """Section 7.3.3.3."""
        if is_idr:
            if bits.take(1) and self._started:
                raise DoubtError("a keyframe drops pictures that were not shown")
            bits.take(1)
        elif bits.take(1):
            for _ in range(64):  # FFmpeg accepts 66
                operation = bits.at_most(6)
                if operation == 0:
                    return
                if operation == 5:
                    raise DoubtError("its picture order counts are reset between keyframes")
                if operation in (1, 3):
                    bits.unsigned()
                if operation in (2, 3, 4, 6):
                    bits.at_most(15)
            raise DoubtError("a header holds a value that is not allowed")

    def _order_count(self, is_idr: bool, is_reference: bool, frame_num: int, low: int, bottom: int) -> int:
        """The picture order count (section 8.2.1)."""
        sps = self._sps
        if is_idr:
            if frame_num:
                raise DoubtError(MISSING)
            self._order.reset()
            self._started = True
            self._frame_num = self._offset = self._reference_num = 0
            self._anchor = low
        elif not self._started:
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        elif frame_num != (self._reference_num + 1) % (1 << sps.frame_num_bits):
            raise DoubtError(MISSING)
        if frame_num < self._frame_num:
            self._offset += 1 << sps.frame_num_bits
        self._frame_num = frame_num
        if is_reference:
            self._reference_num = frame_num
        if sps.order_type == 2:
            return 2 * (self._offset + frame_num) - (not is_reference)
        order = order_count(low, self._anchor, sps.order_bits)
        if is_reference:
            self._anchor = order
        return order + min(bottom, 0)


def x264_unit(name: bytes, extradata: bytes) -> bytes:
    """An SEI unit that tells a decoder the build of x264. It is put in front of an H.264 packet.

    Args:
        name: as in `PacketFacts.x264`.
        extradata: of the container. It tells the form of the packets.
    """
    payload = _X264_ID + name
    unit = bytes([_SEI, _USER_DATA, len(payload)]) + payload + b"\x80"
    size = prefix_size(extradata, "h264")
    return (len(unit).to_bytes(size, "big") if size else b"\0\0\0\1") + unit
