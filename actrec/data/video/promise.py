"""Whether a file holds what its header promises: a copy or download that ended early looks like a short video."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import av
from av.container import InputContainer

from actrec.data.video.container import MediaError, iter_packets, open_video

LEAST_PRESENT = 0.9  # a video is broken if a smaller part of it is there
_EBML_SEGMENT, _EBML_INFO, _EBML_CLUSTER = 0x18538067, 0x1549A966, 0x1F43B675
_EBML_DURATION, _EBML_SCALE = 0x4489, 0x2AD7B1
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEAD = 1 << 16  # bytes in which the headers of FLV and ASF are searched


def check_complete(path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream) -> None:
    """Compares the size, the index or the duration that a header states with what is there.

    MP4, MOV, Matroska, WebM, AVI, FLV and ASF state one of them; MPEG program and transport streams do not.

    Args:
        container, stream: of the file, as `open_video` gives them. No packet is read from them.

    Raises:
        MediaError: less than nine tenths are there.
    """
    check = _CHECKS.get(container.format.name.split(",")[0])
    if check is None:
        return
    with open(path, "rb", buffering=0) as file:
        reason = check(file, os.fstat(file.fileno()).st_size, stream)
    if isinstance(reason, float):
        reason = _judge_duration(path, reason)
    if reason:
        raise MediaError(path, f"the file is cut off: {reason}")


_Verdict = str | float | None  # the reason, or a duration in seconds that must be compared with the packets


def _check_mp4(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """ISO/IEC 14496-12, section 4.2: the boxes, of which the last ends with the file."""
    end, is_fragmented, stated = 0, False, 0
    for kind, start, length in _iter_boxes(file, size):
        end, is_fragmented = start + length, is_fragmented or kind == b"moof"
        if kind == b"sidx":
            stated = max(stated, end + _sizes_of_subsegments(file, start))
    if max(end, stated) <= size:
        return None
    places = [entry.pos + entry.size for entry in stream.index_entries]
    if is_fragmented or not places:
        return _judge("bytes", max(end, stated), size)
    return _judge("frames", len(places), sum(place <= size for place in places))


def _iter_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, offset, length) of each box in the file."""
    offset = 0
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0: up to the end of the file
            return
        yield kind, offset, length
        offset += length


def _sizes_of_subsegments(file: BinaryIO, offset: int) -> int:
    """The bytes that a segment index box states, from its end on (section 8.16.3)."""
    file.seek(offset)
    header = file.read(40)
    if len(header) < 40 or int.from_bytes(header[:4], "big") == 1:
        return 0
    at = 28 if header[8] == 0 else 36  # of the first offset's end, by the version
    first = int.from_bytes(header[24:28] if header[8] == 0 else header[28:36], "big")
    count = int.from_bytes(header[at + 2 : at + 4], "big")
    file.seek(offset + at + 4)
    entries = file.read(12 * count)
    return first + sum(word & 0x7FFFFFFF for (word,) in struct.iter_unpack(">I8x", entries[: len(entries) // 12 * 12]))


def _check_matroska(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """RFC 8794 and 9559: the size of the segment, else the duration."""
    offset = 0
    while offset < size:
        kind, start, length = _element(file, offset)
        if kind == _EBML_SEGMENT:
            return _duration_of_segment(file, start, size) if length is None else _judge("bytes", start + length, size)
        if length is None:
            return None
        offset = start + length
    return None


def _duration_of_segment(file: BinaryIO, offset: int, size: int) -> float | None:
    """In seconds. Elements up to the first cluster are searched."""
    while offset < size:
        kind, start, length = _element(file, offset)
        if length is None or kind == _EBML_CLUSTER:
            return None
        if kind == _EBML_INFO:
            scale, duration, at = 1_000_000, 0.0, start
            while at < start + length:
                kind, begin, part = _element(file, at)
                if part is None:
                    return None
                file.seek(begin)
                value = file.read(min(part, 8))
                if kind == _EBML_SCALE:
                    scale = int.from_bytes(value, "big")
                elif kind == _EBML_DURATION and len(value) in (4, 8):
                    (duration,) = struct.unpack(">f" if len(value) == 4 else ">d", value)
                at = begin + part
            return duration * scale / 1e9
        offset = start + length
    return None


def _element(file: BinaryIO, offset: int) -> tuple[int, int, int | None]:
    """(id, offset of the content, its length; None if it is unknown) of an EBML element."""
    file.seek(offset)
    head = file.read(12).ljust(12, b"\0")
    id_length = _vint_length(head[0])
    size_length = _vint_length(head[id_length]) if id_length <= 4 else 9
    if size_length > 8:
        return 0, offset, None
    value = int.from_bytes(head[id_length : id_length + size_length], "big") & ((1 << 7 * size_length) - 1)
    is_unknown = value == (1 << 7 * size_length) - 1
    kind = int.from_bytes(head[:id_length], "big")
    return kind, offset + id_length + size_length, None if is_unknown else value


def _vint_length(first: int) -> int:
    return 9 - first.bit_length()


def _check_avi(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """The RIFF chunks; OpenDML files have several."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or not length:
            break
        end += 8 + length + length % 2
    if end * LEAST_PRESENT <= size or not stream.frames:
        return None
    with open_video(file.name) as (container, again):
        present = sum(packet.pos is not None for packet in iter_packets(container, again))
    return _judge("frames", stream.frames, present)


def _check_flv(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """Adobe's FLV specification 10.1, section E.5: the properties of onMetaData."""
    file.seek(0)
    head = file.read(_HEAD)
    stated = _flv_number(head, b"filesize")
    return _judge("bytes", int(stated), size) if stated > 0 else _flv_number(head, b"duration") or None


def _flv_number(head: bytes, name: bytes) -> float:
    """A number in AMF 0; 0 if there is none."""
    before, found, after = head.partition(struct.pack(">H", len(name)) + name + b"\0")
    number = struct.unpack(">d", after[:8])[0] if found and len(after) >= 8 else 0.0
    return number if 0 < number < 1e15 else 0.0


def _check_asf(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """Microsoft's ASF specification, section 3.2: the size, unless the file was broadcast."""
    file.seek(0)
    _, found, after = file.read(_HEAD).partition(_ASF_FILE_PROPERTIES)
    if not found or len(after) < 76:
        return None
    is_broadcast = after[72] & 1
    return None if is_broadcast else _judge("bytes", int.from_bytes(after[24:32], "little"), size)


_CHECKS: dict[str, Callable[[BinaryIO, int, av.VideoStream], _Verdict]] = {
    "mov": _check_mp4,
    "matroska": _check_matroska,
    "avi": _check_avi,
    "flv": _check_flv,
    "asf": _check_asf,
}


def _judge(what: str, promised: int, present: int) -> str | None:
    if present >= LEAST_PRESENT * promised:
        return None
    return f"its header promises {promised:,} {what}, and {present:,} are there"


def _judge_duration(path: str | os.PathLike[str], promised: float) -> str | None:
    """Compares a duration with the end of the last packet of all streams."""
    end = 0.0
    with open_video(path) as (container, _):
        start = (container.start_time or 0) / av.time_base
        try:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.error.FFmpegError:
            pass  # the file is torn there
    if end >= LEAST_PRESENT * promised or end - start >= LEAST_PRESENT * promised:
        return None
    return f"its header promises {promised:.3g} seconds, and {end:.3g} are there"
