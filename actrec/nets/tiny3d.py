"""Tiny3D: a small net that learns from a few hundred videos from scratch, within minutes on a CPU.

Its blocks are those of R(2+1)D: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
CVPR 2018 (arXiv:1711.11248). Each block is one convolution over space and one over time, with a shortcut. The
convolutions are dense and have few channels, because depthwise 3D convolutions, as in X3D, train five to ten times
slower with torch on a CPU (docs/numbers/defaults_epyc-2core_202611.md). The time axis is never shortened, so that short
clips keep the order of their frames.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Triple, init_convs, same_conv
from actrec.nets.residual import Residual, projection
from actrec.nets.resnet3d import widened

STEM = 16  # channels
STAGES = (24, 48, 96, 128)  # channels; each stage halves height and width
HALVES: Triple = (1, 2, 2)  # a stride
INPUT = Input(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989), frames=16, size=112)


class TinyBlock(Residual):
    """A 1x3x3 convolution that halves height and width, and a 3x1x1 convolution, each with a batch normalization.

    Args:
        in_channels, out_channels: channels of the input and of the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(projection(in_channels, out_channels, HALVES))
        self.conv_s = same_conv(in_channels, out_channels, (1, 3, 3), HALVES)
        self.bn_s = nn.BatchNorm3d(out_channels)
        self.conv_t = same_conv(out_channels, out_channels, (3, 1, 1))
        self.bn_t = nn.BatchNorm3d(out_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn_s(self.conv_s(x)), inplace=True)
        return self.bn_t(self.conv_t(x))


class Tiny3d(Backbone):
    """A stem that halves height and width, and one block per stage.

    Args:
        num_classes, in_channels, dropout: as for `Backbone`.
        widen: factor for all numbers of channels.
    """

    def __init__(self, *, num_classes: int, in_channels: int, dropout: float, widen: float):
        stem, *widths = (widened(channels, widen) for channels in (STEM, *STAGES))
        super().__init__(num_features=widths[-1], in_channels=in_channels, dropout=dropout, head_std=None)
        self.conv1_s = same_conv(in_channels, stem, (1, 5, 5), HALVES)
        self.bn1_s = nn.BatchNorm3d(stem)
        self.conv1_t = same_conv(stem, stem, (3, 1, 1))
        self.bn1_t = nn.BatchNorm3d(stem)
        self.blocks = nn.Sequential(*(TinyBlock(*channels) for channels in pairwise((stem, *widths))))
        init_convs(self)
        self.reset_head(num_classes)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = F.relu(self.bn1_s(self.conv1_s(x_NCTHW)), inplace=True)
        return self.blocks(F.relu(self.bn1_t(self.conv1_t(x)), inplace=True))


NETS.add(
    "tiny3d",
    Entry(
        Tiny3d,
        input=INPUT,
        options={"dropout": 0.0, "widen": 1.0},
        paper="arXiv:1711.11248",
        forms=({"widen": 2.0},),
        lr=0.002,
    ),
)
