"""Holds what `StructureCheck` claims of a file against what decoders make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from actrec.data.video.certificate import droppable
from actrec.data.video.color import picture_checksum
from actrec.data.video.container import iter_decoded, iter_packets, open_video
from actrec.data.video.structure import StructureCheck


def encode(path: Path, frames: Sequence[np.ndarray], codec: str, options: dict[str, str], pix_fmt: str = "yuv420p"):
    """Writes a video of 25 frames per second with an encoder's own defaults."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, _ = frames[0].shape
        stream.pix_fmt = pix_fmt
        for number, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Judged:
    """A file, as its packets look.

    Args:
        doubt: why it is not proven; None if it is.
        packets: (bytes, pts, whether a decoder can begin with it) of each.
        droppable: whether each packet may be left out.
        depth: how many pictures the container says are reordered.
    """

    doubt: str | None
    packets: list[tuple[bytes, int, bool]]
    droppable: list[bool]
    codec: str
    extradata: bytes | None
    container: str
    depth: int


def judge(path: Path) -> Judged:
    """Asks `StructureCheck`, and finds the doubts that packets themselves express."""
    with open_video(path) as (container, stream):
        context, name, doubt = stream.codec_context, container.format.name, None
        depth = context.reorder_depth
        check = StructureCheck(context.codec.canonical_name, context.extradata or b"", name, depth)
        packets, layers = [], []
        for packet in iter_packets(container, stream):
            if not packet.size:
                continue
            if packet.pts is None or packet.is_discard or packet.is_corrupt or packet.has_sidedata("new_extradata"):
                doubt = "a packet is marked"
                break
            facts = check.packet(bytes(packet), packet.pts, packet.is_keyframe)
            packets.append((bytes(packet), packet.pts, facts.is_sync))
            layers.append((facts.is_non_reference, facts.temporal_layer))
        return Judged(
            doubt or check.doubt(),
            packets,
            droppable(layers),
            context.codec.name,
            context.extradata,
            name,
            depth,
        )


def decoded(path: Path) -> list[tuple[int | None, int, int, int]]:
    """(pts, width, height, checksum) of each picture of a plain decode."""
    with open_video(path) as (container, stream):
        return [(p.pts, p.width, p.height, picture_checksum(p)) for p in iter_decoded(container, stream)]


def check_claim(path: Path, judged: Judged) -> None:
    """A proven file decodes to one picture per packet, in order, and in the same way from each sync packet on."""
    if judged.doubt is not None:
        return
    pictures = decoded(path)
    assert [pts for pts, *_ in pictures] == sorted({pts for _, pts, _ in judged.packets}), path
    assert len(pictures) == len(judged.packets), path
    assert len({(width, height) for _, width, height, _ in pictures}) == 1, path
    check_entries(judged, {pts: found for pts, _, _, found in pictures})


def check_entries(judged: Judged, expected: dict[int | None, int]) -> None:
    """Entering at each sync packet, with and without what may be left out, gives the pictures of a plain decode."""
    starts = [i for i, (_, _, is_sync) in enumerate(judged.packets) if is_sync]
    assert not starts or not starts[0]
    for start, end in zip(starts, [*starts[1:], len(judged.packets)], strict=True):
        group = range(start, end)
        for kept in (group, [i for i in group if not judged.droppable[i]]):
            found = decode(replace(judged, packets=[judged.packets[i] for i in kept]))
            assert [(pts, checksum) for pts, _, checksum in found] == sorted(
                (judged.packets[i][1], expected[judged.packets[i][1]]) for i in kept
            )


def decode(judged: Judged) -> list[tuple[int | None, tuple[int, int], int]]:
    """(pts, size, checksum) of each picture of its packets, decoded as `actrec.data.video.packets` does."""
    context = av.CodecContext.create(judged.codec, "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count, context.thread_type = 1, "NONE"
    context.reorder_depth, context.extradata = judged.depth, judged.extradata
    found = []
    for data, pts, is_key in [*judged.packets, (None, 0, False)]:
        packet = None
        if data is not None:
            packet = av.Packet(data)
            packet.pts, packet.is_keyframe = pts, is_key
        try:
            pictures = context.decode(packet)
        except av.FFmpegError:
            continue
        found += [(picture.pts, (picture.width, picture.height), picture_checksum(picture)) for picture in pictures]
    return found
