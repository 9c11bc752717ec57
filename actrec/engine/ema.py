"""The moving average of a net's weights."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """A net whose weights and batch norms' statistics are the exponential moving averages of another's.

    torch's `AveragedModel` renames all weights, and averages the counters of batch norms too.

    Args:
        net: Its weights are the first average. It is copied, not wrapped.
        decay: The fraction of the average that each update keeps.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self._lerp = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Call after each optimizer step. Integer tensors are copied from `net`."""
        pairs = list(zip(_tensors(self.net), _tensors(net), strict=True))
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._lerp([average for average, _ in averaged], [other for _, other in averaged], None)
        for average, other in pairs:
            if not average.is_floating_point():
                average.copy_(other)


def _tensors(net: nn.Module) -> itertools.chain[Tensor]:
    return itertools.chain(net.parameters(), net.buffers())
