"""What the ResNet families share: blocks, shortcuts, and a net of a stem and four stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets.backbone import Backbone
from actrec.nets.layers import ConvMaker, Pool3d, Triple, WindowPool, init_convs, logits_of_windows, one_of, same_conv

STAGES = {  # depth: blocks of each stage
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
PLANES = (64, 128, 256, 512)
BASIC = (10, 18, 34)  # depths with basic blocks; the others have bottlenecks

Shortcut = Callable[[int, int, Triple], nn.Module]  # (in_channels, out_channels, stride) -> the shortcut


class Residual(nn.Module):
    """The ReLU of the sum of a branch and a shortcut.

    Args:
        shortcut: maps the input to the shape of the branch's output. None if the shapes are the same.
    """

    def __init__(self, shortcut: nn.Module | None):
        super().__init__()
        self.downsample = shortcut

    if TYPE_CHECKING:  # submodules are registered by name, so that their types are unknown

        def __getattr__(self, name: str) -> Any: ...

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut(x)
        return F.relu(self.branch(x).add_(shortcut), inplace=True)


class BasicBlock(Residual):
    """Two 3x3 convolutions, the first with the stride.

    Args:
        in_channels: channels of the block's input.
        planes: output channels of both convolutions.
        stride: stride of the first convolution.
        shortcut: as for `Residual`.
        conv: makes the convolutions, without bias.
        norm: makes the normalizations from their number of channels.
        kernel: kernel of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        *,
        stride: Triple,
        shortcut: nn.Module | None,
        conv: ConvMaker = same_conv,
        norm: Callable[[int], nn.Module] = nn.BatchNorm3d,
        kernel: Triple = (3, 3, 3),
    ):
        super().__init__(shortcut)
        self.conv1 = conv(in_channels, planes, kernel, stride)
        self.bn1 = norm(planes)
        self.conv2 = conv(planes, planes, kernel)
        self.bn2 = norm(planes)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.bn2(self.conv2(x))


class Bottleneck(Residual):
    """A 1x1 convolution to fewer channels, a 3x3 convolution with the stride, and a 1x1 convolution to more channels.

    Args:
        in_channels, planes, stride, shortcut, conv: as for `BasicBlock`.
        kernel: kernel of the middle convolution.
        kernel1: kernel of the first convolution.
        expansion: the block's output has `expansion * planes` channels.
        width: channels of the middle convolution, by default `planes`.
        groups: groups of the middle convolution.
    """

    def __init__(
        self,
        in_channels: int,
        planes: int,
        *,
        stride: Triple,
        shortcut: nn.Module | None,
        conv: ConvMaker = same_conv,
        kernel: Triple = (3, 3, 3),
        kernel1: Triple = (1, 1, 1),
        expansion: int = 4,
        width: int | None = None,
        groups: int = 1,
    ):
        super().__init__(shortcut)
        width = width if width is not None else planes
        self.conv1 = conv(in_channels, width, kernel1)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = conv(width, width, kernel, stride, groups=groups)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = conv(width, planes * expansion, (1, 1, 1))
        self.bn3 = nn.BatchNorm3d(planes * expansion)

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return self.bn3(self.conv3(x))


class PaddedShortcut(nn.Module):
    """Type A: the subsampled input, with channels of zeros appended. It has no parameters and passes gradients."""

    def __init__(self, in_channels: int, out_channels: int, stride: Triple):
        super().__init__()
        self.extra, self.stride = out_channels - in_channels, stride

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = self.stride
        return F.pad(x[:, :, ::t, ::h, ::w], (0, 0, 0, 0, 0, 0, 0, self.extra))


def projection(
    in_channels: int,
    out_channels: int,
    stride: Triple,
    *,
    conv: ConvMaker = same_conv,
    norm: Callable[[int], nn.Module] = nn.BatchNorm3d,
) -> nn.Module:
    """Type B: a 1x1 convolution and a batch normalization."""
    return nn.Sequential(conv(in_channels, out_channels, (1, 1, 1), stride), norm(out_channels))


SHORTCUTS: Mapping[str, Shortcut] = {"A": PaddedShortcut, "B": projection}


def shortcut_of(kind: str) -> Shortcut:
    """The shortcut for a letter of the paper, A or B. Raises ValueError for any other."""
    return one_of("shortcut", kind, SHORTCUTS)


def block_of(depth: int) -> tuple[type[Residual], int]:
    """The kind of block of ResNets of this depth, and its expansion."""
    return (BasicBlock, 1) if depth in BASIC else (Bottleneck, 4)


def stage(
    count: int,
    channels: int,
    planes: int,
    *,
    stride: Triple,
    block: Callable[..., nn.Module],
    expansion: int,
    shortcut: Shortcut = projection,
) -> nn.Sequential:
    """The blocks of a stage. The first has the stride and, where it changes the shape of its input, a shortcut.

    Args:
        count: number of blocks.
        channels: channels of the input.
        planes, stride, block, expansion, shortcut: as for `ResNet`, those of one stage.
    """
    blocks = []
    for i in range(count):
        step, out_channels = stride if i == 0 else (1, 1, 1), planes * expansion
        fits = step == (1, 1, 1) and channels == out_channels
        lead = None if fits else shortcut(channels, out_channels, step)
        blocks.append(block(channels, planes, stride=step, shortcut=lead))
        channels = out_channels
    return nn.Sequential(*blocks)


class ResNet(Backbone):
    """A stem and four stages of blocks.

    Args:
        num_classes, in_channels, dropout, head_std: as for `Backbone`.
        stem: the modules of the stem, by the names that they have in weights files. `stem_map` applies them.
        pool: the pool after the stem, or None.
        stem_channels: output channels of the stem.
        depth: a key of `STAGES`.
        planes: channels inside the blocks of each stage.
        strides: stride of the first block of each stage.
        block: makes a block from input channels, planes, `stride` and `shortcut`.
        expansion: a stage's output has `expansion * planes` channels.
        shortcut: makes the shortcut of a block that changes the shape of its input.
        window: the head averages over each window of this size, instead of over the whole map, and then over all
            windows (see `window_average`). It is in steps of the last map.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        stem: Mapping[str, nn.Module],
        pool: Pool3d | None,
        stem_channels: int,
        depth: int,
        planes: Sequence[int] = PLANES,
        strides: Sequence[Triple],
        block: Callable[..., nn.Module],
        expansion: int,
        shortcut: Shortcut = projection,
        head_std: float | None,
        window: Triple | None = None,
    ):
        super().__init__(
            num_features=planes[-1] * expansion, in_channels=in_channels, dropout=dropout, head_std=head_std
        )
        for name, module in stem.items():
            self.add_module(name, module)
        self.maxpool = pool if pool is not None else nn.Identity()
        channels = stem_channels
        for number, (count, width, stride) in enumerate(zip(STAGES[depth], planes, strides), 1):
            blocks = stage(count, channels, width, stride=stride, block=block, expansion=expansion, shortcut=shortcut)
            self.add_module(f"layer{number}", blocks)
            channels = width * expansion
        self.windows = WindowPool(window) if window is not None else None
        init_convs(self)
        self.reset_head(num_classes)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        return self.layer1, self.layer2, self.layer3, self.layer4

    def stem_map(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(x)), inplace=True)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = self.maxpool(self.stem_map(x_NCTHW))
        for layers in self.stages:
            x = layers(x)
        return x

    def head(self, features_NCTHW: Tensor) -> Tensor:
        if self.windows is None:
            return super().head(features_NCTHW)
        return logits_of_windows(self.fc, self.dropout(self.windows(features_NCTHW)), self.window_average)


def plain_stem(
    in_channels: int, out_channels: int, kernel: Triple, stride: Triple, *, conv: ConvMaker = same_conv
) -> dict[str, nn.Module]:
    """One convolution and a batch normalization."""
    return {"conv1": conv(in_channels, out_channels, kernel, stride), "bn1": nn.BatchNorm3d(out_channels)}


def image_pool() -> Pool3d:
    """The pool after the stem of an image ResNet."""
    return Pool3d("max", (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


def halving(temporal: bool) -> tuple[Triple, ...]:
    """Strides of the stages: the last three halve space and, if `temporal`, time."""
    return ((1, 1, 1), *[(2 if temporal else 1, 2, 2)] * 3)
