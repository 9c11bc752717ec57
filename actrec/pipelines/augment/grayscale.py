"""Some clips lose their colors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actrec.pipelines.augment import Augmentation, opt, register


@register("grayscale")
@dataclass(frozen=True)
class Grayscale(Augmentation):
    """Replaces the colors of a clip by their luma."""

    grayscale: float = opt(0.0, "Fraction of clips converted to grayscale.", at_least=0, at_most=1)

    order = 20  # before color_jitter: hue and saturation then leave the clip gray
    example = {"grayscale": 0.5}
    needs_colors = True

    @property
    def is_on(self) -> bool:
        return self.grayscale > 0

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        return rng.random() < self.grayscale

    def apply(self, clips: Any, drawn: Any, size: int) -> Any:
        from nvidia.dali import fn

        if drawn > 0:
            clips = fn.saturation(clips, saturation=0.0)
        return clips
