"""Whether a plain FFmpeg decode of HEVC provably shows one picture per packet, in the order of the timestamps.

Sections are those of ITU-T H.265. FFmpeg means the HEVC decoder of libavcodec 62 with one thread and its default
options; the functions named here are its own. The argument:

1. *Every packet gives exactly one picture.* `hevc_frame_start` puts a picture into the decoded picture buffer (DPB).
   Nothing that follows removes it before it is shown. This function is reached if the header of the first slice parses
   (`hls_slice_header`), so the whole header is parsed here, with the same limits (7.3.6). It succeeds if all references
   are in the DPB, because FFmpeg drops a picture if one of its references is missing. So the reference picture sets
   (8.3.2) are followed here. These are not judged: pictures that are marked as not shown, leading pictures that are
   skipped, keyframes that drop pictures before they are shown, several layers, ends of sequences, and long-term
   references.
2. *All pictures have one size*, and the decoder never restarts. There is one sequence parameter set (SPS), in the
   container's header, and packets contain only parameter sets that are also in that header.
3. *The output order* is computed as in FFmpeg (`ff_hevc_output_frames`). An IDR picture makes the decoder show all
   waiting pictures. After each picture, the waiting picture with the smallest picture order count (8.3.1) is shown, as
   long as more pictures wait than `sps_max_num_reorder_pics` allows, or the DPB has more than
   `sps_max_dec_pic_buffering_minus1` allows. The timestamps must ascend in this order. They also ascend if pictures
   are left out to which no other picture refers: then fewer pictures wait, so none is shown earlier than before.
4. *IDR pictures reset the decoder:* references, counts and the DPB. Two things remain: parameter sets, which do not
   change, and film grain, which is not judged. Contexts of entropy coding restart with each slice.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from actrec.data.video.structure.bits import Bits, DoubtError, allow, first_bits, iter_messages, payload_bits
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.order import order_count
from actrec.data.video.structure.units import UnitReader

_IDR = frozenset({19, 20})  # types of NAL units (table 7-1)
_CRA = 21
_LEADING = frozenset({6, 7, 8, 9})  # RADL and RASL
_SKIPPED = frozenset({8, 9})  # RASL
_SLICES = frozenset({*range(10), *_IDR, _CRA})
_NO_ANCHORS = frozenset({0, 2, 4, *_LEADING})  # the count of the next picture is not derived from theirs
_VPS, _SPS, _PPS = 32, 33, 34
_PARAMETER_SETS = frozenset({_VPS, _SPS, _PPS})
_SEI = frozenset({39, 40})
_HARMLESS = frozenset({35, 38, 62, 63})  # delimiters, fillers, and the metadata of Dolby Vision
_USER_DATA, _FILM_GRAIN, _ORIENTATION = 4, 19, 47  # payload types of SEI messages
_B, _P, _I = 0, 1, 2  # slice types (table 7-7)
_MAX_PIXELS = 1 << 28  # far more than a decoder accepts here
_MAX_REFERENCES = 15
# Bytes of a slice in which its header is searched: at first, and if they were too few. The header may contain the
# positions of all rows of blocks.
_HEADS = (16, 64, 8000)

_References = list[tuple[int, bool]]  # difference of the picture order count; whether this picture itself refers to it


@dataclass(frozen=True)
class _Sps:
    """The part of a sequence parameter set on which slice headers and the output depend (section 7.3.2.2)."""

    profile: int
    chroma_format: int
    block_size: int  # log2 of the size of a coding tree block
    smaller_blocks: int  # log2 of how much smaller coding blocks may be
    blocks: tuple[int, int]
    bit_depth: int
    order_bits: int
    delay: int
    buffered: int
    has_offsets: bool
    sets: list[_References]
    has_long_term: bool
    long_term: int
    has_temporal_prediction: bool


@dataclass(frozen=True)
class _Pps:
    """The part of a picture parameter set on which slice headers depend (section 7.3.2.3)."""

    has_output_flag: bool
    extra_bits: int
    has_cabac_init: bool
    num_refs: tuple[int, int]
    qp: int
    has_chroma_qp: bool
    weighted_p: bool
    weighted_b: bool
    most_entry_points: int
    has_entry_points: bool
    filters_across_slices: bool
    overrides_deblocking: bool
    no_deblocking: bool
    has_list_changes: bool
    has_extension: bool
    has_chroma_qp_list: bool


def _parse_profile(bits: Bits) -> int:
    """Section 7.3.3. Returns the profile."""
    bits.take(3)
    profile, compatible = bits.take(5), bits.take(32)
    bits.take(48)
    if not profile:  # FFmpeg takes the first one that the stream is compatible with
        profile = next((i for i in range(1, 32) if compatible >> 31 - i & 1), 0)
    return profile


def _parse_levels(bits: Bits, layers: int) -> int:
    """profile_tier_level. Returns the profile."""
    profile = _parse_profile(bits)
    bits.take(8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers - 1)]
    if layers > 1:
        bits.take(2 * (9 - layers))
    for has_profile, has_level in present:
        if has_profile:
            _parse_profile(bits)
        if has_level:
            bits.take(8)
    return profile


def _parse_buffering(bits: Bits, layers: int) -> tuple[int, int]:
    """How many pictures are buffered and reordered, for all temporal layers together."""
    buffered = delay = 0
    for _ in range(layers if bits.take(1) else 1):
        buffered = bits.at_most(15) + 1
        delay = bits.at_most(buffered - 1)
        bits.unsigned()
    return buffered, delay


def _skip_reference_decoder(bits: Bits, has_common: bool, layers: int) -> None:
    """hrd_parameters (section E.2.2)."""
    counted, has_parts = 0, False
    if has_common:
        counted = bits.take(1) + bits.take(1)
        if counted:
            has_parts = bool(bits.take(1))
            if has_parts:
                bits.take(19)
            bits.take(8)
            if has_parts:
                bits.take(4)
            bits.take(15)
    for _ in range(layers):
        is_fixed = bits.take(1) or bits.take(1)
        is_low_delay, number = 0, 1
        if is_fixed:
            bits.unsigned()
        else:
            is_low_delay = bits.take(1)
        if not is_low_delay:
            number = bits.at_most(31) + 1
        for _ in range(counted * number):
            for _ in range(4 if has_parts else 2):
                bits.unsigned()
            bits.take(1)


def _parse_vps(unit: bytes) -> int:
    """Section 7.3.2.1. Returns the number of temporal layers."""
    bits = payload_bits(unit, 2)
    bits.take(4)
    if bits.take(2) != 3 or bits.take(6):
        raise DoubtError("it has several layers")
    layers = bits.take(3) + 1
    bits.take(1)
    allow(bits.take(16) == 0xFFFF and layers <= 7)
    _parse_levels(bits, layers)
    _parse_buffering(bits, layers)
    bits.take(6)
    if bits.unsigned():
        raise DoubtError("it has several layers")
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            bits.unsigned()
        for number in range(bits.at_most(1)):
            bits.unsigned()
            _skip_reference_decoder(bits, not number, layers)
    return layers


def _skip_scaling_lists(bits: Bits) -> None:
    """Section 7.3.4."""
    for size in range(4):
        for number in range(0, 6, 3 if size == 3 else 1):
            if not bits.take(1):
                bits.at_most(number // 3 if size == 3 else number)
                continue
            if size > 1:
                bits.within(-7, 247)
            for _ in range(min(64, 16 << 2 * size)):
                bits.within(-128, 127)


def _parse_references(bits: Bits, sets: list[_References], in_slice: bool) -> _References:
    """A short-term reference picture set (section 7.3.7)."""
    if sets and bits.take(1):
        origin = sets[-1 - bits.at_most(len(sets) - 1)] if in_slice else sets[-1]
        sign, size = bits.take(1), bits.at_most(32767) + 1
        found = []
        for delta, _ in [*origin, (0, False)]:
            used = bool(bits.take(1))
            if used or bits.take(1):
                found.append((delta + (-size if sign else size), used))
        before = sorted((entry for entry in found if entry[0] < 0), reverse=True)
        after = sorted(entry for entry in found if entry[0] >= 0)
    else:
        before, after = [], []
        counts = bits.at_most(15), bits.at_most(15)
        for entries, count, sign in ((before, counts[0], -1), (after, counts[1], 1)):
            delta = 0
            for _ in range(count):
                delta += sign * (bits.at_most(32767) + 1)
                entries.append((delta, bool(bits.take(1))))
    found = before + after
    allow(len(found) <= _MAX_REFERENCES and len({delta for delta, _ in found} - {0}) == len(found))
    return found


def _skip_usability(bits: Bits, layers: int) -> None:
    """Video usability information (section E.2.1)."""
    if bits.take(1) and bits.take(8) == 255:
        bits.take(32)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.at_most(5)
        bits.at_most(5)
    bits.take(3)
    if bits.left >= 68 and bits.shows(21) == 0x100000:
        raise DoubtError("its display window is unusual")  # FFmpeg guesses what is meant
    if bits.take(1):
        for _ in range(4):
            bits.unsigned()
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            bits.unsigned()
        if bits.take(1):
            _skip_reference_decoder(bits, True, layers)
    if bits.take(1):
        bits.take(3)
        if bits.left < 5:
            raise DoubtError("a header is cut off")
        for _ in range(5):
            bits.unsigned()
    if not bits.left:
        raise DoubtError("a header is cut off")


def _parse_sps(unit: bytes, max_layers: int) -> tuple[int, _Sps]:
    """(its number, what it says). Raises `DoubtError` for all that FFmpeg refuses, and more."""
    bits = payload_bits(unit, 2)
    bits.take(4)
    layers = bits.take(3) + 1
    allow(layers <= max_layers)
    bits.take(1)
    profile = _parse_levels(bits, layers)
    number, chroma_format = bits.at_most(15), bits.at_most(3)
    if chroma_format == 3 and bits.take(1):
        raise DoubtError("it has separate color planes")
    width, height = bits.at_most(1 << 16), bits.at_most(1 << 16)
    if not 0 < width * height <= _MAX_PIXELS:
        raise DoubtError("its pictures are too large")
    if bits.take(1):
        across, down = (1, 2, 2, 1)[chroma_format], (1, 2, 1, 1)[chroma_format]
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
        if across * (left + right) >= width or down * (top + bottom) >= height:
            raise DoubtError("it crops the whole picture")
    bit_depth, chroma_depth = bits.at_most(4) + 8, bits.at_most(4) + 8
    if chroma_depth != bit_depth or bit_depth == 11:
        raise DoubtError("its bit depth is unusual")
    order_bits = bits.at_most(12) + 4
    buffered, delay = _parse_buffering(bits, layers)
    smallest, smaller_blocks = bits.at_most(3) + 3, bits.at_most(3)
    transform = bits.at_most(3) + 2
    largest_transform = transform + bits.at_most(3)
    block_size = smallest + smaller_blocks
    allow(4 <= block_size <= 6 and transform < smallest and largest_transform <= min(block_size, 5))
    allow(not width % (1 << smallest) and not height % (1 << smallest))
    bits.at_most(block_size - transform)
    bits.at_most(block_size - transform)
    if bits.take(1) and bits.take(1):
        _skip_scaling_lists(bits)
    bits.take(1)
    has_offsets = bool(bits.take(1))
    if bits.take(1):
        allow(max(bits.take(4), bits.take(4)) < bit_depth)
        bits.at_most(2)
        bits.at_most(2)
        bits.take(1)
    sets: list[_References] = []
    for _ in range(bits.at_most(64)):
        sets.append(_parse_references(bits, sets, in_slice=False))
    has_long_term, long_term = bool(bits.take(1)), 0
    if has_long_term:
        long_term = bits.at_most(32)
        bits.take(long_term * (order_bits + 1))
    has_temporal_prediction = bool(bits.take(1))
    bits.take(1)
    if bits.take(1):
        _skip_usability(bits, layers)
    if bits.take(1):
        extensions = bits.take(8)
        if extensions & 0x70:
            raise DoubtError("it uses extensions")
        if extensions & 0x80:
            bits.take(9)
    side = 1 << block_size
    return number, _Sps(
        profile=profile,
        chroma_format=chroma_format,
        block_size=block_size,
        smaller_blocks=smaller_blocks,
        blocks=(-(-width // side), -(-height // side)),
        bit_depth=bit_depth,
        order_bits=order_bits,
        delay=delay,
        buffered=buffered,
        has_offsets=has_offsets,
        sets=sets,
        has_long_term=has_long_term,
        long_term=long_term,
        has_temporal_prediction=has_temporal_prediction,
    )


def _parse_pps(unit: bytes, found: dict[int, _Sps]) -> tuple[int, _Pps]:
    """(its number, what it says). Raises `DoubtError` for all that FFmpeg refuses, and more."""
    bits = payload_bits(unit, 2)
    number, owner = bits.at_most(63), bits.at_most(15)
    if (sps := found.get(owner)) is None:
        raise DoubtError("a parameter set is missing")
    bits.take(1)
    has_output_flag, extra_bits = bool(bits.take(1)), bits.take(3)
    bits.take(1)
    has_cabac_init = bool(bits.take(1))
    num_refs = bits.at_most(14) + 1, bits.at_most(14) + 1
    qp = 26 + bits.within(-100, 100)
    bits.take(1)
    transform_skip = bits.take(1)
    if bits.take(1):
        bits.at_most(sps.smaller_blocks)
    bits.within(-12, 12)
    bits.within(-12, 12)
    has_chroma_qp, weighted_p, weighted_b = bool(bits.take(1)), bool(bits.take(1)), bool(bits.take(1))
    bits.take(1)
    has_tiles, has_rows = bits.take(1), bits.take(1)
    columns = rows = 1
    if has_tiles:
        borders = [bits.at_most(blocks - 1) for blocks in sps.blocks]
        columns, rows = borders[0] + 1, borders[1] + 1
        if not bits.take(1):
            for num, blocks in zip(borders, sps.blocks, strict=True):
                allow(sum(bits.unsigned() + 1 for _ in range(num)) < blocks)
        bits.take(1)
    across_slices = bool(bits.take(1))
    overrides = no_deblocking = False
    if bits.take(1):
        overrides, no_deblocking = bool(bits.take(1)), bool(bits.take(1))
        if not no_deblocking:
            bits.within(-6, 6)
            bits.within(-6, 6)
    if bits.take(1):
        _skip_scaling_lists(bits)
    has_list_changes = bool(bits.take(1))
    bits.at_most(sps.block_size)
    has_extension, has_chroma_qp_list = bool(bits.take(1)), False
    if bits.take(1):
        extensions = bits.take(8)
        if extensions & 0x70 or (extensions & 0x80 and sps.profile < 4):
            raise DoubtError("it uses extensions")
        if extensions & 0x80:
            has_chroma_qp_list = _parse_range_extension(bits, bool(transform_skip), sps)
    return number, _Pps(
        has_output_flag=has_output_flag,
        extra_bits=extra_bits,
        has_cabac_init=has_cabac_init,
        num_refs=num_refs,
        qp=qp,
        has_chroma_qp=has_chroma_qp,
        weighted_p=weighted_p,
        weighted_b=weighted_b,
        most_entry_points=columns * (sps.blocks[1] if has_rows else rows) - 1,
        has_entry_points=bool(has_tiles or has_rows),
        filters_across_slices=across_slices,
        overrides_deblocking=overrides,
        no_deblocking=no_deblocking,
        has_list_changes=has_list_changes,
        has_extension=has_extension,
        has_chroma_qp_list=has_chroma_qp_list,
    )


def _parse_range_extension(bits: Bits, transform_skip: bool, sps: _Sps) -> bool:
    """Section 7.3.2.3.2. Returns whether slices choose offsets of the quantization of chroma."""
    if transform_skip:
        bits.at_most(30)
    bits.take(1)
    has_list = bool(bits.take(1))
    if has_list:
        bits.at_most(30)
        for _ in range(2 * (bits.at_most(5) + 1)):
            bits.within(-12, 12)
    for _ in range(2):
        bits.at_most(max(sps.bit_depth - 10, 0))
    return has_list


class HevcCheck:
    """See `StructureCheck`."""

    hides_damage = False

    def __init__(self, extradata: bytes):
        self.reason: str | None = None
        self._units = UnitReader(extradata, "hevc")
        self._extradata = extradata
        self._known: set[bytes] = set()
        self._pps: dict[int, _Pps] = {}
        self._started = False
        self._anchor = 0  # the picture order count from which the next one is derived
        self._held: set[int] = set()  # the counts of the pictures that may be referred to
        self._disposable: dict[int, int] = {}  # temporal layers of the pictures to which their layer does not refer
        self._waiting: list[tuple[int, int]] = []  # counts and timestamps of the pictures that are not shown yet
        self._latest: int | None = None  # timestamp of the picture that was shown last
        self._skips_leading = False
        try:
            self._read_header()
        except DoubtError as error:
            self.reason = str(error)

    def _read_header(self) -> None:
        sets: dict[int, _Sps] = {}
        layers = 0
        for unit in dict.fromkeys(self._units.header_units()):
            kind = unit[0] >> 1
            if kind in _PARAMETER_SETS and (unit[0] & 1 or unit[1] >> 3):
                raise DoubtError("it has several layers")
            if kind == _VPS:
                if layers:
                    raise DoubtError("the container's header does not hold one video parameter set")
                layers = _parse_vps(unit)
            elif kind == _SPS:
                number, sps = _parse_sps(unit, layers)
                sets[number] = self._sps = sps
            elif kind == _PPS:
                number, pps = _parse_pps(unit, sets)
                if number in self._pps:
                    raise DoubtError("two parameter sets have the same number")
                self._pps[number] = pps
            elif kind in _SEI:
                self._check_messages(unit)
            elif kind not in _HARMLESS:
                raise DoubtError(f"the container's header has NAL units of type {kind}")
            self._known.add(unit)
        if len(sets) != 1 or sum(unit[0] >> 1 == _SPS for unit in self._known) != 1:
            raise DoubtError("the container's header does not hold one sequence parameter set")

    def _check_messages(self, unit: bytes) -> bool:
        """Returns whether there is film grain."""
        has_film_grain = False
        for payload_type, _ in iter_messages(unit[2:]):
            if payload_type == _FILM_GRAIN:
                has_film_grain = True
                self.reason = self.reason or "it has film grain"
            elif payload_type == _ORIENTATION:
                self.reason = self.reason or "its pictures state how they are turned"
            elif payload_type == _USER_DATA:  # such as film grain in the form of AV1
                self.reason = self.reason or "it has registered user data"
        return has_film_grain

    def doubt(self) -> str | None:
        if self.reason is None:
            try:
                self._show_all()
            except DoubtError as error:
                self.reason = str(error)
        return self.reason

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        units, doubt = self._units.split(data)
        self.reason = self.reason or doubt
        first = -1  # type of the first slice
        begin = end = layer = 0
        is_uniform = is_non_reference = True
        has_film_grain = False
        sets: list[bytes] = []
        for start, stop in units:
            kind = data[start] >> 1 & 63
            if kind < 32:
                layer = max(layer, data[start + 1] & 7)
                is_non_reference = is_non_reference and kind < 16 and kind % 2 == 0
                if first < 0:
                    first, begin, end = kind, start, stop
                elif kind != first or (start + 2 < stop and data[start + 2] & 0x80):
                    is_uniform = False
            elif kind in _SEI:
                has_film_grain = self._check_messages(data[start:stop]) or has_film_grain
            elif kind in _PARAMETER_SETS:
                unit = data[start:stop].rstrip(b"\0")
                if unit not in self._known:
                    self.reason = self.reason or "a packet holds parameter sets that the container's header does not"
                    if unit not in self._extradata:
                        sets.append(unit)
            elif kind not in _HARMLESS:
                self.reason = self.reason or f"it has NAL units of type {kind}"
            if data[start] & 0x81 or data[start + 1] & 0xF8:
                self.reason = self.reason or "it has several layers"
            elif not data[start + 1] & 7:
                self.reason = self.reason or "a NAL unit has a wrong header"
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
            is_key and first in _IDR, is_non_reference and first >= 0, layer, frozenset(sets), None, has_film_grain
        )

    def _picture(self, data: bytes, begin: int, end: int, pts: int) -> None:
        """Parses the first slice of a packet and follows its picture through the DPB."""
        kind, layer = data[begin] >> 1 & 63, data[begin + 1] & 7
        if kind not in _SLICES:
            raise DoubtError(f"it has NAL units of type {kind}")
        for size in _HEADS:
            try:
                order, references = self._parse_slice(first_bits(data, begin, end, size, 2), kind)
                break
            except DoubtError:
                if begin + size >= end or size == _HEADS[-1]:
                    raise
        if kind in _IDR:
            self._show_all()
            self._started, self._skips_leading = True, True
            self._held, self._disposable = set(), {}
        elif not self._started:
            raise DoubtError("it does not begin with a keyframe that resets the decoder")
        elif kind == _CRA:
            self._skips_leading = False
        elif kind in _SKIPPED and self._skips_leading:
            raise DoubtError("it has pictures that are skipped")
        if layer == 1 and kind not in _NO_ANCHORS:
            self._anchor = order
        held = {order + delta for delta, _ in references}
        if not held <= self._held:
            raise DoubtError("pictures are missing")
        if order in self._held or any(order == other for other, _ in self._waiting):
            raise DoubtError("two pictures have the same place in the order of output")
        if any(self._disposable.get(other, 0) >= layer for other in held):
            raise DoubtError("a picture that nothing should refer to is referred to")
        self._disposable = {other: found for other, found in self._disposable.items() if other in held}
        if kind < 16 and kind % 2 == 0:
            self._disposable[order] = layer
        held.add(order)
        self._held = held
        insort(self._waiting, (order, pts))
        self._show(self._sps.delay, self._sps.buffered)

    def _show(self, delay: int, buffered: int) -> None:
        waiting, held = self._waiting, self._held
        fill = len(held) + sum(order not in held for order, _ in waiting)
        while waiting and (len(waiting) > delay or fill > buffered):
            order, pts = waiting.pop(0)
            fill -= order not in held
            if self._latest is not None and pts <= self._latest:
                raise DoubtError("the order of output is not the order of the timestamps")
            self._latest = pts

    def _show_all(self) -> None:
        self._show(0, 1 << 20)

    def _parse_slice(self, bits: Bits, kind: int) -> tuple[int, _References]:
        """The header of the first slice (section 7.3.6.1). Returns the picture order count, and the reference set."""
        is_idr = kind in _IDR
        if not bits.take(1):
            raise DoubtError("a packet does not begin with the first block")
        if kind >= 16 and bits.take(1) and self._started:
            raise DoubtError("a keyframe drops pictures that were not shown")
        sps, pps = self._sps, self._pps.get(bits.unsigned())
        if pps is None:
            raise DoubtError("a parameter set is missing")
        bits.take(pps.extra_bits)
        slice_type = bits.at_most(_I)
        if kind >= 16 and slice_type != _I:
            raise DoubtError("it has slices of an unusual type")
        if pps.has_output_flag and not bits.take(1):
            raise DoubtError("it has pictures that are not shown")
        order, references, has_temporal_prediction = 0, [], False
        if not is_idr:
            order = order_count(bits.take(sps.order_bits), self._anchor, sps.order_bits)
            if not bits.take(1):
                references = _parse_references(bits, sps.sets, in_slice=True)
            else:
                allow(bool(sps.sets))
                number = bits.take((len(sps.sets) - 1).bit_length())
                allow(number < len(sps.sets))
                references = sps.sets[number]
            if sps.has_long_term and ((sps.long_term and bits.unsigned()) or bits.unsigned()):
                raise DoubtError("it has long-term references")
            if sps.has_temporal_prediction:
                has_temporal_prediction = bool(bits.take(1))
        has_offsets = False
        if sps.has_offsets:
            has_offsets = bool(bits.take(1))
            if sps.chroma_format:
                has_offsets = bool(bits.take(1)) or has_offsets
        if slice_type != _I:
            self._skip_prediction(bits, slice_type, references, has_temporal_prediction, pps)
        allow(-6 * (sps.bit_depth - 8) <= pps.qp + bits.within(-200, 200) <= 51)
        if pps.has_chroma_qp:
            bits.within(-12, 12)
            bits.within(-12, 12)
        if pps.has_chroma_qp_list:
            bits.take(1)
        no_deblocking = pps.no_deblocking
        if pps.overrides_deblocking and bits.take(1):
            no_deblocking = bool(bits.take(1))
            if not no_deblocking:
                bits.within(-6, 6)
                bits.within(-6, 6)
        if pps.filters_across_slices and (has_offsets or not no_deblocking):
            bits.take(1)
        if pps.has_entry_points and (number := bits.at_most(min(pps.most_entry_points, 65535))):
            bits.take(number * (bits.at_most(31) + 1))
        if pps.has_extension:
            bits.take(8 * bits.at_most(256))
        allow(bool(bits.take(1)))
        return order, references

    def _skip_prediction(
        self, bits: Bits, slice_type: int, references: _References, has_temporal_prediction: bool, pps: _Pps
    ) -> None:
        """The part of a slice header that P and B slices have."""
        counts: tuple[int, ...] = pps.num_refs
        if bits.take(1):
            counts = bits.at_most(14) + 1, bits.at_most(14) + 1 if slice_type == _B else 1
        counts = counts if slice_type == _B else counts[:1]
        num = sum(used for _, used in references)
        if not num:
            raise DoubtError("a picture refers to nothing")
        if pps.has_list_changes and num > 1:
            for count in counts:
                if bits.take(1):
                    for _ in range(count):
                        allow(bits.take((num - 1).bit_length()) < num)
        if slice_type == _B:
            bits.take(1)
        if pps.has_cabac_init:
            bits.take(1)
        if has_temporal_prediction:
            chosen = counts[0] if slice_type == _P or bits.take(1) else counts[1]
            if chosen > 1:
                bits.at_most(chosen - 1)
        if pps.weighted_b if slice_type == _B else pps.weighted_p:
            self._skip_weights(bits, counts)
        bits.at_most(4)

    def _skip_weights(self, bits: Bits, counts: tuple[int, ...]) -> None:
        """Section 7.3.6.3."""
        denominator = bits.at_most(7)
        chroma = bool(self._sps.chroma_format)
        if chroma:
            bits.within(-denominator, 7 - denominator)
        for count in counts:
            of_luma, of_chroma = bits.take(count), bits.take(count) if chroma else 0
            for i in reversed(range(count)):
                for num in (of_luma >> i & 1, 2 * (of_chroma >> i & 1)):
                    for _ in range(num):
                        bits.within(-128, 127)
                        bits.within(-4000, 4000)
