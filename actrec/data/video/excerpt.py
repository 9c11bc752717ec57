"""A small file in memory that holds only the groups of pictures that a clip needs, copied without re-encoding.

It is for decoders that take whole files, such as DALI's: a clip of a two-hour recording then costs some hundred
kilobytes instead of the recording.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from actrec.data.video.certificate import Certificate
from actrec.data.video.container import SurpriseError
from actrec.data.video.packets import PacketSource, open_packets, plan_runs

_TICK = Fraction(1, 25)  # between two pictures of an excerpt: whole milliseconds, the unit of Matroska


@dataclass(frozen=True)
class Excerpt:
    """A part of a video.

    Args:
        data: uint8 (num_bytes,), a Matroska file. Its pictures are shown at a constant rate, whatever the video's.
        positions: int32 (num_wanted,), the frame of this file for each wanted frame.
        clamped: how many wanted frames are past the last one and became that one.
    """

    data: np.ndarray
    positions: np.ndarray
    clamped: int


def read_excerpt(path: str | os.PathLike[str], wanted: Sequence[int] | np.ndarray, certificate: Certificate) -> Excerpt:
    """Copies the packets from the keyframe before each wanted frame up to that frame.

    A plain decode of the excerpt gives, at `positions`, exactly the pictures that a plain decode of the video gives at
    `wanted`: the certificate guarantees that no picture refers to anything before its keyframe. Pictures are as stored:
    the excerpt of a rotated video may not be marked as rotated.

    Args:
        wanted: ascending frame numbers, at least 0.

    Raises:
        FileNotFoundError, MediaError: as `probe_video`.
        ChangedError: the file is not the one that the certificate describes.
        SurpriseError: the file holds something else than its certificate says.
    """
    wanted = np.asarray(wanted, np.int64)
    last = len(certificate.pts) - 1
    pts = certificate.pts[np.minimum(wanted, last)]
    # Droppable pictures are copied, too: it is not known whether all decoders in hardware manage without them.
    runs = plan_runs(certificate, wanted, with_droppable=True)
    packets: dict[int, av.Packet] = {}  # by timestamp, in decoding order
    with open_packets(path, certificate, runs) as source:
        for run in runs:
            # A keyframe can come up twice: HEVC's leading pictures follow it, but are shown in the group before it.
            for packet in source.packets(run):
                assert packet.pts is not None
                packets.setdefault(packet.pts, packet)
        copied = np.array(list(packets), np.int64)
        if not np.isin(pts, copied).all():
            raise SurpriseError(path, f"frame {wanted[~np.isin(pts, copied)][0]} is not where it was")
        data = _remux(source, list(packets.values()), np.argsort(np.argsort(copied)))
    positions = np.searchsorted(np.sort(copied), pts)
    return Excerpt(data, positions.astype(np.int32), int((wanted > last).sum()))


def _remux(source: PacketSource, packets: list[av.Packet], ranks: np.ndarray) -> np.ndarray:
    """A Matroska file, which takes every codec here, and has neither edit lists nor decoding times of its own.

    Args:
        ranks: the place of each packet's picture in the order in which they are shown.
    """
    file = io.BytesIO()
    delay = int((np.arange(len(ranks)) - ranks).max())  # no picture is shown before it is decoded
    with av.open(file, "w", format="matroska") as output:
        stream = source.add_stream(output)
        for i, (packet, rank) in enumerate(zip(packets, ranks.tolist(), strict=True)):
            packet.stream, packet.time_base = stream, _TICK
            packet.dts, packet.pts = i, rank + delay
            output.mux(packet)
    return np.frombuffer(file.getbuffer(), np.uint8)
