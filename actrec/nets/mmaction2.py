"""I3D-ResNet-50 and R(2+1)D-34 in the form of mmaction2, for its published weights (layout `mmaction2`).

I3D: Carreira and Zisserman, CVPR 2017 (arXiv:1705.07750), on ResNet-50. The stem and two pools halve the time axis, and
every second bottleneck has a 3x1x1 kernel in place of its first 1x1x1 kernel. R(2+1)D: Tran et al., CVPR 2018
(arXiv:1711.11248). Every convolution is split, also those of the shortcuts, and the stages halve the time axis.

The table of names in `layout` is also used for TSN and TSM (`actrec.nets.resnet2d`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout
from actrec.nets.checkpoints import mmaction2_3d
from actrec.nets.layers import Pool3d, Triple, same_conv, smallest_extent
from actrec.nets.residual import BasicBlock, Bottleneck, ResNet, halving, image_pool, plain_stem, projection


def layout(shifted: str = "") -> Layout:
    """How the names in mmaction2's weights map to actrec's.

    Args:
        shifted: pattern of the blocks in which TSM wraps the first convolution. Their names differ from those of TSN,
            so that weights of TSN are not mistaken for weights of TSM, or the reverse.
    """
    wrapped = {rf"backbone\.({shifted})\.conv1\.conv\.net\.(.+)": r"\1.conv1.\2"} if shifted else {}
    plain = rf"(?!{shifted}\.conv1\.conv\.)" if shifted else ""
    return Layout(
        renames={
            **wrapped,
            r"backbone\.conv1\.conv\.(.+)": r"conv1.\1",
            r"backbone\.conv1\.bn\.(.+)": r"bn1.\1",
            rf"backbone\.{plain}(layer\d\.\d+)\.conv(\d)\.conv\.(.+)": r"\1.conv\2.\3",
            r"backbone\.(layer\d\.\d+)\.conv(\d)\.bn\.(.+)": r"\1.bn\2.\3",
            r"backbone\.(layer\d\.\d+)\.downsample\.conv\.(.+)": r"\1.downsample.0.\2",
            r"backbone\.(layer\d\.\d+)\.downsample\.bn\.(.+)": r"\1.downsample.1.\2",
            r"cls_head\.fc_cls\.(.+)": r"fc.\1",
        },
        dropped={r"data_preprocessor\..+": "mean and standard deviation of the input"},
    )


INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=32, size=224)
INFLATED = ((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0))  # 1: this block of I3D has a temporal kernel
SYNC_EPS = 1e-3  # epsilon of R(2+1)D's normalizations, except for those inside the split convolutions


class I3DResNet50(ResNet):
    """I3D on ResNet-50 in the form of mmaction2. The arguments are those of `Backbone`."""

    def __init__(self, *, num_classes: int, in_channels: int, dropout: float):
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            dropout=dropout,
            stem=plain_stem(in_channels, 64, (5, 7, 7), (2, 2, 2)),
            pool=Pool3d("max", (1, 3, 3), stride=(2, 2, 2), padding=(0, 1, 1)),
            stem_channels=64,
            depth=50,
            strides=halving(temporal=False),
            block=partial(Bottleneck, kernel=(1, 3, 3), kernel1=(3, 1, 1)),
            expansion=4,
            head_std=0.01,
        )
        for stage, inflated in zip(self.stages, INFLATED):
            for block, grows in zip(stage, inflated):
                if not grows:
                    old: Any = block.conv1
                    new: Any = same_conv(old.in_channels, old.out_channels, (1, 1, 1))
                    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
                    block.conv1 = new
        self.pool2 = Pool3d("max", (2, 1, 1), stride=(2, 1, 1))
        self.min_frames = smallest_extent([self.conv1, self.maxpool, self.pool2], axis=0)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = self.layer1(self.maxpool(self.stem_map(x_NCTHW)))
        return self.layer4(self.layer3(self.layer2(self.pool2(x))))


class SplitConv(nn.Module):
    """A convolution over space, a batch normalization, a ReLU, and a convolution over time.

    Between the two convolutions there are floor(3 k^2 in out / (k^2 in + 3 out)) channels, so that they have as many
    weights as one convolution over space and time. As in the reference, this is also so if the temporal kernel is 1.

    Args:
        middle: this number of channels, if it is another one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        *,
        middle: int | None = None,
    ):
        super().__init__()
        area = kernel[1] * kernel[2]
        if middle is None:
            middle = 3 * in_channels * out_channels * area // (in_channels * area + 3 * out_channels)
        self.conv_s = same_conv(in_channels, middle, (1, *kernel[1:]), (1, *stride[1:]))
        self.bn_s = nn.BatchNorm3d(middle)
        self.conv_t = same_conv(middle, out_channels, (kernel[0], 1, 1), (stride[0], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_t(F.relu(self.bn_s(self.conv_s(x)), inplace=True))


def r2plus1d_34(*, num_classes: int, in_channels: int, dropout: float) -> ResNet:
    """R(2+1)D-34 in the form of mmaction2. The arguments are those of `Backbone`."""
    norm = partial(nn.BatchNorm3d, eps=SYNC_EPS)
    return ResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem={"conv1": SplitConv(in_channels, 64, (3, 7, 7), (1, 2, 2), middle=83), "bn1": norm(64)},
        pool=image_pool(),
        stem_channels=64,
        depth=34,
        strides=halving(temporal=True),
        block=partial(BasicBlock, conv=SplitConv, norm=norm),
        expansion=1,
        shortcut=partial(projection, conv=SplitConv, norm=norm),
        head_std=0.01,
    )


I3D, R2PLUS1D = "i3d_imagenet-pretrained-r50_8xb8", "r2plus1d_r34_8xb8"
PUBLISHED = {
    "i3d_resnet50_mmaction2": (
        mmaction2_3d(f"{I3D}-32x2x1-100e_kinetics400-rgb_20220812-e213c223", "32x2x10", 73.47, 91.27),
        mmaction2_3d(f"{I3D}-dense-32x2x1-100e_kinetics400-rgb_20220812-9f46003f", "32x2x10_dense", 73.77, 91.35),
    ),
    "r2plus1d_34_mmaction2": (
        mmaction2_3d(f"{R2PLUS1D}-32x2x1-180e_kinetics400-rgb_20220812-4270588c", "32x2x10", 75.46, 92.28),
        mmaction2_3d(f"{R2PLUS1D}-8x8x1-180e_kinetics400-rgb_20220812-47cfe041", "8x8x10", 69.76, 88.41, frames=8),
    ),
}
VARIANTS = {  # name: builder, paper, other layouts
    "i3d_resnet50_mmaction2": (I3DResNet50, "arXiv:1705.07750", {"torchvision2d": Layout()}),
    "r2plus1d_34_mmaction2": (r2plus1d_34, "arXiv:1711.11248", {}),
}
for _name, (_build, _paper, _layouts) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            _build,
            input=INPUT,
            options={"dropout": 0.5},
            paper=_paper,
            weights={"mmaction2": layout(), **_layouts},
            published=PUBLISHED[_name],
        ),
    )
