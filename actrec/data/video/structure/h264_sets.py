"""The parameter sets of H.264: what slice headers depend on, and all that FFmpeg refuses. Sections of ITU-T H.264."""

from __future__ import annotations

from dataclasses import dataclass

from actrec.data.video.structure.bits import Bits, DoubtError, payload_bits

_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 144})
_OLD_PROFILES = frozenset({66, 77, 88})
_MAX_PIXELS = 1 << 28  # far more than a decoder accepts here


@dataclass(frozen=True)
class Sps:
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
class Pps:
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


def parse_sps(unit: bytes) -> tuple[int, Sps]:
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
    return number, Sps(
        chroma_format, frame_num_bits, order_type, order_bits, frames_only, direct_8x8, has_more, delay, bit_depth
    )


def parse_pps(unit: bytes, sets: dict[int, Sps]) -> tuple[int, Pps]:
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
    return number, Pps(cabac, has_bottom_order, num_refs, weighted_p, weighted_b, qp, has_deblocking)
