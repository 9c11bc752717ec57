"""Reads the bits of headers, Exp-Golomb codes (ITU-T H.264 section 9.1), and the messages of NAL units."""

from __future__ import annotations

from collections.abc import Iterator


class DoubtError(Exception):
    """The file has a property for which nothing can be proven. The message names it in a few words."""


def allow(condition: bool) -> None:
    """Raises `DoubtError` unless a condition holds that values of a header must meet."""
    if not condition:
        raise DoubtError("a header holds a value that is not allowed")


class Bits:
    """The bits of a header, from the first one on.

    Args:
        data: bytes without emulation prevention.
        unused: bits at the end that are ignored.
    """

    __slots__ = ("_bits", "left")

    def __init__(self, data: bytes, unused: int = 0):
        self._bits = int.from_bytes(data, "big") >> unused
        self.left = 8 * len(data) - unused

    def take(self, count: int) -> int:
        """The next bits as a number. Raises `DoubtError` if there are not so many."""
        left = self.left - count
        if left < 0:
            raise DoubtError("a header is cut off")
        value = self._bits >> left
        self._bits -= value << left
        self.left = left
        return value

    def shows(self, count: int) -> int:
        """The next bits, without taking them. The caller knows that there are enough bits."""
        return self._bits >> self.left - count

    def unsigned(self) -> int:
        """ue(v): an unsigned Exp-Golomb code."""
        bits = self._bits
        left = 2 * bits.bit_length() - self.left - 1
        if left < 0 or not bits:
            raise DoubtError("a header is cut off")
        value = bits >> left
        self._bits = bits - (value << left)
        self.left = left
        return value - 1

    def signed(self) -> int:
        """se(v): a signed Exp-Golomb code."""
        value = self.unsigned()
        return (value + 1) // 2 if value & 1 else -(value // 2)

    def at_most(self, largest: int) -> int:
        """A ue(v) of at most `largest`. Raises `DoubtError` if it is larger."""
        if (value := self.unsigned()) > largest:
            raise DoubtError("a header holds a value that is not allowed")
        return value

    def within(self, smallest: int, largest: int) -> int:
        """A se(v) in this range. Raises `DoubtError` if it is not."""
        if not smallest <= (value := self.signed()) <= largest:
            raise DoubtError("a header holds a value that is not allowed")
        return value


def unescaped(data: bytes) -> bytes:
    """The bytes without emulation prevention (H.264 section 7.4.1)."""
    return data.replace(b"\0\0\3", b"\0\0")


def payload_bits(unit: bytes, header: int) -> Bits:
    """The payload of a whole NAL unit without the bit that ends it (H.264 section 7.3.2.11).

    Args:
        header: bytes of the NAL unit header.
    """
    data = _strictly_unescaped(unit)[header:].rstrip(b"\0")
    if not data:
        raise DoubtError("a NAL unit is empty")
    last = data[-1]
    return Bits(data, (last & -last).bit_length())


def first_bits(data: bytes, begin: int, end: int, size: int, header: int) -> Bits:
    """The first bytes of the payload of a NAL unit, or the whole payload if it is smaller.

    Args:
        data: a packet.
        begin, end: of the unit in it.
        size: bytes of the unit that are read.
        header: bytes of the NAL unit header.
    """
    if begin + size >= end:
        return payload_bits(data[begin:end], header)
    return Bits(_strictly_unescaped(data[begin : begin + size])[header:])


def _strictly_unescaped(data: bytes) -> bytes:
    if b"\0\0\2" in data:  # FFmpeg's decoder may take it for the end of the unit
        raise DoubtError("a NAL unit is not escaped")
    return unescaped(data)


def iter_messages(escaped: bytes) -> Iterator[tuple[int, bytes]]:
    """(payload type, payload) of each message of an SEI unit (H.264 section 7.3.2.3.1, H.265 section 7.3.5).

    Args:
        escaped: the unit without its header.
    """
    data, i = unescaped(escaped), 0
    while i + 2 < len(data):  # the last byte ends the unit
        header = []
        for _ in range(2):
            start = i
            while i < len(data) - 1 and data[i] == 255:
                i += 1
            header.append(255 * (i - start) + data[i])
            i = min(i + 1, len(data) - 1)
        yield header[0], data[i : i + header[1]]
        i += header[1]
