"""Boxes and crops: which part of a picture the net sees. Arithmetic on sizes only, in pixels of the displayed picture.

A box is (x, y, w, h). Training draws one box per clip; evaluation resizes the whole picture and takes fixed crops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actrec.config import Augment

Box = tuple[int, int, int, int]

# The thirteen places of a multiscale crop, in quarters of the free space (TSN, Wang et al. 2016).
_PLACES = (
    (0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3),
)  # fmt: skip


def eval_resize(width: int, height: int, size: int, crop_ratio: float) -> tuple[int, int]:
    """Returns the resized (width, height). The short side becomes size / crop_ratio; the long side keeps the aspect
    ratio, truncated as in torchvision's Resize. The result is never smaller than the crop.
    """
    short = int(size / crop_ratio + 0.5)
    if width <= height:
        return short, max(short, int(short * height / width))
    return max(short, int(short * width / height)), short


def crop_offsets(width: int, height: int, size: int, crops: int, *, rule: str = "actrec") -> np.ndarray:
    """Returns the top left corners (x, y) of 1, 3 or 5 crops; 10 crops use the same 5. (crops or 5, 2) int64.

    Three crops are placed along the longer side: first, last, center. Five crops are the corners, then the center.
    With the rule "actrec" the outer crops touch the border, and the central one equals the single crop. With the rule
    "ibm" they are placed at quarters of the free space, up to 3 pixels inside the border, as in the reference.
    """
    free = np.array([width - size, height - size])
    if rule == "ibm" and crops > 1:
        quarters = free // 4
        center, end = 2 * quarters, 4 * quarters
    else:
        center, end = np.array([round(f / 2) for f in free]), free
    if crops == 1:
        return center[None]
    if crops == 3:
        along = np.array([1, 0]) if width >= height else np.array([0, 1])
        across = center * (1 - along)
        return np.stack([across, end * along + across, center])
    return np.stack([[0, 0], [end[0], 0], [0, end[1]], end, center])


def crop_flips(crops: int) -> tuple[bool, ...]:
    """Which of the crops are mirrored. Ten crops are five, each followed by its mirror image."""
    return (False, True) * 5 if crops == 10 else (False,) * crops


def train_box(width: int, height: int, size: int, augment: Augment, variates: np.ndarray) -> Box:
    """The box of one training clip.

    Args:
        width, height: of the displayed picture.
        size: height and width of the net's input.
        augment: `geometry` names the rule, the other fields are its limits.
        variates: at least 22 uniform numbers in [0, 1).
    """
    return _RULES[augment.geometry](width, height, size, augment, variates)


def multiscale_choices(width: int, height: int, size: int, scales: tuple[float, ...]) -> list[tuple[int, int]]:
    """The (w, h) that a multiscale crop chooses from: pairs of equal or neighboring scales of the short side.

    A side within 2 pixels of `size` becomes `size`, so that nothing is resized.
    """
    short = min(width, height)
    sides = [int(short * s) for s in scales]
    sides = [size if abs(s - size) < 3 and size <= short else max(1, s) for s in sides]
    return [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]


def multiscale_places(width: int, height: int, w: int, h: int) -> list[tuple[int, int]]:
    """The thirteen (x, y) where a (w, h) crop can be placed."""
    step_x, step_y = (width - w) // 4, (height - h) // 4
    return [(x * step_x, y * step_y) for x, y in _PLACES]


def _multiscale(width: int, height: int, size: int, augment: Augment, variates: np.ndarray) -> Box:
    choices = multiscale_choices(width, height, size, augment.scales)
    w, h = choices[int(variates[0] * len(choices))]
    places = multiscale_places(width, height, w, h)
    x, y = places[int(variates[1] * len(places))]
    return x, y, w, h


def _corner(width: int, height: int, size: int, augment: Augment, variates: np.ndarray) -> Box:
    """A square in a corner or the center, as in Hara's 3D-ResNets (Wang et al. 2015)."""
    scale = augment.scales[int(variates[0] * len(augment.scales))]
    side = max(1, int(min(width, height) * scale))
    x, y = crop_offsets(width, height, side, 5)[int(variates[1] * 5)].tolist()
    return x, y, side, side


def _jitter(width: int, height: int, size: int, augment: Augment, variates: np.ndarray) -> Box:
    """A size x size crop of a picture resized to a random short side, given as a box of the unresized picture."""
    low, high = augment.short_sides
    short = low + int(variates[0] * (high - low + 1))
    side = min(round(size * min(width, height) / short), min(width, height))
    return _random_place(width, height, max(1, side), max(1, side), variates[1:3])


def _random_resized(width: int, height: int, size: int, augment: Augment, variates: np.ndarray) -> Box:
    """Inception's crop: random area and log-uniform aspect ratio, ten attempts.

    If no attempt fits, the largest centered box with a legal aspect ratio is used, as in torchvision.
    """
    low, high = np.log(augment.aspect)
    for area_draw, aspect_draw in variates[:20].reshape(10, 2):
        area = width * height * (augment.area[0] + area_draw * (augment.area[1] - augment.area[0]))
        aspect = np.exp(low + aspect_draw * (high - low))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            return _random_place(width, height, w, h, variates[20:22])
    aspect = min(max(width / height, augment.aspect[0]), augment.aspect[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (width - w) // 2, (height - h) // 2, max(1, w), max(1, h)


def _center(width: int, height: int, size: int, augment: Augment, variates: np.ndarray) -> Box:
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def _random_place(width: int, height: int, w: int, h: int, variates: np.ndarray) -> Box:
    """A uniformly random place for a (w, h) box; it may touch every border."""
    return int(variates[0] * (width - w + 1)), int(variates[1] * (height - h + 1)), w, h


_RULES: dict[str, Callable[[int, int, int, Augment, np.ndarray], Box]] = {
    "multiscale": _multiscale,
    "corner": _corner,
    "jitter": _jitter,
    "random-resized": _random_resized,
    "center": _center,
}
