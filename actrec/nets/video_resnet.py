"""torchvision's three video ResNets of depth 18: R3D, MC3 and R(2+1)D.

Paper: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018
(arXiv:1711.11248). They read torchvision's weights (layout `torchvision`).

Time is halved by the last three stages (by none in MC3, whose kernels beyond the first stage see one frame).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, Published
from actrec.nets.blocks import Triple, same_conv
from actrec.nets.residual import Residual, ResNet, halving
from actrec.nets.resnet2p1d import middle_channels

INPUT = Input(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989), frames=16, size=112)
Conv = Callable[..., nn.Module]  # (in_channels, out_channels, stride, middle=) -> convolution


def full(in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, middle: int) -> nn.Module:
    """3x3x3."""
    return same_conv(in_channels, out_channels, (3, 3, 3), stride)


def spatial(in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, middle: int) -> nn.Module:
    """1x3x3."""
    return same_conv(in_channels, out_channels, (1, 3, 3), (1, *stride[1:]))


def split(in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, middle: int) -> nn.Module:
    """1x3x3 to `middle` channels, normalization, ReLU, 3x1x1."""
    return nn.Sequential(
        same_conv(in_channels, middle, (1, 3, 3), (1, *stride[1:])),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        same_conv(middle, out_channels, (3, 1, 1), (stride[0], 1, 1)),
    )


class VideoBlock(Residual):
    """Two convolutions and a shortcut; both have as many middle channels as the first."""

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None, conv: Conv):
        super().__init__(shortcut)
        middle = middle_channels(in_channels, planes)
        first = conv(in_channels, planes, stride, middle=middle)
        self.conv1 = nn.Sequential(first, nn.BatchNorm3d(planes), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(conv(planes, planes, middle=middle), nn.BatchNorm3d(planes))

    def branch(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class VideoResNet(ResNet):
    """The stem is a sequence."""

    def stem_map(self, x: Tensor) -> Tensor:
        return self.stem(x)


def _stem(*layers: tuple[nn.Module, int]) -> Mapping[str, nn.Module]:
    """Convolutions with their numbers of channels, each normalized and with a ReLU."""
    parts = [part for conv, channels in layers for part in (conv, nn.BatchNorm3d(channels), nn.ReLU(inplace=True))]
    return {"stem": nn.Sequential(*parts)}


def _net(
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    stem: Mapping[str, nn.Module],
    convs: Sequence[Conv],
    strides: tuple[Triple, ...],
) -> VideoResNet:
    stages = iter([conv for conv in convs for _ in range(2)])  # two blocks each
    return VideoResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=stem,
        pool=None,
        stem_channels=64,
        depth=18,
        strides=strides,
        block=lambda *sizes, **options: VideoBlock(*sizes, **options, conv=next(stages)),
        expansion=1,
        head_std=0.01,
    )


def r3d_18(*, num_classes: int = 400, in_channels: int = 3, dropout: float = 0.0) -> VideoResNet:
    """R3D-18; the arguments are those of `Backbone`."""
    stem = _stem((same_conv(in_channels, 64, (3, 7, 7), (1, 2, 2)), 64))
    return _net(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=stem,
        convs=[full] * 4,
        strides=halving(temporal=True),
    )


def mc3_18(*, num_classes: int = 400, in_channels: int = 3, dropout: float = 0.0) -> VideoResNet:
    """MC3-18; the arguments are those of `Backbone`."""
    stem = _stem((same_conv(in_channels, 64, (3, 7, 7), (1, 2, 2)), 64))
    return _net(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=stem,
        convs=[full, spatial, spatial, spatial],
        strides=halving(temporal=False),
    )


def r2plus1d_18(*, num_classes: int = 400, in_channels: int = 3, dropout: float = 0.0) -> VideoResNet:
    """R(2+1)D-18; the arguments are those of `Backbone`."""
    space, time = same_conv(in_channels, 45, (1, 7, 7), (1, 2, 2)), same_conv(45, 64, (3, 1, 1))
    return _net(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=_stem((space, 45), (time, 64)),
        convs=[split] * 4,
        strides=halving(temporal=True),
    )


published = partial(Published, "Kinetics-400", frames=16, views="5 clips", size=112, source="torchvision 0.14")
VARIANTS = {
    "r3d_18": (r3d_18, published(63.200, 83.479)),
    "mc3_18": (mc3_18, published(63.960, 84.130)),
    "r2plus1d_18": (r2plus1d_18, published(67.463, 86.175)),
}
for _name, (_build, _published) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            _build,
            input=INPUT,
            paper="arXiv:1711.11248",
            weights={"torchvision": Layout()},
            published=(_published,),
        ),
    )
