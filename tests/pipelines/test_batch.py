from __future__ import annotations

import gc

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


def test_memory_is_taken_ahead_if_asked():
    buffers = Buffers(keep=3, ahead=True)
    taken = [buffers.take((10,), torch.float32) for _ in range(3)]
    assert len({tensor.data_ptr() for tensor in taken}) == 3
    assert len(buffers._free) == 0
