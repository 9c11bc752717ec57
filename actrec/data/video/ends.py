"""Whether a file of a container without a total size ends in the middle of something."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

_TAIL = 1 << 18  # bytes in which the last packets of a program stream, or the last page of an Ogg file, are searched
_START = b"\0\0\1"


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - _TAIL))
    return file.read(_TAIL)


def _is_torn_ogg(file: BinaryIO, size: int) -> bool:
    """RFC 3533, section 6: pages; the last one of a stream is marked as its end."""
    tail = _tail(file, size)
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    is_end = page[5] & 4
    return not is_end or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _is_torn_transport_stream(file: BinaryIO, size: int) -> bool:
    """ISO/IEC 13818-1, section 2.4.3.2: packets of 188 bytes, in some files with 4 bytes before or 16 after each."""
    file.seek(0)
    head = file.read(1 << 13)
    for length in (188, 192, 204):
        for start in range(length):
            if len(head) >= 4 * length and not head[start::length].strip(b"\x47"):
                rest = (size - start) % length
                file.seek(size - rest - length)
                return 0 < rest < 188 and file.read(1) == b"\x47"
    return False


def _is_torn_program_stream(file: BinaryIO, size: int) -> bool:
    """ISO/IEC 13818-1, section 2.5.3, and 11172-1, section 2.4.3: the packets after the last pack header."""
    tail = _tail(file, size)
    at = tail.rfind(_START + b"\xba")
    if at < 0:
        return False
    while tail[at : at + 3] == _START and at + 6 <= len(tail):
        kind = tail[at + 3]
        if kind == 0xBA:
            at += 14 + (tail[at + 13] & 7 if at + 13 < len(tail) else 0) if tail[at + 4] >> 6 == 1 else 12
        elif kind < 0xBB:
            return False
        else:
            at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
    return at > len(tail)


def _is_torn_gif(file: BinaryIO, size: int) -> bool:
    """GIF89a, section 27: the trailer, after the block terminator of the last image."""
    return not _tail(file, size).rstrip(b"\0").endswith(b"\0;")


def _is_torn_mjpeg(file: BinaryIO, size: int) -> bool:
    """ITU-T T.81, annex B: the end of the last image."""
    return not _tail(file, size).rstrip(b"\0").endswith(b"\xff\xd9")


def _is_torn_ivf(file: BinaryIO, size: int) -> bool:
    """A header, and frames with their sizes."""
    file.seek(6)
    end = int.from_bytes(file.read(2), "little")
    while end < size:
        file.seek(end)
        end += 12 + int.from_bytes(file.read(4), "little")
    return end > size


def _is_torn_dv(file: BinaryIO, size: int) -> bool:
    """IEC 61834-2: frames of 12 sequences (625 lines) or 10 (525 lines) of 12,000 bytes each."""
    file.seek(0)
    head = file.read(4)
    return head.startswith(b"\x1f\x07\0") and size % (144_000 if head[3] & 0x80 else 120_000) > 0


IS_TORN: dict[str, Callable[[BinaryIO, int], bool]] = {  # by FFmpeg's name of the container
    "ogg": _is_torn_ogg,
    "mpegts": _is_torn_transport_stream,
    "mpeg": _is_torn_program_stream,
    "gif": _is_torn_gif,
    "mjpeg": _is_torn_mjpeg,
    "ivf": _is_torn_ivf,
    "dv": _is_torn_dv,
}
