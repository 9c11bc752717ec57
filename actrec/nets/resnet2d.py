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
from actrec.nets import NETS, Entry, Layout, OptionValue, mmaction2
from actrec.nets.checkpoints import K400, SSV2, ibm, mmaction2_tsm, mmaction2_tsn, tsm_authors
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

SHIFTED = "shift8_blockres_avg"  # in the names of files of TSM's authors
PUBLISHED = {
    "tsn_resnet50": (
        mmaction2_tsn("r50_8xb32-1x1x8-100e_kinetics400-rgb_20220906-2692d16c", K400, 74.12, 91.34),
        mmaction2_tsn("r50_8xb32-1x1x5-100e_kinetics400-rgb_20220906-65d68713", K400, 73.80, 91.21),
        mmaction2_tsn("r50_8xb32-1x1x3-100e_kinetics400-rgb_20220906-cd10898e", K400, 72.83, 90.65),
        mmaction2_tsn("r50_8xb32-dense-1x1x5-100e_kinetics400-rgb_20220906-dcbc6e01", K400, 71.37, 89.67),
        mmaction2_tsn("r50_8xb32-1x1x8-50e_sthv2-rgb_20230313-06ad7d03", SSV2, 35.51, 67.09),
        mmaction2_tsn("r50_8xb32-1x1x16-50e_sthv2-rgb_20230221-85bcc1c3", SSV2, 36.91, 68.77),
        tsm_authors("kinetics_RGB_resnet50_avg_segment5_e50", 70.6, "tsm_k400_8_dense_10x3_256"),
        tsm_authors("kinetics_RGB_resnet50_avg_segment5_e50", 69.9, "tsm_k400_8_uniform_10crop"),
        tsm_authors("kinetics_RGB_resnet50_avg_segment5_e50", 68.8, "tsm_k400_8_uniform_1crop"),
    ),
    "tsn_resnet101": (mmaction2_tsn("r101_8xb32-1x1x8-100e_kinetics400-rgb_20220906-23cff032", K400, 75.89, 92.07),),
    "tsm_resnet50": (
        mmaction2_tsm("r50_8xb16-1x1x8-50e_kinetics400-rgb_20220831-64d69186", "tsm_k400_8", 73.18, 90.56),
        mmaction2_tsm("r50_8xb16-1x1x8-100e_kinetics400-rgb_20220831-a6db1e5d", "tsm_k400_8", 73.22, 90.22),
        mmaction2_tsm("r50_8xb16-dense-1x1x8-50e_kinetics400-rgb_20220831-f55d3c2b", "tsm_k400_8_dense", 73.38, 90.78),
        mmaction2_tsm("r50_8xb16-1x1x16-50e_kinetics400-rgb_20220831-042b1748", "tsm_k400_16", 75.12, 91.55, frames=16),
        mmaction2_tsm("r50_8xb16-1x1x8-50e_sthv2-rgb_20230317-be0fc26e", "tsm_ssv2_8", 62.72, 87.70),
        mmaction2_tsm("r50_8xb16-1x1x16-50e_sthv2-rgb_20230317-ec6696ad", "tsm_ssv2_16", 64.16, 88.61, frames=16),
        tsm_authors(f"kinetics_RGB_resnet50_{SHIFTED}_segment8_e100_dense", 74.1, "tsm_k400_8_dense_10x3_256"),
        tsm_authors(f"kinetics_RGB_resnet50_{SHIFTED}_segment8_e50", 72.8, "tsm_k400_8_uniform_10crop"),
        tsm_authors(f"kinetics_RGB_resnet50_{SHIFTED}_segment8_e50", 71.2, "tsm_k400_8_uniform_1crop"),
        tsm_authors(f"kinetics_RGB_resnet50_{SHIFTED}_segment16_e50", 73.7, "tsm_k400_16_uniform_10crop", frames=16),
        tsm_authors(f"kinetics_RGB_resnet50_{SHIFTED}_segment16_e50", 72.6, "tsm_k400_16_uniform_1crop", frames=16),
        tsm_authors(f"something_RGB_resnet50_{SHIFTED}_segment8_e45", 47.2, "tsm_ssv1_8_2x3_256"),
        tsm_authors(f"something_RGB_resnet50_{SHIFTED}_segment8_e45", 45.6, "tsm_ssv1_8_uniform_1crop"),
        tsm_authors(f"something_RGB_resnet50_{SHIFTED}_segment16_e45", 48.4, "tsm_ssv1_16_2x3_256", frames=16),
        tsm_authors(f"something_RGB_resnet50_{SHIFTED}_segment16_e45", 47.2, "tsm_ssv1_16_uniform_1crop", frames=16),
        tsm_authors(f"somethingv2_RGB_resnet50_{SHIFTED}_segment8_e45", 61.2, "tsm_ssv2_8_2x3_256"),
        tsm_authors(f"somethingv2_RGB_resnet50_{SHIFTED}_segment16_e45", 63.1, "tsm_ssv2_16_2x3_256", frames=16),
    ),
    "tsm_resnet101": (
        mmaction2_tsm("r101_8xb16-1x1x8-50e_sthv2-rgb_20230320-efcc0d1b", "tsm_ssv2_8", 63.70, 88.28),
        tsm_authors(f"something_RGB_resnet101_{SHIFTED}_segment8_e45", 48.7, "tsm_ssv1_8_2x3_256"),
        tsm_authors(f"something_RGB_resnet101_{SHIFTED}_segment8_e45", 46.9, "tsm_ssv1_8_uniform_1crop"),
        tsm_authors(f"somethingv2_RGB_resnet101_{SHIFTED}_segment8_e45", 63.3, "tsm_ssv2_8_2x3_256"),
    ),
    "tam_resnet50": ibm("TAM-ResNet-50", 76.18, 63.83),
    "tam_resnet101": ibm("TAM-ResNet-101", 77.61, 65.32),
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
