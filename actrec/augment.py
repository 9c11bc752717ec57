"""Augmentations, for code outside actrec: `from actrec.augment import Augmentation, opt, register`.

`actrec.pipelines.augment` explains them.
"""

from __future__ import annotations

from actrec.pipelines.augment import Augmentation, OptionError, active, draw, opt, register, registered, reorder

__all__ = ["Augmentation", "OptionError", "active", "draw", "opt", "register", "registered", "reorder"]
