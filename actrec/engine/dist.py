"""Several processes as one: those that `torchrun` started, or this one alone.

Counts and decisions go between processes on the CPU (gloo), gradients where they are. Alone, nothing is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from actrec.system import num_cores

_torchruns: distributed.Store | None = None  # outlives the processes: those of the next attempt find it again
_PATIENCE = timedelta(days=1)  # the others wait while the first looks through a large list; torchrun notices the dead


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Joins the processes of `torchrun` for the block.

    Args:
        device: "cuda" gives each process of a machine a GPU of its own.

    Raises:
        ValueError: a machine has more processes than GPUs.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or distributed.is_initialized():
        yield
        return
    if device == "cuda":
        local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= found:
            raise ValueError(
                f"{os.environ['LOCAL_WORLD_SIZE']} processes on a machine with {found} GPUs: expected one each"
            )
        torch.cuda.set_device(local)
    global _torchruns
    store, number, count = next(distributed.rendezvous("env://"))
    _torchruns = store
    attempt = distributed.PrefixStore(f"attempt_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    distributed.init_process_group(  # a store of this attempt: in torchrun's own, the addresses of the dead are found
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=attempt,
        rank=number,
        world_size=count,
        timeout=_PATIENCE,
    )
    yield
    # Not after an error: the others may wait in an exchange that this process will never join, and NCCL would wait with
    # them. It just ends, and torchrun sees that.
    _torchruns = None
    distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def cores_of_process() -> int:
    """A process's share of the cores that it may use."""
    neighbors = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if distributed.is_initialized() else 1
    return max(1, num_cores() // neighbors)


def restarted() -> bool:
    """Whether `torchrun` began anew after a process had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


@contextmanager
def first() -> Iterator[None]:
    """The first process does the block before the others: what it leaves on the disk is there for them."""
    if rank():
        distributed.barrier()
    yield
    if world() > 1 and not rank():
        distributed.barrier()


def share(value: Any) -> Any:
    """What the first process has."""
    if world() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def by_first(function: Callable[[], Any]) -> Any:
    """What a function gives in the first process, which alone calls it. Its ValueError or OSError is everybody's."""
    if world() == 1:
        return function()
    value = error = None
    if not rank():
        try:
            value = function()
        except (ValueError, OSError) as raised:
            error = raised
    value, error = share((value, error))
    if error is not None:
        raise error
    return value


def once(name: str, function: Callable[[], str]) -> str:
    """What a function gave in the first attempt of this `torchrun`; in all processes."""

    def ask() -> str:
        if _torchruns is None:
            return function()
        if not restarted() or not _torchruns.check([name]):
            _torchruns.set(name, function())
        return _torchruns.get(name).decode()

    return by_first(ask)


def note(name: str) -> None:
    """Leaves a word for the next attempts of this `torchrun`."""
    if _torchruns is not None and not rank():
        _torchruns.set(name, "")


def noted(name: str) -> bool:
    """Whether an attempt before this one left that word."""
    return by_first(lambda: restarted() and _torchruns is not None and _torchruns.check([name]))


def gather(value: Any) -> list[Any]:
    """What each process has, in the order of their ranks, in all of them."""
    if world() == 1:
        return [value]
    values = [None] * world()
    distributed.all_gather_object(values, value)
    return values


def total(numbers: Sequence[float]) -> list[float]:
    """The sum of each number over all processes. Exact for whole ones."""
    if world() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(sums)
    return sums.tolist()


def sum_tensor(tensor: Tensor) -> Tensor:
    """In place, over all processes."""
    if world() > 1:
        distributed.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Every gradient becomes the sum of all processes'. One that was not computed counts as zero.

    In one piece and in a fixed order: the same bits whenever a run is continued, which
    `DistributedDataParallel` does not give for more than two processes (it regroups gradients after its first step).
    """
    if world() == 1:
        return
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(part.view(gradient.shape))


def share_state(net: nn.Module) -> None:
    """All parameters and buffers become the first process's."""
    if world() > 1:
        for tensor in net.state_dict().values():
            distributed.broadcast(tensor, 0)


def share_buffers(net: nn.Module) -> None:
    """Statistics of batch norms become the first process's, as they are in its checkpoints."""
    if world() > 1:
        for tensor in net.buffers():
            distributed.broadcast(tensor, 0)


def sync_batch_norm(net: nn.Module) -> nn.Module:
    """Batch norms that see the clips of all processes."""
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = SyncBatchNorm
    return net


class _Sum(torch.autograd.Function):
    """A sum over all processes, which gets the sum of all their gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_tensor(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_tensor(gradient.clone())


class SyncBatchNorm(nn.SyncBatchNorm):
    """torch's, which refuses tensors on the CPU: there the sums go through `all_reduce`.

    So too in a single process, where torch's own would round differently: any number of processes computes alike.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:  # torch exchanges float32, but of an empty batch what its clips are of
            return super().forward(x if x.numel() else x.to(torch.promote_types(x.dtype, torch.float32)))
        if not self.training:
            return nn.modules.batchnorm._BatchNorm.forward(self, x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        own_count = values.new_tensor([x.numel() / max(1, x.shape[1])])
        *sums, count = _Sum.apply(torch.cat([values.sum(axes), own_count])).split([x.shape[1], 1])
        count = count.clamp(min=1)
        mean = sums[0] / count
        centerd = values - mean.view(shape)
        variance = _Sum.apply(centerd.square().sum(axes)) / count
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * (count / (count - 1).clamp(min=1)).detach())
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        out = centerd * scale.view(shape)
        return (out + self.bias.view(shape) if self.affine else out).to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
