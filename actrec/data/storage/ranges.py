"""Ranges of bytes, as (offset, size) pairs."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from email.message import Message

LARGEST = 8 << 20  # bytes of one request
_OVERHEAD = 0.13  # largest number of bytes that are fetched but not needed, as a fraction of the needed bytes
_OVERHEAD_WITHIN = 0.05  # the same for ranges of one request, where each range costs about 100 bytes of headers
_WIDEST = 1 << 18  # bytes of the widest gap to join; they cost as much as a request: 20 ms at 100 Mbit/s


def merged(ranges: Iterable[tuple[int, int]], *, one_request: bool = False) -> list[tuple[int, int]]:
    """Merges ranges into few ranges, in ascending order, that contain all of the given ones.

    Two neighbors are joined over the gap between them if this is cheaper than another request. The smallest gaps are
    joined first, and all gaps together have at most 13 % of the needed bytes.

    Args:
        one_request: one request asks for many ranges. Then the gaps have at most 5 % of the needed bytes.
    """
    apart = _joined(ranges, frozenset())
    budget = (_OVERHEAD_WITHIN if one_request else _OVERHEAD) * sum(size for _, size in apart)
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


def grouped(ranges: Iterable[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """The ranges in groups of at most `most` ranges and `LARGEST` bytes, for one request each."""
    group: list[tuple[int, int]] = []
    size = 0
    for one in ranges:
        if group and (len(group) == most or size + one[1] > LARGEST):
            yield group
            group, size = [], 0
        group.append(one)
        size += one[1]
    if group:
        yield group


_PLACE = re.compile(rb"bytes +(\d{1,18})-(\d{1,18})/", re.IGNORECASE)
_PLACE_OF_PART = re.compile(rb"^content-range[ \t]*:[ \t]*bytes +(\d{1,18})-(\d{1,18})/", re.IGNORECASE | re.MULTILINE)
_LONGEST_HEAD = 4096  # bytes of the headers of a part


def parse_multipart(content_type: str, content_range: str, body: bytes) -> list[tuple[int, bytes]]:
    """The parts of an answer to a request for several ranges (RFC 9110, section 14.6), as (offset, bytes), ascending.

    It ends at the first part that is malformed or cut off. The length of a part is taken from its Content-Range, so the
    bytes of a video are not searched for the boundary. aiohttp's MultipartReader reads a part by its length only if the
    part has a Content-Length, which these parts usually lack; otherwise it searches for the boundary.

    Args:
        content_type, content_range: headers of the answer. Content-Range is set if all ranges became a single one.
    """
    if (place := _PLACE.match(content_range.encode("latin-1", "replace"))) is not None:
        begin, end = int(place[1]), int(place[2]) + 1
        return [(begin, body)] if len(body) == end - begin else []
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary("")
    if message.get_content_type() != "multipart/byteranges" or not boundary:
        return []
    line = b"--" + boundary.encode("latin-1", "replace")
    parts, position = [], body.find(line)
    while position >= 0 and body.startswith(line + b"\r\n", position):
        head = body.find(b"\r\n\r\n", position, position + _LONGEST_HEAD)
        place = _PLACE_OF_PART.search(body, position, head + 2) if head > 0 else None
        if place is None:
            break
        begin, size = int(place[1]), int(place[2]) + 1 - int(place[1])
        data = body[head + 4 : head + 4 + max(0, size)]
        position = head + 4 + size + 2
        if size <= 0 or len(data) < size or not body.startswith(b"\r\n" + line, position - 2):
            break
        parts.append((begin, data))
    return sorted(parts)


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
