"""Gaussian blur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actrec.pipelines.augment import Augmentation, opt, register

_SIGMA = (0.1, 2.0)  # pixels of the net's input (SimCLR, Chen et al. 2020)


@register("blur")
@dataclass(frozen=True)
class Blur(Augmentation):
    """Blurs a clip. The kernel reaches up to three standard deviations to each side."""

    blur: float = opt(0.0, "Fraction of clips blurred (Gaussian, sigma 0.1 to 2 pixels).", at_least=0, at_most=1)

    order = 40
    example = {"blur": 0.5}

    @property
    def is_on(self) -> bool:
        return self.blur > 0

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        """The standard deviation in pixels; 0 leaves the clip as it is."""
        chosen, sigma = rng.random(), rng.uniform(*_SIGMA)
        return sigma if chosen < self.blur else 0.0

    def apply(self, clips: Any, drawn: Any, size: int) -> Any:
        from nvidia.dali import fn

        if drawn > 0:
            clips = fn.gaussian_blur(clips, sigma=drawn)
        return clips
