"""Size and cost of a net, counted as in the published tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.hooks import RemovableHandle

from actrec.arguments import checked
from actrec.config import Input
from actrec.nets.backbone import Backbone
from actrec.nets.outside import forward_failures_of, from_actrec, last_layer
from actrec.settings import check_fields


@dataclass(frozen=True)
class Profile:
    """The cost of a net, as `actrec.profile` returns it.

        cost = actrec.profile(net)
        print(cost.params, cost.flops)

    Args:
        params: number of weights and biases, including those of the last layer and of normalizations.
        flops: multiply-adds of the convolutions, linear layers and matrix products (attention) for one clip. Biases,
            the last layer and all other operations are not counted.
    """

    params: int
    flops: int


@checked
def profile(net: nn.Module, *, frames: int | None = None, size: int | tuple[int, int] | None = None) -> Profile:
    """Parameters and FLOPs as in the published tables: a multiply-add counts as one (Chen et al., arXiv:2010.11757).

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
    last = _last_layer(net)
    given = {name: value for name, value in (("frames", frames), ("size", size)) if value is not None}
    clips = replace(net.input, **check_fields(Input, given))
    counter = _Counter()
    hooks = [hook for module in net.modules() for hook in counter.hooks(module, is_last=module is last)]
    tensors = {**dict(net.named_buffers()), **net.state_dict(keep_vars=True)}
    state = {key: value.to("meta") for key, value in tensors.items()}
    clip = torch.empty(
        1, net.in_channels, clips.frames, *clips.shape, device="meta", dtype=next(net.parameters()).dtype
    )
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        with torch.no_grad(), forward_failures_of(net), sdpa_kernel(SDPBackend.MATH), counter:
            functional_call(net, state, clip)
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
    return Profile(sum(parameter.numel() for parameter in net.parameters()), counter.total)


class _Counter(TorchDispatchMode):
    """Counts the multiply-adds of the operations that are called while it is active.

    Convolutions and modules with a method `multiply_adds` are counted as a whole: how they compute does not matter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._inside = 0  # modules that are not counted by their operations

    def hooks(self, module: nn.Module, *, is_last: bool) -> list[RemovableHandle]:
        """The hooks that count a module as a whole, or not at all if it is the last layer."""
        own = getattr(module, "multiply_adds", None)
        if not is_last and own is None and not isinstance(module, (nn.Conv2d, nn.Conv3d)):
            return []

        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            self._inside += 1

        def leave(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
            self._inside -= 1
            if is_last or self._inside:
                return
            if own is not None:
                self.total += own(out, *args)
            else:
                self.total += out.numel() * cast(Tensor, module.weight)[0].numel()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten.native_batch_norm.default:  # its shapes: torch would find them by many operations
            return torch.empty_like(args[0]), *(args[0].new_empty(0) for _ in range(2))
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None and not self._inside:
            self.total += formula(*args, **kwargs, out_val=out) // 2  # it counts multiplications and additions
        return out


def _last_layer(net: Backbone) -> nn.Module | None:
    try:
        return last_layer(net)[1]
    except ValueError:  # the last layer of a net from outside was not found
        return None
