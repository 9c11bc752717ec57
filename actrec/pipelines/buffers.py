"""Memory that is used again."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch


class Buffers:
    """Memory of large tensors that is used again once nothing refers to them any more.

    Fresh memory costs more than filling it: the system clears every page first.
    """

    def __init__(self, keep: int):
        self._keep = keep
        self._free: deque[np.ndarray] = deque()  # its methods are atomic: memory comes back from any thread

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialised tensor on the CPU."""
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(shape, dtype=dtype)
        memory = None
        while self._free and (memory is None or len(memory) < size):
            memory = self._free.popleft()
        if memory is None or len(memory) < size:
            memory = np.empty(size, np.uint8)
        lent = memory[:]  # lives as long as a tensor over it
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return torch.frombuffer(lent, dtype=dtype, count=math.prod(shape)).reshape(shape)

    def _give_back(self, memory: np.ndarray) -> None:
        if len(self._free) < self._keep:
            self._free.append(memory)
