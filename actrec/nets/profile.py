"""Size and cost of a net, counted as in the published tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from actrec.arguments import checked
from actrec.config import Input
from actrec.nets.outside import forward_failures_of, from_actrec
from actrec.nets.temporal import TemporalAggregation
from actrec.settings import check_fields


@dataclass(frozen=True)
class Profile:
    """The cost of a net, as `actrec.profile` returns it.

        cost = actrec.profile(net)
        print(cost.params, cost.flops)

    Args:
        params: number of weights and biases, including those of the last layer and of normalizations.
        flops: multiply-adds of the convolutions for one clip. Biases, the last layer and all other operations are not
            counted.
    """

    params: int
    flops: int


@checked
def profile(net: nn.Module, *, frames: int | None = None, size: int | tuple[int, int] | None = None) -> Profile:
    """Parameters and FLOPs as counted by Chen et al. (arXiv:2010.11757): a multiply-add of a convolution counts as one.

        cost = actrec.profile(actrec.net("s3d", num_classes=8), frames=16, size=112)
        print(f"{cost.params / 1e6:.1f} million parameters, {cost.flops / 1e9:.1f} billion multiply-adds")

    Only shapes are computed (on torch's `meta` device), so that it is fast and needs no memory.

    Args:
        net: made by `actrec.net`. It may be on any device and does not change.
        frames, size: frames of a clip, and its height and width in pixels, or a pair (height, width). By default those
            of `net.input`.

    Returns:
        `params` and `flops`, for one clip.

    Raises:
        ValueError: the net was not made by `actrec.net`, or does not accept such clips.
    """
    net = from_actrec(net)
    given = {name: value for name, value in (("frames", frames), ("size", size)) if value is not None}
    clips = replace(net.input, **check_fields(Input, given))
    counts: list[int] = []

    def count(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
        if isinstance(module, TemporalAggregation):
            counts.append(module.multiply_adds(out))
        else:
            counts.append(out.numel() * cast(Tensor, module.weight)[0].numel())

    counted = (nn.Conv2d, nn.Conv3d, TemporalAggregation)
    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, counted)]
    state = {key: value.to("meta") for key, value in net.state_dict(keep_vars=True).items()}
    clip = torch.empty(
        1, net.in_channels, clips.frames, *clips.shape, device="meta", dtype=next(net.parameters()).dtype
    )
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        with torch.no_grad(), forward_failures_of(net):
            functional_call(net, state, clip)
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
    return Profile(sum(parameter.numel() for parameter in net.parameters()), sum(counts))
