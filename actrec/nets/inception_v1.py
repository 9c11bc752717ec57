"""TSN, TAM and TSM on GoogLeNet (Inception v1): the net processes each frame, and the logits are averaged over time.

GoogLeNet: Szegedy et al., CVPR 2015 (arXiv:1409.4842), with the layers of torchvision, which has 3x3 in place of 5x5
kernels. The reference is Chen et al., CVPR 2021 (arXiv:2010.11757); the nets read its weights of TSN and TAM (layout
`ibm`) and torchvision's ImageNet GoogLeNet (layout `torchvision2d`).

TAM is applied to the output of each unit of the stem and of each block. TSM shifts the input of each block; no weights
of it were published. With temporal stride, a pool halves the time axis before the blocks 3a, 4a and 5a; the number of
frames must then be a multiple of 8.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.backbone import Backbone
from actrec.nets.i3d import INPUT
from actrec.nets.inception import GOOGLENET_DROPPED, INCEPTION_CHANNELS, ConvUnit, InceptionBlock, block_outputs
from actrec.nets.layers import Conv2d, Pool3d, PoolKind, smallest_extent
from actrec.nets.resnet2d import BLENDING_FORMS, BLENDING_OPTIONS, FRAMES_MULTIPLE, OPTIONS, temporal_halving
from actrec.nets.temporal import TemporalAggregation, TemporalShift

unit2d = partial(ConvUnit, conv=Conv2d)
HALVED = ("3a", "4a", "5a")  # blocks after a temporal pool


class Inception2d(Backbone):
    """GoogLeNet, applied to each frame.

    Args:
        num_classes, in_channels, dropout: as for `Backbone`.
        temporal_stride: halve the time axis before blocks 3a, 4a and 5a.
        temporal_pool: the pool that halves it: max or avg.
        mix_after: makes the temporal module after a unit or block from its number of channels.
        mix_before: makes the temporal module before a block.
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
                self.add_module(f"tam{name}", mix_after(unit.bn.num_features))
        for name, channels in INCEPTION_CHANNELS.items():
            block = InceptionBlock(channels, unit=partial(unit2d, kernel=(1, 3, 3)), conv=Conv2d, pool=(1, 3, 3))
            self.add_module(f"inception{name}", block)
            if mix_after is not None:
                self.add_module(f"tam{name}", mix_after(block_outputs(channels)))
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
        x = x_NCTHW.contiguous(memory_format=torch.channels_last_3d)  # so that the frames are a view
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


def tam_inception_v1(*, blending_frames: int, blending: str, depthwise_blending: bool, **options) -> Inception2d:
    """TAM. The arguments are those of `TemporalAggregation` and `Inception2d`."""
    mix = partial(TemporalAggregation, frames=blending_frames, blending=blending, depthwise=depthwise_blending)
    return Inception2d(mix_after=mix, **options)


TSN_PAPER, TAM_PAPER, TSM_PAPER = "arXiv:1608.00859", "arXiv:1912.00869", "arXiv:1811.08383"
IMAGE = {"torchvision2d": Layout(dropped=GOOGLENET_DROPPED)}
IMAGE_TAM = {"torchvision2d": Layout(dropped=GOOGLENET_DROPPED, fresh=(r"tam.+",))}
IBM = {"ibm": Layout()}
entry = partial(Entry, input=INPUT)
NETS.add("tsn_inception_v1", entry(Inception2d, options=OPTIONS, paper=TSN_PAPER, weights={**IBM, **IMAGE}))
NETS.add(
    "tam_inception_v1",
    entry(
        tam_inception_v1,
        options={**OPTIONS, **BLENDING_OPTIONS},
        paper=TAM_PAPER,
        weights={**IBM, **IMAGE_TAM},
        forms=BLENDING_FORMS,
    ),
)
NETS.add(
    "tsm_inception_v1",
    entry(
        partial(Inception2d, mix_before=TemporalShift),
        options={**OPTIONS, "temporal_stride": False},
        paper=TSM_PAPER,
        weights=IMAGE,
    ),
)
