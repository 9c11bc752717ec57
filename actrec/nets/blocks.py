"""Parts that the nets are made of. Activations are NCTHW, in any memory format."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input

Triple = tuple[int, int, int]
PoolKind = Literal["max", "avg"]
T = TypeVar("T")

# The nine blocks of GoogLeNet: channels in, 1x1 branch, 3x3 branch (reduced, out), second 3x3 branch (the paper's 5x5;
# reduced, out), pooling branch.
INCEPTION_CHANNELS = {
    "3a": (192, 64, (96, 128), (16, 32), 32),
    "3b": (256, 128, (128, 192), (32, 96), 64),
    "4a": (480, 192, (96, 208), (16, 48), 64),
    "4b": (512, 160, (112, 224), (24, 64), 64),
    "4c": (512, 128, (128, 256), (24, 64), 64),
    "4d": (512, 112, (144, 288), (32, 64), 64),
    "4e": (528, 256, (160, 320), (32, 128), 128),
    "5a": (832, 256, (160, 320), (32, 128), 128),
    "5b": (832, 384, (192, 384), (48, 128), 128),
}
INCEPTION_EPS = 1e-3  # of batch normalization


class Backbone(nn.Module):
    """What all nets share: `features` (the map before the head), the head, and how to be fed.

    The head averages over space, applies dropout to each time step, classifies each time step and averages the logits
    over time; as the classifier is linear, the average comes first.

    Args:
        num_features: channels of the map that `features` returns.
        in_channels: channels of a frame.
        dropout: before the last layer; probability.
        head_std: of the last layer's fresh weights, with bias 0; None keeps torch's own.
    """

    # Set by `actrec.net`.
    name: str
    input: Input
    options: dict[str, bool | int | float | str]

    channels_last = torch.channels_last_3d  # torch's name for it: of the weights; clips are always channels_last_3d

    def __init__(self, *, num_features: int, in_channels: int, dropout: float, head_std: float | None = 0.001):
        super().__init__()
        self.in_channels = in_channels
        self.num_features = num_features
        self.min_frames = self.min_size = self.frames_multiple = 1
        self.options = {}
        self.dropout = nn.Dropout(dropout)
        self._head_std = head_std

    def reset_head(self, num_classes: int) -> None:
        """Replaces the last layer by a fresh one."""
        if num_classes < 1:
            raise ValueError(f"num_classes {num_classes}: expected at least 1")
        like = next(self.parameters())
        self.fc = nn.Linear(self.head_features, num_classes, device=like.device, dtype=like.dtype)
        if self._head_std is not None:
            nn.init.normal_(self.fc.weight, std=self._head_std)
            nn.init.zeros_(self.fc.bias)
        self.options = {**self.options, "num_classes": num_classes}

    @property
    def last_layer(self) -> nn.Linear:
        """The one that `reset_head` replaces."""
        return self.fc

    @property
    def head_features(self) -> int:
        """Inputs of the last layer."""
        return self.num_features

    def features(self, x_NCTHW: Tensor) -> Tensor:
        """The map before the head, (N, num_features, T', H', W')."""
        raise NotImplementedError

    def head(self, features_NCTHW: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        steps_NCT = self.dropout(features_NCTHW.mean((3, 4)))
        return self.fc(steps_NCT.mean(2))

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Logits (N, num_classes). Raises ValueError if the clips do not fit the net."""
        self._check(x_NCTHW)
        return self.head(self.features(x_NCTHW))

    def _check(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[1] != self.in_channels:
            raise ValueError(f"clips of shape {tuple(x.shape)}: expected NCTHW with {self.in_channels} channels")
        if x.shape[2] < self.min_frames:
            raise ValueError(f"clips of {x.shape[2]} frames are too short: this net needs at least {self.min_frames}")
        if x.shape[2] % self.frames_multiple:
            raise ValueError(
                f"clips of {x.shape[2]} frames: with temporal_stride this net needs a multiple of "
                f"{self.frames_multiple}, at least {self.frames_multiple}"
            )
        if min(x.shape[3], x.shape[4]) < self.min_size:
            raise ValueError(
                f"frames of {x.shape[3]}x{x.shape[4]} pixels are too small: this net needs at least "
                f"{self.min_size}x{self.min_size}"
            )


class Conv2d(nn.Conv2d):
    """torch's Conv2d for each frame of NCTHW. Kernel, stride and padding are triples as those of `Conv3d`, 1, 1 and 0
    in time."""

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
    """torch's Conv3d; on channels-last maps and in low precision computed as a 2D convolution where that is less work.

    Kernels with extent in space or in time only are 2D convolutions of views. Clips shorter than the kernel are
    unrolled: their frames become channels, and no weight meets padding. These are also the forms that torch 2.13 gets
    right in bfloat16 on a CPU, where its 3D weight gradient leaves memory uninitialized if the clip is shorter than the
    kernel (docs/numbers/bfloat16_cpu_202611.md).
    """

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
        if x.device.type == "cpu" and 1 < x.shape[2] < kernel[0]:  # frames of zeros behind the clip change nothing
            frames = x.shape[2]
            out_frames = (frames + 2 * padding[0] - kernel[0]) // stride[0] + 1
            return super().forward(F.pad(x, (0, 0, 0, 0, 0, 2 * kernel[0] - frames)))[:, :, :out_frames]
        return super().forward(x)

    def _unrolled(self, x: Tensor) -> Tensor:
        """One 2D convolution from all frames' channels to all output frames' channels."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        frames = x.shape[2]
        out_frames = (frames + 2 * padding - kernel) // stride + 1
        before, behind = max((out_frames - 1) * stride - padding, 0), max(padding + frames - kernel, 0)
        taps = self.weight.permute(0, 2, 3, 4, 1)  # as it lies in memory, and its gradient too
        taps = F.pad(taps, (0, 0, 0, 0, 0, 0, before, behind)) if before or behind else taps
        first = padding + before  # tap of the first frame for the first output frame
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
    """The frames (N*T, C, H, W); a view of channels-last maps."""
    return x_NCTHW.transpose(1, 2).flatten(0, 1)


def unfolded(frames: Tensor, *, like: Tensor) -> Tensor:
    """NCTHW of frames (N*T, C, H, W), with the clips and the length of `like`."""
    return frames.unflatten(0, (like.shape[0], like.shape[2])).transpose(1, 2)


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel: Triple,
    stride: Triple = (1, 1, 1),
    *,
    conv: type = Conv3d,
    groups: int = 1,
) -> nn.Module:
    """A convolution without bias whose padding keeps the size at stride 1."""
    return conv(in_channels, out_channels, kernel, stride, tuple(k // 2 for k in kernel), groups=groups, bias=False)


class ConvUnit(nn.Module):
    """Convolution, batch normalization, ReLU. Padding keeps the size at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Triple = (1, 1, 1),
        stride: Triple = (1, 1, 1),
        conv: type = Conv3d,
    ):
        super().__init__()
        self.conv = same_conv(in_channels, out_channels, kernel, stride, conv=conv)
        self.bn = nn.BatchNorm3d(out_channels, eps=INCEPTION_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Pool3d(nn.Module):
    """Max or average pooling; the average counts padding.

    Same values as torch's 3D pooling, computed over space, then over time. On channels-last maps both steps work on
    views and keep the format; torch's 3D average does not, nor does it take bfloat16 on the CPU or fewer frames than
    its kernel has.
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


class InceptionBlock(nn.Module):
    """Four branches, concatenated: 1x1, two of 1x1 then `unit`, and max pooling then 1x1.

    Args:
        channels: a row of `INCEPTION_CHANNELS`.
        unit: makes the second part of the middle branches from its numbers of channels, in and out.
        conv: of the 1x1 convolutions.
        pool: kernel of the pooling branch.
    """

    def __init__(
        self,
        channels: tuple,
        *,
        unit: Callable[[int, int], nn.Module],
        conv: type = Conv3d,
        pool: Triple = (3, 3, 3),
    ):
        super().__init__()
        in_channels, out1, (reduced2, out2), (reduced3, out3), out4 = channels
        point = partial(ConvUnit, conv=conv)
        self.branch1 = point(in_channels, out1)
        self.branch2 = nn.Sequential(point(in_channels, reduced2), unit(reduced2, out2))
        self.branch3 = nn.Sequential(point(in_channels, reduced3), unit(reduced3, out3))
        pooling = Pool3d("max", pool, stride=(1, 1, 1), padding=tuple(k // 2 for k in pool))
        self.branch4 = nn.Sequential(pooling, point(in_channels, out4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), dim=1)


def init_convs(net: nn.Module) -> None:
    """Kaiming normal (fan out, ReLU) for the weights of all convolutions."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def smallest_extent(layers: Iterable[nn.Module], *, axis: int) -> int:
    """The smallest extent that passes through convolutions and pools along an axis: 0 time, 1 height, 2 width."""
    axis -= 3  # from the end: 2D convolutions have no time
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


def one_of(option: str, value: str, choices: dict[str, T]) -> T:
    """`choices[value]`. Raises ValueError that names the option and the legal values."""
    if value not in choices:
        raise ValueError(f"{option} {value!r}: expected {' or '.join(choices)}")
    return choices[value]
