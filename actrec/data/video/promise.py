"""Whether a file holds what its header promises: a copy or download that ended early looks like a short video."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import av
from av.container import InputContainer

from actrec.data.storage import open_bytes
from actrec.data.video.container import MediaError, demux, iter_packets, open_video
from actrec.data.video.ends import IS_TORN
from actrec.words import counted, decimal

LEAST_PRESENT = 0.9  # a video is broken if a smaller part of it is there
_TOLERANCE = 0.25, 0.01  # seconds, and part of the duration, by which a stated duration may be too long
_EBML_SEGMENT, _EBML_INFO, _EBML_CLUSTER = 0x18538067, 0x1549A966, 0x1F43B675
_EBML_DURATION, _EBML_SCALE = 0x4489, 0x2AD7B1
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEAD = 1 << 16  # bytes in which the headers of FLV and ASF are searched


@dataclass(frozen=True)
class Loss:
    """What a file lacks of what its header promises.

    Args:
        reason: such as "its header promises 60 frames, and 57 are there".
        present: the fraction that is there; 1 if only the end is known to be torn.
    """

    reason: str
    present: float = 1.0


_Verdict = Loss | float | None  # a float: seconds that are promised, to be compared with the packets
_Check = Callable[[BinaryIO, int, av.VideoStream], _Verdict]


def check_complete(path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream) -> str | None:
    """Compares a file with what its header promises.

    Args:
        container, stream: of the file, as `open_video` gives them. No packet is read from them.

    Returns:
        What a usable file lacks at its end, such as "the file is cut off: ..."; None if it is complete.

    Raises:
        MediaError: less than nine tenths are there.
    """
    loss = _loss(path, container, stream)
    if loss is None:
        return None
    reason = f"the file is cut off: {loss.reason}"
    if loss.present < LEAST_PRESENT:
        raise MediaError(path, reason)
    return reason


def what_is_missing(path: str | os.PathLike[str]) -> str | None:
    """What a file lacks at its end, as in `check_complete`; None if it is complete, or cannot be opened."""
    try:
        with open_video(path) as (container, stream):
            return check_complete(path, container, stream)
    except MediaError as error:
        return error.reason
    except OSError:
        return None


def torn_line(num: int, name: str, missing: str | None) -> str:
    """The message that some videos lack their end: how many, the first of them, and what it lacks."""
    first = f"{name}: {missing or 'the file is cut off'}"
    return f"{counted(num, 'video')} cut off at the end, and used up to there; the first: {first}"


def _loss(path: str | os.PathLike[str], container: InputContainer, stream: av.VideoStream) -> Loss | None:
    name = container.format.name.split(",")[0]
    check = functools.partial(_check_avi, path) if name == "avi" else _CHECKS.get(name)
    if check is None:
        return None
    with open_bytes(path) as file:
        found = check(file, file.seek(0, os.SEEK_END), stream)
    return _judge_duration(path, found) if isinstance(found, float) else found


def _judge(what: str, promised: int, present: int) -> Loss | None:
    if present >= promised:
        return None
    return Loss(f"its header promises {promised:,} {what}, and {present:,} are there", present / promised)


def _judge_duration(path: str | os.PathLike[str], promised: float) -> Loss | None:
    """Compares a duration with the end of the last packet of all streams."""
    end = 0.0
    with open_video(path) as (container, _):
        start = (container.start_time or 0) / av.time_base
        try:
            for packet in demux(container):
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.error.FFmpegError:
            pass  # the file is torn there
    seconds, part = _TOLERANCE
    if end >= promised - seconds - part * promised:
        return None
    present = max(end, end - start)
    return Loss(
        f"its header promises {decimal(promised)} seconds, and {decimal(present)} are there", present / promised
    )


def _check_mp4(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """ISO/IEC 14496-12, section 4.2: the boxes, of which the last ends with the file."""
    end, is_fragmented, stated, seconds, kind = 0, False, 0, 0.0, b""
    for kind, start, length in _iter_boxes(file, 0, size):
        end, is_fragmented = start + length, is_fragmented or kind == b"moof"
        if kind == b"sidx":
            stated = max(stated, end + _sizes_of_subsegments(file, start))
        if kind == b"moov":
            seconds = _duration_of_fragments(file, start, min(end, size))
    places = [entry.pos + entry.size for entry in stream.index_entries]
    if not is_fragmented and places:
        return _judge("frames", len(places), sum(place <= size for place in places))
    if stated > size:
        return _judge("bytes", stated, size)
    return seconds or (Loss("it ends within a fragment") if end > size and kind in (b"moof", b"mdat") else None)


def _duration_of_fragments(file: BinaryIO, start: int, end: int) -> float:
    """The duration that a movie extends header states, in seconds (section 8.8.2); 0 if there is none."""
    scale = duration = 0
    for kind, at, length in _iter_boxes(file, start + 8, end):
        if kind == b"mvhd":
            scale = _number(file, at + 20, 4) if not _number(file, at + 8, 1) else _number(file, at + 28, 4)
        if kind == b"mvex":
            for inner, place, _ in _iter_boxes(file, at + 8, at + length):
                if inner == b"mehd":
                    duration = _number(file, place + 12, 8 if _number(file, place + 8, 1) else 4)
    return duration / scale if scale else 0.0


def _number(file: BinaryIO, offset: int, num_bytes: int) -> int:
    file.seek(offset)
    return int.from_bytes(file.read(num_bytes), "big")


def _iter_boxes(file: BinaryIO, offset: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, offset, length) of each box that begins between two offsets."""
    while offset + 8 <= end:
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
    """RFC 8794 and 9559: the size of the segment, else the duration, else the size of the last element."""
    offset = 0
    while offset < size:
        kind, start, length = _element(file, offset)
        if kind == _EBML_SEGMENT:
            promised = None if length is not None else _duration_of_segment(file, start, size)
            if promised:
                return promised
            if not _ends_in_cluster(file, start, size, is_over=length is not None and start + length > size):
                return None
            return Loss("it ends within a cluster") if length is None else _judge("bytes", start + length, size)
        if length is None:
            return None
        offset = start + length
    return None


def _ends_in_cluster(file: BinaryIO, offset: int, size: int, *, is_over: bool) -> bool:
    """Whether pictures are missing at the end, and not only the tables after them.

    Args:
        offset: of the first element of the segment.
        is_over: the segment is longer than the file.
    """
    in_cluster = False
    while offset < size:
        kind, start, length = _element(file, offset)
        if length is None and kind != _EBML_CLUSTER:
            return False
        # The ids of the elements of a segment have four bytes; those of the elements of a cluster are shorter.
        in_cluster = kind == _EBML_CLUSTER or (in_cluster and kind < 1 << 24)
        offset = start if length is None else start + length
    return in_cluster and (offset > size or is_over)


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


def _check_avi(path: str | os.PathLike[str], file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """The RIFF chunks; OpenDML files have several."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or not length:
            break
        end += 8 + length + length % 2
    if end <= size or not stream.frames:
        return None
    with open_video(path) as (container, again):
        present = sum(packet.pos is not None for packet in iter_packets(container, again))
    return _judge("frames", stream.frames, present)


def _check_flv(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """Adobe's FLV specification 10.1, section E.5: the properties of onMetaData; else the size of the last tag."""
    file.seek(0)
    head = file.read(_HEAD)
    if (stated := _flv_number(head, b"filesize")) > 0:
        return _judge("bytes", int(stated), size)
    if seconds := _flv_number(head, b"duration"):
        return seconds
    end = _number(file, 5, 4) + 4
    while end + 11 < size:
        end += 15 + _number(file, end + 1, 3)
    return Loss("it ends within a tag") if end - 4 > size else None


def _flv_number(head: bytes, name: bytes) -> float:
    """A number in AMF 0; 0 if there is none."""
    before, found, after = head.partition(struct.pack(">H", len(name)) + name + b"\0")
    number = struct.unpack(">d", after[:8])[0] if found and len(after) >= 8 else 0.0
    return number if 0 < number < 1e15 else 0.0


def _check_asf(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """Microsoft's ASF specification, sections 3.2 and 5: the size of the data, unless the file was broadcast."""
    file.seek(0)
    head = file.read(_HEAD)
    _, found, after = head.partition(_ASF_FILE_PROPERTIES)
    if not found or len(after) < 76 or after[72] & 1:
        return None
    header = int.from_bytes(head[16:24], "little")
    file.seek(header + 16)
    return _judge("bytes", header + int.from_bytes(file.read(8), "little"), size)


def _check_apng(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """PNG specification, third edition, section 11.3.6: the number of frames, and the chunks with which each begins."""
    offset, promised, present = 8, 0, 0
    while offset + 8 <= size:
        file.seek(offset)
        length, kind, value = struct.unpack(">I4sI", file.read(12).ljust(12, b"\0"))
        offset += 12 + length
        promised, present = value if kind == b"acTL" else promised, present + (kind == b"fcTL")
        if kind == b"IEND":
            return None
    return _judge("frames", promised, max(0, present - (offset > size)))


def _check_swf(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """Adobe's SWF specification 19, chapter 2: the size of the file, unless it is compressed."""
    file.seek(0)
    head = file.read(8)
    return _judge("bytes", int.from_bytes(head[4:], "little"), size) if head.startswith(b"FWS") else None


def _check_rm(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """The duration in the properties of a RealMedia file, in milliseconds."""
    file.seek(0)
    head = file.read(_HEAD)
    at = head.find(b"PROP")
    return int.from_bytes(head[at + 30 : at + 34], "big") / 1000 if at >= 0 else None


def _check_y4m(file: BinaryIO, size: int, stream: av.VideoStream) -> _Verdict:
    """A line of header, and frames with a line of header each, which is empty in all common files."""
    file.seek(0)
    begin = len(file.readline(_HEAD))
    if file.readline(_HEAD) != b"FRAME\n" or (form := stream.codec_context.format) is None:
        return None
    width, height, length = stream.codec_context.width, stream.codec_context.height, len(b"FRAME\n")
    for part in form.components:
        sides = (form.chroma_width(width), form.chroma_height(height)) if part.is_chroma else (width, height)
        length += sides[0] * sides[1] * ((part.bits + 7) // 8)
    return Loss("its end is missing") if (size - begin) % length else None


def _check_end(name: str) -> _Check:
    is_torn = IS_TORN[name]
    return lambda file, size, stream: Loss("its end is missing") if is_torn(file, size) else None


_CHECKS: dict[str, _Check] = {
    "mov": _check_mp4,
    "matroska": _check_matroska,
    "flv": _check_flv,
    "asf": _check_asf,
    "apng": _check_apng,
    "swf": _check_swf,
    "rm": _check_rm,
    "yuv4mpegpipe": _check_y4m,
    **{name: _check_end(name) for name in IS_TORN},
}
