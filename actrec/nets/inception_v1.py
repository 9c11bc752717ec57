"""TSN, TAM and TSM on GoogLeNet (Inception v1): each frame passes the net, the logits are averaged over time.

GoogLeNet: Szegedy et al., CVPR 2015 (arXiv:1409.4842), with torchvision's layers (its 5x5 branch is 3x3). The reference
is Chen et al., CVPR 2021 (arXiv:2010.11757), whose TSN and TAM weights it reads (layout `ibm`); torchvision's ImageNet
GoogLeNet is `torchvision2d`. TAM replaces the signal behind each unit of the stem and each block; TSM, which has no
published weights here, shifts the input of each block. With temporal stride a pool halves the time axis before blocks
3a, 4a and 5a; clips then have a multiple of 8 frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.blocks import (
    INCEPTION_CHANNELS,
    Backbone,
    Conv2d,
    ConvUnit,
    InceptionBlock,
    Pool3d,
    PoolKind,
    smallest_extent,
)
from actrec.nets.i3d import GOOGLENET_DROPPED, INPUT
from actrec.nets.resnet2d import FRAMES_MULTIPLE, temporal_halving
from actrec.nets.temporal import TemporalAggregation, TemporalShift

unit2d = partial(ConvUnit, conv=Conv2d)
HALVED = ("3a", "4a", "5a")  # blocks behind a temporal pool


class Inception2d(Backbone):
    """GoogLeNet over frames.

    Args:
        num_classes, in_channels, dropout: as for `Backbone`.
        temporal_stride: halve the time axis before blocks 3a, 4a and 5a.
        temporal_pool: how.
        mix_after: makes the temporal module behind a unit or block from its channels.
        mix_before: makes the one before a block.
    """

    channels_last = torch.channels_last

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        temporal_stride: bool,
        temporal_pool: PoolKind,
        mix_after: Callable[[int], nn.Module] | None = None,
        mix_before: Callable[[], nn.Module] | None = None,
    ):
        super().__init__(num_features=1024, in_channels=in_channels, dropout=dropout, head_std=None)
        stem = {
            "1": unit2d(in_channels, 64, kernel=(1, 7, 7), stride=(1, 2, 2)),
            "2": unit2d(64, 64),
            "3": unit2d(64, 192, kernel=(1, 3, 3)),
        }
        for name, unit in stem.items():
            self.add_module(f"conv{name}", unit)
            if mix_after is not None:
                self.add_module(f"tam{name}", mix_after(unit.conv.out_channels))
        for name, channels in INCEPTION_CHANNELS.items():
            block = InceptionBlock(channels, unit=partial(unit2d, kernel=(1, 3, 3)), conv=Conv2d, pool=(1, 3, 3))
            self.add_module(f"inception{name}", block)
            if mix_after is not None:
                self.add_module(f"tam{name}", mix_after(_out_channels(channels)))
        self.pool = Pool3d("max", (1, 3, 3), stride=(1, 2, 2), ceil_mode=True)
        self.last_pool = Pool3d("max", (1, 2, 2), stride=(1, 2, 2), ceil_mode=True)
        self._mixes_after = mix_after is not None
        self.shift = mix_before() if mix_before is not None else nn.Identity()
        halve = temporal_halving(temporal_pool)
        self.halve = halve if temporal_stride else nn.Identity()
        self.frames_multiple = FRAMES_MULTIPLE if temporal_stride else 1
        self.reset_head(num_classes)
        narrowing = (self.conv1.conv, self.pool, self.pool, self.pool, self.last_pool)
        self.min_size = smallest_extent(narrowing, axis=1)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = x_NCTHW.contiguous(memory_format=torch.channels_last_3d)  # frames are views of it
        x = self.pool(self._mixed("1", self.conv1(x)))
        x = self.pool(self._mixed("3", self.conv3(self._mixed("2", self.conv2(x)))))
        for name in INCEPTION_CHANNELS:
            if name == "4a":
                x = self.pool(x)
            elif name == "5a":
                x = self.last_pool(x)
            if name in HALVED:
                x = self.halve(x)
            x = self._mixed(name, self.get_submodule(f"inception{name}")(self.shift(x)))
        return x

    def _mixed(self, name: str, x: Tensor) -> Tensor:
        return self.get_submodule(f"tam{name}")(x) if self._mixes_after else x


def _out_channels(row: tuple) -> int:
    """Of the block of a row of `INCEPTION_CHANNELS`."""
    _, branch1, (_, branch2), (_, branch3), branch4 = row
    return branch1 + branch2 + branch3 + branch4


def tsn_inception_v1(
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = True,
    temporal_pool: PoolKind = "max",
) -> Inception2d:
    """TSN; the arguments are those of `Inception2d`."""
    return Inception2d(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
    )


def tam_inception_v1(
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = True,
    temporal_pool: PoolKind = "max",
    blending_frames: int = 3,
    blending: str = "sum",
    depthwise_blending: bool = True,
) -> Inception2d:
    """TAM; the arguments are those of `Inception2d` and `TemporalAggregation`."""
    return Inception2d(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
        mix_after=partial(TemporalAggregation, frames=blending_frames, blending=blending, depthwise=depthwise_blending),
    )


def tsm_inception_v1(
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = False,
    temporal_pool: PoolKind = "max",
) -> Inception2d:
    """TSM; the arguments are those of `Inception2d`."""
    return Inception2d(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
        mix_before=TemporalShift,
    )


IMAGE = Layout(dropped=GOOGLENET_DROPPED)
VARIANTS = {  # name: builder, paper, layouts, option sets of other shapes
    "tsn_inception_v1": (tsn_inception_v1, "arXiv:1608.00859", {"ibm": Layout(), "torchvision2d": IMAGE}, ()),
    "tam_inception_v1": (
        tam_inception_v1,
        "arXiv:1912.00869",
        {"ibm": Layout(), "torchvision2d": Layout(dropped=GOOGLENET_DROPPED, fresh=(r"tam.+",))},
        ({"blending_frames": 5}, {"blending_frames": 4}, {"depthwise_blending": False}),
    ),
    "tsm_inception_v1": (tsm_inception_v1, "arXiv:1811.08383", {"torchvision2d": IMAGE}, ()),
}
for _name, (_build, _paper, _layouts, _forms) in VARIANTS.items():
    NETS.add(_name, Entry(_build, input=INPUT, paper=_paper, weights=_layouts, forms=_forms))
