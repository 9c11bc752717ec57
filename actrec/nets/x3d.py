"""X3D: a small image net, expanded step by step along time, space, width and depth.

Paper: Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020 (arXiv:2004.04730). The
nets read the weights of PyTorchVideo and PySlowFast (layouts `pytorchvideo`, `pyslowfast`). The 3x3x3 convolutions are
depthwise: they process each channel separately. Every stage halves height and width. The time axis keeps its length.

In PyTorchVideo, the shortcut of the first block has no batch normalization. If such weights are loaded, the batch
normalization in this place becomes an identity.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets import NETS, Entry
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Conv3d, Triple, WindowPool, init_convs, logits_of_windows, same_conv, window_of
from actrec.nets.pytorchvideo import input_of, published, pyslowfast, pytorchvideo
from actrec.nets.residual import Bottleneck, stage

STEM = 24  # channels
WIDTHS = (24, 48, 96, 192)  # channels after each stage
EXPANSION = 2.25  # a block has this many times more channels inside
HIDDEN = 2048  # channels before the last layer
HALVES: Triple = (1, 2, 2)  # a stride


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a factor between 0 and 1, which depends on the averages of all channels.

    Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018 (arXiv:1709.01507).
    """

    def __init__(self, channels: int):
        super().__init__()
        squeezed = squeezed_channels(channels)
        self.fc1 = Conv3d(channels, squeezed, (1, 1, 1))
        self.fc2 = Conv3d(squeezed, channels, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3, 4), keepdim=True)
        return x * self.fc2(F.relu(self.fc1(means), inplace=True)).sigmoid()


def squeezed_channels(channels: int) -> int:
    """A sixteenth of the channels, rounded to a multiple of 8. It is rounded up if it would lose more than 10 %."""
    squeezed = max(8, (channels // 16 + 4) // 8 * 8)
    return squeezed if squeezed >= 0.9 * channels / 16 else squeezed + 8


class X3DBlock(Bottleneck):
    """A bottleneck with more channels inside than outside.

    Args:
        in_channels, planes, stride, shortcut: as for `Bottleneck`.
        excited: use a squeeze-and-excitation after the normalization of the middle convolution.
    """

    def __init__(self, in_channels: int, planes: int, *, stride: Triple, shortcut: nn.Module | None, excited: bool):
        inner = int(EXPANSION * planes)
        super().__init__(in_channels, planes, stride=stride, shortcut=shortcut, expansion=1, width=inner, groups=inner)
        self.se = SqueezeExcitation(inner) if excited else nn.Identity()

    def branch(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.silu(self.se(self.bn2(self.conv2(x))), inplace=True)
        return self.bn3(self.conv3(x))


class X3D(Backbone):
    """X3D.

    Args:
        blocks: blocks of each stage.
        num_classes, in_channels, dropout: as for `Backbone`.
        frames, size: frames, and height and width in pixels, of the clips for which the net was trained. The head
            averages over windows of this size.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        /,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        frames: int,
        size: int | tuple[int, int],
    ):
        inner = int(EXPANSION * WIDTHS[-1])
        super().__init__(num_features=inner, in_channels=in_channels, dropout=dropout, head_std=0.01)
        self.conv1_s = same_conv(in_channels, STEM, (1, 3, 3), HALVES)
        self.conv1_t = same_conv(STEM, STEM, (5, 1, 1), groups=STEM)
        self.bn1 = nn.BatchNorm3d(STEM)
        for number, (count, channels, width) in enumerate(zip(blocks, (STEM, *WIDTHS), WIDTHS), 1):
            blocks_of_stage = stage(count, channels, width, stride=HALVES, block=_alternating(), expansion=1)
            self.add_module(f"layer{number}", blocks_of_stage)
        self.conv5 = same_conv(WIDTHS[-1], inner, (1, 1, 1))
        self.bn5 = nn.BatchNorm3d(inner)
        self.pool = WindowPool(window_of(frames, size))
        self.lin5 = same_conv(inner, HIDDEN, (1, 1, 1))
        init_convs(self)
        self.reset_head(num_classes)

    @property
    def head_features(self) -> int:
        return HIDDEN

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1_t(self.conv1_s(x_NCTHW))), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.relu(self.bn5(self.conv5(x)), inplace=True)

    def head(self, features_NCTHW: Tensor) -> Tensor:
        windows = self.dropout(F.relu(self.lin5(self.pool(features_NCTHW)), inplace=True))
        return logits_of_windows(self.fc, windows, self.window_average)


def _alternating() -> Callable[..., X3DBlock]:
    """Returns a function that makes the blocks of a stage. The first, the third, ... have a squeeze-and-excitation."""
    excited = itertools.cycle((True, False))
    return lambda *sizes, **options: X3DBlock(*sizes, excited=next(excited), **options)


def with_identity(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Adds an identity for the normalization of the first shortcut, which PyTorchVideo's files do not contain."""
    conv, norm = (f"layer1.0.downsample.{i}" for i in (0, 1))
    like = tensors.get(f"{conv}.weight")
    if like is None or any(name.startswith(f"{norm}.") for name in tensors):
        return tensors
    eps = cast(nn.BatchNorm3d, net.get_submodule(norm)).eps
    identity = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - eps}
    return tensors | {f"{norm}.{name}": like.new_full((STEM,), value) for name, value in identity.items()}


LAYOUTS = {
    "pytorchvideo": pytorchvideo(
        {
            "conv.conv_t": "conv1_s",  # PyTorchVideo swaps these two names
            "conv.conv_xy": "conv1_t",
            "norm": "bn1",
            "norm_b.0": "bn2",
            "norm_b.1.block.0": "se.fc1",
            "norm_b.1.block.2": "se.fc2",
            "pool.pre_conv": "conv5",
            "pool.pre_norm": "bn5",
            "pool.post_conv": "lin5",
        },
        convert=with_identity,
    ),
    "pyslowfast": pyslowfast(
        {
            "conv_xy": "conv1_s",
            "conv": "conv1_t",
            "bn": "bn1",
            "se.fc1": "se.fc1",
            "se.fc2": "se.fc2",
            "conv_5": "conv5",
            "conv_5_bn": "bn5",
            "lin_5": "lin5",
        }
    ),
}
SMALL, LARGE = (3, 5, 11, 7), (5, 10, 25, 15)  # blocks of each stage
VARIANTS = {  # size in the name: blocks, frames, size in training and evaluation, accuracies (PyTorchVideo, PySlowFast)
    "xs": (SMALL, 4, (160, 182), (69.12, 88.63), 69.5),
    "s": (SMALL, 13, (160, 182), (73.33, 91.27), 73.5),
    "m": (SMALL, 16, (224, 256), (75.94, 92.72), 76.2),
    "l": (LARGE, 16, (312, 356), (77.44, 93.31), 77.5),
}
for _name, (_blocks, _frames, (_size, _larger), _pytorchvideo, _pyslowfast) in VARIANTS.items():
    _of = partial(published, frames=_frames, size=_larger, protocol=f"pyslowfast_x3d_{_name}")
    NETS.add(
        f"x3d_{_name}",
        Entry(
            partial(X3D, _blocks),
            input=input_of(_frames, _size),
            options={"dropout": 0.5, "frames": _frames, "size": _size},
            paper="arXiv:2004.04730",
            weights=LAYOUTS,
            published=(
                _of(*_pytorchvideo, f"X3D_{_name.upper()}.pyth"),
                _of(_pyslowfast, None, f"x3d_{_name}.pyth", "pyslowfast"),
            ),
        ),
    )
