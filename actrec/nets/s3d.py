"""S3D: I3D with its 3x3x3 convolutions split into space and time.

Paper: Xie et al., "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification", ECCV
2018 (arXiv:1712.04851), with the layer sizes of Chen et al., "Deep Analysis of CNN-based Spatio-temporal
Representations for Action Recognition", CVPR 2021 (arXiv:2010.11757), whose weights it reads (layout `ibm`). It also
starts from torchvision's ImageNet GoogLeNet (`torchvision2d`, as in `i3d`); the temporal convolutions keep their fresh
weights then.

The first convolution is not split, and the last pool has kernel 2 without padding: T frames leave as T - 1 without
temporal stride, and clips of fewer than 5 frames (2 without temporal stride) do not fit.
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.blocks import INCEPTION_EPS, Conv3d, PoolKind
from actrec.nets.i3d import GOOGLENET_DROPPED, INPUT, Inception3d


class SeparableUnit(nn.Module):
    """A 1x3x3 and a 3x1x1 convolution, each with batch normalization and ReLU.

    Args:
        depthwise: let the temporal convolution see one channel at a time.
    """

    def __init__(self, in_channels: int, out_channels: int, *, depthwise: bool):
        super().__init__()
        groups = out_channels if depthwise else 1
        self.conv = Conv3d(in_channels, out_channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=INCEPTION_EPS)
        # The bias does nothing before a batch normalization, but published weights have it.
        self.conv_t = Conv3d(out_channels, out_channels, (3, 1, 1), padding=(1, 0, 0), groups=groups)
        self.bn_t = nn.BatchNorm3d(out_channels, eps=INCEPTION_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)), inplace=True)
        return F.relu(self.bn_t(self.conv_t(x)), inplace=True)


def s3d(
    *,
    num_classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    temporal_stride: bool = True,
    temporal_pool: PoolKind = "max",
    depthwise_temporal: bool = False,
) -> Inception3d:
    """S3D; the arguments are those of `Inception3d`, and `depthwise_temporal` that of `SeparableUnit`."""
    return Inception3d(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        temporal_stride=temporal_stride,
        temporal_pool=temporal_pool,
        last_pool="valid",
        stem_frames=3,
        unit=partial(SeparableUnit, depthwise=depthwise_temporal),
    )


LAYOUTS = {
    "ibm": Layout(),
    "torchvision2d": Layout(dropped=GOOGLENET_DROPPED, fresh=(r".+\.(conv|bn)_t\..+",)),
}
NETS.add(
    "s3d",
    Entry(s3d, input=INPUT, paper="arXiv:1712.04851", weights=LAYOUTS, forms=({"depthwise_temporal": True},)),
)
