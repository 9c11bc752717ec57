"""Graph functions of training. Every parameter comes from the plan: one draw per clip, none here.

All take clips (FHWC) as well as single images (HWC) of them: a frame's result depends on no other frame.
"""

from __future__ import annotations

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.auto_aug import augmentations, rand_augment, trivial_augment
from nvidia.dali.auto_aug.core import _Augmentation, augmentation, select, signed_bin
from nvidia.dali.data_node import DataNode

from actrec.config import Augment
from actrec.data.sampling.look import MAGNITUDES, OPERATIONS, Look

_FILL = 128  # what shows where a picture was moved away


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


def look_inputs(options: Augment) -> dict[str, types.DALIDataType]:
    """What the graph must be fed for these options, by name."""
    colors = options.color_jitter is not None or options.grayscale > 0
    return {
        **({"operations": types.INT32} if options.auto_augment != "none" else {}),
        **({"colors": types.FLOAT} if colors else {}),
        **({"sigma": types.FLOAT} if options.blur else {}),
        **({"erased": types.FLOAT} if options.erasing else {}),
    }


def look_values(look: Look, options: Augment) -> dict[str, np.ndarray]:
    """What `look_inputs` are for one clip."""
    x, y, w, h = look.erased
    saturation = 0.0 if look.gray else look.saturation
    values = {
        "operations": np.array(look.operations, np.int32),
        "colors": np.array([look.brightness, look.contrast, saturation, 360 * look.hue], np.float32),
        "sigma": np.float32(look.blur),
        "erased": np.array([y, x, h, w], np.float32),
    }
    return {name: values[name] for name in look_inputs(options)}


def apply_look(clips: DataNode, drawn: dict[str, DataNode], *, options: Augment, size: int) -> DataNode:
    """Whatever the options change in uint8 RGB clips of the net's size; blur in those of flow too."""
    if "operations" in drawn:
        clips = operate(clips, drawn["operations"], operations=suite(options, size), num=num_operations(options))
    if "colors" in drawn:
        clips = twist(clips, drawn["colors"])
    if "sigma" in drawn:
        clips = blur(clips, drawn["sigma"])
    return clips


def operate(clips: DataNode, chosen: DataNode, *, operations: list[_Augmentation], num: int) -> DataNode:
    """One operation after the other.

    Args:
        chosen: int32 (num, 3) rows of the operation's place, its magnitude, and 1 where that is negated.
    """
    for i in range(num):
        magnitude = signed_bin(chosen[i, 1], random_sign=chosen[i, 2])
        clips = select(
            operations, chosen[i, 0], clips, magnitude_bin=magnitude, num_magnitude_bins=MAGNITUDES, fill_value=_FILL
        )
    return clips


def twist(clips: DataNode, colors: DataNode) -> DataNode:
    """Hue and saturation as a turn and a stretch in YIQ, which leave the luma as it is, then contrast, brightness.

    Args:
        colors: float32 (4,) factors of brightness, contrast (around 128) and saturation, and degrees of hue.
    """
    return fn.color_twist(clips, brightness=colors[0], contrast=colors[1], saturation=colors[2], hue=colors[3])


def blur(clips: DataNode, sigma: DataNode) -> DataNode:
    """Gaussian, up to three `sigma` (in pixels) to each side; none where that is 0."""
    if sigma > 0:
        clips = fn.gaussian_blur(clips, sigma=sigma)
    return clips


def erase(clips: DataNode, region: DataNode) -> DataNode:
    """Zero, which is the net's mean, in a region of normalized clips. Args: region: float32 (y, x, h, w) in pixels."""
    return fn.erase(clips, anchor=region[:2], shape=region[2:], axis_names="HW", fill_value=0.0)


def num_operations(options: Augment) -> int:
    return options.rand_ops if options.auto_augment == "randaugment" else 1


def suite(options: Augment, size: int) -> list[_Augmentation]:
    """DALI's operations with their ranges of magnitude, in the order of `OPERATIONS`.

    Pictures move as far as in a picture of 224 pixels, in proportion: up to 100 there, or 32 (TrivialAugment).
    """
    if options.auto_augment == "randaugment":
        found = rand_augment.get_rand_augment_suite(max_translate_abs=round(size * 100 / 224))
    else:
        found = trivial_augment.get_trivial_augment_wide_suite(max_translate_abs=round(size * 32 / 224))
    named = {operation.name: operation for operation in found}
    sharpness = named["sharpness"]
    named["sharpness"] = _sharpness.augmentation(mag_range=sharpness.mag_range, mag_to_param=sharpness.mag_to_param)
    named["equalize"] = _equalize
    return [named[name] for name in OPERATIONS]


# DALI's own two use deprecated names of the operators, which warn.


@augmentation(
    mag_range=(0, 0.9), randomly_negate=True, mag_to_param=augmentations.sharpness_kernel, param_device="auto"
)
def _sharpness(clips: DataNode, kernel: DataNode) -> DataNode:
    return fn.filter(clips, kernel)


@augmentation
def _equalize(clips: DataNode, _: None) -> DataNode:
    return fn.equalize(clips)
