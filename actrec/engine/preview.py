"""The first batch of a training as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from actrec.config import Input, Recipe
from actrec.engine import loss
from actrec.engine.build import make_loaders
from actrec.engine.failures import with_name
from actrec.engine.runfolder import Data
from actrec.engine.train import check
from actrec.files import atomic_write, writing
from actrec.pipelines.loader import Batch


def contact_sheet(batch: Batch, net_input: Input, *, columns: int = 16) -> np.ndarray:
    """The clips of a batch, one per row, with their frames in order: RGB uint8 (rows * size, columns * size, 3).

    Of optical flow, the first x image of each frame is shown in gray: what moves to the right is bright.
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
    """For each clip its class, or its classes separated by commas; - if it has none.

    Args:
        labels: those of a `Batch`, (N,) int64 or (N, classes).
    """
    rows = (
        [row.nonzero().flatten() for row in labels] if labels.ndim == 2 else [row[row >= 0] for row in labels[:, None]]
    )
    return [", ".join(classes[label] for label in row.tolist()) or "-" for row in rows]


@dataclass(frozen=True)
class Preview:
    """The first batch of a training.

    Args:
        picture: see `contact_sheet`.
        rows: of each clip its class names and its video.
    """

    picture: np.ndarray
    rows: list[tuple[str, str]]


def first_batch(recipe: Recipe, data: Data, net_input: Input) -> Preview:
    """The first batch of a training, augmented and mixed as the net would get it.

    Raises:
        ValueError: recipe and data do not fit, or no video of the batch can be decoded.
    """
    check(recipe, data)
    loader, _ = make_loaders(
        data, recipe.clip, net_input, recipe.augment, recipe.loader, recipe.loss, recipe.run, torch.device("cpu")
    )
    batch = next(iter(loader))
    if not len(batch):
        raise ValueError(
            f"no video of the first batch could be decoded; {with_name(*next(iter(loader.skipped.items())))}"
        )
    mix = loss.plan_mix(recipe.augment, seed=recipe.run.seed, epoch=0, step=0, size=batch.clips.shape[-1])
    if mix is not None:
        loss.mix(batch.clips, loss.targets(batch.labels, len(data.classes)), mix)
    rows = list(zip(label_names(batch.labels, data.classes), map(str, batch.videos)))
    return Preview(contact_sheet(batch, net_input), rows)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes an RGB picture as .png or .jpg, atomically.

    Raises:
        OSError: it cannot be written.
    """
    _, encoded = cv2.imencode(path.suffix, picture[:, :, ::-1])
    with writing(path), atomic_write(path, "wb") as file:
        file.write(encoded.tobytes())
