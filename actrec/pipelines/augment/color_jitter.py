"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from actrec.pipelines.augment import Augmentation, OptionError, opt, register


@register("color_jitter")
@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Hue and saturation first, as a rotation and a scaling in YIQ that keep the luma; then contrast, then brightness.

    Nothing is clipped between the four.
    """

    color_jitter: tuple[float, float, float, float] | None = opt(
        None,
        "Change brightness, contrast and saturation (each by a factor from 1 - X to 1 + X) and hue (by up to X turns "
        "of the color circle), such as 0.4,0.4,0.4,0.1.",
    )

    order = 30
    example = {"color_jitter": (0.4, 0.4, 0.4, 0.1)}
    needs_colors = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.color_jitter is None:
            return
        *factors, hue = self.color_jitter
        if not all(0 <= f <= 1 for f in factors) or not 0 <= hue <= 0.5:
            shown = ",".join(f"{value:g}" for value in self.color_jitter)
            raise OptionError(
                f"`color_jitter` {shown}: expected three numbers from 0 to 1, and one up to 0.5 for the hue"
            )

    @property
    def is_on(self) -> bool:
        return self.color_jitter is not None

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        """Factors of brightness, contrast (around 128) and saturation, and the hue in degrees."""
        change = np.array(self.color_jitter) * (2 * rng.random(4) - 1)
        return [*(1 + change[:3]), 360 * change[3]]

    def apply(self, clips: Any, drawn: Any, size: int) -> Any:
        from nvidia.dali import fn

        return fn.color_twist(clips, brightness=drawn[0], contrast=drawn[1], saturation=drawn[2], hue=drawn[3])
