"""3D ResNets, with pre-activation, wide and ResNeXt blocks.

Paper: Hara, Kataoka and Satoh, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR 2018
(arXiv:1711.09577), whose published weights they read (layout `hara`). The stem's pool and the last three stages halve
time and space; T frames leave as ceil(T / 16) with the default stem.

Differences from the reference: type-A shortcuts pass gradients (it cuts them off); the pre-activation and ResNeXt nets,
which it cannot build, can be built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout
from actrec.nets.blocks import Pool3d, Triple
from actrec.nets.residual import (
    BASIC,
    PLANES,
    STAGES,
    BasicBlock,
    Bottleneck,
    ResNet,
    block_of,
    halving,
    plain_stem,
    shortcut_of,
)

INPUT = Input(mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737), frames=16, size=112)
DEPTHS = tuple(STAGES)
DEEP = tuple(depth for depth in STAGES if depth not in BASIC)
PAPER = "arXiv:1711.09577"


class PreactBasicBlock(BasicBlock):
    """Normalization and ReLU before each convolution; the shortcut takes the raw input."""

    def __init__(self, in_channels: int, planes: int, **options):
        super().__init__(in_channels, planes, **options)
        self.bn1 = nn.BatchNorm3d(in_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.bn1(x), inplace=True))
        return self.conv2(F.relu(self.bn2(x), inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x).add_(self.shortcut(x))


class PreactBottleneck(Bottleneck):
    """A bottleneck with normalization and ReLU before each convolution; the shortcut takes the raw input."""

    def __init__(self, in_channels: int, planes: int, **options):
        super().__init__(in_channels, planes, **options)
        self.bn1, self.bn3 = nn.BatchNorm3d(in_channels), nn.BatchNorm3d(planes)

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.bn1(x), inplace=True))
        x = self.conv2(F.relu(self.bn2(x), inplace=True))
        return self.conv3(F.relu(self.bn3(x), inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x).add_(self.shortcut(x))


def stem_pool_of(wanted: bool) -> Pool3d | None:
    """The pool behind the stem."""
    return Pool3d("max", (3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1)) if wanted else None


def widened(channels: int, factor: float) -> int:
    """Raises ValueError if nothing is left."""
    if int(channels * factor) < 1:
        raise ValueError(f"widen {factor}: expected at least {1 / PLANES[0]:.3g}")
    return int(channels * factor)


def _net(
    depth: int,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    shortcut: str,
    stem_kernel_t: int,
    stem_stride_t: int,
    stem_pool: bool,
    stem_channels: int,
    planes: tuple[int, ...],
    block: Callable[..., nn.Module],
    expansion: int,
) -> ResNet:
    return ResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=plain_stem(in_channels, stem_channels, *stem_window(stem_kernel_t, stem_stride_t)),
        pool=stem_pool_of(stem_pool),
        stem_channels=stem_channels,
        depth=depth,
        planes=planes,
        strides=halving(temporal=True),
        block=block,
        expansion=expansion,
        shortcut=shortcut_of(shortcut),
        head_std=None,
    )


def stem_window(kernel_t: int, stride_t: int) -> tuple[Triple, Triple]:
    """Kernel and stride of the first convolution. Raises ValueError for an even kernel, whose padding would not keep
    the length, and for no stride."""
    if kernel_t < 1 or kernel_t % 2 == 0:
        raise ValueError(f"stem_kernel_t {kernel_t}: expected an odd number")
    if stride_t < 1:
        raise ValueError(f"stem_stride_t {stride_t}: expected at least 1")
    return (kernel_t, 7, 7), (stride_t, 2, 2)


def resnet3d(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.0,
    shortcut: str = "B",
    stem_kernel_t: int = 7,
    stem_stride_t: int = 1,
    stem_pool: bool = True,
    widen: float = 1.0,
) -> ResNet:
    """3D ResNet.

    Args:
        num_classes: logits per clip.
        in_channels: channels of a frame.
        dropout: before the last layer; probability.
        shortcut: where sizes differ: A, without parameters, or B, a convolution.
        stem_kernel_t: frames of the first kernel.
        stem_stride_t: step in frames of the first convolution.
        stem_pool: pool behind it.
        widen: times as many channels.
    """
    block, expansion = block_of(depth)
    planes = tuple(widened(width, widen) for width in PLANES)
    return _net(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        shortcut=shortcut,
        stem_kernel_t=stem_kernel_t,
        stem_stride_t=stem_stride_t,
        stem_pool=stem_pool,
        stem_channels=planes[0],
        planes=planes,
        block=block,
        expansion=expansion,
    )


def preact_resnet3d(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.0,
    shortcut: str = "B",
    stem_kernel_t: int = 7,
    stem_stride_t: int = 1,
    stem_pool: bool = True,
) -> ResNet:
    """3D ResNet with pre-activation (He et al., ECCV 2016, arXiv:1603.05027), but without the normalization behind the
    last block, as in the reference; arguments as of `resnet3d`."""
    basic = depth in BASIC
    return _net(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        shortcut=shortcut,
        stem_kernel_t=stem_kernel_t,
        stem_stride_t=stem_stride_t,
        stem_pool=stem_pool,
        stem_channels=64,
        planes=PLANES,
        block=PreactBasicBlock if basic else PreactBottleneck,
        expansion=1 if basic else 4,
    )


def wide_resnet3d(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.0,
    shortcut: str = "B",
    stem_kernel_t: int = 7,
    stem_stride_t: int = 1,
    stem_pool: bool = True,
    widen: float = 2.0,
) -> ResNet:
    """Wide 3D ResNet (Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146); arguments as of `resnet3d`."""
    planes = tuple(widened(width, widen) for width in PLANES)
    return _net(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        shortcut=shortcut,
        stem_kernel_t=stem_kernel_t,
        stem_stride_t=stem_stride_t,
        stem_pool=stem_pool,
        stem_channels=planes[0],
        planes=planes,
        block=partial(Bottleneck, expansion=2),
        expansion=2,
    )


def resnext3d(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.0,
    shortcut: str = "B",
    stem_kernel_t: int = 7,
    stem_stride_t: int = 1,
    stem_pool: bool = True,
    cardinality: int = 32,
) -> ResNet:
    """3D ResNeXt (Xie et al., CVPR 2017, arXiv:1611.05431); arguments as of `resnet3d`.

    Args:
        cardinality: groups of the middle convolutions, a multiple of 4.
    """
    if cardinality < 4 or cardinality % 4:
        raise ValueError(f"cardinality {cardinality}: expected a multiple of 4")

    def block(in_channels: int, planes: int, **options) -> Bottleneck:
        width = cardinality * planes // 32
        return Bottleneck(in_channels, planes, width=width, groups=cardinality, expansion=2, **options)

    return _net(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        shortcut=shortcut,
        stem_kernel_t=stem_kernel_t,
        stem_stride_t=stem_stride_t,
        stem_pool=stem_pool,
        stem_channels=128,
        planes=tuple(2 * width for width in PLANES),
        block=block,
        expansion=2,
    )


HARA = {"hara": Layout()}
SHAPED = ({"shortcut": "A"},)  # options that change the weights' shapes
FAMILIES = {  # name: builder, depths, layouts
    "resnet3d": (resnet3d, DEPTHS, {**HARA, "torchvision2d": Layout()}),
    "preact_resnet3d": (preact_resnet3d, DEPTHS, HARA),
    "wide_resnet3d": (wide_resnet3d, DEEP, HARA),
    "resnext3d": (resnext3d, DEEP, HARA),
}
for _family, (_build, _depths, _layouts) in FAMILIES.items():
    for _depth in _depths:
        NETS.add(
            f"{_family}_{_depth}",
            Entry(partial(_build, _depth), input=INPUT, paper=PAPER, weights=_layouts, forms=SHAPED),
        )
