"""Small nets that are made for clips of a certain length and size, as entries of the registry for tests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout
from actrec.nets.backbone import Backbone

PATCH = 16
INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=64)
OPTIONS = {
    "frames": 8, "size": 64, "depth": 2, "drop_path": 0.0, "checkpointing": False, "dropout": 0.0,
}  # fmt: skip


class Tokens(Backbone):
    """Patches with positions, which are learned or computed, and residual blocks."""

    fixed_grid = True

    def __init__(self, *, learned, num_classes, in_channels, frames, size, depth, drop_path, checkpointing, dropout):
        super().__init__(num_features=8, in_channels=in_channels, dropout=dropout)
        height, width = (size, size) if isinstance(size, int) else size
        self.grid = (frames, height // PATCH, width // PATCH)
        self.patches = nn.Conv3d(in_channels, 8, (1, PATCH, PATCH), stride=(1, PATCH, PATCH))
        table = torch.linspace(-1, 1, 8)[:, None].repeat(1, math.prod(self.grid))
        if learned:
            self.positions = nn.Parameter(table)
        else:
            self.register_buffer("positions", table, persistent=False)
        self.blocks = nn.Sequential(*[nn.Conv3d(8, 8, 1) for _ in range(depth)])
        self.reset_head(num_classes)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        return self.blocks(self.patches(x_NCTHW) + self.positions.view(8, *self.grid))

    def _check(self, x: Tensor) -> None:
        super()._check(x)
        if (x.shape[2], x.shape[3] // PATCH, x.shape[4] // PATCH) != self.grid:
            raise ValueError(f"clips of shape {tuple(x.shape)}: this net is made for a grid of {self.grid}")


class Windowed(Backbone):
    """A convolution, and a head that averages over a window of the size that it is made for."""

    def __init__(self, *, num_classes, in_channels, frames, size, dropout):
        super().__init__(num_features=8, in_channels=in_channels, dropout=dropout)
        self.window = size // PATCH
        self.stem = nn.Conv3d(in_channels, 8, (1, PATCH, PATCH), stride=(1, PATCH, PATCH))
        self.reset_head(num_classes)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        window = (1, min(self.window, x_NCTHW.shape[3] // PATCH), min(self.window, x_NCTHW.shape[4] // PATCH))
        return nn.functional.avg_pool3d(self.stem(x_NCTHW).relu(), window, stride=1)


def resized(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Positions of another grid, all of which are the same here."""
    return {**tensors, "positions": tensors["positions"][:, :1].repeat(1, math.prod(net.grid))}


@contextmanager
def registered() -> Iterator[None]:
    """The nets `learned_grid`, `computed_grid`, `resized_grid` and `windowed`."""
    entries = {
        "learned_grid": Entry(partial(Tokens, learned=True), INPUT, OPTIONS),
        "computed_grid": Entry(partial(Tokens, learned=False), INPUT, OPTIONS),
        "resized_grid": Entry(
            partial(Tokens, learned=True), INPUT, OPTIONS, weights={"actrec": Layout(convert=resized)}
        ),
        "windowed": Entry(Windowed, INPUT, {"frames": 8, "size": 64, "dropout": 0.0}),
    }
    for name, entry in entries.items():
        NETS.add(name, entry)
    try:
        yield
    finally:
        for name in entries:
            del NETS._entries[name]
