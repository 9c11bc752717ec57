"""The moving average of a net's weights."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """A net whose weights and batch norms' statistics are the exponential moving averages of another's.

    torch's `AveragedModel` renames all weights, and averages the norms' counters too.

    Args:
        net: where the average begins; not wrapped.
        decay: what each update keeps of the average.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self._lerp = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """After each optimizer step. Whole numbers are those of `net`."""
        pairs = list(zip(_tensors(self.net), _tensors(net), strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._lerp([own for own, _ in averaged], [other for _, other in averaged], None)
        for own, other in pairs:
            if not own.is_floating_point():
                own.copy_(other)


def _tensors(net: nn.Module) -> itertools.chain[Tensor]:
    return itertools.chain(net.parameters(), net.buffers())
