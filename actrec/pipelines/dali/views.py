"""Graph functions of evaluation: every view of a video out of one decode."""

from __future__ import annotations

from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode


def resize(frames: DataNode, *, shape: DataNode) -> DataNode:
    """The whole picture, antialiased bilinear, to the plan's float32 (height, width)."""
    return fn.resize(frames, size=shape, interp_type=types.INTERP_LINEAR, antialias=True)


def crops(frames: DataNode, *, offsets: DataNode, num_crops: int, size: int) -> list[DataNode]:
    """`num_crops` square crops of every frame; `offsets` holds int32 (num_crops, 2) rows of y, x."""
    return [
        fn.slice(frames, start=offsets[j], shape=[size, size], axis_names="HW", out_of_bounds_policy="error")
        for j in range(num_crops)
    ]
