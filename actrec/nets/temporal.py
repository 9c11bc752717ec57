"""Temporal modules for image nets: aggregation (TAM) and shift (TSM). They map NCTHW to NCTHW of the same shape."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets.layers import one_of

SHIFT_DIV = 8  # 1/8 of the channels comes from the next frame, another 1/8 from the previous one


class TemporalAggregation(nn.Module):
    """Each frame becomes the ReLU of a learned blend of its neighbors. Frames outside the clip are zero.

    Fan et al., "More Is Less: Learning Efficient Video Representations by Big-Little Network and Depthwise Temporal
    Aggregation", NeurIPS 2019 (arXiv:1912.00869).

    Args:
        channels: channels of the map.
        frames: number of frames that are blended. For frame t they begin with frame t - frames // 2.
        blending: sum, or max for the element-wise maximum, which includes the zeros outside the clip.
        depthwise: one weight per channel and frame, instead of a matrix per frame.

    Raises:
        ValueError: `frames` is below 1, or `blending` is neither sum nor max.
    """

    prev_se: _Weight
    curr_se: _Weight
    next_se: _Weight

    def __init__(self, channels: int, *, frames: int = 3, blending: str = "sum", depthwise: bool = True):
        super().__init__()
        if frames < 1:
            raise ValueError(f"blending_frames {frames}: expected at least 1")
        self.sums = one_of("blending", blending, {"sum": True, "max": False})
        self.frames, self.depthwise = frames, depthwise
        if frames == 3:  # published weights have these names, in this order
            for name in ("prev_se", "next_se", "curr_se"):
                self.add_module(name, _Weight(channels, depthwise))
        else:
            self.blending_layers = nn.ModuleList(_Weight(channels, depthwise) for _ in range(frames))

    @property
    def weights(self) -> list[Tensor]:
        """A tensor (C, 1 or C, 1, 1) for each blended frame, in the order of time."""
        if self.frames == 3:
            return [module.fc1.weight for module in (self.prev_se, self.curr_se, self.next_se)]
        return [cast(_Weight, module).fc1.weight for module in self.blending_layers]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self._sum(x) if self.sums else self._max(x), inplace=True)

    def _sum(self, x: Tensor) -> Tensor:
        """The blend by sum, computed as one temporal convolution."""
        steps = x.flatten(3)  # (N, C, T, H*W)
        kernel = torch.cat(self.weights, 2)  # (C, 1 or C, frames, 1)
        groups = x.shape[1] if self.depthwise else 1
        blended = F.conv2d(steps, kernel, padding=(self.frames // 2, 0), groups=groups)
        return blended[:, :, : x.shape[2]].unflatten(3, x.shape[3:])  # an even kernel gives one step too many

    def _max(self, x: Tensor) -> Tensor:
        blended = None
        for i, weight in enumerate(self.weights):
            term = x * weight.unsqueeze(0).to(x.dtype) if self.depthwise else _points(x, weight)
            term = _shifted(term, i - self.frames // 2)
            blended = term if blended is None else torch.maximum(blended, term)
        assert blended is not None  # there is at least one frame
        return blended

    def multiply_adds(self, out: Tensor, *inputs: Tensor) -> int:
        """The multiply-adds of a forward pass with this output: each frame through each 1x1 convolution."""
        return out.numel() * self.frames * self.weights[0].shape[1]

    def extra_repr(self) -> str:
        return f"frames={self.frames}, {'sum' if self.sums else 'max'}, depthwise={self.depthwise}"


class _Weight(nn.Module):
    """The 1x1 convolution of one blended frame. Published weights call it `fc1`."""

    def __init__(self, channels: int, depthwise: bool):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels, 1, bias=False, groups=channels if depthwise else 1)


class TemporalShift(nn.Module):
    """1/8 of the channels comes from the next frame, 1/8 from the previous frame. Frames outside the clip are zero.

    Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019 (arXiv:1811.08383).
    """

    def forward(self, x: Tensor) -> Tensor:
        return _Shift.apply(x, x.shape[1] // SHIFT_DIV)


class _Shift(torch.autograd.Function):
    """Copies the map once forward and once backward. With slices, autograd would add up a full map for each slice."""

    @staticmethod
    def forward(ctx, x: Tensor, fold: int) -> Tensor:
        ctx.fold = fold
        return _exchanged(x, fold, 1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _exchanged(grad, ctx.fold, -1), None


def _exchanged(x: Tensor, fold: int, frames: int) -> Tensor:
    """The first `fold` channels are shifted by `frames`, the next `fold` channels by `-frames`."""
    first, second, rest = x.split((fold, fold, x.shape[1] - 2 * fold), 1)
    return torch.cat((_shifted(first, frames), _shifted(second, -frames), rest), 1)


def _points(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution, applied to each frame."""
    return F.conv2d(x.flatten(3), weight).unflatten(3, x.shape[3:])


def _shifted(x: Tensor, frames: int) -> Tensor:
    """Frame t becomes frame t + frames; frames outside the clip are zero."""
    if frames == 0:
        return x
    if abs(frames) >= x.shape[2]:
        return torch.zeros_like(x)
    if frames > 0:
        return F.pad(x[:, :, frames:], (0, 0, 0, 0, 0, frames))
    return F.pad(x[:, :, :frames], (0, 0, 0, 0, -frames, 0))
