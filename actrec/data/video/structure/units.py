"""Finds the NAL units of packets and of the headers of containers, in both of their forms."""

from __future__ import annotations

from actrec.data.video.structure.bits import DoubtError

_Places = list[tuple[int, int]]


class UnitReader:
    """Splits packets into NAL units.

    The two forms are a length in front of each unit, as in MP4 and Matroska, and start codes between the units, as in
    MPEG-TS. FFmpeg's decoders take the form from the header of the container.

    Args:
        extradata: of the container.
        codec: "h264" or "hevc".
    """

    def __init__(self, extradata: bytes, codec: str):
        self._extradata, self._codec = extradata, codec
        self.prefix_size = prefix_size(extradata, codec)

    def header_units(self) -> list[bytes]:
        """The units in the container's header. Raises `DoubtError` if they cannot be found."""
        found = self._units_of_header()
        if any(len(unit) < 2 for unit in found):
            raise DoubtError("a NAL unit is empty")
        return found

    def _units_of_header(self) -> list[bytes]:
        data = self._extradata
        if not self.prefix_size:
            return [data[start:end].rstrip(b"\0") for start, end in _between_start_codes(data)]
        if self._codec == "h264":  # avcC (ISO/IEC 14496-15, section 5.3.3.1.2)
            return self._header_arrays(5, [(1, 31), (1, 255)])
        if len(data) < 23:
            raise DoubtError("the container's header is cut off")
        return self._header_arrays(23, [(3, 0xFFFF)] * data[22])  # hvcC (section 8.3.3.1.2)

    def _header_arrays(self, i: int, arrays: list[tuple[int, int]]) -> list[bytes]:
        """Args: arrays: of each the bytes in front, and the mask of the number of units in them."""
        data, found = self._extradata, []
        for size, mask in arrays:
            count, i = int.from_bytes(data[i : i + size], "big") & mask, i + size
            for _ in range(count):
                start = i + 2
                i = start + int.from_bytes(data[i:start], "big")
                if i - start < 2 or i > len(data):
                    raise DoubtError("the container's header is cut off")
                found.append(data[start:i].rstrip(b"\0"))
        return found

    def split(self, data: bytes) -> tuple[_Places, str | None]:
        """(start, end) of the NAL units of a packet, and the reason if FFmpeg may find other units in it."""
        try:
            if not self.prefix_size:
                return _between_start_codes(data), None
            if self._codec == "h264" and data[:3:2] == b"\1\0":  # FFmpeg may take it for the header of a container
                raise DoubtError("a packet looks like a header")
            return _after_lengths(data, self.prefix_size), None
        except DoubtError as error:
            return self._loose(data), str(error)

    def _loose(self, data: bytes) -> _Places:
        """The units of two bytes or more, as far as they can be found."""
        places, total = [], len(data)
        if size := self.prefix_size:
            i = 0
            while i + size + 1 < total:
                length = int.from_bytes(data[i : i + size], "big")
                places.append((i + size, min(total, i + size + max(length, 2))))
                i += size + length
            return places
        i = data.find(b"\0\0\1")
        while 0 <= i < total - 4:
            after = data.find(b"\0\0\1", i + 3)
            end = after if after > 0 else total
            if end - i - 3 >= 2:
                places.append((i + 3, end))
            i = after
        return places


def prefix_size(extradata: bytes, codec: str) -> int:
    """The bytes of the length before each NAL unit; 0 if the units have start codes."""
    if extradata[:1] != b"\x01":
        return 0
    position = 4 if codec == "h264" else 21  # in avcC and hvcC
    return (extradata[position] & 3) + 1 if len(extradata) > position else 4


def _after_lengths(data: bytes, size: int) -> _Places:
    places, i, total = [], 0, len(data)
    while i < total:
        start = i + size
        i = start + int.from_bytes(data[i:start], "big")
        # If a unit is shorter than its header, FFmpeg's decoder may read the packet in the other form.
        if i - start < 2 or i > total:
            raise DoubtError("the lengths in a packet do not add up")
        # FFmpeg's decoder also searches the units for start codes, and would find more units.
        if data.rfind(b"\0\0\1", start, i) >= 0:
            raise DoubtError("a NAL unit contains a start code")
        places.append((start, i))
    return places


def _between_start_codes(data: bytes) -> _Places:
    start = data.find(b"\0\0\1") + 3
    if start < 3 or data[: start - 3].strip(b"\0"):
        raise DoubtError("a packet does not begin with a start code")
    places = []
    while (end := data.find(b"\0\0\1", start)) >= 0:
        places.append((start, end))
        start = end + 3
    places.append((start, len(data)))
    if any(end - start < 2 for start, end in places):
        raise DoubtError("a NAL unit is empty")
    return places
