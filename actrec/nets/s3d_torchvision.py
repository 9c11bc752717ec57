"""S3D in the form of torchvision, for its published weights (layout `torchvision`).

Paper: Xie et al., "Rethinking Spatiotemporal Feature Learning", ECCV 2018 (arXiv:1712.04851). It differs from `s3d`:
every convolution is split (the first one into 1x7x7 and 7x1x1, with temporal stride), the temporal convolutions have no
bias, the second pool keeps the time axis, and the head averages windows of 2x7x7 before it averages all windows.

T frames become about T / 8 steps. A clip needs at least 5 frames (torchvision documents 14).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout
from actrec.nets.backbone import Backbone
from actrec.nets.checkpoints import torchvision
from actrec.nets.inception import INCEPTION_CHANNELS, INCEPTION_EPS, Channels
from actrec.nets.layers import Pool3d, same_conv, smallest_extent
from actrec.nets.video_resnet import INPUT as VIDEO_INPUT

INPUT = Input(mean=VIDEO_INPUT.mean, std=VIDEO_INPUT.std, frames=64, size=224)
WINDOW = (2, 7, 7)  # window of the head's first average
norm = partial(nn.BatchNorm3d, eps=INCEPTION_EPS, momentum=0.001)


def _unit(in_channels: int, out_channels: int, kernel, stride=(1, 1, 1)) -> nn.Sequential:
    """Convolution, normalization, ReLU."""
    conv = same_conv(in_channels, out_channels, kernel, stride)
    return nn.Sequential(conv, norm(out_channels), nn.ReLU(inplace=True))


def _split(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Sequential:
    """A unit over space and one over time."""
    space = _unit(in_channels, out_channels, (1, size, size), (1, stride, stride))
    return nn.Sequential(space, _unit(out_channels, out_channels, (size, 1, 1), (stride, 1, 1)))


class Block(nn.Module):
    """GoogLeNet's block, made of split units."""

    def __init__(self, channels: Channels):
        super().__init__()
        in_channels, out0, (reduced1, out1), (reduced2, out2), out3 = channels
        point = (1, 1, 1)
        self.branch0 = _unit(in_channels, out0, point)
        self.branch1 = nn.Sequential(_unit(in_channels, reduced1, point), _split(reduced1, out1, 3))
        self.branch2 = nn.Sequential(_unit(in_channels, reduced2, point), _split(reduced2, out2, 3))
        pool = Pool3d("max", (3, 3, 3), stride=(1, 1, 1), padding=(1, 1, 1))
        self.branch3 = nn.Sequential(pool, _unit(in_channels, out3, point))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)), 1)


class TorchvisionS3D(Backbone):
    """S3D. The arguments are those of `Backbone`."""

    def __init__(self, *, num_classes: int, in_channels: int, dropout: float):
        super().__init__(num_features=1024, in_channels=in_channels, dropout=dropout, head_std=None)
        blocks = {name: Block(channels) for name, channels in INCEPTION_CHANNELS.items()}
        over_space = partial(Pool3d, "max", (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.body = nn.Sequential(
            _split(in_channels, 64, 7, stride=2),
            over_space(),
            _unit(64, 64, (1, 1, 1)),
            _split(64, 192, 3),
            over_space(),
            blocks["3a"],
            blocks["3b"],
            Pool3d("max", (3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1)),
            *[blocks[name] for name in ("4a", "4b", "4c", "4d", "4e")],
            Pool3d("max", (2, 2, 2), stride=(2, 2, 2)),
            blocks["5a"],
            blocks["5b"],
        )
        self.reset_head(num_classes)
        narrowing = [m for m in self.body if isinstance(m, Pool3d)]
        self.min_frames = smallest_extent([self.body.get_submodule("0.1.0"), *narrowing], axis=0)
        self.min_size = smallest_extent([self.body.get_submodule("0.0.0"), *narrowing], axis=1)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        return self.body(x_NCTHW)

    def head(self, features_NCTHW: Tensor) -> Tensor:
        t, h, w = (min(size, extent) for size, extent in zip(WINDOW, features_NCTHW.shape[2:]))
        windows = Pool3d("avg", (t, h, w), stride=(1, 1, 1))(features_NCTHW)
        return self.fc(self.dropout(windows).mean((2, 3, 4)))


LAYOUT = Layout(renames={r"features\.(.+)": r"body.\1", r"classifier\.1\.(.+)": r"fc.\1"})
NETS.add(
    "s3d_torchvision",
    Entry(
        TorchvisionS3D,
        input=INPUT,
        options={"dropout": 0.2},
        paper="arXiv:1712.04851",
        weights={"torchvision": LAYOUT},
        published=(torchvision("s3d-d76dad2f", "s3d", 68.368, 88.050, frames=128, views="1 clip", size=224),),
    ),
)
