"""RandAugment (Cubuk et al. 2020) and TrivialAugmentWide (Mueller & Hutter 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from actrec.pipelines.augment import Augmentation, opt, register

OPERATIONS = (
    "translate_x", "translate_y", "shear_x", "shear_y", "rotate", "brightness", "contrast", "color", "sharpness",
    "posterize", "solarize", "equalize", "auto_contrast", "identity",
)  # fmt: skip
MAGNITUDES = 31  # 0 to 30
_FILL = 128  # gray value of what becomes visible when a picture is moved


@register("auto_augment")
@dataclass(frozen=True)
class AutoAugment(Augmentation):
    """One or several random operations, one after the other."""

    auto_augment: Literal["none", "randaugment", "trivialaugment"] = opt(
        "none",
        "randaugment: --rand-ops random operations of magnitude --rand-magnitude; trivialaugment: one operation of "
        "random magnitude.",
    )
    rand_ops: int = opt(
        2, "Number of operations of randaugment.", only=("auto_augment", ("randaugment",)), at_least=1, at_most=100
    )
    rand_magnitude: int = opt(
        9, "Magnitude of randaugment, 0 to 30.", only=("auto_augment", ("randaugment",)), at_least=0, at_most=30
    )

    order = 10
    example = {"auto_augment": "randaugment"}
    needs_colors = True
    dtype = np.int32

    @property
    def is_on(self) -> bool:
        return self.auto_augment != "none"

    @property
    def num_operations(self) -> int:
        return self.rand_ops if self.auto_augment == "randaugment" else 1

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        """(num_operations, 3): index in `OPERATIONS`, magnitude, and 1 if the magnitude is negated, else 0.

        Negated means left instead of right, darker instead of brighter, and so on.
        """
        chosen = (rng.random((self.num_operations, 3)) * (len(OPERATIONS), MAGNITUDES, 2)).astype(int)
        if self.auto_augment == "randaugment":
            chosen[:, 1] = self.rand_magnitude
        return chosen

    def apply(self, clips: Any, drawn: Any, size: int) -> Any:
        from nvidia.dali.auto_aug.core import select, signed_bin

        operations = self.operations(size)
        for i in range(self.num_operations):
            magnitude = signed_bin(drawn[i, 1], random_sign=drawn[i, 2])
            clips = select(
                operations, drawn[i, 0], clips, magnitude_bin=magnitude, num_magnitude_bins=MAGNITUDES, fill_value=_FILL
            )
        return clips

    def operations(self, size: int) -> list[Any]:
        """DALI's operations with their ranges of magnitude, in the order of `OPERATIONS`.

        In a picture of 224 pixels, translations move by up to 100 pixels (TrivialAugment: 32); in others in proportion.
        """
        from nvidia.dali.auto_aug import rand_augment, trivial_augment

        if self.auto_augment == "randaugment":
            found = rand_augment.get_rand_augment_suite(max_translate_abs=round(size * 100 / 224))
        else:
            found = trivial_augment.get_trivial_augment_wide_suite(max_translate_abs=round(size * 32 / 224))
        by_name = {operation.name: operation for operation in found}
        sharpness, equalize = _without_warnings()
        of_suite = by_name["sharpness"]
        by_name["sharpness"] = sharpness.augmentation(mag_range=of_suite.mag_range, mag_to_param=of_suite.mag_to_param)
        by_name["equalize"] = equalize
        return [by_name[name] for name in OPERATIONS]


def _without_warnings() -> tuple[Any, Any]:
    """Sharpness and equalize. DALI's own two use deprecated names of the operators, which print warnings."""
    from nvidia.dali import fn
    from nvidia.dali.auto_aug import augmentations
    from nvidia.dali.auto_aug.core import augmentation

    @augmentation(
        mag_range=(0, 0.9), randomly_negate=True, mag_to_param=augmentations.sharpness_kernel, param_device="auto"
    )
    def sharpness(clips: Any, kernel: Any) -> Any:
        return fn.filter(clips, kernel)

    @augmentation
    def equalize(clips: Any, _: None) -> Any:
        return fn.equalize(clips)

    return sharpness, equalize
