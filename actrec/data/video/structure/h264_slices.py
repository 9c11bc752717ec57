"""Reads the headers of ordinary H.264 slices, several times faster than a parser.

Nearly all slices of a file have the same kind of header. Exp-Golomb codes are prefix codes, so the allowed values of
such a header are a regular language, and a regular expression over its bits, as text, takes all of them in one call.

What a pattern accepts, `H264Check` accepts too, with the same values. The reverse is not true: numbers that are rare in
practice are left out, for example more than eight commands in a header. A header that no pattern accepts is parsed.
Sections are those of ITU-T H.264.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from actrec.data.video.structure.h264_sets import Pps, Sps

# Bytes of a NAL unit in which its header is searched, and a bit in front of those after the first byte.
_HEADS = tuple((size, 1 << 8 * (size - 1)) for size in (16, 40))
_BEGIN = len("0b1")
_IDR_SLICE = 5  # the type of a NAL unit (table 7-1)


def _codes(num_zeros: int) -> str:
    """A pattern for the Exp-Golomb codes with at most so many zeros in front (section 9.1)."""
    return "(?:" + "|".join(f"{'0' * n}1{'.' * n}" for n in range(num_zeros + 1)) + ")"


_TO_2, _TO_6, _TO_14, _TO_126, _TO_254 = map(_codes, (1, 2, 3, 6, 7))
_NEVER = "(?!)"
_P, _B, _I = "1|00110", "010|00111", "011|0001000"  # codes of slice types (table 7-6)
# Memory management control operations 1 to 4 and 6, and their end (section 7.3.3.3).
_COMMANDS = f"(?:0|1(?:(?:01.|00101|00111|00100{_TO_14}){_TO_14}){{0,8}}1)"


class OrdinarySlices:
    """Reads the headers of the slices of a file.

    Args:
        pps: by their numbers.
    """

    def __init__(self, sps: Sps, pps: dict[int, Pps]):
        self._sps = sps
        self._heads = {
            reference | kind: _head_pattern(
                sps.frame_num_bits,
                sps.order_bits,
                frames_only=sps.frames_only,
                has_b=sps.frames_only or sps.direct_8x8,
                is_idr=kind == _IDR_SLICE,
            )
            for reference, kind in (
                (0, 1),
                *((value, kind) for value in (0x20, 0x40, 0x60) for kind in (1, _IDR_SLICE)),
            )
        }  # by the header of the NAL unit
        self._pps = {
            _code(number): found
            for number, found in pps.items()
            if not (found.has_bottom_order and sps.order_type == 0)
        }
        self._tails: dict[tuple, tuple[()] | tuple[re.Pattern[str], frozenset[str]]] = {}

    def read(self, data: bytes, begin: int, end: int) -> tuple[bool, bool, int, int, int] | None:
        """What `H264Check` needs of the header of a slice, see there; None if the header has to be parsed.

        Args:
            data: a packet.
            begin, end: of the NAL unit in it.
        """
        header = data[begin]
        if (pattern := self._heads.get(header)) is None:
            return None
        for size, front in _HEADS:
            unit = data[begin : begin + size]
            if begin + size >= end or b"\0\0" in unit:
                return None
            bits = bin(int.from_bytes(unit[1:], "big") | front)
            if (head := pattern.match(bits, _BEGIN)) is None:
                return None
            p, b, _, number, frame_num, low, first, second = head.groups()
            key = header, p, b, number, first, second
            if (tail := self._tails.get(key)) is None:
                tail = self._tails[key] = self._tail(*key)
            if not tail:
                return None
            if rest := tail[0].match(bits, head.end()):
                break
        else:
            return None
        if rest[1] not in tail[1]:
            return None
        return header & 31 == _IDR_SLICE, header > 31, int(frame_num, 2), int(low, 2) if low else 0, 0

    def _tail(
        self, header: int, p: str | None, b: str | None, number: str, *codes: str | None
    ) -> tuple[()] | tuple[re.Pattern[str], frozenset[str]]:
        """What follows the number of references, and the codes by which the quantization parameter may change.

        Empty if such slices are not ordinary.
        """
        if (pps := self._pps.get(number)) is None:
            return ()
        num_lists = 1 if p else 2 if b else 0
        counts = tuple(int(code, 2) if code else default for code, default in zip(codes, pps.num_refs))[:num_lists]
        if max(counts, default=0) > 16:
            return ()
        pattern = _tail_pattern(
            _Tail(
                self._sps.frame_num_bits,
                counts,
                weighted=bool(pps.weighted_p if p else b and pps.weighted_b),
                chroma=bool(self._sps.chroma_format),
                is_idr=header & 31 == _IDR_SLICE,
                is_reference=header > 31,
                cabac=pps.cabac,
                deblocking=pps.has_deblocking,
            )
        )
        return pattern, _signed_codes(-pps.qp, self._sps.largest_qp - pps.qp)


class _Tail(NamedTuple):
    """How the headers of some slices go on after the number of references.

    Args:
        frame_num_bits: size of frame_num.
        counts: number of references in each list; one list for P, two for B, none for I.
        weighted: the slices hold weights of the references.
        chroma: the pictures have color.
        is_idr, is_reference: they belong to such a picture.
        cabac: they choose contexts of CABAC.
        deblocking: they hold options of the deblocking filter.
    """

    frame_num_bits: int
    counts: tuple[int, ...]
    weighted: bool
    chroma: bool
    is_idr: bool
    is_reference: bool
    cabac: bool
    deblocking: bool


@functools.lru_cache(256)
def _head_pattern(
    frame_num_bits: int, order_bits: int, *, frames_only: bool, has_b: bool, is_idr: bool
) -> re.Pattern[str]:
    """A pattern for the header of a slice up to the number of references (section 7.3.3).

    Args:
        frames_only: pictures are never stored as fields.
        has_b: B slices are allowed.
        is_idr: the slice belongs to an IDR picture.

    Its groups: codes of the types P, B and I; code of the number of the picture parameter set; frame_num; the low bits
    of the picture order count; codes of the number of references in both lists, if the slice has them.
    """
    kinds = (_NEVER, _NEVER, _I) if is_idr else (_P, _B if has_b else _NEVER, _I)
    is_frame, number = "" if frames_only else "0", _TO_254 if is_idr else ""
    counts = f"(?:0|1({_TO_14})(?(2)({_TO_14})))"
    return re.compile(
        f"1(?:({')|('.join(kinds)}))({_TO_2})(.{{{frame_num_bits}}}){is_frame}{number}(.{{{order_bits}}})(?(3)|(?(2).){counts})"
    )


@functools.lru_cache(1024)
def _tail_pattern(slices: _Tail) -> re.Pattern[str]:
    """A pattern for the header after that. Its group is the code of the change of the quantization parameter."""
    change = f"(?:(?:1|010)(?:{_TO_14}|{_code((1 << slices.frame_num_bits) - 1)})|011{_TO_14})"
    parts = [f"(?:0|1{change}{{0,{count}}}00100)" for count in slices.counts]
    if slices.weighted:
        values = [2, 4] if slices.chroma else [2]
        parts += [_TO_6] * len(values)
        entry = "".join(f"(?:0|1{_TO_254}{{{num}}})" for num in values)
        parts += [f"(?:{entry}){{{count}}}" for count in slices.counts]
    if slices.is_idr:
        parts.append("0.")
    elif slices.is_reference:
        parts.append(_COMMANDS)
    if slices.cabac and slices.counts:
        parts.append(_TO_2)
    parts.append(f"({_TO_126})")
    if slices.deblocking:
        parts.append(f"(?:010|(?:1|011){_TO_6}{_TO_6})")
    return re.compile("".join(parts))


@functools.lru_cache(256)
def _signed_codes(smallest: int, largest: int) -> frozenset[str]:
    """The codes of all numbers in a range, as se(v)."""
    return frozenset(_code(2 * n - 1 if n > 0 else -2 * n) for n in range(smallest, largest + 1))


def _code(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits
