"""Several processes that work as one: those that `torchrun` started, or only this one.

Counts and decisions are exchanged on the CPU (gloo), gradients on the device where they are. A single process sends
nothing.
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

_torchrun_store: distributed.Store | None = None  # torchrun keeps it: processes that it restarts find it again
_TIMEOUT = timedelta(days=1)  # the first process may index a large list meanwhile; torchrun notices dead processes


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Joins the processes of `torchrun` until the block ends.

    Args:
        device: With "cuda" each process of a machine gets its own GPU.

    Raises:
        ValueError: A machine has more processes than GPUs.
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
    global _torchrun_store
    store, number, count = next(distributed.rendezvous("env://"))
    _torchrun_store = store
    attempt = distributed.PrefixStore(f"attempt_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    distributed.init_process_group(  # torchrun's own store has the addresses of dead processes after a restart
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=attempt,
        rank=number,
        world_size=count,
        timeout=_TIMEOUT,
    )
    yield
    # A process with an error does not leave the group: the others may wait in an exchange that it will never join, and
    # NCCL would wait with them. It ends, and torchrun notices that.
    _torchrun_store = None
    distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def cores_of_process() -> int:
    """The share of the cores that one process should use."""
    neighbors = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if distributed.is_initialized() else 1
    return max(1, num_cores() // neighbors)


def restarted() -> bool:
    """Whether `torchrun` has started the processes again after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


@contextmanager
def first() -> Iterator[None]:
    """The first process runs the block before the others do: they find the files that it wrote."""
    if rank():
        distributed.barrier()
    yield
    if world() > 1 and not rank():
        distributed.barrier()


def only_first(function: Callable[[str], None]) -> Callable[[str], None]:
    """The function in the first process. In the others, one that does nothing."""
    return (lambda text: None) if rank() else function


def share(value: Any) -> Any:
    """The value that the first process passes."""
    if world() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


def by_first(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process only, and returns its result, or raises its error, in all processes.

    Raises:
        ValueError, OSError: Those of the function. Other errors end the first process only.
    """
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
    """The result of a function in the first attempt of this `torchrun`, in all processes and all later attempts."""

    def ask() -> str:
        if _torchrun_store is None:
            return function()
        if not restarted() or not _torchrun_store.check([name]):
            _torchrun_store.set(name, function())
        return _torchrun_store.get(name).decode()

    return by_first(ask)


def leave_note(name: str) -> None:
    """Stores a note for the next attempts of this `torchrun`."""
    if _torchrun_store is not None and not rank():
        _torchrun_store.set(name, "")


def has_note(name: str) -> bool:
    """Whether an earlier attempt stored that note."""
    return by_first(lambda: restarted() and _torchrun_store is not None and _torchrun_store.check([name]))


def gather(value: Any) -> list[Any]:
    """The values of all processes, in the order of their ranks."""
    if world() == 1:
        return [value]
    values = [None] * world()
    distributed.all_gather_object(values, value)
    return values


def total(numbers: Sequence[float]) -> list[float]:
    """The sum of each number over all processes, in float64: exact for integers."""
    if world() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(sums)
    return sums.tolist()


def sum_tensor(tensor: Tensor) -> Tensor:
    """Sums a tensor over all processes, in place."""
    if world() > 1:
        distributed.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replaces every gradient by its sum over all processes. A gradient that is None counts as zero.

    Why not `DistributedDataParallel`: with three gloo processes a resumed run differs in the last bits, since it orders
    its buffer anew after the first step. A single bucket, `static_graph` and `find_unused_parameters` do not change
    that (measured with torch 2.13). Here each gradient has a fixed place. It also needs a backward pass in every
    process, and averages: a process without clips would need a pass of zeros, and averages had to be scaled back.
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
    """Copies all parameters and buffers of the first process to the others."""
    if world() > 1:
        for tensor in net.state_dict().values():
            distributed.broadcast(tensor, 0)


def share_buffers(net: nn.Module) -> None:
    """Copies the statistics of the first process's batch norms to the others: those are in the checkpoints."""
    if world() > 1:
        for tensor in net.buffers():
            distributed.broadcast(tensor, 0)


def sync_batch_norm(net: nn.Module) -> nn.Module:
    """Makes the batch norms of a net use the clips of all processes."""
    net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for module in net.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = SyncBatchNorm
    return net


class _Sum(torch.autograd.Function):
    """A sum over all processes that gradients pass through.

    `torch.distributed.nn.functional.all_reduce` does the same, but is deprecated (torch 2.13 warns at each call), and
    the replacement that it names is private.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_tensor(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_tensor(gradient.clone())


class SyncBatchNorm(nn.SyncBatchNorm):
    """torch's `SyncBatchNorm` on the GPU, and an implementation with `all_reduce` on the CPU, which torch's refuses.

    A single process uses this implementation too, so that results do not depend on the number of processes.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:  # of an empty batch torch sends the clips' type, else float32
            return super().forward(x if x.numel() else x.to(torch.promote_types(x.dtype, torch.float32)))
        if not self.training:
            return nn.modules.batchnorm._BatchNorm.forward(self, x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count_here = values.new_tensor([x.numel() / max(1, x.shape[1])])
        *sums, count = _Sum.apply(torch.cat([values.sum(axes), count_here])).split([x.shape[1], 1])
        count = count.clamp(min=1)
        mean = sums[0] / count
        centered = values - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(axes)) / count
        if self.track_running_stats:
            self._update_statistics(mean.detach(), variance.detach() * (count / (count - 1).clamp(min=1)).detach())
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        out = centered * scale.view(shape)
        return (out + self.bias.view(shape) if self.affine else out).to(x.dtype)

    def _update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
