"""Predicts from the packets of a file what a plain decode gives, without decoding a picture.

A file is *proven* if two statements certainly hold. First, a decode by FFmpeg from the start gives exactly one picture
per packet, with the timestamp of the packet, in ascending order of the timestamps, all of the same size. Second, a
decoder can start at each sync packet, and gives the same pictures from there on. Each module has the argument for its
codec. All other files are *in doubt*: only a decode to the end can certify them, which is slower, but never wrong.

The look of damaged pictures is not proven. In H.264, HEVC and VP8, a picture with damage inside still comes out in its
place. FFmpeg conceals the damage with the pictures that it has, so a decoder that starts later may conceal it
differently. FFmpeg marks these pictures in H.264, tells of most of them in HEVC if asked, and of none in VP8.
`actrec.data.video.damage.Gaps` finds the others of which parts were not decoded. A decoder of H.264 that meets an
invalid code of CAVLC also keeps coefficients, and adds them to pictures after the next IDR picture:
`StructureCheck.hides_damage`. In VP9 and AV1, decoders refuse a damaged picture, and a picture whose reference is wrong
because a packet is missing. This moves all later pictures by one. So VP8, VP9 and AV1 are not judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actrec.data.video.keyframes import KeyframeCheck
from actrec.data.video.structure.facts import PacketFacts
from actrec.data.video.structure.h264 import MISSING, H264Check, x264_unit
from actrec.data.video.structure.hevc import HevcCheck

__all__ = ["MISSING", "PacketFacts", "StructureCheck", "x264_unit"]

# The names of FFmpeg's demuxers whose packets are judged. AVI and raw streams have no presentation times, but the
# picture order counts show whether FFmpeg has guessed them right. Demuxers that cut or join packets are not listed.
_CONTAINERS = frozenset({"mov", "matroska", "flv", "mpegts", "avi", "ivf", "h264", "hevc"})


class _Check(Protocol):
    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts: ...

    def doubt(self) -> str | None: ...

    @property
    def hides_damage(self) -> bool: ...


class StructureCheck:
    """Sees all packets of a stream in the order of the file.

    Args:
        codec: FFmpeg's name of the codec or decoder, such as "h264".
        extradata: of the container, before anything was decoded.
        container: FFmpeg's name of the demuxer, such as "mov,mp4,m4a,3gp,3g2,mj2".
        reorder_depth: of the opened stream, before anything was decoded.
    """

    def __init__(self, codec: str, extradata: bytes, container: str, reorder_depth: int):
        self._num_packets = 0
        self._reason = None
        if container.split(",")[0] not in _CONTAINERS:
            self._reason = "files of this kind are not judged by their structure"
        checks: dict[str, Callable[[], _Check]] = {
            "h264": lambda: H264Check(extradata, reorder_depth),
            "hevc": lambda: HevcCheck(extradata),
        }
        self._check = checks.get(codec, lambda: _Unjudged(codec))()

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        """Takes the next packet. Raises no exception for any bytes.

        Args:
            is_key: the container marks it as a keyframe.
        """
        self._num_packets += 1
        return self._check.packet(data, pts, is_key)

    def doubt(self) -> str | None:
        """Why the file is not proven, as a short phrase; None if it is. Call this after the last packet."""
        if not self._num_packets:
            return "it has no packets"
        return self._reason or self._check.doubt()

    @property
    def knows_references(self) -> bool:
        """Whether all headers are understood, so that they tell which pictures no other one refers to."""
        return self._check.doubt() is None

    @property
    def hides_damage(self) -> bool:
        """Whether damage in a picture may change pictures after the next keyframe, where nothing tells of it."""
        return self._check.hides_damage


class _Unjudged:
    """Finds the packets at which a decoder can start, for codecs for which nothing else is proven."""

    hides_damage = True

    def __init__(self, codec: str):
        self._codec, self._can_begin = codec, KeyframeCheck(codec)

    def packet(self, data: bytes, pts: int, is_key: bool) -> PacketFacts:
        return PacketFacts(is_key and self._can_begin(data))

    def doubt(self) -> str | None:
        return f"{self._codec} is not judged by its structure"
