"""A picture of what the loader feeds to the net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from actrec.config import Input
from actrec.pipelines.loader import Batch


def contact_sheet(batch: Batch, net_input: Input, *, columns: int = 16) -> np.ndarray:
    """The clips of a batch: one row per clip, its frames in order. RGB uint8 (rows * size, columns * size, 3).

    For optical flow it shows the first x component of each frame in gray: motion to the right is bright.
    """
    clips = batch.clips.float().cpu()
    shape = (1, -1, 1, 1, 1)
    pixels = clips * torch.tensor(net_input.std).view(shape) + torch.tensor(net_input.mean).view(shape)
    pixels = (pixels * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 3, 2, 4, 1)  # (N, H, T, W, C)
    pixels = pixels[:, :, :columns]
    if pixels.shape[-1] != 3:
        pixels = pixels[..., :1].repeat(1, 1, 1, 1, 3)
    return pixels.flatten(2, 3).flatten(0, 1).numpy()


def label_names(labels: torch.Tensor, classes: Sequence[str]) -> list[str]:
    """For each clip the name of its class, or of its classes with commas; "-" if it has none.

    Args:
        labels: Those of a `Batch`: (N,) int64, or (N, classes).
    """
    rows = (
        [row.nonzero().flatten() for row in labels] if labels.ndim == 2 else [row[row >= 0] for row in labels[:, None]]
    )
    return [", ".join(classes[label] for label in row.tolist()) or "-" for row in rows]
