"""Augmentations of your own: you register a class, and its fields become fields of `actrec.Augment`.

    from dataclasses import dataclass

    from actrec import augment

    @augment.register("reverse")
    @dataclass(frozen=True)
    class Reverse(augment.Augmentation):
        reverse: float = augment.opt(0.0, "Fraction of clips played backwards.", at_least=0, at_most=1)

        @property
        def is_on(self):
            return self.reverse > 0

        def draw(self, rng, size):
            return rng.random() < self.reverse

        def reorder(self, frames, drawn):
            return frames[::-1] if drawn else frames

    options = actrec.Augment(reverse=0.5)

The other names of this module are for programs that apply augmentations without a loader.
"""

from __future__ import annotations

from actrec.pipelines.augment import Augmentation, OptionError, active, draw, opt, register, registered, reorder

__all__ = ["Augmentation", "OptionError", "active", "draw", "opt", "register", "registered", "reorder"]
