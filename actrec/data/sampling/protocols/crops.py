"""The crops that the evaluations of other programs take. Each rule computes them as its program does.

A rule gets the size of the resized picture and the size (width, height) of a crop. It returns the top left corners
(x, y) of the crops, in the order of the program. `Protocol.geometry` adds the mirrored crops.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from actrec.data.sampling.geometry import crop_offsets

Corners = list[tuple[int, int]]


def truncated(width: int, height: int, short: int) -> tuple[int, int]:
    """The size of a picture after its short side was resized to `short`. torchvision, VideoMAE, V-JEPA 2."""
    if width < height:
        return short, int(short * height / width)
    return int(short * width / height), short


def rounded(width: int, height: int, short: int) -> tuple[int, int]:
    """The same, but the long side is rounded. mmcv."""
    scale = short / min(width, height)
    return int(width * scale + 0.5), int(height * scale + 0.5)


def floor_of_ratio(width: int, height: int, short: int) -> tuple[int, int]:
    """The same, but the aspect ratio is computed first, and a picture of the right size is not resized. PySlowFast."""
    if min(width, height) == short:
        return width, height
    if width < height:
        return short, math.floor(height / width * short)
    return math.floor(width / height * short), short


SHORT_SIDES = {"truncated": truncated, "rounded": rounded, "floor of ratio": floor_of_ratio}


def center(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The center, rounded half to even. torchvision, TSM, Hara."""
    return [(round((width - crop[0]) / 2), round((height - crop[1]) / 2))]


def quarters(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """First, last and central place on the longer side, at quarters of the free space. IBM."""
    return _pairs(crop_offsets(width, height, crop[0], 3, rule="ibm").tolist())


def corners(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The four corners and the center, at quarters of the free space. Ten crops of TSM and mmaction2."""
    return _pairs(crop_offsets(width, height, crop[0], 5, rule="ibm").tolist())


def across(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """Left, right and center, at quarters of the free space, even in an upright picture. `full_res` of TSM."""
    x, y = (width - crop[0]) // 4, (height - crop[1]) // 4
    return [(0, 2 * y), (4 * x, 2 * y), (2 * x, 2 * y)]


def halves(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """First, last and central place on the longer side, at halves of the free space. `ThreeCrop` of mmaction2."""
    step = (max(width, height) - crop[0]) // 2
    return _along(width > height, [0, 2 * step, step])


def ceil_center(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The center, rounded up. PySlowFast with one crop."""
    return [(math.ceil((width - crop[0]) / 2), math.ceil((height - crop[1]) / 2))]


def ceil_thirds(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """First, central and last place on the longer side; the center is rounded up. `uniform_crop` of PySlowFast."""
    (x, y), upright = ceil_center(width, height, crop)[0], height > width
    if upright:
        return [(x, 0), (x, y), (x, height - crop[1])]
    return [(0, y), (x, y), (width - crop[0], y)]


def first(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """Only the first crop of `ceil_thirds`. PySlowFast on Something-Something with one crop."""
    return ceil_thirds(width, height, crop)[:1]


def truncated_steps(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """Three crops at multiples of half of the free space, each of them truncated. VideoMAE."""
    step = (max(width, height) - crop[0]) / 2
    return _along(width > height, [int(i * step) for i in range(3)])


def whole_steps(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """Three crops at multiples of half of the free space, where the half is truncated. V-JEPA 2."""
    step = (max(width, height) - crop[0]) // 2
    return _along(width > height, [i * step for i in range(3)])


RULES: dict[str, Callable[[int, int, tuple[int, int]], Corners]] = {
    rule.__name__: rule
    for rule in (
        center,
        quarters,
        corners,
        across,
        halves,
        ceil_center,
        ceil_thirds,
        first,
        truncated_steps,
        whole_steps,
    )
}


def _along(wide: bool, places: list[int]) -> Corners:
    return [(place, 0) if wide else (0, place) for place in places]


def _pairs(rows: list[list[int]]) -> Corners:
    return [(x, y) for x, y in rows]
