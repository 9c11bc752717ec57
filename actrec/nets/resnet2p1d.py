"""R(2+1)D ResNets: every 3x3x3 convolution is split into one over space and one over time, with as many weights.

Paper: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018 (arXiv:1711.11248),
in the form of Hara et al. (see `actrec.nets.resnet3d`). The nets read the weights of Hara et al. (layout `hara`).
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.layers import Triple, same_conv
from actrec.nets.residual import BASIC, PLANES, Residual, ResNet, halving, shortcut_of
from actrec.nets.resnet3d import DEPTHS, FORMS, INPUT, OPTIONS, stem_pool_of, stem_window, widened


def middle_channels(in_channels: int, out_channels: int) -> int:
    """Number of channels between the two parts of a split 3x3x3 convolution."""
    return 27 * in_channels * out_channels // (9 * in_channels + 3 * out_channels)


class SplitBlock(Residual):
    """What both blocks share: split convolutions. Number 1 is `conv1_s`, `bn1_s`, ReLU, `conv1_t`, then `bn1_t`."""

    def add_split(self, number: int, in_channels: int, out_channels: int, stride: Triple = (1, 1, 1)) -> None:
        middle = middle_channels(in_channels, out_channels)
        space = same_conv(in_channels, middle, (1, 3, 3), (1, *stride[1:]))
        time = same_conv(middle, out_channels, (3, 1, 1), (stride[0], 1, 1))
        self.add_module(f"conv{number}_s", space)
        self.add_module(f"bn{number}_s", nn.BatchNorm3d(middle))
        self.add_module(f"conv{number}_t", time)
        self.add_module(f"bn{number}_t", nn.BatchNorm3d(out_channels))


class SplitBasicBlock(SplitBlock):
    """Two split convolutions. The arguments are those of `residual.BasicBlock`."""

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None):
        super().__init__(shortcut)
        self.add_split(1, in_channels, planes, stride)
        self.add_split(2, planes, planes)

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv1_t(F.relu(self.bn1_s(self.conv1_s(x)), inplace=True))
        x = F.relu(self.bn1_t(x), inplace=True)
        x = self.conv2_t(F.relu(self.bn2_s(self.conv2_s(x)), inplace=True))
        return self.bn2_t(x)


class SplitBottleneck(SplitBlock):
    """A bottleneck with a split middle convolution. The arguments are those of `residual.BasicBlock`."""

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None):
        super().__init__(shortcut)
        self.conv1 = same_conv(in_channels, planes, (1, 1, 1))
        self.bn1 = nn.BatchNorm3d(planes)
        self.add_split(2, planes, planes, stride)
        self.conv3 = same_conv(planes, 4 * planes, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(4 * planes)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.conv2_t(F.relu(self.bn2_s(self.conv2_s(x)), inplace=True))
        x = F.relu(self.bn2_t(x), inplace=True)
        return self.bn3(self.conv3(x))


class ResNet2p1d(ResNet):
    """A ResNet of split convolutions, with a stem that is split too."""

    def stem_map(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1_s(self.conv1_s(x)), inplace=True)
        return F.relu(self.bn1_t(self.conv1_t(x)), inplace=True)


def resnet2p1d(
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    shortcut: str,
    stem_kernel_t: int,
    stem_stride_t: int,
    stem_pool: bool,
    widen: float,
) -> ResNet2p1d:
    """R(2+1)D. The arguments are those of `resnet3d.resnet3d`."""
    planes = tuple(widened(width, widen) for width in PLANES)
    first, (kernel, stride) = planes[0], stem_window(stem_kernel_t, stem_stride_t)
    middle = 3 * first * kernel[0] * 49 // (3 * 49 + kernel[0] * first)  # computed for 3 channels, as in the reference
    basic = depth in BASIC
    return ResNet2p1d(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem={
            "conv1_s": same_conv(in_channels, middle, (1, *kernel[1:]), (1, *stride[1:])),
            "bn1_s": nn.BatchNorm3d(middle),
            "conv1_t": same_conv(middle, first, (kernel[0], 1, 1), (stride[0], 1, 1)),
            "bn1_t": nn.BatchNorm3d(first),
        },
        pool=stem_pool_of(stem_pool),
        stem_channels=first,
        depth=depth,
        planes=planes,
        strides=halving(temporal=True),
        block=SplitBasicBlock if basic else SplitBottleneck,
        expansion=1 if basic else 4,
        shortcut=shortcut_of(shortcut),
        head_std=None,
    )


for _depth in DEPTHS:
    NETS.add(
        f"resnet2p1d_{_depth}",
        Entry(
            partial(resnet2p1d, _depth),
            input=INPUT,
            options={**OPTIONS, "widen": 1.0},
            paper="arXiv:1711.11248",
            weights={"hara": Layout()},
            forms=FORMS,
        ),
    )
