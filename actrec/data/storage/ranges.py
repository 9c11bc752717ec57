"""Ranges of bytes, as (offset, size) pairs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

LARGEST = 8 << 20  # bytes of one request
_OVERHEAD = 0.13  # largest number of bytes that are fetched but not needed, as a fraction of the needed bytes
_WIDEST = 1 << 18  # bytes of the widest gap to join; they cost as much as a request: 20 ms at 100 Mbit/s


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merges ranges into few ranges, in ascending order, that contain all of the given ones.

    Two neighbors are joined over the gap between them if this is cheaper than another request. The smallest gaps are
    joined first, and all gaps together have at most 13 % of the needed bytes.
    """
    apart = _joined(ranges, frozenset())
    budget = _OVERHEAD * sum(size for _, size in apart)
    gaps = sorted((b[0] - a[0] - a[1], i) for i, (a, b) in enumerate(zip(apart, apart[1:]), 1))
    bridged = set()
    for gap, i in gaps:
        budget -= gap
        if gap > _WIDEST or budget < 0:
            break
        bridged.add(i)
    return _joined(apart, bridged)


def _joined(ranges: Iterable[tuple[int, int]], bridged: frozenset[int] | set[int]) -> list[tuple[int, int]]:
    """Ranges that touch or overlap as one, and those with the numbers in `bridged` joined to the range before."""
    found: list[list[int]] = []
    for i, (start, size) in enumerate(sorted(one for one in ranges if one[1] > 0)):
        if found and (start <= found[-1][1] or i in bridged):
            found[-1][1] = max(found[-1][1], start + size)
        else:
            found.append([start, start + size])
    return [(start, stop - start) for start, stop in found]


def split(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in ranges of at most `LARGEST` bytes each."""
    return [
        (begin, min(LARGEST, start + size - begin))
        for start, size in ranges
        for begin in range(start, start + size, LARGEST)
    ]


class Pieces:
    """Bytes of a file that are known.

    Args:
        pieces: (offset, bytes), ascending, without overlaps.
    """

    def __init__(self, pieces: Sequence[tuple[int, bytes]]):
        self._pieces = pieces
        self._starts = [start for start, _ in pieces]

    def read(self, offset: int, size: int) -> bytes | None:
        """The bytes of a range; None if not all of them are known."""
        i = bisect_right(self._starts, offset) - 1
        parts = []
        while size > 0:
            if i < 0 or i >= len(self._pieces):
                return None
            start, data = self._pieces[i]
            part = data[offset - start : offset - start + size] if offset >= start else b""
            if not part:
                return None
            parts.append(part)
            offset, size, i = offset + len(part), size - len(part), i + 1
        return parts[0] if len(parts) == 1 else b"".join(parts)
