"""TSN, TAM and TSM on image ResNets: each frame passes the ResNet, the logits are averaged over time.

TSN (Wang et al., ECCV 2016, arXiv:1608.00859) mixes no frames; TAM (Fan et al., NeurIPS 2019, arXiv:1912.00869) and TSM
(Lin et al., ICCV 2019, arXiv:1811.08383) do so at the input of each residual branch. With temporal stride a pool halves
the time axis behind each of the first three stages; clips then have a multiple of 8 frames. TSM's published weights
have no temporal stride, so its default is none.

Weights: TSN and TAM of Chen et al. (layout `ibm`, arXiv:2010.11757), those of TSM's authors (`tsm`), mmaction2's TSN
and TSM (`mmaction2`), and torchvision's ImageNet ResNet (`torchvision2d`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, Published, mmaction2
from actrec.nets.blocks import Conv2d, Pool3d, PoolKind, same_conv
from actrec.nets.residual import (
    BASIC,
    BasicBlock,
    Bottleneck,
    Residual,
    ResNet,
    halving,
    image_pool,
    plain_stem,
    projection,
)
from actrec.nets.temporal import TemporalAggregation, TemporalShift

INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=8, size=224)
DEPTHS = (18, 34, 50, 101, 152)
FRAMES_MULTIPLE = 8  # of a clip that three pools halve
conv2d = partial(same_conv, conv=Conv2d)


class ResNet2d(ResNet):
    """A ResNet over frames.

    Args:
        depth: a key of `residual.STAGES`.
        num_classes, in_channels, dropout: as for `Backbone`.
        temporal_stride: halve the time axis behind each of the first three stages.
        temporal_pool: how.
        mix: gives the temporal module of a block from its channels and its number in the stage, or None.
    """

    channels_last = torch.channels_last

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        temporal_stride: bool,
        temporal_pool: PoolKind,
        mix: Callable[[int, int], nn.Module | None] = lambda channels, number: None,
    ):
        block, expansion = (MixingBasicBlock, 1) if depth in BASIC else (MixingBottleneck, 4)
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            dropout=dropout,
            stem=plain_stem(in_channels, 64, (1, 7, 7), (1, 2, 2), conv=conv2d),
            pool=image_pool(),
            stem_channels=64,
            depth=depth,
            strides=halving(temporal=False),
            block=partial(block, conv=conv2d, kernel=(1, 3, 3)),
            expansion=expansion,
            shortcut=partial(projection, conv=conv2d),
            head_std=None,
        )
        for stage in self.stages:
            for number, unit in enumerate(stage):
                unit.tam = mix(unit.in_channels, number)
        halve = temporal_halving(temporal_pool)
        self.halve = halve if temporal_stride else nn.Identity()
        self.frames_multiple = FRAMES_MULTIPLE if temporal_stride else 1

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = x_NCTHW.contiguous(memory_format=torch.channels_last_3d)  # frames are views of it
        x = self.maxpool(self.stem_map(x))
        for stage in self.stages[:-1]:
            x = self.halve(stage(x))
        return self.layer4(x)


def temporal_halving(kind: PoolKind) -> Pool3d:
    """The pool that halves the time axis of image nets."""
    return Pool3d(kind, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))


class _Mixing(Residual):
    """A block with a temporal module, called `tam` in published weights, at the input of its branch."""

    def __init__(self, in_channels: int, planes: int, **options):
        super().__init__(in_channels, planes, **options)
        self.in_channels = in_channels
        self.tam: nn.Module | None = None

    def branch(self, x: Tensor) -> Tensor:
        return super().branch(x if self.tam is None else self.tam(x))


class MixingBasicBlock(_Mixing, BasicBlock):
    pass


class MixingBottleneck(_Mixing, Bottleneck):
    pass


def tsn_resnet(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = True,
    temporal_pool: PoolKind = "max",
) -> ResNet2d:
    """TSN; the arguments are those of `ResNet2d`."""
    return ResNet2d(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
    )


def tam_resnet(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = True,
    temporal_pool: PoolKind = "max",
    blending_frames: int = 3,
    blending: str = "sum",
    depthwise_blending: bool = True,
) -> ResNet2d:
    """TAM; the arguments are those of `ResNet2d` and `TemporalAggregation`."""
    net = ResNet2d(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
        mix=lambda channels, number: TemporalAggregation(
            channels, frames=blending_frames, blending=blending, depthwise=depthwise_blending
        ),
    )
    for module in net.modules():
        if isinstance(module, TemporalAggregation):
            for weight in module.weights:
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    return net


def tsm_resnet(
    depth: int,
    /,
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = False,
    temporal_pool: PoolKind = "max",
) -> ResNet2d:
    """TSM, in every block of ResNets up to 50, in every second one of deeper ones; arguments as of `ResNet2d`."""
    step = 1 if depth <= 50 else 2
    return ResNet2d(
        depth,
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
        mix=lambda channels, number: TemporalShift() if number % step == 0 else None,
    )


def shifted_blocks(depth: int) -> str:
    """Pattern of the blocks that TSM shifts."""
    return r"layer\d\.\d+" if depth <= 50 else r"layer\d\.\d*[02468]"


def authors_layout(shifted: str = "") -> Layout:
    """Names in the weights of TSM's authors; `shifted` as for `mmaction2.layout`."""
    wrapped = {rf"base_model\.({shifted}\.conv1)\.net\.(.+)": r"\1.\2"} if shifted else {}
    plain = rf"(?!{shifted}\.conv1\.)" if shifted else ""
    return Layout(renames={**wrapped, rf"base_model\.({plain}.+)": r"\1", r"new_fc\.(.+)": r"fc.\1"})


def layouts_of(family: str, depth: int) -> dict[str, Layout]:
    if family == "tam":
        return {"ibm": Layout(), "torchvision2d": Layout(fresh=(r".+\.tam\..+",))}
    shifted = shifted_blocks(depth) if family == "tsm" else ""
    found = {"torchvision2d": Layout(), "tsm": authors_layout(shifted), "mmaction2": mmaction2.layout(shifted)}
    return found if family == "tsm" else {"ibm": Layout(), **found}


K400, SSV2 = "Kinetics-400", "Something-Something V2"
MM = "mmaction2's model zoo"
PAPER = "arXiv:2010.11757"
FAMILIES = {  # name: builder, paper, option sets of other shapes
    "tsn": (tsn_resnet, "arXiv:1608.00859", ()),
    "tam": (
        tam_resnet,
        "arXiv:1912.00869",
        ({"blending_frames": 5}, {"blending_frames": 4}, {"depthwise_blending": False}),
    ),
    "tsm": (tsm_resnet, "arXiv:1811.08383", ()),
}
PUBLISHED = {
    "tsn_resnet50": (
        Published(K400, 74.12, 91.34, frames=8, views="25x10", size=224, source=MM),
        Published(SSV2, 35.51, None, frames=8, views="25x10", size=224, source=MM),
    ),
    "tsn_resnet101": (Published(K400, 75.89, 92.07, frames=8, views="25x10", size=224, source=MM),),
    "tsm_resnet50": (
        Published(K400, 73.18, None, frames=8, views="8x10", size=224, source=MM),
        Published(K400, 75.12, None, frames=16, views="16x10", size=224, source=MM),
        Published(SSV2, 62.72, None, frames=8, views=None, size=224, source=MM),
        Published(SSV2, 64.16, None, frames=16, views=None, size=224, source=MM),
    ),
    "tam_resnet50": (
        Published(K400, 76.18, None, frames=32, views="10x3", size=256, source=PAPER),
        Published(SSV2, 63.83, None, frames=32, views="2x3", size=256, source=PAPER),
    ),
    "tam_resnet101": (
        Published(K400, 77.61, None, frames=32, views="10x3", size=256, source=PAPER),
        Published(SSV2, 65.32, None, frames=32, views="2x3", size=256, source=PAPER),
    ),
}
for _family, (_build, _paper, _forms) in FAMILIES.items():
    for _depth in DEPTHS:
        _name = f"{_family}_resnet{_depth}"
        NETS.add(
            _name,
            Entry(
                partial(_build, _depth),
                input=INPUT,
                paper=_paper,
                weights=layouts_of(_family, _depth),
                forms=_forms,
                published=PUBLISHED.get(_name, ()),
            ),
        )
