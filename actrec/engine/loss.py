"""Targets, mixed clips and the loss. Nothing here waits for the GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from actrec import config
from actrec.data.sampling import streams


@dataclass(frozen=True)
class Mix:
    """How pairs of clips of one batch are mixed.

    Args:
        share: The fraction of the clip itself in the mixed clip; the rest is of its partner.
        box: The region (x, y, width, height) of all frames that partners exchange; None blends whole clips.
    """

    share: float
    box: tuple[int, int, int, int] | None


def plan_mix(augment: config.Augment, *, seed: int, epoch: int, step: int, size: int) -> Mix | None:
    """The mixing of one batch, the same in all processes. None without mixup and cutmix; with both, one of the two.

    mixup: Zhang et al. 2018 (arXiv:1710.09412). cutmix: Yun et al. 2019 (arXiv:1905.04899), with the share by the exact
    area.

    Args:
        step: Number of the batch in the epoch.
        size: Height and width of the clips.
    """
    if not augment.mixup and not augment.cutmix:
        return None
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, step], spawn_key=streams.MIX)))
    cut, x, y = rng.random(3)
    if augment.mixup and (cut < 1 - augment.cutmix_share or not augment.cutmix):
        return Mix(rng.beta(augment.mixup, augment.mixup), None)
    side = int(size * math.sqrt(1 - rng.beta(augment.cutmix, augment.cutmix)))
    left, width = _span(int(x * size), side, size)
    top, height = _span(int(y * size), side, size)
    return Mix(1 - width * height / size**2, (left, top, width, height))


def _span(center: int, length: int, size: int) -> tuple[int, int]:
    """Start and length of the part of an interval that is inside [0, size)."""
    start = center - length // 2
    low, high = max(start, 0), min(start + length, size)
    return low, high - low


def mix(clips_NCTHW: Tensor, targets: Tensor, plan: Mix, *, repeats: int = 1) -> tuple[Tensor, Tensor]:
    """Mixes clips 0 and 1, 2 and 3, and so on; an odd last one stays as it is.

    Args:
        clips_NCTHW: changed in place.
        targets: (N, classes), left alone.
        repeats: number of clips in a row that are of the same video. The clips of one video are then mixed with those
            of the next one: 0 and 2, 1 and 3 for two repeats.

    Returns:
        The clips, and new targets.
    """
    if plan.box is None:
        _blend(clips_NCTHW, 1 - plan.share, repeats)
    else:
        x, y, w, h = plan.box
        _blend(clips_NCTHW[..., y : y + h, x : x + w], 1.0, repeats)
    mixed = targets.clone()
    _blend(mixed, 1 - plan.share, repeats)
    return clips_NCTHW, mixed


def partner(clip: int, repeats: int = 1) -> int:
    """The clip of a batch with which `mix` mixes this one."""
    video, repeat = divmod(clip, repeats)
    return (video ^ 1) * repeats + repeat


def _blend(values: Tensor, weight: float, repeats: int) -> None:
    """Moves both of each two neighbors, or neighboring groups of `repeats`, by `weight` towards the other, in place."""
    num_pairs = len(values) // (2 * repeats)
    pairs = values[: 2 * repeats * num_pairs].unflatten(0, (num_pairs, 2, repeats))
    first, second = pairs[:, 0], pairs[:, 1]
    blended = torch.lerp(first, second, weight)
    second.lerp_(first, weight)
    first.copy_(blended)


def targets(labels: Tensor, num_classes: int) -> Tensor:
    """(N, num_classes) float32 of class numbers (N,) int64; labels that are such already as they are."""
    return labels if labels.ndim == 2 else F.one_hot(labels, num_classes).float()


def per_clip_loss(logits: Tensor, targets: Tensor, loss: config.Loss) -> Tensor:
    """The loss of each clip, (N,) in float32 or, as the logits, float64.

    Cross-entropy; for several labels binary cross-entropy, averaged over classes. Label smoothing: Szegedy et al. 2016
    (arXiv:1512.00567); binary targets are smoothed towards 0.5.

    Args:
        logits: (N, classes).
        targets: (N,) int64 class numbers, or (N, classes) float32.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    targets = targets.to(logits.dtype) if targets.ndim == 2 else targets
    if not loss.multi_label:
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=loss.label_smoothing)
    smooth = targets * (1 - loss.label_smoothing) + loss.label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none").mean(1)


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of clips whose best class is one of their labels; in mixed clips one of weight 0.5 or more. () int64.

    Args:
        logits: (N, classes).
        labels: (N,) int64, or targets (N, classes).
    """
    best = logits.argmax(1)
    right = best == labels if labels.ndim == 1 else labels.gather(1, best[:, None]) >= 0.5
    return right.sum()
