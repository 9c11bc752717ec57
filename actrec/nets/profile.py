"""Size and cost of a net, by the convention of the published tables."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from actrec.nets.backbone import Backbone
from actrec.nets.temporal import TemporalAggregation


@dataclass(frozen=True)
class Profile:
    """What a net costs.

    Args:
        params: weights and biases, those of the last layer and of normalizations included.
        flops: multiply-adds of the convolutions for one clip; biases, the last layer and all else are not counted.
    """

    params: int
    flops: int


def profile(net: Backbone, *, frames: int | None = None, size: int | None = None) -> Profile:
    """Parameters and FLOPs as Chen et al. count them (arXiv:2010.11757): one multiply-add is one, convolutions only.

    Nothing is computed: shapes alone pass the net.

    Args:
        net: made by `actrec.net`; it may be on any device, "meta" included.
        frames, size: of a clip, by default those of `net.input`.

    Raises:
        ValueError: such clips do not fit the net.
    """
    frames = frames if frames is not None else net.input.frames
    size = size if size is not None else net.input.size
    counts: list[int] = []

    def count(module: nn.Module, args: tuple, out: Tensor) -> None:
        if isinstance(module, TemporalAggregation):
            counts.append(module.multiply_adds(out))
        else:
            counts.append(out.numel() * module.weight[0].numel())

    counted = (nn.Conv2d, nn.Conv3d, TemporalAggregation)
    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, counted)]
    state = {key: value.to("meta") for key, value in net.state_dict(keep_vars=True).items()}
    clip = torch.empty(1, net.in_channels, frames, size, size, device="meta", dtype=next(net.parameters()).dtype)
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        with torch.no_grad():
            functional_call(net, state, clip)
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
    return Profile(sum(parameter.numel() for parameter in net.parameters()), sum(counts))
