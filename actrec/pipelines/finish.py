"""The end of the CPU path: finished pictures become the floats of a batch, written where the net will read them.

On the CPU this is not left to DALI: its `crop_mirror_normalize` takes four times as long, and memory that goes back and
forth between it and glibc (before 2.38) is not always used again, so that a process grows with every batch. On a GPU
DALI does the same arithmetic (`graph.normalise`).
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from actrec.config import Input
from actrec.pipelines.buffers import Buffers
from actrec.pipelines.source import Sample


@dataclass(frozen=True)
class Finishing:
    """Clips that are being filled."""

    clips: torch.Tensor
    filling: list[Future]

    def collect(self) -> torch.Tensor:
        """(N, views, T, H, W, C), when all is done."""
        for future in self.filling:
            future.result()
        return self.clips


class Finisher:
    """Crops, mirrors and normalises: uint8 to (x / 255 - mean) / std.

    Args:
        in_flight: batches that are filled at the same time.
        ahead: take the memory of all of them with the first.
    """

    def __init__(self, net_input: Input, *, dtype: str, channels_last: bool, in_flight: int, ahead: bool):
        self._size, self._channels = net_input.size, len(net_input.mean)
        row, shape = np.ones((net_input.size, 1)), (net_input.size, -1)
        self._shift = np.tile(row * [-255 * m for m in net_input.mean], (net_input.size, 1)).reshape(shape)
        self._scale = np.tile(row / [255 * s for s in net_input.std], (net_input.size, 1)).reshape(shape)
        self._shift, self._scale = self._shift.astype(np.float32), self._scale.astype(np.float32)
        self._dtype = getattr(torch, dtype)
        self._channels_last = channels_last
        self._buffers = Buffers(keep=in_flight + 1, ahead=ahead)

    def start(self, samples: list[Sample], workers: Executor) -> Finishing:
        """Has the clips of all samples filled. They have as many views and frames each."""
        crops = samples[0].plan.crops
        clips, frames = samples[0].gather.shape
        lead, picture = (len(samples), len(crops) * clips), (self._size, self._size)
        if self._channels_last:
            filled = self._buffers.take((*lead, frames, *picture, self._channels), self._dtype)
        else:
            filled = self._buffers.take((*lead, self._channels, frames, *picture), self._dtype)
            filled = filled.permute(0, 1, 3, 4, 5, 2)
        views = filled.numpy()
        return Finishing(filled, [workers.submit(self._fill, s, out) for s, out in zip(samples, views)])

    def _fill(self, sample: Sample, out: np.ndarray) -> None:
        """All views (views, T, H, W, C) of a sample: crop by crop, clips inside."""
        clips, size = len(sample.gather), self._size
        for i, picture in enumerate(sample.data):
            (clip, t), *again = np.argwhere(sample.gather == i).tolist()
            for j, (x, y, mirror) in enumerate(sample.plan.crops):
                first = out[j * clips + clip, t]
                self.normalise(picture[y : y + size, x : x + size], mirror=mirror, out=first)
                for other_clip, other_t in again:
                    out[j * clips + other_clip, other_t] = first

    def normalise(self, picture: np.ndarray, *, mirror: bool, out: np.ndarray) -> None:
        """One picture, mirrored left to right if asked.

        Args:
            picture: uint8 (size, size, C), may be cut out of a larger one.
            out: floats of any type and layout, seen as (size, size, C).
        """
        picture = cv2.flip(picture, 1) if mirror else np.ascontiguousarray(picture)
        direct = out.dtype == np.float32 and out.flags.c_contiguous
        rows = out.reshape(self._shift.shape) if direct else np.empty_like(self._shift)
        rows[...] = self._shift
        cv2.accumulate(picture.reshape(rows.shape), rows)  # adds bytes to floats in one pass, which numpy does not
        np.multiply(rows, self._scale, out=rows)
        if not direct:
            out[...] = rows.reshape(out.shape)
