"""S3D: I3D with each 3x3x3 convolution split into one over space and one over time.

Paper: Xie et al., "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification", ECCV
2018 (arXiv:1712.04851), with the layer sizes of Chen et al., "Deep Analysis of CNN-based Spatio-temporal
Representations for Action Recognition", CVPR 2021 (arXiv:2010.11757). It reads the weights of the latter (layout
`ibm`). It can also start from torchvision's ImageNet GoogLeNet (layout `torchvision2d`, as for `i3d`); the temporal
convolutions then keep their fresh weights.

The first convolution is not split, and the last pool has kernel 2 without padding. Therefore T frames become T - 1
steps without temporal stride, and clips need at least 5 frames (2 without temporal stride).
"""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.i3d import INPUT, OPTIONS, Inception3d
from actrec.nets.inception import GOOGLENET_DROPPED, INCEPTION_EPS
from actrec.nets.layers import Conv3d


class SeparableUnit(nn.Module):
    """A 1x3x3 and a 3x1x1 convolution, each with batch normalization and ReLU.

    Args:
        depthwise: the temporal convolution processes each channel separately.
    """

    def __init__(self, in_channels: int, out_channels: int, *, depthwise: bool):
        super().__init__()
        groups = out_channels if depthwise else 1
        self.conv = Conv3d(in_channels, out_channels, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=INCEPTION_EPS)
        # A bias has no effect before a batch normalization, but the published weights contain it.
        self.conv_t = Conv3d(out_channels, out_channels, (3, 1, 1), padding=(1, 0, 0), groups=groups)
        self.bn_t = nn.BatchNorm3d(out_channels, eps=INCEPTION_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)), inplace=True)
        return F.relu(self.bn_t(self.conv_t(x)), inplace=True)


def s3d(*, depthwise_temporal: bool, **options) -> Inception3d:
    """S3D.

    Args:
        depthwise_temporal: as `depthwise` for `SeparableUnit`.
        options: as for `Inception3d`.
    """
    unit = partial(SeparableUnit, depthwise=depthwise_temporal)
    return Inception3d(last_pool="valid", stem_frames=3, unit=unit, **options)


LAYOUTS = {
    "ibm": Layout(),
    "torchvision2d": Layout(dropped=GOOGLENET_DROPPED, fresh=(r".+\.(conv|bn)_t\..+",)),
}
NETS.add(
    "s3d",
    Entry(
        s3d,
        input=INPUT,
        options={**OPTIONS, "depthwise_temporal": False},
        paper="arXiv:1712.04851",
        weights=LAYOUTS,
        forms=({"depthwise_temporal": True},),
    ),
)
