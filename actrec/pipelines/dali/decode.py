"""Graph functions: encoded bytes to pictures. The same on both devices; `device` is decided when the graph is built."""

from __future__ import annotations

from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode


def video(encoded: DataNode, frames: DataNode, *, device: str) -> DataNode:
    """The wanted frames of each file, uint8 FHWC at native size. A frame past the last becomes the last.

    Args:
        encoded: a whole file per sample.
        frames: int32 positions per sample, in any order.
        device: "cuda" decodes on NVDEC, one decoder per sample; "cpu" knows VP8, VP9 and MJPEG only.
    """
    return fn.decoders.video(encoded, frames=frames, pad_mode="edge", device="mixed" if device == "cuda" else "cpu")


def images(encoded: DataNode, *, device: str, flow: bool = False) -> DataNode:
    """One image file per sample, uint8 HWC, as RGB, of flow as gray; EXIF orientation is honored."""
    colors = types.GRAY if flow else types.RGB
    return fn.decoders.image(encoded, output_type=colors, device="mixed" if device == "cuda" else "cpu")


def recolor(frames: DataNode, matrix: DataNode, offset: DataNode) -> DataNode:
    """A linear change of color, rounded and clipped: DALI takes every video for BT.601 in limited range.

    Colors so vivid that DALI clipped them stay wrong; on real BT.709 videos the rest is 0.2 to 0.4/255 in the mean.

    Args:
        frames: uint8 RGB.
        matrix, offset: float32 (3, 3) and (3,), of `actrec.data.video.read.color_change`.
    """
    return fn.coord_transform(frames, M=matrix, T=offset, dtype=types.UINT8)
