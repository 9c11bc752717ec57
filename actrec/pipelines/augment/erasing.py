"""Random erasing (Zhong et al. 2020, arXiv:1708.04896)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actrec.pipelines.augment import Augmentation, opt, register

_AREA, _ASPECT = (0.02, 0.33), (0.3, 1 / 0.3)  # as in the paper


@register("erasing")
@dataclass(frozen=True)
class Erasing(Augmentation):
    """Sets a rectangle of all frames of a clip to zero, which is the net's mean."""

    erasing: float = opt(
        0.0, "Fraction of clips with a random rectangle erased, the same in all frames.", at_least=0, at_most=1
    )

    order = 50
    example = {"erasing": 0.5}
    normalized = True

    @property
    def is_on(self) -> bool:
        return self.erasing > 0

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        """Rectangle (y, x, h, w) in pixels of the finished, maybe mirrored clip; its size is 0 if nothing is erased.

        The area is uniform, the aspect ratio log-uniform, and the rectangle is never larger than the picture.
        """
        chosen, x, y = rng.random(3)
        area, aspect = size * size * rng.uniform(*_AREA), np.exp(rng.uniform(*np.log(_ASPECT)))
        w, h = (min(size, max(1, round(float(side)))) for side in (np.sqrt(area * aspect), np.sqrt(area / aspect)))
        return (int(y * (size - h + 1)), int(x * (size - w + 1)), h, w) if chosen < self.erasing else (0, 0, 0, 0)

    def apply(self, clips: Any, drawn: Any, size: int) -> Any:
        from nvidia.dali import fn

        return fn.erase(clips, anchor=drawn[:2], shape=drawn[2:], axis_names="HW", fill_value=0.0)
