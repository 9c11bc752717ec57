"""Whether a plain FFmpeg decode of H.264 provably shows one picture per packet, in the order of the timestamps.

Sections are those of ITU-T H.264. FFmpeg means the H.264 decoder of libavcodec 62 with one thread and its default
options; the functions named here are its own. The argument:

1. *Every packet gives exactly one picture.* `h264_field_start` adds a picture to FFmpeg's list of pictures to be shown.
   Nothing that follows, such as damage in macroblocks, removes it again. This function is reached if the header of the
   first slice parses (`h264_slice_header_parse`), so the whole header is read here, with the same limits (7.3.3). It
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

from actrec.data.video.structure.bits import Bits, DoubtError, allow, first_bits, iter_messages
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.h264_sets import Pps, Sps, parse_pps, parse_sps
from actrec.data.video.structure.h264_slices import OrdinarySlices
from actrec.data.video.structure.order import OutputOrder, order_count
from actrec.data.video.structure.units import UnitReader, prefix_size

_SLICE, _IDR_SLICE, _SEI, _SPS, _PPS, _DELIMITER, _FILLER = 1, 5, 6, 7, 8, 9, 12  # types of NAL units (table 7-1)
_USER_DATA, _FILM_GRAIN, _ORIENTATION = 5, 19, 47  # payload types of SEI messages
_PARAMETER_SETS = frozenset({7, 8, 13, 15})
_P, _B, _I = 0, 1, 2  # slice types (table 7-6)
_MAX_DELAY = 15  # FFmpeg treats a picture that is shown before 16 earlier ones as the beginning of a period
MISSING = "pictures are missing"
_SLICES = frozenset({_SLICE, _IDR_SLICE})
# x264 names its build in the user data of its first packet. For builds before 151, FFmpeg reproduces their faults, for
# example in 4:4:4 with CABAC. It remembers the build until another message names one.
_X264 = re.compile(rb"x264\s*-\s*core\s*(\d{1,9})")
_X264_ID = bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef")
_X264_CORRECT = 151
# Bytes of a slice in which its header is searched: at first, and if they were too few.
_HEADS = (16, 40, 2000)
_FACTS = tuple(
    tuple(PacketFacts(is_sync, is_non_reference) for is_non_reference in (False, True)) for is_sync in (False, True)
)


class H264Check:
    """See `StructureCheck`."""

    def __init__(self, extradata: bytes, depth: int):
        self.reason: str | None = None
        self._extradata, self._depth = extradata, depth
        self._units = UnitReader(extradata, "h264")
        self._known: set[bytes] = set()
        self._pps: dict[int, Pps] = {}
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
        sets: dict[int, Sps] = {}
        for unit in dict.fromkeys(self._units.header_units()):
            kind = unit[0] & 31
            if unit[0] & 0x80:
                raise DoubtError("a NAL unit has a wrong header")
            if kind == _SPS:
                number, sps = parse_sps(unit)
                sets[number] = self._sps = sps
            elif kind == _PPS:
                number, pps = parse_pps(unit, sets)
                if number in self._pps:
                    raise DoubtError("two parameter sets have the same number")
                self._pps[number] = pps
            elif kind not in (_SEI, _DELIMITER):
                raise DoubtError(f"the container's header has NAL units of type {kind}")
            self._known.add(unit)
        if len(sets) != 1 or sum(unit[0] & 31 == _SPS for unit in self._known) != 1:
            raise DoubtError("the container's header does not hold one sequence parameter set")
        self._num_frame_nums = 1 << self._sps.frame_num_bits
        self._ordinary = OrdinarySlices(self._sps, self._pps)
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
        if doubt is not None:
            self.reason = self.reason or doubt
        first = -1  # header of the first slice
        begin = end = 0
        is_idr = is_uniform = is_non_reference = True
        sets: list[bytes] = []
        x264, has_film_grain = None, False
        for start, stop in units:
            header = data[start]
            kind = header & 31
            if header > 127:
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
        is_sync, is_non_reference = is_key and is_idr and first >= 0, is_non_reference and first >= 0
        if sets or x264 is not None or has_film_grain:
            return PacketFacts(is_sync, is_non_reference, 0, frozenset(sets), x264, has_film_grain)
        return _FACTS[is_sync][is_non_reference]

    def _picture(self, data: bytes, begin: int, end: int, pts: int) -> None:
        """Parses the first slice of a packet. Raises `DoubtError`."""
        parsed = self._ordinary.read(data, begin, end)
        if parsed is None:
            for size in _HEADS:
                try:
                    parsed = self._parse_slice(first_bits(data, begin, end, size, 1), data[begin])
                    break
                except DoubtError:
                    if begin + size >= end or size == _HEADS[-1]:
                        raise
        assert parsed is not None
        self._order.add(self._order_count(*parsed), pts)

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
    def _skip_references(bits: Bits, kind: int, sps: Sps, pps: Pps) -> None:
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
        if is_idr:
            if frame_num:
                raise DoubtError(MISSING)
            self._order.reset()
            self._started = True
            self._frame_num = self._offset = self._reference_num = 0
            self._anchor = low
        elif not self._started:
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        elif frame_num != (self._reference_num + 1) % self._num_frame_nums:
            raise DoubtError(MISSING)
        if frame_num < self._frame_num:
            self._offset += self._num_frame_nums
        self._frame_num = frame_num
        if is_reference:
            self._reference_num = frame_num
        if self._sps.order_type == 2:
            return 2 * (self._offset + frame_num) - (not is_reference)
        order = order_count(low, self._anchor, self._sps.order_bits)
        if is_reference:
            self._anchor = order
        return order + bottom if bottom < 0 else order


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
