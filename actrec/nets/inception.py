"""The parts of the nets that follow GoogLeNet (Inception v1). Activations are NCTHW."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets.layers import Conv3d, ConvMaker, Pool3d, Triple, same_conv

Channels = tuple[int, int, tuple[int, int], tuple[int, int], int]

# The nine blocks of GoogLeNet. A row gives the channels of the input; of the 1x1 branch; of the 3x3 branch (reduced,
# output); of the second 3x3 branch, which is 5x5 in the paper (reduced, output); and of the pooling branch.
INCEPTION_CHANNELS: dict[str, Channels] = {
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
INCEPTION_EPS = 1e-3  # epsilon of the batch normalizations
# Weights of torchvision's GoogLeNet that no video net has: pattern of their names -> reason.
GOOGLENET_DROPPED = {r"aux[12]\..+": "auxiliary classifier of GoogLeNet"}


class ConvUnit(nn.Module):
    """Convolution, batch normalization, ReLU. The padding keeps the size at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Triple = (1, 1, 1),
        stride: Triple = (1, 1, 1),
        conv: ConvMaker = Conv3d,
    ):
        super().__init__()
        self.conv = same_conv(in_channels, out_channels, kernel, stride, conv=conv)
        self.bn = nn.BatchNorm3d(out_channels, eps=INCEPTION_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionBlock(nn.Module):
    """Four concatenated branches: a 1x1 unit; twice a 1x1 unit followed by `unit`; and max pooling followed by a 1x1
    unit.

    Args:
        channels: a row of `INCEPTION_CHANNELS`.
        unit: makes the second part of the middle branches from its numbers of input and output channels.
        conv: makes the 1x1 convolutions.
        pool: kernel of the pooling branch.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        unit: Callable[[int, int], nn.Module],
        conv: ConvMaker = Conv3d,
        pool: Triple = (3, 3, 3),
    ):
        super().__init__()
        in_channels, out1, (reduced2, out2), (reduced3, out3), out4 = channels
        point = partial(ConvUnit, conv=conv)
        self.branch1 = point(in_channels, out1)
        self.branch2 = nn.Sequential(point(in_channels, reduced2), unit(reduced2, out2))
        self.branch3 = nn.Sequential(point(in_channels, reduced3), unit(reduced3, out3))
        pooling = Pool3d("max", pool, stride=(1, 1, 1), padding=(pool[0] // 2, pool[1] // 2, pool[2] // 2))
        self.branch4 = nn.Sequential(pooling, point(in_channels, out4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)), dim=1)


def block_outputs(channels: Channels) -> int:
    """Output channels of the block that a row of `INCEPTION_CHANNELS` describes."""
    _, branch1, (_, branch2), (_, branch3), branch4 = channels
    return branch1 + branch2 + branch3 + branch4
