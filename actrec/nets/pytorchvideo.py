"""CSN and R(2+1)D as in PyTorchVideo, for its published weights (layout `pytorchvideo`).

CSN: Tran et al., "Video Classification with Channel-Separated Convolutional Networks", ICCV 2019 (arXiv:1904.02811), in
its interaction-reduced form (ir-CSN). The 3x3x3 convolution of a bottleneck is depthwise: it processes each channel
separately.
R(2+1)D: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018
(arXiv:1711.11248). In PyTorchVideo, the 3x3x3 convolution of a bottleneck is split into a convolution over time and a
convolution over space. The number of channels between them is that of the output. In the paper, the convolution over
space comes first, and there are more channels between the two.

The last three stages of CSN and the last two stages of R(2+1)D halve the time axis.

The tables of names in `pytorchvideo` and `pyslowfast` are also used for X3D and SlowFast (`actrec.nets.x3d`,
`actrec.nets.slowfast`). PyTorchVideo numbers the parts of a net (`blocks`). PySlowFast calls the stem `s1`, the stages
`s2` to `s5`, and the paths of SlowFast `pathway0` and `pathway1`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, Published
from actrec.nets.checkpoints import K400, SSV2
from actrec.nets.layers import Triple, same_conv, window_of
from actrec.nets.residual import Bottleneck, ResNet, halving, image_pool, plain_stem

TENSOR = r"\.(?P<tensor>weight|bias|running_mean|running_var|num_batches_tracked)"
PYTORCHVIDEO = (
    r"blocks\.(?P<stage>\d)\.(multipathway_blocks\.(?P<path>\d)\.)?(res_blocks\.(?P<block>\d+)\.)?(branch2\.)?"
    rf"(?P<part>.+){TENSOR}"
)
PYSLOWFAST = (
    r"(s(?P<stage>\d)|head)[._](pathway(?P<path>\d)_(stem|res(?P<block>\d+))\.)?(branch2\.)?" rf"(?P<part>.+){TENSOR}"
)
RESNET_STEM = {"conv": "conv1", "norm": "bn1"}  # PyTorchVideo's names for the stem of a ResNet
SINGLE = {"0": ""}  # PySlowFast also numbers the path of a net with one path


def input_of(frames: int, size: int) -> Input:
    """The input of the convolutional nets of both libraries. They all have the same mean and standard deviation."""
    return Input(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), frames=frames, size=size)


def pytorchvideo(parts: Mapping[str, str], *, stages: str = "1234", **options: Any) -> Layout:
    """PyTorchVideo's names.

    Args:
        parts: PyTorchVideo's name of a part of the stem, of a block or of the head -> its name in the net. The
            convolutions and normalizations of bottlenecks need not be listed.
        stages: the numbers of the stages.
        options: `stem`, `paths` and `convert` as for `_layout`.
    """
    of_blocks = {f"{kind}_{x}": f"{own}{i}" for kind, own in (("conv", "conv"), ("norm", "bn")) for i, x in ABC}
    shortcut = {"branch1_conv": "downsample.0", "branch1_norm": "downsample.1"}
    return _layout(PYTORCHVIDEO, {**of_blocks, **shortcut, "proj": "fc", **parts}, "0", stages, **options)


def pyslowfast(parts: Mapping[str, str], *, paths: Mapping[str, str] = SINGLE, **options: Any) -> Layout:
    """PySlowFast's names. The arguments are those of `pytorchvideo`."""
    of_blocks = {f"{x}{suffix}": f"{own}{i}" for suffix, own in (("", "conv"), ("_bn", "bn")) for i, x in ABC}
    shortcut = {"branch1": "downsample.0", "branch1_bn": "downsample.1"}
    parts = {**of_blocks, **shortcut, "projection": "fc", **parts}
    return _layout(PYSLOWFAST, parts, "1", "2345", paths=paths, **options)


ABC = tuple(enumerate("abc", 1))  # both libraries letter the convolutions of a bottleneck


def _layout(
    pattern: str,
    parts: Mapping[str, str],
    first: str,
    stages: str,
    /,
    *,
    stem: str = "",
    paths: Mapping[str, str] = {},
    **options: Any,
) -> Layout:
    """A layout in which names have a stage, a path, a block and a part.

    Args:
        pattern: of a name, with these groups.
        parts: as for `pytorchvideo`.
        first: the number of the stem.
        stages: the numbers of the stages.
        stem: the net's name for the stem, if it is one module.
        paths: the number of a path -> its name in the net.
        options: other fields of the layout.
    """
    own_stages = {first: stem, **{number: f"layer{i}" for i, number in enumerate(stages, 1)}}

    def own_name(found: re.Match[str]) -> str:
        part, path = parts.get(found["part"]), paths.get(found["path"]) if found["path"] else ""
        if part is None or path is None:
            return found[0]
        return ".".join(filter(None, (own_stages.get(found["stage"]), path, found["block"], part, found["tensor"])))

    return Layout(renames={pattern: own_name}, **options)


def published(
    top1: float,
    top5: float | None,
    file: str,
    layout: str = "pytorchvideo",
    *,
    frames: int,
    protocol: str,
    size: int = 256,
) -> Published:
    """An accuracy from one of the two model zoos. The arguments are as for `Published`."""
    source = f"{'PyTorchVideo' if layout == 'pytorchvideo' else 'PySlowFast'}'s model zoo"
    dataset, views = (SSV2, "1x3") if "ssv2" in protocol else (K400, "10x3")
    return Published(dataset, top1, top5, frames, views, size, source, layout, file, protocol)


class TimeSpaceConv(nn.Module):
    """A convolution over time, a batch normalization, a ReLU, and a convolution over space."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple):
        super().__init__()
        self.conv_t = same_conv(in_channels, out_channels, (kernel[0], 1, 1), (stride[0], 1, 1))
        self.norm = nn.BatchNorm3d(out_channels)
        self.conv_xy = same_conv(out_channels, out_channels, (1, *kernel[1:]), (1, *stride[1:]))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_xy(F.relu(self.norm(self.conv_t(x)), inplace=True))


def split(
    in_channels: int, out_channels: int, kernel: Triple, stride: Triple = (1, 1, 1), *, groups: int = 1
) -> nn.Module:
    """A convolution of R(2+1)D. A kernel of 1x1x1 is not split."""
    if kernel == (1, 1, 1):
        return same_conv(in_channels, out_channels, kernel, stride)
    return TimeSpaceConv(in_channels, out_channels, kernel, stride)


def separated(in_channels: int, planes: int, **options: Any) -> Bottleneck:
    """The block of CSN."""
    return Bottleneck(in_channels, planes, groups=planes, **options)


def resnet(
    depth: int,
    stem_kernel: Triple,
    pooled: bool,
    block: Callable[..., nn.Module],
    strides: Sequence[Triple],
    /,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    frames: int,
    size: int | tuple[int, int],
) -> ResNet:
    """A ResNet of bottlenecks.

    Args:
        depth, block, strides: as for `ResNet`.
        stem_kernel: kernel of the stem.
        pooled: use pooling after the stem.
        num_classes, in_channels, dropout: as for `Backbone`.
        frames, size: frames, and height and width in pixels, of the clips for which the net was trained. The head
            averages over windows of this size.
    """
    steps = math.prod(stride[0] for stride in strides)
    return ResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=plain_stem(in_channels, 64, stem_kernel, (1, 2, 2)),
        pool=image_pool() if pooled else None,
        stem_channels=64,
        depth=depth,
        strides=strides,
        block=block,
        expansion=4,
        head_std=0.01,
        window=window_of(-(-frames // steps), size),
    )


FAMILIES: dict[
    str, tuple[Any, int, dict[str, str], str, dict[int, Any]]
] = {  # name: form, frames, names of parts, paper, accuracies by depth
    "csn_resnet{}": (
        ((3, 7, 7), True, separated, halving(temporal=True)),
        32,
        RESNET_STEM,
        "arXiv:1904.02811",
        {
            50: (),
            101: (published(77.00, 92.90, "CSN_32x2_R101.pyth", frames=32, protocol="pyslowfast_k400_32x2"),),
            152: (),
        },
    ),
    "r2plus1d_resnet{}_pytorchvideo": (
        ((1, 7, 7), False, partial(Bottleneck, conv=split), ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))),
        16,
        {**RESNET_STEM, **{f"conv_b.{part}": f"conv2.{part}" for part in ("conv_t", "norm", "conv_xy")}},
        "arXiv:1711.11248",
        {50: (published(76.01, 92.23, "R2PLUS1D_16x4_R50.pyth", frames=16, protocol="pyslowfast_k400_16x4"),), 101: ()},
    ),
}
for _family, (_form, _frames, _parts, _paper, _depths) in FAMILIES.items():
    _layouts = {"pytorchvideo": pytorchvideo(_parts)}
    for _depth, _published in _depths.items():
        NETS.add(
            _family.format(_depth),
            Entry(
                partial(resnet, _depth, *_form),
                input=input_of(_frames, 224),
                options={"dropout": 0.5, "frames": _frames, "size": 224},
                paper=_paper,
                weights=_layouts,
                published=_published,
            ),
        )
