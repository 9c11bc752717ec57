"""What a packet says of its picture."""

from __future__ import annotations

from typing import NamedTuple


class PacketFacts(NamedTuple):
    """One packet.

    Args:
        is_sync: the container marks it as a keyframe, and a decoder can begin with it: nothing after it refers to
            anything before it. H.264 and HEVC: IDR pictures only.
        is_non_reference: no picture of the same temporal layer refers to it (H.264 and HEVC).
        temporal_layer: 0 but for HEVC.
        parameter_sets: those in the packet that the container's header does not hold (H.264 and HEVC).
        x264: what the packet says of the build of x264 that wrote it, such as b"x264 - core 148". b"" for a build
            without known faults; None if the packet says nothing.
        has_film_grain: the decoder adds noise to this picture and to those after it, which depends on those before.
    """

    is_sync: bool
    is_non_reference: bool = False
    temporal_layer: int = 0
    parameter_sets: frozenset[bytes] = frozenset()
    x264: bytes | None = None
    has_film_grain: bool = False
