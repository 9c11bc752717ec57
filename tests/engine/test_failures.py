from __future__ import annotations

import pytest
import torch

from actrec.engine.failures import explain


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU's memory is full: a smaller"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "the memory is full: a smaller"),
        (MemoryError(), "the memory is full: a smaller"),
        (torch.distributed.DistBackendError("NCCL error"), "another process has ended"),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"), "another process has ended"),
    ],
)
def test_what_a_user_can_cause(error, start):
    assert explain(error).startswith(start)


def test_the_cpu_allocator_still_says_so():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert explain(caught.value).startswith("the memory is full")


def test_our_own_mistakes_are_not_explained():
    assert explain(RuntimeError("shape '[2]' is invalid for input of size 3")) is None
    assert explain(ConnectionResetError("Connection closed by peer")) is None
