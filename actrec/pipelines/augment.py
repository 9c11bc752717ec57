"""Graph functions of training. Every parameter comes from the plan: one draw per clip, none here."""

from __future__ import annotations

from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode


def crop_resize(frames: DataNode, *, start: DataNode, end: DataNode, size: int) -> DataNode:
    """Crop and antialiased bilinear resize in one operation.

    Args:
        frames: uint8 FHWC or HWC.
        start, end: float32 (y, x) corners of the region, as parts of the height and width: images of a folder may
            differ in size.
        size: height and width of the result.
    """
    return fn.resize(
        frames,
        roi_start=start,
        roi_end=end,
        roi_relative=True,
        resize_x=size,
        resize_y=size,
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
