"""Memory that is used again."""

from __future__ import annotations

import contextlib
import ctypes
import math
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch


class Buffers:
    """Memory of large tensors that is used again once nothing refers to them any more.

    Fresh memory costs more than filling it: the system clears every page first.

    Args:
        keep: how many pieces are kept when nothing refers to them.
        ahead: take that many when the first one is wanted, so that a run does not find out late that they do not fit.
    """

    def __init__(self, keep: int, *, ahead: bool = False):
        self._keep, self._ahead = keep, ahead
        self._free: deque[np.ndarray] = deque()  # its methods are atomic: memory comes back from any thread

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialized tensor on the CPU."""
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(shape, dtype=dtype)
        memory = None
        while self._free and (memory is None or len(memory) < size):
            memory = self._free.popleft()
        if memory is None or len(memory) < size:
            memory = np.empty(size, np.uint8)
            if self._ahead:
                self._free.extend(np.full(size, 0, np.uint8) for _ in range(self._keep - 1))  # written, so it is there
                self._ahead = False
        lent = memory[:]  # lives as long as a tensor over it
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return torch.frombuffer(lent, dtype=dtype, count=math.prod(shape)).reshape(shape)

    def _give_back(self, memory: np.ndarray) -> None:
        if len(self._free) < self._keep:
            self._free.append(memory)


def trim() -> None:
    """Hands free memory back to the system, where the C library can.

    glibc (before 2.38) seldom uses aligned memory again, such as FFmpeg's pictures and DALI's copies: a process that
    decodes all day would grow all day.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
