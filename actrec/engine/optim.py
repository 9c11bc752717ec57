"""The optimizer and the learning rate: of which parameters, how large, and when."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from actrec import config
from actrec.nets.backbone import Backbone
from actrec.nets.outside import last_layer

BETTER = 1e-4  # part of the best loss by which a loss must be lower: as torch's ReduceLROnPlateau has it


def parameter_groups(net: Backbone, optim: config.Optim) -> list[dict[str, Any]]:
    """The trained parameters, in the net's order, parted where their learning rate or weight decay differs.

    Returns:
        For each group `params`, `name`, `lr` (unscaled) and `weight_decay`: "net" is one group of all; with a learning
        rate of its own the last layer is "head" and the rest "body"; what has no weight decay (`norm_decay` False) is
        "... norms and biases".
    """
    head = {id(p) for p in last_layer(net)[1].parameters()} if optim.head_lr != 1 else set()
    parts: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for parameter in net.parameters():
        if parameter.requires_grad:
            spared = parameter.ndim <= 1 and not optim.norm_decay
            parts.setdefault((id(parameter) in head, spared), []).append(parameter)
    return [
        {
            "params": parts[in_head, spared],
            "name": ("head" if in_head else "body" if head else "net") + (" norms and biases" if spared else ""),
            "lr": optim.lr * (optim.head_lr if in_head else 1),
            "weight_decay": 0.0 if spared else optim.weight_decay,
        }
        for in_head, spared in sorted(parts)
    ]


def make_optimizer(net: Backbone, optim: config.Optim, batch_size: int) -> torch.optim.Optimizer:
    """torch's optimizer of that name over the trained parameters, after `freeze`.

    With `lr_batch` the learning rates grow linearly with the clips of a step (Goyal et al., "Accurate, Large Minibatch
    SGD", 2017, arXiv:1706.02677). AdamW is fused, so that a scaler of gradients does not wait for the GPU. torch's
    fused SGD is slower on the CPU, and if the first gradients overflow its momentum is whatever was in memory.

    Args:
        batch_size: clips of a batch, over all processes.
    """
    groups = parameter_groups(net, optim)
    if optim.lr_batch is not None:
        for group in groups:
            group["lr"] *= batch_size * optim.accumulate / optim.lr_batch
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=True)
    return torch.optim.SGD(groups, momentum=optim.momentum, dampening=optim.dampening, nesterov=optim.nesterov)


def lay_out_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Every gradient gets its parameter's strides, should autograd not have seen to that.

    torch's fused optimizers walk through the memory of both side by side: where the strides differ they are wrong on a
    CPU, without an error, and refuse to work on a GPU. Those of axes of length 1 do not matter.
    """
    for parameter in parameters:
        grad = parameter.grad
        if grad is not None and grad.stride() != parameter.stride() and _strides(grad) != _strides(parameter):
            parameter.grad = torch.empty_like(parameter).copy_(grad)


def _strides(tensor: torch.Tensor) -> list[int]:
    return [stride for stride, length in zip(tensor.stride(), tensor.shape) if length > 1]


class Schedule:
    """Sets an optimizer's learning rates: those it has now, times a factor.

    The factor depends on the numbers of finished steps and epochs only, and for plateau on the losses so far; so a
    restored schedule goes on bit for bit. All groups fall alike, and `min_lr` is scaled as the learning rate is.

    Args:
        optimizer: fresh, before its state is restored.
        steps_per_epoch: optimizer steps of a whole epoch.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, optim: config.Optim, steps_per_epoch: int):
        self._optimizer, self._optim, self._steps_per_epoch = optimizer, optim, steps_per_epoch
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._state = {"steps": 0, "epochs": 0, "best": math.inf, "bad_epochs": 0, "plateau": 1.0}
        self._apply()

    def step(self) -> None:
        """After each optimizer step."""
        self._state["steps"] += 1
        self._apply()

    def end_epoch(self, loss: float | None) -> None:
        """After each epoch, and the last `step` of it.

        Args:
            loss: that plateau watches; None where it was not measured, which counts neither way.
        """
        self._state["epochs"] += 1
        if self._optim.schedule == "plateau" and loss is not None:
            self._watch(loss)
        self._apply()

    @property
    def factor(self) -> float:
        """Of all learning rates, now."""
        steps, epochs = self._state["steps"], self._state["epochs"]
        done = min(steps / self._steps_per_epoch, self._optim.epochs) if self._optim.per_step else epochs
        return warm_up(self._optim, steps / self._steps_per_epoch) * decayed(self._optim, done) * self._state["plateau"]

    def state_dict(self) -> dict[str, int | float]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int | float]) -> None:
        self._state = dict(state)
        self._apply()

    def _watch(self, loss: float) -> None:
        """As torch's ReduceLROnPlateau."""
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
    """The part of the learning rate that warm-up has reached after so many epochs, whole or not."""
    if epochs >= optim.warmup:
        return 1.0
    return optim.warmup_start + (1 - optim.warmup_start) * epochs / optim.warmup


def decayed(optim: config.Optim, epochs: float) -> float:
    """What cosine, step and multistep leave of the learning rate after so many epochs, whole or not."""
    if optim.schedule == "cosine":  # SGDR, Loshchilov and Hutter 2017, without restarts
        lowest = optim.min_lr / optim.lr
        return lowest + (1 - lowest) * (1 + math.cos(math.pi * epochs / optim.epochs)) / 2
    reached = epochs + 1e-9  # three tenths are not less than 0.3
    if optim.schedule == "step":
        return optim.gamma ** math.floor(reached / optim.lr_steps[0])
    if optim.schedule == "multistep":
        return optim.gamma ** sum(milestone <= reached for milestone in optim.lr_steps)
    return 1.0
