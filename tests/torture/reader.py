"""A "net" that reads the number of each frame that it gets: its logits are the brightness of the strips of a picture.

Scores of `actrec evaluate` then tell which frames a net saw, and whether they were upright.
"""

from __future__ import annotations

import torch
from torch import nn

from actrec.config import Input

FRAMES, SIZE, BITS = 8, 56, 8
CLASSES = FRAMES * 2 * BITS


class Reader(nn.Module):
    def __init__(self, num_classes: int):
        super().__init__()
        self.input = Input(mean=(0.0,) * 3, std=(1.0,) * 3, frames=FRAMES, size=SIZE)
        self.last_layer = nn.Linear(num_classes, num_classes, bias=False)
        nn.init.eye_(self.last_layer.weight)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        cells = clips.mean(1).unfold(2, SIZE // 2, SIZE // 2).unfold(3, SIZE // BITS, SIZE // BITS)
        return self.last_layer(cells[..., 8:20, 2:5].mean((-1, -2)).flatten(1))


def reader(num_classes: int) -> nn.Module:
    return Reader(num_classes)


def numbers_of(scores: torch.Tensor) -> list[int]:
    """The numbers of the frames of a clip, from the scores (CLASSES,) of `Reader`; -1 for a picture without one."""
    bits = scores.reshape(FRAMES, 2, BITS) > 0.5
    numbers = (bits[:, 0].long() << torch.arange(BITS)).sum(-1)
    return torch.where((bits[:, 0] ^ bits[:, 1]).all(-1), numbers, -1).tolist()
