"""C3D: eight 3x3x3 convolutions.

Paper: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015 (arXiv:1412.0767), in
the form of Hara's Lua code: with optional batch normalization and, as an option, a global average in place of the two
fully connected layers. The published weights are files of Torch for Lua, which actrec does not read.

With the fully connected layers, clips must have exactly 16 frames of 112x112 pixels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import OptionError
from actrec.nets import NETS, Entry
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Conv3d, Pool3d, init_convs, smallest_extent
from actrec.nets.resnet3d import INPUT

CHANNELS = {"1a": 64, "2a": 128, "3a": 256, "3b": 256, "4a": 512, "4b": 512, "5a": 512, "5b": 512}
POOLED = ("1a", "2a", "3b", "4b", "5b")  # convolutions before a pool
HIDDEN = 4096
LAST_MAP = (1, 4, 4)  # time, height and width of the map before the fully connected layers


class C3D(Backbone):
    """C3D.

    Args:
        num_classes: number of logits per clip.
        in_channels: channels of a frame.
        dropout: probability of dropout after each fully connected layer; with global pooling, before the last layer.
        batch_norm: batch normalization after each convolution.
        global_pooling: average the last map, before its pool, in place of the fully connected layers.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        batch_norm: bool,
        global_pooling: bool,
    ):
        super().__init__(num_features=512, in_channels=in_channels, dropout=dropout, head_std=None)
        channels = in_channels
        for name, out_channels in CHANNELS.items():
            conv = Conv3d(channels, out_channels, (3, 3, 3), padding=(1, 1, 1), bias=not batch_norm)
            self.add_module(f"conv{name}", conv)
            if batch_norm:
                self.add_module(f"bn{name}", nn.BatchNorm3d(out_channels))
            channels = out_channels
        self.batch_norm, self.global_pooling = batch_norm, global_pooling
        self.pool1 = Pool3d("max", (1, 2, 2), stride=(1, 2, 2), ceil_mode=True)
        self.pool = Pool3d("max", (2, 2, 2), stride=(2, 2, 2), ceil_mode=True)
        init_convs(self)
        if not global_pooling:
            self.fc6 = nn.Linear(512 * LAST_MAP[0] * LAST_MAP[1] * LAST_MAP[2], HIDDEN)
            self.fc7 = nn.Linear(HIDDEN, HIDDEN)
        self.reset_head(num_classes)
        self.exact = not global_pooling
        if self.exact:
            self.min_frames, self.min_size = INPUT.frames, INPUT.side
        else:
            pools = [self.pool1, *[self.pool] * 3]
            self.min_frames, self.min_size = smallest_extent(pools, axis=0), smallest_extent(pools, axis=1)

    @property
    def head_features(self) -> int:
        return self.num_features if self.global_pooling else HIDDEN

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = x_NCTHW
        for name in CHANNELS:
            x = self.get_submodule(f"conv{name}")(x)
            if self.batch_norm:
                x = self.get_submodule(f"bn{name}")(x)
            x = F.relu(x, inplace=True)
            if name == "5b" and self.global_pooling:
                break
            if name in POOLED:
                x = self.pool1(x) if name == "1a" else self.pool(x)
        return x

    def head(self, features_NCTHW: Tensor) -> Tensor:
        if self.global_pooling:
            return super().head(features_NCTHW)
        x = self.dropout(F.relu(self.fc6(features_NCTHW.flatten(1)), inplace=True))
        return self.fc(self.dropout(F.relu(self.fc7(x), inplace=True)))

    def _check(self, x: Tensor) -> None:
        if self.exact and x.ndim == 5 and tuple(x.shape[2:]) != (INPUT.frames, INPUT.size, INPUT.size):
            frames, height, width = x.shape[2:]
            raise OptionError(
                f"clips of {frames} frames of {height}x{width} pixels: c3d takes exactly {INPUT.frames} of "
                f"{INPUT.size}x{INPUT.size}, or any with `global_pooling`"
            )
        super()._check(x)


NETS.add(
    "c3d",
    Entry(
        C3D,
        input=INPUT,
        options={"dropout": 0.5, "batch_norm": False, "global_pooling": False},
        paper="arXiv:1412.0767",
        forms=({"batch_norm": True}, {"global_pooling": True}),
    ),
)
