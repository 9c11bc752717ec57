"""What a video file is: frames, size, rate, codec, color."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import av

from actrec.data.limits import why_too_long
from actrec.data.video.certificate import Finding, Head, PacketExaminer
from actrec.data.video.color import color_name
from actrec.data.video.container import MediaError, iter_decoded, iter_packets, open_video
from actrec.data.video.orientation import Orientation
from actrec.data.video.promise import check_complete
from actrec.data.video.timestamps import PacketTimes
from actrec.system import num_cores, raise_if_exhausted

_CHECKED = 1024  # packets after which the length of a video is compared with its limit
_BLOCK = 4 << 20  # bytes of packets that are read at once


@dataclass(frozen=True)
class Probe:
    """What the index knows of a video file.

    Args:
        frames: packets of the stream that hold a picture that is shown; a damaged or packed file decodes to fewer.
        width, height: as displayed, in pixels (rotation applied, sample aspect ratio not).
        rate: average frames per second, 0 if unknown.
        gop: average number of frames per keyframe.
        codec: FFmpeg's name of the codec, such as "h264".
        pix_fmt: FFmpeg's name of the pixel format, such as "yuv420p".
        rotation: counter-clockwise degrees from the stored to the displayed picture: 0, 90, 180 or 270.
        mirrored: left and right are exchanged before the rotation.
        bits: per sample, such as 8 or 10.
        color: matrix and range of the pictures: "bt601", "bt709-full", ..., "rgb".
        torn: the end of the file is missing (`actrec.data.video.promise`), but it can be used.
        begins: the time at which the first frame is shown, in seconds from the start of the file.
        variable: the frames are not shown equally long: `frame_times` says how long.
        stamped: the file has timestamps; otherwise, times follow from the rate in its header.
    """

    frames: int
    width: int
    height: int
    rate: float
    gop: float
    codec: str
    pix_fmt: str
    rotation: int
    mirrored: bool
    bits: int
    color: str
    torn: bool = False
    begins: float = 0.0
    variable: bool = False
    stamped: bool = True


@dataclass(frozen=True)
class Checked:
    """A file of which the first picture was decoded.

    Args:
        reason: why it cannot be used; None if it can.
        missing: what it lacks at its end nevertheless; None if it is complete.
    """

    reason: str | None = None
    missing: str | None = None


def check_video(path: str | os.PathLike[str]) -> Checked:
    """Opens a file and decodes its first picture.

    Raises:
        ExhaustedError: This process cannot open one more file.
    """
    try:
        with open_video(path) as (container, stream):
            missing = check_complete(path, container, stream)
            if next(iter_decoded(container, stream), None) is None:
                return Checked("no frame of its video stream decodes")
    except MediaError as error:
        return Checked(error.reason)
    except OSError as error:
        raise_if_exhausted(path, error)
        return Checked(error.strerror or "no such file")
    return Checked(missing=missing)


def check_videos(
    src: str | os.PathLike[str], names: Sequence[str], progress: Callable[[int, int], None] | None = None
) -> list[Checked]:
    """For each file of a folder whether it can be used, as far as its first picture tells.

    Args:
        progress: Called after each file with the number of checked files and of all files.

    Raises:
        ExhaustedError: This process cannot open one more file.
    """
    found = []
    with ThreadPoolExecutor(num_cores()) as pool:
        for checked in pool.map(check_video, [os.path.join(src, name) for name in names]):
            found.append(checked)
            if progress:
                progress(len(found), len(names))
    return found


def _refuse_too_long(path: str | os.PathLike[str], packets: PacketTimes) -> None:
    if reason := why_too_long(packets.num_frames):
        raise MediaError(path, reason)


def _blocks(packets: Iterator[av.Packet]) -> Iterator[list[av.Packet]]:
    """The packets in groups of at most `_CHECKED` packets and not many more than `_BLOCK` bytes.

    PyAV releases the GIL to read a packet. If each packet were judged as soon as it is read, threads that probe files
    at the same time would wait for each other twice per packet.
    """
    block: list[av.Packet] = []
    size = 0
    for packet in packets:
        block.append(packet)
        size += packet.size
        if len(block) == _CHECKED or size > _BLOCK:
            yield block
            block, size = [], 0
    yield block


def probe_video(path: str | os.PathLike[str]) -> Probe:
    """What a file is. See `examine_video`, which raises the same errors."""
    return examine_video(path)[0]


def examine_video(path: str | os.PathLike[str]) -> tuple[Probe, Finding]:
    """Demuxes the whole file once and decodes its first picture: what the file is, and where it may be entered.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError: it is not a video that decodes, or it is cut off.
    """
    with open_video(path) as (container, stream), PacketExaminer(path, stream) as examiner:
        missing = check_complete(path, container, stream)
        packets, head = PacketTimes(container, stream), Head()
        for block in _blocks(iter_packets(container, stream, examiner)):
            for packet in block:
                packets.add(packet)
                examiner.packet(packet)
                head.add(packet)
            _refuse_too_long(path, packets)
        found = packets.timing()
        first = head.first_picture(path, stream.codec_context, examiner)
        if first is None:
            raise MediaError(path, "no frame of its video stream decodes")
        orientation = Orientation.of(first)
        width, height = orientation.size(first.width, first.height)
        probe = Probe(
            frames=packets.num_frames,
            width=width,
            height=height,
            rate=found.times.rate,
            gop=packets.num_frames / max(packets.num_keyframes, 1),
            codec=stream.codec_context.codec.canonical_name,
            pix_fmt=first.format.name,
            rotation=orientation.degrees,
            mirrored=orientation.mirrored,
            bits=max(component.bits for component in first.format.components),
            color=color_name(first),
            torn=missing is not None,
            begins=found.times.begins,
            variable=found.times.borders is not None,
            stamped=found.stamped,
        )
        examiner.picture(first)
        return probe, examiner.finding()
