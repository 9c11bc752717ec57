"""The crops that the evaluations of other programs take. Each rule computes them as its program does.

A rule gets the size of the resized picture and the size (width, height) of a crop. It returns the top left corners
(x, y) of the crops, in the order of the program. `Protocol.geometry` adds the mirrored crops. `actrec protocols NAME`
prints the first paragraph of its docstring.
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
    """The crop is in the center; half a pixel is rounded to an even number.

    torchvision, TSM, Hara.
    """
    return [(round((width - crop[0]) / 2), round((height - crop[1]) / 2))]


def floor_center(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crop is in the center; half a pixel is rounded down.

    `CenterCrop` of mmaction2.
    """
    return [((width - crop[0]) // 2, (height - crop[1]) // 2)]


def quarters(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are at the start, at the end and in the center of the longer side; the one at the end is up to 3 pixels
    from the border.

    IBM: they are placed at quarters of the free space.
    """
    return _pairs(crop_offsets(width, height, crop[0], 3, rule="ibm").tolist())


def corners(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are in the four corners and in the center; those at the right and the bottom are up to 3 pixels from
    the border.

    Ten crops of TSM and mmaction2: they are placed at quarters of the free space.
    """
    return _pairs(crop_offsets(width, height, crop[0], 5, rule="ibm").tolist())


def across(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are at the left, at the right and in the center, also in an upright picture; the one at the right is up
    to 3 pixels from the border.

    `full_res` of TSM: they are placed at quarters of the free space.
    """
    x, y = (width - crop[0]) // 4, (height - crop[1]) // 4
    return [(0, 2 * y), (4 * x, 2 * y), (2 * x, 2 * y)]


def halves(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are at the start, at the end and in the center of the longer side; the one at the end is up to 1 pixel
    from the border.

    `ThreeCrop` of mmaction2: they are placed at halves of the free space.
    """
    step = (max(width, height) - crop[0]) // 2
    return _along(width > height, [0, 2 * step, step])


def ceil_center(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crop is in the center; half a pixel is rounded up.

    PySlowFast with one crop.
    """
    return [(math.ceil((width - crop[0]) / 2), math.ceil((height - crop[1]) / 2))]


def ceil_thirds(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are at the start, in the center and at the end of the longer side; half a pixel is rounded up.

    `uniform_crop` of PySlowFast.
    """
    (x, y), upright = ceil_center(width, height, crop)[0], height > width
    if upright:
        return [(x, 0), (x, y), (x, height - crop[1])]
    return [(0, y), (x, y), (width - crop[0], y)]


def first(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crop is at the start of the longer side: at the left, or at the top of an upright picture.

    PySlowFast on Something-Something with one crop: only the first crop of `ceil_thirds`.
    """
    return ceil_thirds(width, height, crop)[:1]


def truncated_steps(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are at the start, in the center and at the end of the longer side; half a pixel is rounded down.

    VideoMAE.
    """
    step = (max(width, height) - crop[0]) / 2
    return _along(width > height, [int(i * step) for i in range(3)])


def whole_steps(width: int, height: int, crop: tuple[int, int]) -> Corners:
    """The crops are at the start, in the center and at the end of the longer side; the one at the end is up to 1 pixel
    from the border.

    V-JEPA 2: they are at multiples of half of the free space, where the half is truncated.
    """
    step = (max(width, height) - crop[0]) // 2
    return _along(width > height, [i * step for i in range(3)])


RULES: dict[str, Callable[[int, int, tuple[int, int]], Corners]] = {
    rule.__name__: rule
    for rule in (
        center,
        floor_center,
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
