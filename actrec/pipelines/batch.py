"""A batch of clips, and the memory that batches live in."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.words import counted


@dataclass(frozen=True)
class Batch:
    """Clips of some videos. A loader returns one after the other.

        for batch in loader:
            loss = torch.nn.functional.cross_entropy(net(batch.clips), batch.labels)

    Args:
        clips: (N, C, T, H, W) normalized; in evaluation (N * views, C, T, H, W), all views of a video together.
        labels: (N,) int64 on the clips' device, -1 where the list has no label; of a multi-label loader (N, classes)
            float32, 1 for each class that a clip shows.
        videos: ids of the N videos.
        views: clips per video.
        clamped: how many of their frames were after a video's last frame and became that one, as far as
            `Loader.clamped` counts them.
        rows: of the list, of the N videos.
        plans: by which the clips were made.
    """

    clips: torch.Tensor
    labels: torch.Tensor
    videos: list[str]
    views: int = 1
    clamped: int = 0
    rows: Sequence[int] = ()
    plans: Sequence[TrainPlan | EvalPlan] = ()

    def __len__(self) -> int:
        return len(self.videos)

    def __repr__(self) -> str:
        clips, views = self.clips, f", {self.views} views of each" if self.views > 1 else ""
        kind = str(clips.dtype).removeprefix("torch.")
        return (
            f"Batch({counted(len(self), 'video')}{views}, clips {tuple(clips.shape)} {kind} on {clips.device}, "
            f"labels {tuple(self.labels.shape)})"
        )

    def to(self, device: str | torch.device, *, non_blocking: bool = False) -> Batch:
        """The batch with its clips and labels on a device. Programs such as Lightning call this."""
        clips, labels = (tensor.to(device, non_blocking=non_blocking) for tensor in (self.clips, self.labels))
        return replace(self, clips=clips, labels=labels)


def label_tensor(labels: Sequence[Sequence[int]], num_classes: int | None) -> torch.Tensor:
    """The labels of some clips, as in `Batch.labels`. `num_classes` is None unless clips may have several labels."""
    if num_classes is None:
        return torch.tensor([next(iter(of_clip), -1) for of_clip in labels], dtype=torch.int64)
    shown = torch.zeros(len(labels), num_classes)
    for row, of_clip in zip(shown, labels):
        row[list(of_clip)] = 1
    return shown


class Buffers:
    """Reuses the memory of large tensors once nothing refers to them any more.

    Fresh memory costs more than filling it, because the system clears every page first. So no memory is used before it
    is needed, and the piece that was given back last is the first to be used again. It is torch's memory and not
    numpy's. numpy asks for large pages, and on a virtual machine whose host takes back free memory, the first use of a
    large page costs three to five times as much as that of small ones. With `THP_MEM_ALLOC_ENABLE=1`, torch asks for
    large pages, too.

    Args:
        keep: how many unused pieces of memory are kept.
    """

    def __init__(self, keep: int):
        self._keep = keep
        self._free: deque[np.ndarray] = deque()  # its methods are atomic: any thread may give memory back

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """An uninitialized tensor on the CPU."""
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.empty(shape, dtype=dtype)
        memory = None
        while self._free and (memory is None or len(memory) < size):
            memory = self._free.pop()
        if memory is None or len(memory) < size:
            memory = torch.empty(size, dtype=torch.uint8).numpy()
        lent = memory[:]  # lives as long as a tensor that uses it
        weakref.finalize(lent, self._give_back, memory).atexit = False
        return torch.frombuffer(lent, dtype=dtype, count=math.prod(shape)).reshape(shape)

    def _give_back(self, memory: np.ndarray) -> None:
        if len(self._free) < self._keep:
            self._free.append(memory)
