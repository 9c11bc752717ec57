"""What a packet says about its picture."""

from __future__ import annotations

from typing import NamedTuple


class PacketFacts(NamedTuple):
    """One packet.

    Args:
        is_sync: the container marks it as a keyframe, and a decoder can start at it, because nothing after it refers
            to anything before it. H.264 and HEVC: IDR pictures only.
        is_non_reference: no picture of the same temporal layer refers to it (H.264 and HEVC).
        temporal_layer: 0 for all codecs except HEVC.
        parameter_sets: those in the packet that are not in the container's header (H.264 and HEVC).
        x264: the build of x264 that the packet names, such as b"x264 - core 148". b"" for a build without known
            faults; None if the packet names none.
        has_film_grain: the decoder adds noise to this picture and to later ones, and the noise depends on earlier
            pictures.
    """

    is_sync: bool
    is_non_reference: bool = False
    temporal_layer: int = 0
    parameter_sets: frozenset[bytes] = frozenset()
    x264: bytes | None = None
    has_film_grain: bool = False
