"""The three video ResNets of torchvision, of depth 18: R3D, MC3 and R(2+1)D.

Paper: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018
(arXiv:1711.11248). The nets read torchvision's weights (layout `torchvision`).

The last three stages halve the time axis, except in MC3, where the kernels after the first stage cover one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout
from actrec.nets.checkpoints import torchvision
from actrec.nets.layers import Triple, same_conv
from actrec.nets.residual import Residual, ResNet, halving
from actrec.nets.resnet2p1d import middle_channels

INPUT = Input(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989), frames=16, size=112)
Conv = Callable[..., nn.Module]  # (in_channels, out_channels, stride, middle=) -> convolution


def full(in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, middle: int) -> nn.Module:
    """A 3x3x3 convolution."""
    return same_conv(in_channels, out_channels, (3, 3, 3), stride)


def spatial(in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, middle: int) -> nn.Module:
    """A 1x3x3 convolution."""
    return same_conv(in_channels, out_channels, (1, 3, 3), (1, *stride[1:]))


def split(in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, middle: int) -> nn.Module:
    """A 1x3x3 convolution to `middle` channels, a batch normalization, a ReLU, and a 3x1x1 convolution."""
    return nn.Sequential(
        same_conv(in_channels, middle, (1, 3, 3), (1, *stride[1:])),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        same_conv(middle, out_channels, (3, 1, 1), (stride[0], 1, 1)),
    )


class VideoBlock(Residual):
    """Two convolutions and a shortcut. The middle channels of both are computed from the sizes of the first."""

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None, conv: Conv):
        super().__init__(shortcut)
        middle = middle_channels(in_channels, planes)
        first = conv(in_channels, planes, stride, middle=middle)
        self.conv1 = nn.Sequential(first, nn.BatchNorm3d(planes), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(conv(planes, planes, middle=middle), nn.BatchNorm3d(planes))

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class VideoResNet(ResNet):
    """A ResNet with a sequence of layers as its stem."""

    def stem_map(self, x: Tensor) -> Tensor:
        return self.stem(x)


def video_resnet(
    stem: Callable[[int], nn.Module],
    convs: Sequence[Conv],
    halves_time: bool,
    /,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
) -> VideoResNet:
    """A net of depth 18.

    Args:
        stem: makes the stem from the number of channels of a frame.
        convs: the kind of convolution of each stage.
        halves_time: the last three stages halve the time axis.
        num_classes, in_channels, dropout: as for `Backbone`.
    """
    blocks = iter([partial(VideoBlock, conv=conv) for conv in convs for _ in range(2)])  # two blocks per stage
    return VideoResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem={"stem": stem(in_channels)},
        pool=None,
        stem_channels=64,
        depth=18,
        strides=halving(temporal=halves_time),
        block=lambda *sizes, **options: next(blocks)(*sizes, **options),
        expansion=1,
        head_std=0.01,
    )


def joint_stem(in_channels: int) -> nn.Module:
    """A 3x7x7 convolution."""
    return _units((same_conv(in_channels, 64, (3, 7, 7), (1, 2, 2)), 64))


def split_stem(in_channels: int) -> nn.Module:
    """A 1x7x7 and a 3x1x1 convolution."""
    return _units((same_conv(in_channels, 45, (1, 7, 7), (1, 2, 2)), 45), (same_conv(45, 64, (3, 1, 1)), 64))


def _units(*convs: tuple[nn.Module, int]) -> nn.Sequential:
    """Convolutions, given with their output channels, each followed by a batch normalization and a ReLU."""
    layers = [layer for conv, channels in convs for layer in (conv, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers)


published = partial(torchvision, protocol="r3d_18", frames=16, views="5 clips", size=112)
VARIANTS = {  # name: stem, convolutions of the stages, whether stages halve the time axis, accuracy
    "r3d_18": (joint_stem, [full] * 4, True, published("r3d_18-b3b3357e", top1=63.200, top5=83.479)),
    "mc3_18": (
        joint_stem,
        [full, spatial, spatial, spatial],
        False,
        published("mc3_18-a90a0ba3", top1=63.96, top5=84.13),
    ),
    "r2plus1d_18": (split_stem, [split] * 4, True, published("r2plus1d_18-91a641e6", top1=67.463, top5=86.175)),
}
for _name, (_stem, _convs, _halves_time, _published) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            partial(video_resnet, _stem, _convs, _halves_time),
            input=INPUT,
            options={"dropout": 0.0},
            paper="arXiv:1711.11248",
            weights={"torchvision": Layout()},
            published=(_published,),
        ),
    )
