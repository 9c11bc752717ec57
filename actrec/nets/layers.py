"""Convolutions and pools for clips. Activations are NCTHW, in any memory format."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Triple = tuple[int, int, int]
PoolKind = Literal["max", "avg"]
ConvMaker = Callable[..., nn.Module]  # (in_channels, out_channels, kernel, stride, ...) -> a convolution
T = TypeVar("T")


class Conv2d(nn.Conv2d):
    """torch's Conv2d, applied to each frame of NCTHW.

    Kernel, stride and padding are triples as those of `Conv3d`; in time they must be 1, 1 and 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        padding: Triple = (0, 0, 0),
        **options,
    ):
        assert (kernel[0], stride[0], padding[0]) == (1, 1, 0)
        super().__init__(in_channels, out_channels, kernel[1:], stride[1:], padding[1:], **options)

    def forward(self, x: Tensor) -> Tensor:
        return unfolded(super().forward(folded(x)), like=x)


class Conv3d(nn.Conv3d):
    """torch's Conv3d. For channels-last maps and in low precision it is computed as a 2D convolution where that is
    faster.

    A kernel that extends only in space or only in time is a 2D convolution of a view. A clip that is shorter than the
    kernel is unrolled: its frames become channels, so that no weight is multiplied with padding. These forms also avoid
    an error of torch 2.13: in bfloat16 on a CPU, its gradient of 3D weights leaves memory uninitialized if the clip is
    shorter than the kernel (docs/numbers/bfloat16_cpu_202611.md).

    On a CPU, torch's gradients of depthwise 3D convolutions take two to four times as long in bfloat16 as in float32.
    Training therefore computes these layers in float32.
    """

    kernel_size: Triple
    stride: Triple
    padding: Triple

    def forward(self, x: Tensor) -> Tensor:
        autocast = x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)
        if not autocast and x.dtype in (torch.float32, torch.float64) and not is_channels_last(x):
            return super().forward(x)
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        if kernel[0] == 1 and padding[0] == 0:
            x = x[:, :, :: stride[0]]
            frames = F.conv2d(folded(x), self.weight.squeeze(2), self.bias, stride[1:], padding[1:], groups=self.groups)
            return unfolded(frames, like=x)
        if x.shape[2] < kernel[0] and self.groups == 1:
            return self._unrolled(x)
        if kernel[1:] == (1, 1) and stride[1:] == (1, 1):
            steps = x.flatten(3)  # (N, C, T, H*W)
            weight = self.weight.squeeze(4)
            steps = F.conv2d(steps, weight, self.bias, (stride[0], 1), (padding[0], 0), groups=self.groups)
            return steps.unflatten(3, x.shape[3:])
        if x.device.type == "cpu" and 1 < x.shape[2] < kernel[0]:  # zeros after the clip do not change the result
            length = x.shape[2]
            out_frames = (length + 2 * padding[0] - kernel[0]) // stride[0] + 1
            return super().forward(F.pad(x, (0, 0, 0, 0, 0, 2 * kernel[0] - length)))[:, :, :out_frames]
        is_depthwise = self.weight.shape[1] == 1 < self.groups
        if autocast and x.device.type == "cpu" and is_depthwise and torch.is_grad_enabled():
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(torch.get_autocast_dtype("cpu"))
        return super().forward(x)

    def _unrolled(self, x: Tensor) -> Tensor:
        """One 2D convolution from the channels of all frames to the channels of all output frames."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        frames = x.shape[2]
        out_frames = (frames + 2 * padding - kernel) // stride + 1
        before, after = max((out_frames - 1) * stride - padding, 0), max(padding + frames - kernel, 0)
        taps = self.weight.permute(0, 2, 3, 4, 1)  # the order in memory, also that of the gradient
        taps = F.pad(taps, (0, 0, 0, 0, 0, 0, before, after)) if before or after else taps
        first = padding + before  # the tap that the first output frame applies to the first frame
        rows = [taps.narrow(1, first - out * stride, frames).permute(0, 2, 3, 1, 4) for out in range(out_frames)]
        weight = (torch.cat(rows) if out_frames > 1 else rows[0]).flatten(3).permute(0, 3, 1, 2)
        bias = self.bias.repeat(out_frames) if self.bias is not None else None
        last = x.permute(0, 3, 4, 2, 1).flatten(3)  # (N, H, W, T*C)
        out = F.conv2d(last.permute(0, 3, 1, 2), weight, bias, self.stride[1:], self.padding[1:])
        out = out.unflatten(1, (out_frames, -1)).transpose(1, 2)
        return out.contiguous(memory_format=torch.channels_last_3d)


def is_channels_last(x_NCTHW: Tensor) -> bool:
    return x_NCTHW.is_contiguous(memory_format=torch.channels_last_3d)


def folded(x_NCTHW: Tensor) -> Tensor:
    """The frames (N*T, C, H, W). This is a view if the map is channels-last."""
    return x_NCTHW.transpose(1, 2).flatten(0, 1)


def unfolded(frames: Tensor, *, like: Tensor) -> Tensor:
    """The clips NCTHW of frames (N*T, C, H, W), with the N and T of `like`."""
    return frames.unflatten(0, (like.shape[0], like.shape[2])).transpose(1, 2)


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel: Triple,
    stride: Triple = (1, 1, 1),
    *,
    conv: ConvMaker = Conv3d,
    groups: int = 1,
) -> nn.Module:
    """A convolution without bias. Its padding keeps the size at stride 1."""
    return conv(in_channels, out_channels, kernel, stride, tuple(k // 2 for k in kernel), groups=groups, bias=False)


class Pool3d(nn.Module):
    """Max or average pooling. The average includes the padding.

    The values are those of torch's 3D pooling, but they are computed over space first and then over time. On
    channels-last maps both steps work on views and keep the format. torch's 3D average changes the format, and on the
    CPU it accepts neither bfloat16 nor clips with fewer frames than the kernel.
    """

    def __init__(
        self, kind: PoolKind, kernel: Triple, *, stride: Triple, padding: Triple = (0, 0, 0), ceil_mode: bool = False
    ):
        super().__init__()
        self.is_max = one_of("temporal_pool", kind, {"max": True, "avg": False})
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel, stride, padding, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        if self.is_max and x.dtype == torch.float32 and not is_channels_last(x):
            return F.max_pool3d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)
        x = x if self.kernel_size[1:] == (1, 1) else self._space(x)
        return x if (self.kernel_size[0], self.stride[0]) == (1, 1) else self._time(x)

    @property
    def pool2d(self) -> Callable[..., Tensor]:
        return F.max_pool2d if self.is_max else F.avg_pool2d

    def _space(self, x: Tensor) -> Tensor:
        frames = self.pool2d(
            folded(x), self.kernel_size[1:], self.stride[1:], self.padding[1:], ceil_mode=self.ceil_mode
        )
        return unfolded(frames, like=x)

    def _time(self, x: Tensor) -> Tensor:
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        steps = x.flatten(3)  # (N, C, T, H*W)
        pooled = self.pool2d(steps, (kernel, 1), (stride, 1), (padding, 0), ceil_mode=self.ceil_mode)
        return pooled.unflatten(3, x.shape[3:])

    def extra_repr(self) -> str:
        kind = "max" if self.is_max else "avg"
        return f"{kind}, kernel={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class WindowPool(nn.Module):
    """Averages over all windows of a map: average pooling with stride 1.

    Nets with a pool of fixed size are applied to larger clips in this way.

    Args:
        window: frames, height and width of a window, in steps of the map. If the map is smaller than the window, the
            average is taken over the whole map.
    """

    def __init__(self, window: Triple):
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = (min(extents) for extents in zip(self.window, x.shape[2:]))
        x = unfolded(F.avg_pool2d(folded(x), (h, w), 1), like=x)
        return F.avg_pool2d(x.flatten(3), (t, 1), 1).unflatten(3, x.shape[3:])

    def extra_repr(self) -> str:
        return f"window={self.window}"


def logits_of_windows(fc: nn.Linear, windows_NCTHW: Tensor, average: Literal["logits", "probabilities"]) -> Tensor:
    """The logits (N, classes) of clips from the features of their windows (N, channels, T, H, W).

    Args:
        fc: the classifier.
        average: what is averaged over the windows. With "probabilities", the result is the logarithm of their average.
    """
    if average == "logits":  # the classifier is linear
        return fc(windows_NCTHW.mean((2, 3, 4)))
    each = fc(windows_NCTHW.flatten(2).transpose(1, 2)).log_softmax(-1)
    return each.logsumexp(1) - math.log(each.shape[1])


def window_of(frames: int, size: int | tuple[int, int]) -> Triple:
    """The shape (frames, height, width) of the last map of a net that halves height and width five times.

    Args:
        frames: frames of the map.
        size: height and width of the clip in pixels, one number if they are the same.
    """
    height, width = (size, size) if isinstance(size, int) else size
    return max(frames, 1), -(-height // 32), -(-width // 32)


def init_convs(net: nn.Module) -> None:
    """Initializes the weights of all convolutions: Kaiming normal (fan out, ReLU)."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def smallest_extent(layers: Iterable[Any], *, axis: int) -> int:
    """The smallest extent along an axis (0 time, 1 height, 2 width) that convolutions and pools can process."""
    axis -= 3  # counted from the end, because the kernels of 2D convolutions have no time axis
    layers = [layer for layer in layers if len(layer.kernel_size) >= -axis]

    def passes(extent: int) -> bool:
        for layer in layers:
            room = extent + 2 * layer.padding[axis] - layer.kernel_size[axis]
            stride = layer.stride[axis]
            extent = (-(-room // stride) if getattr(layer, "ceil_mode", False) else room // stride) + 1
            if extent < 1:
                return False
        return True

    return next(extent for extent in itertools.count(1) if passes(extent))


def one_of(option: str, value: str, choices: Mapping[str, T]) -> T:
    """`choices[value]`. Raises a ValueError that names the option and the legal values."""
    if value not in choices:
        raise ValueError(f"{option} {value!r}: expected {' or '.join(choices)}")
    return choices[value]
