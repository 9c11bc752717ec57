"""TSN, TAM and TSM on image ResNets: the ResNet processes each frame, and the logits are averaged over time.

TSN (Wang et al., ECCV 2016, arXiv:1608.00859) does not mix frames. TAM (Fan et al., NeurIPS 2019, arXiv:1912.00869) and
TSM (Lin et al., ICCV 2019, arXiv:1811.08383) mix them at the input of each residual branch. With temporal stride, a
pool halves the time axis after each of the first three stages; the number of frames must then be a multiple of 8. TSM
has no temporal stride by default, because its published weights have none.

Weights: TSN and TAM of Chen et al. (layout `ibm`, arXiv:2010.11757), TSN and TSM of TSM's authors (`tsm`), TSN and TSM
of mmaction2 (`mmaction2`), and torchvision's ImageNet ResNet (`torchvision2d`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue, Published, mmaction2
from actrec.nets.layers import Conv2d, Pool3d, PoolKind, same_conv
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
FRAMES_MULTIPLE = 8  # three pools halve the time axis
conv2d = partial(same_conv, conv=Conv2d)


class ResNet2d(ResNet):
    """A ResNet, applied to each frame.

    Args:
        depth: a key of `residual.STAGES`.
        num_classes, in_channels, dropout: as for `Backbone`.
        temporal_stride: halve the time axis after each of the first three stages.
        temporal_pool: the pool that halves it: max or avg.
        mix: makes the temporal module of a block from its input channels and its number in the stage, or gives None.
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
            for number, unit in enumerate(cast("Iterable[_Mixing]", stage)):
                unit.tam = mix(unit.in_channels, number)
        halve = temporal_halving(temporal_pool)
        self.halve = halve if temporal_stride else nn.Identity()
        self.frames_multiple = FRAMES_MULTIPLE if temporal_stride else 1

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = x_NCTHW.contiguous(memory_format=torch.channels_last_3d)  # so that the frames are a view
        x = self.maxpool(self.stem_map(x))
        for stage in self.stages[:-1]:
            x = self.halve(stage(x))
        return self.layer4(x)


def temporal_halving(kind: PoolKind) -> Pool3d:
    """The pool with which image nets halve the time axis."""
    return Pool3d(kind, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))


class _Mixing(Residual):
    """A block with a temporal module at the input of its branch. Published weights call this module `tam`."""

    def __init__(self, in_channels: int, planes: int, **options):
        super().__init__(in_channels, planes, **options)  # type: ignore  # of the block that follows in the order
        self.in_channels = in_channels
        self.tam: nn.Module | None = None

    def branch(self, x: Tensor) -> Tensor:
        return super().branch(x if self.tam is None else self.tam(x))


class MixingBasicBlock(_Mixing, BasicBlock):
    pass


class MixingBottleneck(_Mixing, Bottleneck):
    pass


def tam_resnet(depth: int, /, *, blending_frames: int, blending: str, depthwise_blending: bool, **options) -> ResNet2d:
    """TAM. The arguments are those of `TemporalAggregation` and `ResNet2d`."""
    net = ResNet2d(
        depth,
        mix=lambda channels, number: TemporalAggregation(
            channels, frames=blending_frames, blending=blending, depthwise=depthwise_blending
        ),
        **options,
    )
    for module in net.modules():
        if isinstance(module, TemporalAggregation):
            for weight in module.weights:
                nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    return net


def tsm_resnet(depth: int, /, **options) -> ResNet2d:
    """TSM: in every block of ResNets up to depth 50, in every second one of deeper ones. Options as for `ResNet2d`."""
    step = 1 if depth <= 50 else 2
    return ResNet2d(depth, mix=lambda channels, number: TemporalShift() if number % step == 0 else None, **options)


def shifted_blocks(depth: int) -> str:
    """Pattern of the names of the blocks in which TSM shifts."""
    return r"layer\d\.\d+" if depth <= 50 else r"layer\d\.\d*[02468]"


def authors_layout(shifted: str = "") -> Layout:
    """Names in the weights of TSM's authors. `shifted` is as for `mmaction2.layout`."""
    wrapped = {rf"base_model\.({shifted}\.conv1)\.net\.(.+)": r"\1.\2"} if shifted else {}
    plain = rf"(?!{shifted}\.conv1\.)" if shifted else ""
    return Layout(renames={**wrapped, rf"base_model\.({plain}.+)": r"\1", r"new_fc\.(.+)": r"fc.\1"})


def layouts_of(family: str, depth: int) -> dict[str, Layout]:
    """The layouts of weights files that a net reads."""
    if family == "tam":
        return {"ibm": Layout(), "torchvision2d": Layout(fresh=(r".+\.tam\..+",))}
    shifted = shifted_blocks(depth) if family == "tsm" else ""
    found = {"torchvision2d": Layout(), "tsm": authors_layout(shifted), "mmaction2": mmaction2.layout(shifted)}
    return found if family == "tsm" else {"ibm": Layout(), **found}


Options = dict[str, OptionValue]
OPTIONS: Options = {"dropout": 0.5, "temporal_stride": True, "temporal_pool": "max"}
BLENDING_OPTIONS: Options = {"blending_frames": 3, "blending": "sum", "depthwise_blending": True}
BLENDING_FORMS: tuple[Options, ...] = ({"blending_frames": 5}, {"blending_frames": 4}, {"depthwise_blending": False})
FAMILIES: dict[
    str, tuple[Callable[..., ResNet2d], str, Options, tuple[Options, ...]]
] = {  # name: builder, paper, options, sets of options that change the shapes of the weights
    "tsn": (ResNet2d, "arXiv:1608.00859", OPTIONS, ()),
    "tam": (tam_resnet, "arXiv:1912.00869", {**OPTIONS, **BLENDING_OPTIONS}, BLENDING_FORMS),
    "tsm": (tsm_resnet, "arXiv:1811.08383", {**OPTIONS, "temporal_stride": False}, ()),
}

K400, SSV2 = "Kinetics-400", "Something-Something V2"
ibm = partial(Published, top5=None, frames=32, size=256, source="arXiv:2010.11757")
mm = partial(Published, source="mmaction2's model zoo")
PUBLISHED = {
    "tsn_resnet50": (
        mm(K400, 74.12, 91.34, frames=25, views="1x10", size=224),
        mm(SSV2, 35.51, None, frames=25, views="1x10", size=224),
    ),
    "tsn_resnet101": (mm(K400, 75.89, 92.07, frames=25, views="1x10", size=224),),
    "tsm_resnet50": (
        mm(K400, 73.18, None, frames=8, views="1x10", size=224),
        mm(K400, 75.12, None, frames=16, views="1x10", size=224),
        mm(SSV2, 62.72, None, frames=8, views="2x3", size=256),
        mm(SSV2, 64.16, None, frames=16, views="2x3", size=256),
    ),
    "tam_resnet50": (ibm(K400, 76.18, views="10x3"), ibm(SSV2, 63.83, views="2x3")),
    "tam_resnet101": (ibm(K400, 77.61, views="10x3"), ibm(SSV2, 65.32, views="2x3")),
}
for _family, (_build, _paper, _options, _forms) in FAMILIES.items():
    for _depth in DEPTHS:
        _name = f"{_family}_resnet{_depth}"
        NETS.add(
            _name,
            Entry(
                partial(_build, _depth),
                input=INPUT,
                options=_options,
                paper=_paper,
                weights=layouts_of(_family, _depth),
                forms=_forms,
                published=PUBLISHED.get(_name, ()),
            ),
        )
