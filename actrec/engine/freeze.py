"""Layers of a net that are not trained."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from actrec import config
from actrec.config import OptionError
from actrec.nets.backbone import Backbone
from actrec.registry import did_you_mean


def freeze(net: Backbone, optim: config.Optim) -> None:
    """Freezes all layers before `freeze_until`, and the batch norms that `freeze_norm` names. Call it before the
    optimizer is built.

    Frozen layers have no gradients. `train_mode` also makes frozen batch norms use their statistics without changing
    them. Freezing all batch norms but the first is the partial BN of TSN (Wang et al. 2016, arXiv:1608.00859).

    Raises:
        OptionError: The net has no such layer, or no batch norms.
    """
    frozen = layers_before(net, optim.freeze_until) if optim.freeze_until is not None else []
    if optim.freeze_norm != "none":
        norms = batch_norms(net)
        if not norms:
            raise OptionError(f"`freeze_norm` {optim.freeze_norm}: {net.name} has no batch norms")
        frozen += norms[1:] if optim.freeze_norm == "partial" else norms
    for layer in frozen:
        for parameter in layer.parameters(recurse=False):
            parameter.requires_grad_(False)


def train_mode(net: nn.Module) -> None:
    """Like `net.train()`, but frozen batch norms stay in evaluation mode."""
    net.train()
    for norm in batch_norms(net):
        if not norm.weight.requires_grad:
            norm.eval()


def batch_norms(net: nn.Module) -> list[_BatchNorm]:
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


def layers_before(net: Backbone, name: str) -> list[nn.Module]:
    """The layers before the layer `name`, in the order of the net; else before the first one whose name starts with it.

    Raises:
        OptionError: There is no such layer.
    """
    layers = {key: layer for key, layer in net.named_modules() if key and any(True for _ in layer.parameters())}
    names = list(layers)
    found = name if name in layers else next((key for key in names if key.startswith(name)), None)
    if found is None or not name:
        top = [key for key in names if "." not in key]
        raise OptionError(f"`freeze_until` {name!r}: {net.name} has no such layer{did_you_mean(name, top)}")
    return list(layers.values())[: names.index(found)]
