"""The end of the CPU path: finished pictures become the floats of a batch, written where the net will read them.

On the CPU this is not left to DALI: its `crop_mirror_normalize` takes twice the time of a table of 256 values per
channel, and memory that goes back and forth between it and glibc (before 2.38) is not always used again, so that a
process grows with every batch. On a GPU DALI does the same arithmetic (`graph.normalise`).
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
    """Crops, mirrors and normalises: uint8 to (x / 255 - mean) / std."""

    def __init__(self, net_input: Input, *, dtype: str, channels_last: bool, in_flight: int):
        values = np.arange(256)[:, None] / 255
        self._table = ((values - net_input.mean) / net_input.std).astype(np.float32)[None]
        self._size = net_input.size
        self._dtype = getattr(torch, dtype)
        self._channels_last = channels_last
        self._buffers = Buffers(keep=in_flight + 1)

    def start(self, samples: list[Sample], workers: Executor) -> Finishing:
        """Has the clips of all samples filled. They have as many views and frames each."""
        crops = samples[0].plan.crops
        clips, frames = samples[0].gather.shape
        lead, picture, channels = (len(samples), len(crops) * clips), (self._size, self._size), self._table.shape[-1]
        if self._channels_last:
            filled = self._buffers.take((*lead, frames, *picture, channels), self._dtype)
        else:
            filled = self._buffers.take((*lead, channels, frames, *picture), self._dtype).permute(0, 1, 3, 4, 5, 2)
        views = filled.numpy()
        return Finishing(filled, [workers.submit(self._fill, s, out) for s, out in zip(samples, views)])

    def _fill(self, sample: Sample, out: np.ndarray) -> None:
        """All views (views, T, H, W, C) of a sample: crop by crop, clips inside."""
        clips, size = len(sample.gather), self._size
        if len(out) == 1 and sample.data.shape == out[0].shape and (np.diff(sample.gather[0]) == 1).all():
            self.normalise(sample.data, mirror=sample.plan.crops[0][2], out=out[0])
            return
        for i, picture in enumerate(sample.data):
            (clip, t), *again = np.argwhere(sample.gather == i).tolist()
            for j, (x, y, mirror) in enumerate(sample.plan.crops):
                first = out[j * clips + clip, t]
                self.normalise(picture[y : y + size, x : x + size], mirror=mirror, out=first)
                for other_clip, other_t in again:
                    out[j * clips + other_clip, other_t] = first

    def normalise(self, pictures: np.ndarray, *, mirror: bool, out: np.ndarray) -> None:
        """One picture or several, mirrored left to right if asked.

        Args:
            pictures: uint8 (…, H, W, C), may be cut out of larger ones.
            out: floats of any type and layout, seen as (…, H, W, C).
        """
        tall = np.ascontiguousarray(pictures).reshape(-1, *pictures.shape[-2:])  # one picture above the other
        tall = cv2.flip(tall, 1) if mirror else tall
        if out.dtype == np.float32 and out.flags.c_contiguous:
            cv2.LUT(tall, self._table, dst=out.reshape(tall.shape))
        else:
            out[...] = cv2.LUT(tall, self._table).reshape(pictures.shape)
