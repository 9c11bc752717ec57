"""The end of the CPU path: each picture becomes floats in the memory of its batch as soon as it is resized.

On the CPU this is not left to DALI. Its `crop_mirror_normalize` takes four times as long, and memory that goes back and
forth between DALI and glibc (before 2.38) is not always used again, so that the process grows with every batch. On a
GPU, and where an augmentation changes pixels, DALI does the same arithmetic (`dali.graph.normalize`).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

from actrec.config import Input
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.pipelines.batch import Buffers


class Finisher:
    """Crops, mirrors and normalizes: uint8 to (x / 255 - mean) / std.

    Args:
        flow: the pictures are optical flow: mirroring also changes the sign of x.
        keep: the memory of so many batches is kept for later ones.
    """

    def __init__(self, net_input: Input, *, dtype: str, channels_last: bool, keep: int, flow: bool = False):
        self._input, self._flow = net_input, flow
        self._size, self._channels = net_input.side, len(net_input.mean)
        shift = np.array([-255 * mean for mean in net_input.mean], np.float32)
        scale = np.array([1 / (255 * std) for std in net_input.std], np.float32)
        self._table = (np.arange(256, dtype=np.float32)[:, None] + shift) * scale  # (256, C): a value per byte
        self._tables = np.ascontiguousarray(self._table.T)
        self._dtype = getattr(torch, dtype)
        self._channels_last = channels_last
        self._buffers = Buffers(keep=keep)

    def batch(self, num_videos: int, views: int, frames: int, crop: tuple[int, int] | None = None) -> torch.Tensor:
        """Memory for clips, viewed as (N, views, T, H, W, C).

        Args:
            crop: width and height of the pictures; by default those of the net's input.
        """
        lead, picture = (num_videos, views), crop[::-1] if crop is not None else (self._size, self._size)
        if self._channels_last:
            return self._buffers.take((*lead, frames, *picture, self._channels), self._dtype)
        taken = self._buffers.take((*lead, self._channels, frames, *picture), self._dtype)
        return taken.permute(0, 1, 3, 4, 5, 2)

    def contiguous(self, clips_NCTHW: torch.Tensor) -> torch.Tensor:
        """The clips in torch's default memory format. On a CPU, a copy is made in the memory of batches."""
        if clips_NCTHW.device.type != "cpu" or clips_NCTHW.is_contiguous():
            return clips_NCTHW.contiguous()
        return self._buffers.take(clips_NCTHW.shape, clips_NCTHW.dtype).copy_(clips_NCTHW)

    def writer(
        self, plan: TrainPlan | EvalPlan, gather: np.ndarray, clips: torch.Tensor
    ) -> Callable[[int, np.ndarray], None]:
        """Returns a function of (i, picture) that writes picture i into every clip of a sample that shows it.

        Args:
            gather: (clips, T) indices of the clips' frames among the needed ones.
            clips: (views, T, H, W, C), ordered by crop, then by clip.
        """
        out, num_clips = clips.numpy(), len(gather)
        height, width = out.shape[2:4]
        order = np.argsort(gather, axis=None, kind="stable")
        ends = np.searchsorted(gather.ravel()[order], np.arange(gather.max() + 1), side="right").tolist()
        places = [divmod(place, gather.shape[1]) for place in order.tolist()]

        def write(i: int, picture: np.ndarray) -> None:
            (clip, t), *again = places[ends[i - 1] if i else 0 : ends[i]]
            for j, (x, y, mirror) in enumerate(plan.crops):
                first = out[j * num_clips + clip, t]
                self.normalize(picture[y : y + height, x : x + width], mirror=mirror, out=first)
                if self._flow and mirror:
                    _reverse_x(clips[j * num_clips + clip, t], self._input)
                for other_clip, other_t in again:
                    out[j * num_clips + other_clip, other_t] = first

        return write

    def normalize(self, picture: np.ndarray, *, mirror: bool, out: np.ndarray) -> None:
        """Writes one picture, optionally mirrored left to right.

        Args:
            picture: uint8 (H, W, C), may be a region of a larger one.
            out: floats of any type and memory layout, viewed as (H, W, C).
        """
        picture = cv2.flip(picture, 1) if mirror else picture
        if out.dtype == np.float32 and out[..., 0].flags.c_contiguous:
            for channel, plane in enumerate(cv2.split(picture)):
                cv2.LUT(plane, self._tables[channel], dst=out[..., channel])
        elif out.dtype == np.float32 and out.flags.c_contiguous:
            cv2.LUT(picture, self._table[None], dst=out)
        else:
            out[...] = cv2.LUT(picture, self._table[None]).reshape(out.shape)


def reverse_mirrored_x(clips_VTHWC: torch.Tensor, plan: TrainPlan | EvalPlan, net_input: Input) -> None:
    """Changes the sign of x in the mirrored clips of optical flow, in place: what moved left moves right.

    Args:
        clips_VTHWC: all views of one sample, normalized, ordered by crop, then by clip.
    """
    for clips, (_, _, mirror) in zip(clips_VTHWC.unflatten(0, (len(plan.crops), -1)), plan.crops):
        if mirror:
            _reverse_x(clips, net_input)


def _reverse_x(pictures: torch.Tensor, net_input: Input) -> None:
    """255 - x, as it is after normalization. `pictures` has the channels x, y, x, y, ... last."""
    zero = (1 - 2 * net_input.mean[0]) / net_input.std[0]
    with torch.inference_mode():  # evaluation allocates the pictures in this mode, and writes to them in threads
        x = pictures[..., ::2].neg_()
        if zero:
            x.add_(zero)
