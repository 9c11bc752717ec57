"""3D DenseNets.

Paper: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017 (arXiv:1608.06993), extended to 3D by Hara,
Kataoka and Satoh, CVPR 2018 (arXiv:1711.09577). The nets read the weights of the latter (layout `hara`), whose own
command line cannot build them.

The pool of the stem and the three transitions halve time and space. With the default stem, a clip needs at least 15
frames of 29x29 pixels.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets import NETS, Entry, Layout
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Pool3d, init_convs, same_conv, smallest_extent
from actrec.nets.resnet3d import INPUT, PAPER, STEM_OPTIONS, stem_pool_of, stem_window

BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}
GROWTH = 32  # number of channels that a layer adds
STEM_CHANNELS = 64


class DenseLayer(nn.Module):
    """A bottleneck. Its output is appended to its input as additional channels."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.norm1 = nn.BatchNorm3d(in_channels)
        self.conv1 = same_conv(in_channels, 4 * GROWTH, (1, 1, 1))
        self.norm2 = nn.BatchNorm3d(4 * GROWTH)
        self.conv2 = same_conv(4 * GROWTH, GROWTH, (3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(F.relu(self.norm1(x), inplace=True))
        new = self.conv2(F.relu(self.norm2(new), inplace=True))
        return torch.cat((x, new), 1)


class Transition(nn.Module):
    """Halves the number of channels, then time and space."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.norm = nn.BatchNorm3d(in_channels)
        self.conv = same_conv(in_channels, in_channels // 2, (1, 1, 1))
        self.pool = Pool3d("avg", (2, 2, 2), stride=(2, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(F.relu(self.norm(x), inplace=True)))


class DenseNet3d(Backbone):
    """DenseNet-BC of growth 32.

    Args:
        depth: a key of `BLOCKS`.
        num_classes, in_channels, dropout, stem_kernel_t, stem_stride_t, stem_pool: as for `resnet3d.resnet3d`.
    """

    def __init__(
        self,
        depth: int,
        /,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        stem_kernel_t: int,
        stem_stride_t: int,
        stem_pool: bool,
    ):
        counts = BLOCKS[depth]
        layers: dict[str, nn.Module] = {}
        channels = STEM_CHANNELS
        for number, count in enumerate(counts, 1):
            dense = [(f"denselayer{i + 1}", DenseLayer(channels + i * GROWTH)) for i in range(count)]
            layers[f"denseblock{number}"] = nn.Sequential()
            for name, dense_layer in dense:
                layers[f"denseblock{number}"].add_module(name, dense_layer)
            channels += count * GROWTH
            if number < len(counts):
                layers[f"transition{number}"] = Transition(channels)
                channels //= 2
        super().__init__(num_features=channels, in_channels=in_channels, dropout=dropout, head_std=None)
        self.conv1 = same_conv(in_channels, STEM_CHANNELS, *stem_window(stem_kernel_t, stem_stride_t))
        self.norm1 = nn.BatchNorm3d(STEM_CHANNELS)
        pool = stem_pool_of(stem_pool)
        self.maxpool = pool if pool is not None else nn.Identity()
        self.body = tuple(layers)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.norm5 = nn.BatchNorm3d(channels)
        init_convs(self)
        self.reset_head(num_classes)
        nn.init.zeros_(self.fc.bias)

        transitions = [layer.pool for layer in layers.values() if isinstance(layer, Transition)]
        narrowing = [self.conv1, *([pool] if pool is not None else []), *transitions]
        self.min_frames = smallest_extent(narrowing, axis=0)
        self.min_size = smallest_extent(narrowing, axis=1)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.norm1(self.conv1(x_NCTHW)), inplace=True))
        for name in self.body:
            x = self.get_submodule(name)(x)
        return F.relu(self.norm5(x), inplace=True)


LAYOUTS = {"hara": Layout(renames={r"features\.(.+)": r"\1", r"classifier\.(.+)": r"fc.\1"})}
for _depth in BLOCKS:
    NETS.add(
        f"densenet3d_{_depth}",
        Entry(
            partial(DenseNet3d, _depth),
            input=INPUT,
            options={"dropout": 0.0, **STEM_OPTIONS},
            paper=PAPER,
            weights=LAYOUTS,
        ),
    )
