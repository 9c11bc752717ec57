"""The optimizer, its groups of parameters, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from actrec import config
from actrec.nets.backbone import Backbone, outermost_layers
from actrec.nets.outside import last_layer

BETTER = 1e-4  # fraction of the best loss by which a better loss must be lower, as in torch's ReduceLROnPlateau


def parameter_groups(net: Backbone, optim: config.Optim) -> list[dict[str, Any]]:
    """The trained parameters in the order of the net, in groups of equal learning rate and weight decay.

    Returns:
        For each group `params`, `name`, `lr` (unscaled) and `weight_decay`. The group of all parameters is called
        "net". If the last layer has its own learning rate, it is "head" and the rest "body". With `layer_decay`, the
        groups are also divided by depth: "net 3" is three layers before the output. Parameters without weight decay
        (`norm_decay` False) are "... norms and biases"; some nets count tables of positions among them.
    """
    head = {id(p) for p in last_layer(net)[1].parameters()} if optim.head_lr != 1 else set()
    distances = distances_from_output(net) if optim.layer_decay != 1 else {}
    parts: dict[tuple[bool, int, bool], list[torch.nn.Parameter]] = {}
    tables = getattr(net, "not_decayed", ())  # a net from outside does not have them
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            spared = (parameter.ndim <= 1 or name.rpartition(".")[2] in tables) and not optim.norm_decay
            parts.setdefault((id(parameter) in head, distances.get(id(parameter), 0), spared), []).append(parameter)
    return [
        {
            "params": parts[in_head, distance, spared],
            "name": ("head" if in_head else "body" if head else "net")
            + (f" {distance}" if distances and not in_head else "")
            + (" norms and biases" if spared else ""),
            "lr": optim.initial_lr * (optim.head_lr if in_head else 1) * optim.layer_decay**distance,
            "weight_decay": 0.0 if spared else optim.decay,
        }
        for in_head, distance, spared in sorted(parts)
    ]


def distances_from_output(net: Backbone) -> dict[int, int]:
    """The number of layers between each parameter and the output, by the parameter's `id`: 0 for the last layer.

    Layer-wise decay of the learning rate is from BEiT (Bao et al. 2021, arXiv:2106.08254). The layers are those of
    `Backbone.depth_layers`. Other parameters, such as norms between layers, belong to the layer before them. Parameters
    before the first layer belong to the first layer, and parameters after the last of these layers to the output.
    """
    last = last_layer(net)[1]
    stated = getattr(net, "depth_layers", None)
    layers = stated if stated is not None else outermost_layers(net, last)
    number = {id(p): index for index, layer in enumerate(layers) for p in layer.parameters()}
    head = {id(p) for p in last.parameters()}
    parameters = [id(p) for p in net.parameters()]
    end = max((place for place, p in enumerate(parameters) if p in number), default=-1)
    found, index = {}, 0
    for place, parameter in enumerate(parameters):
        index = number.get(parameter, index)
        is_output = parameter in head or place > end
        found[parameter] = 0 if is_output else len(layers) - index
    return found


def make_optimizer(net: Backbone, optim: config.Optim, batch_size: int) -> torch.optim.Optimizer:
    """torch's SGD or AdamW over the trained parameters. Call it after `freeze`.

    With `lr_batch` the learning rates grow linearly with the number of clips of a step (Goyal et al., "Accurate, Large
    Minibatch SGD", 2017, arXiv:1706.02677). AdamW is fused, so that the gradient scaler does not wait for the GPU. SGD
    is not: torch's fused SGD is slower on the CPU, and its momentum is uninitialized memory if the first gradients
    overflow.

    Args:
        batch_size: Clips of a batch, over all processes.
    """
    groups = parameter_groups(net, optim)
    for group in groups:
        group["lr"] *= lr_scale(optim, batch_size)
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    return torch.optim.SGD(groups, momentum=optim.momentum, dampening=optim.dampening, nesterov=optim.nesterov)


def lr_scale(optim: config.Optim, batch_size: int) -> float:
    """The factor of all learning rates that follows from `lr_batch`.

    Args:
        batch_size: Clips of a batch, over all processes.
    """
    return batch_size * optim.accumulate / optim.lr_batch if optim.lr_batch is not None else 1.0


def lay_out_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Gives every gradient the strides of its parameter, where autograd has not done so.

    torch's fused optimizers go through the memory of both in parallel. If the strides differ, the result is wrong on
    the CPU, without an error, and an error on the GPU. The strides of axes of length 1 do not matter.
    """
    for parameter in parameters:
        grad = parameter.grad
        if grad is not None and grad.stride() != parameter.stride() and _strides(grad) != _strides(parameter):
            parameter.grad = torch.empty_like(parameter).copy_(grad)


def _strides(tensor: torch.Tensor) -> list[int]:
    return [stride for stride, length in zip(tensor.stride(), tensor.shape) if length > 1]


class Schedule:
    """Sets the learning rates of an optimizer: its initial ones, times a factor.

    The factor depends only on the number of finished epochs, on the fraction of the current epoch that is done, and for
    plateau on the losses so far. So a restored schedule continues bit for bit, and a schedule over epochs stays right
    if epochs become shorter. The factor is the same for all groups, and `min_lr` is scaled like `lr`.

    Args:
        optimizer: A new one, before its state is restored.
        steps_per_epoch: Optimizer steps of the first epoch, and of those that follow unless `begin_epoch` is called.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, optim: config.Optim, steps_per_epoch: int):
        self._optimizer, self._optim, self._steps_per_epoch = optimizer, optim, steps_per_epoch
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._state = {"steps": 0, "epochs": 0, "done": 0, "best": math.inf, "bad_epochs": 0, "plateau": 1.0}
        self._apply()

    def begin_epoch(self, steps: int) -> None:
        """Call before an epoch, or the rest of it, with the number of its steps if that has changed."""
        self._steps_per_epoch = steps
        self._apply()

    def step(self) -> None:
        """Call after each optimizer step."""
        self._state["steps"] += 1
        self._state["done"] += 1
        self._apply()

    def end_epoch(self, loss: float | None) -> None:
        """Call after each epoch, after its last `step`.

        Args:
            loss: The loss that plateau watches; None if it was not measured, which counts as neither better nor worse.
        """
        self._state["epochs"] += 1
        self._state["done"] = 0
        if self._optim.schedule == "plateau" and loss is not None:
            self._watch(loss)
        self._apply()

    @property
    def factor(self) -> float:
        """The current factor of all learning rates."""
        epochs, steps = self._state["epochs"], self._steps_per_epoch
        exact = (epochs * steps + self._state["done"]) / steps  # rounded once
        done = min(exact, self._optim.epochs) if self._optim.per_step else epochs
        return warm_up(self._optim, exact) * decayed(self._optim, done) * self._state["plateau"]

    def state_dict(self) -> dict[str, int | float]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        steps_before = state["epochs"] * self._steps_per_epoch  # earlier versions: all epochs had as many steps
        self._state = {**state, "done": state.get("done", state["steps"] - steps_before)}
        self._apply()

    def _watch(self, loss: float) -> None:
        """Like torch's ReduceLROnPlateau."""
        state = self._state
        if loss < state["best"] * (1 - BETTER):
            state["best"], state["bad_epochs"] = loss, 0
        else:
            state["bad_epochs"] += 1
        if state["bad_epochs"] > self._optim.patience:
            state["plateau"] *= self._optim.gamma
            state["bad_epochs"] = 0

    def _apply(self) -> None:
        factor = self.factor
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor


def warm_up(optim: config.Optim, epochs: float) -> float:
    """The fraction of the learning rate that warm-up has reached after some epochs, which may be fractional."""
    if epochs >= optim.warmup:
        return 1.0
    return optim.warmup_start + (1 - optim.warmup_start) * epochs / optim.warmup


def decayed(optim: config.Optim, epochs: float) -> float:
    """The factor of cosine, step and multistep after some epochs, which may be fractional; 1 for plateau."""
    if optim.schedule == "cosine":  # SGDR, Loshchilov and Hutter 2017, without restarts
        lowest = optim.min_lr / optim.initial_lr
        return lowest + (1 - lowest) * (1 + math.cos(math.pi * epochs / optim.epochs)) / 2
    reached = epochs + 1e-9  # 0.1 + 0.2 reaches 0.3 whatever rounding does
    if optim.schedule == "step":
        return optim.gamma ** math.floor(reached / optim.lr_steps[0])
    if optim.schedule == "multistep":
        return optim.gamma ** sum(milestone <= reached for milestone in optim.lr_steps)
    return 1.0
