"""S3D-ResNet: an image ResNet with a temporal convolution after each 3x3 convolution.

Paper: Chen et al., "Deep Analysis of CNN-based Spatio-temporal Representations for Action Recognition", CVPR 2021
(arXiv:2010.11757). It reads the weights of this paper (layout `ibm`). It differs from R(2+1)D (Tran et al., CVPR 2018)
in two ways: the first convolution is not split, and the channels between the two parts of a split convolution are not
widened. It can also start from torchvision's ImageNet ResNet (layout `torchvision2d`); the temporal convolutions then
keep their fresh weights.

T frames become T steps without temporal stride, and ceil(T / 8) steps with it.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.i3d_resnet import DEPTHS, INPUT, OPTIONS
from actrec.nets.layers import Triple, same_conv
from actrec.nets.residual import BASIC, BasicBlock, Bottleneck, ResNet, halving, image_pool, plain_stem


class SeparableBasicBlock(BasicBlock):
    """A basic block with a 3x1x1 convolution after each 1x3x3 convolution.

    Args:
        depthwise: the temporal convolutions process each channel separately.
    """

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None, depthwise: bool):
        space = (1, *stride[1:])
        super().__init__(in_channels, planes, stride=space, shortcut=shortcut, kernel=(1, 3, 3))
        groups = planes if depthwise else 1
        self.conv1_t = same_conv(planes, planes, (3, 1, 1), (stride[0], 1, 1), groups=groups)
        self.bn1_t = nn.BatchNorm3d(planes)
        self.conv2_t = same_conv(planes, planes, (3, 1, 1), groups=groups)
        self.bn2_t = nn.BatchNorm3d(planes)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn1_t(self.conv1_t(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return self.bn2_t(self.conv2_t(x))


class SeparableBottleneck(Bottleneck):
    """A bottleneck with a 3x1x1 convolution after the 1x3x3 one. The arguments are those of `SeparableBasicBlock`."""

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None, depthwise: bool):
        space = (1, *stride[1:])
        super().__init__(in_channels, planes, stride=space, shortcut=shortcut, kernel=(1, 3, 3))
        groups = planes if depthwise else 1
        self.conv2_t = same_conv(planes, planes, (3, 1, 1), (stride[0], 1, 1), groups=groups)
        self.bn2_t = nn.BatchNorm3d(planes)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = F.relu(self.bn2_t(self.conv2_t(x)), inplace=True)
        return self.bn3(self.conv3(x))


def s3d_resnet(
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    temporal_stride: bool,
    depthwise_temporal: bool,
) -> ResNet:
    """S3D-ResNet.

    Args:
        num_classes: number of logits per clip.
        in_channels: channels of a frame.
        dropout: probability of dropout before the last layer.
        temporal_stride: halve the time axis at the second, third and fourth stage.
        depthwise_temporal: the temporal convolutions process each channel separately.
    """
    basic = depth in BASIC
    return ResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=plain_stem(in_channels, 64, (3, 7, 7), (1, 2, 2)),
        pool=image_pool(),
        stem_channels=64,
        depth=depth,
        strides=halving(temporal_stride),
        block=partial(SeparableBasicBlock if basic else SeparableBottleneck, depthwise=depthwise_temporal),
        expansion=1 if basic else 4,
        head_std=0.001,
    )


LAYOUTS = {"ibm": Layout(), "torchvision2d": Layout(fresh=(r".+\.(conv|bn)\d_t\..+",))}
for _depth in DEPTHS:
    NETS.add(
        f"s3d_resnet{_depth}",
        Entry(
            partial(s3d_resnet, _depth),
            input=INPUT,
            options={**OPTIONS, "depthwise_temporal": False},
            paper="arXiv:2010.11757",
            weights=LAYOUTS,
            forms=({"depthwise_temporal": True},),
        ),
    )
