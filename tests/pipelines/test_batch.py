from __future__ import annotations

import gc
import mmap
import re
from pathlib import Path

import pytest
import torch

from actrec.pipelines.batch import Buffers


def test_memory_is_used_again_when_nothing_refers_to_it():
    buffers = Buffers(keep=2)
    first = buffers.take((3, 4), torch.float32)
    address, view = first.data_ptr(), first.permute(1, 0)[1:]
    del first
    gc.collect()
    assert buffers.take((3, 4), torch.float32).data_ptr() != address  # the view still needs it
    array = view.numpy()
    del view
    gc.collect()
    assert buffers.take((3, 4), torch.float32).data_ptr() != address  # and so does an array made from it
    del array
    gc.collect()
    again = {buffers.take((2, 4), torch.uint8).data_ptr() for _ in range(3)}
    assert address in again


def test_shape_type_and_room():
    buffers = Buffers(keep=1)
    for shape, dtype in [((2, 3), torch.uint8), ((7,), torch.float32), ((0, 4), torch.float32), ((3,), torch.float16)]:
        taken = buffers.take(shape, dtype)
        assert (tuple(taken.shape), taken.dtype) == (shape, dtype)
        taken.zero_()
    large = buffers.take((100,), torch.uint8).fill_(7)
    small = buffers.take((100,), torch.uint8).fill_(8)
    assert (large == 7).all()
    assert (small == 8).all()


def test_no_more_is_kept_than_asked():
    buffers = Buffers(keep=2)
    taken = [buffers.take((10,), torch.uint8) for _ in range(5)]
    del taken
    gc.collect()
    assert len(buffers._free) == 2


def test_the_memory_given_back_last_is_used_first():
    buffers = Buffers(keep=3)
    taken = [buffers.take((10,), torch.float32) for _ in range(3)]
    addresses = [tensor.data_ptr() for tensor in taken]
    for place in (2, 0, 1):
        taken[place] = torch.empty(0)
        gc.collect()
    again = [buffers.take((10,), torch.float32) for _ in range(3)]
    assert [tensor.data_ptr() for tensor in again] == [addresses[1], addresses[0], addresses[2]]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says how memory is mapped")
def test_pages_are_small_and_not_used_before_they_are_written():
    buffers, before = Buffers(keep=4), resident()
    taken = buffers.take((64 << 20,), torch.uint8)
    taken[: 1 << 20] = 1
    assert resident() - before < 8 << 20
    assert "hg" not in flags_of_mapping(
        taken[32 << 20 :].data_ptr()
    )  # MADV_HUGEPAGE, which numpy sets for arrays of this size


def resident() -> int:
    """The resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def flags_of_mapping(address: int) -> list[str]:
    """The flags (`VmFlags`) of the mapping of this process that contains an address."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines()
    is_inside = False
    for line in lines:
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            is_inside = int(header[1], 16) <= address < int(header[2], 16)
        elif is_inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no mapping has this address")
