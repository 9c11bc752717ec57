"""3D ResNets, also with pre-activation, wide and ResNeXt blocks.

Paper: Hara, Kataoka and Satoh, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR 2018
(arXiv:1711.09577). The nets read its published weights (layout `hara`). The pool of the stem and the last three stages
halve time and space: with the default stem, T frames become ceil(T / 16) steps.

Differences from the reference code: gradients pass through type-A shortcuts, where the reference stops them; and the
pre-activation and ResNeXt nets, which the reference cannot build, can be built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue
from actrec.nets.layers import Pool3d, Triple
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
PAPER = "arXiv:1711.09577"


class PreactBasicBlock(BasicBlock):
    """A basic block with normalization and ReLU before each convolution. The shortcut takes the raw input."""

    def __init__(self, in_channels: int, planes: int, **options):
        super().__init__(in_channels, planes, **options)
        self.bn1 = nn.BatchNorm3d(in_channels)

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.bn1(x), inplace=True))
        return self.conv2(F.relu(self.bn2(x), inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x).add_(self.shortcut(x))


class PreactBottleneck(Bottleneck):
    """A bottleneck with normalization and ReLU before each convolution. The shortcut takes the raw input."""

    def __init__(self, in_channels: int, planes: int, **options):
        super().__init__(in_channels, planes, **options)
        self.bn1, self.bn3 = nn.BatchNorm3d(in_channels), nn.BatchNorm3d(planes)

    def branch(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.bn1(x), inplace=True))
        x = self.conv2(F.relu(self.bn2(x), inplace=True))
        return self.conv3(F.relu(self.bn3(x), inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x).add_(self.shortcut(x))


def resnet3d(
    depth: int,
    block: Callable[..., nn.Module],
    expansion: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    shortcut: str,
    stem_kernel_t: int,
    stem_stride_t: int,
    stem_pool: bool,
    widen: float = 1.0,
) -> ResNet:
    """3D ResNet.

    Args:
        depth: a key of `residual.STAGES`.
        block, expansion: as for `residual.ResNet`.
        num_classes: number of logits per clip.
        in_channels: channels of a frame.
        dropout: probability of dropout before the last layer.
        shortcut: shortcuts between maps of different sizes: A, without parameters, or B, a convolution.
        stem_kernel_t: extent of the first kernel in frames, an odd number.
        stem_stride_t: stride of the first convolution in frames.
        stem_pool: pool after the first convolution.
        widen: factor by which the number of channels is multiplied.
    """
    planes = tuple(widened(width, widen) for width in PLANES)
    return ResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=plain_stem(in_channels, planes[0], *stem_window(stem_kernel_t, stem_stride_t)),
        pool=stem_pool_of(stem_pool),
        stem_channels=planes[0],
        depth=depth,
        planes=planes,
        strides=halving(temporal=True),
        block=block,
        expansion=expansion,
        shortcut=shortcut_of(shortcut),
        head_std=None,
    )


def resnext3d(depth: int, /, *, cardinality: int, **options) -> ResNet:
    """3D ResNeXt (Xie et al., CVPR 2017, arXiv:1611.05431).

    Args:
        cardinality: groups of the middle convolutions, a multiple of 4.
        options: as for `resnet3d`.
    """
    if cardinality < 4 or cardinality % 4:
        raise ValueError(f"cardinality {cardinality}: expected a multiple of 4")

    def block(in_channels: int, planes: int, **options) -> Bottleneck:
        width = cardinality * planes // 32
        return Bottleneck(in_channels, planes, width=width, groups=cardinality, expansion=2, **options)

    return resnet3d(depth, block, 2, widen=2.0, **options)


def stem_pool_of(pooled: bool) -> Pool3d | None:
    """The pool after the stem."""
    return Pool3d("max", (3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1)) if pooled else None


def stem_window(kernel_t: int, stride_t: int) -> tuple[Triple, Triple]:
    """Kernel and stride of the first convolution.

    Raises:
        ValueError: the kernel is even, so that no padding would keep the length of the clip; or the stride is below 1.
    """
    if kernel_t < 1 or kernel_t % 2 == 0:
        raise ValueError(f"stem_kernel_t {kernel_t}: expected an odd number")
    if stride_t < 1:
        raise ValueError(f"stem_stride_t {stride_t}: expected at least 1")
    return (kernel_t, 7, 7), (stride_t, 2, 2)


def widened(channels: int, factor: float) -> int:
    """The number of channels times a factor. Raises ValueError if no channel is left."""
    if int(channels * factor) < 1:
        raise ValueError(f"widen {factor}: expected at least {1 / PLANES[0]:.3g}")
    return int(channels * factor)


def _builder(family: str, depth: int) -> Callable[..., ResNet]:
    """Makes a net of a family from its options."""
    basic = depth in BASIC
    if family == "resnet3d":
        return partial(resnet3d, depth, *block_of(depth))
    if family == "preact_resnet3d":  # without the normalization after the last block, as in the reference
        return partial(resnet3d, depth, PreactBasicBlock if basic else PreactBottleneck, 1 if basic else 4)
    if family == "wide_resnet3d":
        return partial(resnet3d, depth, partial(Bottleneck, expansion=2), 2)
    return partial(resnext3d, depth)


STEM_OPTIONS: dict[str, OptionValue] = {"stem_kernel_t": 7, "stem_stride_t": 1, "stem_pool": True}
OPTIONS: dict[str, OptionValue] = {"dropout": 0.0, "shortcut": "B", **STEM_OPTIONS}
FORMS = ({"shortcut": "A"},)  # options that change the shapes of the weights
DEEP = tuple(depth for depth in DEPTHS if depth not in BASIC)
HARA = {"hara": Layout()}
FAMILIES: dict[str, tuple[tuple[int, ...], dict[str, OptionValue], dict[str, Layout]]] = {  # depths, options, layouts
    "resnet3d": (DEPTHS, {**OPTIONS, "widen": 1.0}, {**HARA, "torchvision2d": Layout()}),
    "preact_resnet3d": (DEPTHS, OPTIONS, HARA),  # He et al., ECCV 2016, arXiv:1603.05027
    "wide_resnet3d": (DEEP, {**OPTIONS, "widen": 2.0}, HARA),  # Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146
    "resnext3d": (DEEP, {**OPTIONS, "cardinality": 32}, HARA),
}
for _family, (_depths, _options, _layouts) in FAMILIES.items():
    for _depth in _depths:
        NETS.add(
            f"{_family}_{_depth}",
            Entry(_builder(_family, _depth), input=INPUT, options=_options, paper=PAPER, weights=_layouts, forms=FORMS),
        )
