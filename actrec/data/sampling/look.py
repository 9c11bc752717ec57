"""How a training clip is made to look: what photometric augmentation draws, once for all frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actrec.config import Augment
from actrec.data.sampling import streams

# Those of RandAugment (Cubuk et al. 2020) and, with wider ranges, of TrivialAugmentWide (Mueller & Hutter 2021).
OPERATIONS = (
    "translate_x", "translate_y", "shear_x", "shear_y", "rotate", "brightness", "contrast", "color", "sharpness",
    "posterize", "solarize", "equalize", "auto_contrast", "identity",
)  # fmt: skip
MAGNITUDES = 31

_DRAWS = 12  # every look draws as many, whatever it needs, and those of its operations after them
_SIGMA = (0.1, 2.0)  # pixels of the net's input (SimCLR, Chen et al. 2020)
_AREA, _ASPECT = (0.02, 0.33), (0.3, 1 / 0.3)  # of an erased rectangle (Zhong et al. 2020)


@dataclass(frozen=True)
class Look:
    """What is done to the colors of a clip of the net's size; the defaults do nothing.

    Args:
        brightness, contrast, saturation: factors.
        hue: turns of the color circle.
        gray: the colors are lost.
        blur: standard deviation of a Gaussian, in pixels; 0 is none.
        erased: rectangle (x, y, w, h) of the finished, maybe mirrored, picture; of no size for none.
        operations: one after the other, each a place in `OPERATIONS`, a magnitude below `MAGNITUDES`, and 1 where the
            magnitude is negated (left instead of right, darker instead of brighter), else 0.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    gray: bool = False
    blur: float = 0.0
    erased: tuple[int, int, int, int] = (0, 0, 0, 0)
    operations: tuple[tuple[int, int, int], ...] = ()


def plan_look(*, augment: Augment, size: int, key: tuple[int, ...]) -> Look:
    """The look of one training sample.

    Args:
        size: height and width of the net's input.
        key: of the sample. The draws are not those of its frames and box, which stay as they are.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key, spawn_key=streams.LOOK)))
    draws = rng.random(_DRAWS).tolist()
    *factors, hue = (
        spread * (2 * draw - 1) for spread, draw in zip(augment.color_jitter or (0.0, 0.0, 0.0, 0.0), draws)
    )
    return Look(
        *(1 + factor for factor in factors),
        hue=hue,
        gray=draws[4] < augment.grayscale,
        blur=_between(*_SIGMA, draws[6]) if draws[5] < augment.blur else 0.0,
        erased=_rectangle(size, draws[8:]) if draws[7] < augment.erasing else (0, 0, 0, 0),
        operations=_operations(augment, rng),
    )


def _rectangle(size: int, draws: list[float]) -> tuple[int, int, int, int]:
    """Random area, log-uniform aspect, no larger than the picture, at a uniformly random place."""
    area = size * size * _between(*_AREA, draws[0])
    aspect = np.exp(_between(*np.log(_ASPECT), draws[1]))
    w, h = (min(size, max(1, round(float(side)))) for side in (np.sqrt(area * aspect), np.sqrt(area / aspect)))
    return int(draws[2] * (size - w + 1)), int(draws[3] * (size - h + 1)), w, h


def _operations(augment: Augment, rng: np.random.Generator) -> tuple[tuple[int, int, int], ...]:
    if augment.auto_augment == "none":
        return ()
    num = augment.rand_ops if augment.auto_augment == "randaugment" else 1
    choices = (rng.random((num, 3)) * (len(OPERATIONS), MAGNITUDES, 2)).astype(int).tolist()
    if augment.auto_augment == "randaugment":
        choices = [(operation, augment.rand_magnitude, negated) for operation, _, negated in choices]
    return tuple(map(tuple, choices))


def _between(low: float, high: float, draw: float) -> float:
    return low + draw * (high - low)
