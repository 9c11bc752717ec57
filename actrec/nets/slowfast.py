"""SlowFast, and the nets with one path to which its authors compare it: Slow, C2D and I3D.

Papers: Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019 (arXiv:1812.03982); Wang et al.,
"Non-local Neural Networks", CVPR 2018 (arXiv:1711.07971) for C2D; Carreira and Zisserman, "Quo Vadis, Action
Recognition?", CVPR 2017 (arXiv:1705.07750) for I3D. The nets read the weights of PyTorchVideo and PySlowFast (layouts
`pytorchvideo`, `pyslowfast`).

All are ResNets. In a bottleneck, the first convolution has the temporal kernel, and the middle one has the spatial
stride. The time axis keeps its length, but C2D and I3D halve it with a pool after the first stage. The input of
SlowFast is the clip of the fast path. The net picks the frames of the slow path from it: one of four or eight frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from actrec.nets import NETS, Entry
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Pool3d, WindowPool, init_convs, logits_of_windows, same_conv, window_of
from actrec.nets.pytorchvideo import RESNET_STEM, input_of, published, pyslowfast, pytorchvideo
from actrec.nets.residual import PLANES, STAGES, Bottleneck, ResNet, halving, image_pool, plain_stem, stage

EXPANSION = 4
NARROWER = 8  # the slow path has this many times more channels than the fast path
FUSED = 2  # the fusion gives the slow path this many times the channels of the fast path
STEM = 64  # channels
# The temporal kernels of the blocks of each stage. A stage with more blocks than kernels repeats its kernels.
Kernels = Sequence[Sequence[int]]


def blocks(kernels: Iterable[int]) -> Callable[..., Bottleneck]:
    """Returns a function that makes the blocks of a net or stage, each with the next temporal kernel."""
    each = iter(kernels)
    return lambda *sizes, **options: Bottleneck(*sizes, kernel=(1, 3, 3), kernel1=(next(each), 1, 1), **options)


class SlowResNet(ResNet):
    """A net with one path.

    Args:
        depth: a key of `residual.STAGES`.
        stem_kernel: temporal kernel of the stem.
        kernels: temporal kernels of the blocks.
        pooled: halve the time axis after the first stage.
        num_classes, in_channels, dropout: as for `Backbone`.
        frames, size: frames, and height and width in pixels, of the clips for which the net was trained. The head
            averages over windows of this size.
    """

    def __init__(
        self,
        depth: int,
        stem_kernel: int,
        kernels: Kernels,
        pooled: bool,
        /,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        frames: int,
        size: int | tuple[int, int],
    ):
        repeated = [itertools.islice(itertools.cycle(part), count) for part, count in zip(kernels, STAGES[depth])]
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            dropout=dropout,
            stem=plain_stem(in_channels, STEM, (stem_kernel, 7, 7), (1, 2, 2)),
            pool=image_pool(),
            stem_channels=STEM,
            depth=depth,
            strides=halving(temporal=False),
            block=blocks(itertools.chain(*repeated)),
            expansion=EXPANSION,
            head_std=0.01,
            window=window_of(frames // 2 if pooled else frames, size),
        )
        self.pool2 = Pool3d("max", (2, 1, 1), stride=(2, 1, 1)) if pooled else nn.Identity()
        self.min_frames = 2 if pooled else 1

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = self.pool2(self.layer1(self.maxpool(self.stem_map(x_NCTHW))))
        return self.layer4(self.layer3(self.layer2(x)))


class TwoPaths(nn.Module):
    """One part of SlowFast, such as a stage, in both paths.

    Args:
        slow, fast: the parts.
        fuse: maps the output of the fast path to the length of the slow path. The result is concatenated to the
            channels of the slow path. None: the paths are not fused.
    """

    def __init__(self, slow: nn.Module, fast: nn.Module, fuse: nn.Module | None):
        super().__init__()
        self.slow, self.fast, self.fuse = slow, fast, fuse

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        slow, fast = self.slow(slow), self.fast(fast)
        return (slow if self.fuse is None else torch.cat((slow, self.fuse(fast)), 1)), fast


class SlowFast(Backbone):
    """SlowFast.

    The feature map has the length of the fast path. It contains the channels of the slow path, with each time step
    repeated `alpha` times, and the channels of the fast path.

    Args:
        depth: a key of `residual.STAGES`.
        alpha: the fast path has this many times more frames than the slow path.
        fuse_kernel: temporal kernel of the convolutions from the fast to the slow path.
        slow, fast: temporal kernels of the blocks of both paths.
        num_classes, in_channels, dropout: as for `Backbone`.
        frames, size: as for `SlowResNet`, for the fast path.

    Attributes:
        slow_path: how the frames of the slow path are picked: "linspace" as in PySlowFast and PyTorchVideo, or
            "stride", every `alpha`-th frame, as in mmaction2.
    """

    def __init__(
        self,
        depth: int,
        alpha: int,
        fuse_kernel: int,
        slow: Kernels,
        fast: Kernels,
        /,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        frames: int,
        size: int | tuple[int, int],
    ):
        super().__init__(
            num_features=sum(path_widths(PLANES[-1] * EXPANSION)),
            in_channels=in_channels,
            dropout=dropout,
            head_std=0.01,
        )
        self.alpha = self.min_frames = self.frames_multiple = alpha
        self.slow_path: Literal["linspace", "stride"] = "linspace"
        channels = path_widths(STEM)
        slow_stem, fast_stem = [stem(in_channels, width, kernel) for width, kernel in zip(channels, (1, 5))]
        self.stem = TwoPaths(slow_stem, fast_stem, self._fuse(channels[1], fuse_kernel))
        for i, (count, planes, stride) in enumerate(zip(STAGES[depth], PLANES, halving(temporal=False))):
            wide, narrow = channels[0] + FUSED * channels[1], channels[1]
            slow_path, fast_path = [
                stage(count, inputs, width, stride=stride, block=blocks(itertools.cycle(kernels)), expansion=EXPANSION)
                for inputs, width, kernels in zip((wide, narrow), path_widths(planes), (slow[i], fast[i]))
            ]
            channels = path_widths(planes * EXPANSION)
            fuse = self._fuse(channels[1], fuse_kernel) if planes != PLANES[-1] else None
            self.add_module(f"layer{i + 1}", TwoPaths(slow_path, fast_path, fuse))
        self.pools = nn.ModuleList(WindowPool(window_of(length, size)) for length in (frames // alpha, frames))
        init_convs(self)
        self.reset_head(num_classes)

    def _fuse(self, channels: int, kernel: int) -> nn.Module:
        conv = same_conv(channels, FUSED * channels, (kernel, 1, 1), (self.alpha, 1, 1))
        return nn.Sequential(conv, nn.BatchNorm3d(FUSED * channels), nn.ReLU(inplace=True))

    def features(self, x_NCTHW: Tensor) -> Tensor:
        length = x_NCTHW.shape[2]
        by_linspace = self.slow_path == "linspace"
        frames = slow_frames(length, self.alpha) if by_linspace else list(range(0, length, self.alpha))
        paths = (torch.cat([x_NCTHW[:, :, i : i + 1] for i in frames], 2), x_NCTHW)
        for part in (self.stem, self.layer1, self.layer2, self.layer3, self.layer4):
            paths = part(*paths)
        slow, fast = paths
        return torch.cat((slow.repeat_interleave(self.alpha, 2), fast), 1)

    def head(self, features_NCTHW: Tensor) -> Tensor:
        slow, fast = features_NCTHW.split(path_widths(PLANES[-1] * EXPANSION), 1)
        paths = (slow.unflatten(2, (-1, self.alpha)).mean(3), fast)
        # On long clips, the paths have different numbers of windows in time.
        windows = [pool(path).mean(2, keepdim=True) for pool, path in zip(self.pools, paths)]
        return logits_of_windows(self.fc, self.dropout(torch.cat(windows, 1)), self.window_average)


def path_widths(slow: int) -> tuple[int, int]:
    """The channels of the slow path and those of the fast path."""
    return slow, slow // NARROWER


def stem(in_channels: int, channels: int, kernel: int) -> nn.Module:
    """The stem of a path, with this temporal kernel."""
    conv = same_conv(in_channels, channels, (kernel, 7, 7), (1, 2, 2))
    return nn.Sequential(conv, nn.BatchNorm3d(channels), nn.ReLU(inplace=True), image_pool())


def slow_frames(frames: int, alpha: int) -> list[int]:
    """The frames of the slow path: trunc(linspace(0, frames - 1, frames // alpha)), rounded as torch does in float32.

    They are computed with Python numbers, because torch.compile cannot use the values of a tensor as indices.
    """
    last = max(frames // alpha - 1, 1)
    step = _float32((frames - 1) / last)
    first_half = [int(_float32(step * i)) for i in range(max(frames // alpha // 2, 1))]
    return first_half + [int(_float32(frames - 1 - step * (last - i))) for i in range(len(first_half), frames // alpha)]


def _float32(x: float) -> float:
    """A number rounded to the 24 bits of float32 (Veltkamp's method)."""
    scaled = x * (2**29 + 1)
    return scaled - (scaled - x)


SLOW: Kernels = ((1,), (1,), (3,), (3,))
FAST: Kernels = ((3,), (3,), (3,), (3,))
HALF = (3,) * 6 + (1,) * 17  # of the 23 blocks of the third stage, the first 6 have temporal kernels
C2D: Kernels = ((1,), (1,), (1,), (1,))
I3D: Kernels = ((3,), (3, 1), (3, 1), (1, 3))

ONE_PATH = {  # name: depth, kernel of the stem, kernels, pooled; paper; accuracies
    "slow_resnet50": (
        (50, 1, SLOW, False),
        "arXiv:1812.03982",
        (
            published(72.40, 90.18, "SLOW_4x16_R50.pyth", frames=4, protocol="pyslowfast_k400_4x16"),
            published(74.58, 91.63, "SLOW_8x8_R50.pyth", frames=8, protocol="pyslowfast_k400_8x8"),
            published(60.04, 85.19, "SLOW_8x8_R50.pyth", frames=8, protocol="pyslowfast_ssv2_slow_8"),
        ),
    ),
    "slow_resnet101": ((101, 1, SLOW, False), "arXiv:1812.03982", ()),
    "c2d_resnet50": (
        (50, 1, C2D, True),
        "arXiv:1711.07971",
        (published(71.46, 89.68, "C2D_8x8_R50.pyth", frames=8, protocol="pyslowfast_k400_8x8"),),
    ),
    "i3d_resnet50_pyslowfast": (
        (50, 5, I3D, True),
        "arXiv:1705.07750",
        (published(73.27, 90.70, "I3D_8x8_R50.pyth", frames=8, protocol="pyslowfast_k400_8x8"),),
    ),
}
TWO_PATHS = {  # name: depth, alpha, kernel of the fusion, kernels of both paths; frames; accuracies
    "slowfast_resnet50_4x16": (
        (50, 8, 5, SLOW, FAST),
        32,
        (published(75.34, 91.89, "SLOWFAST_4x16_R50.pyth", frames=32, protocol="pyslowfast_k400_32x2"),),
    ),
    "slowfast_resnet50_8x8": (
        (50, 4, 7, SLOW, FAST),
        32,
        (
            published(76.94, 92.69, "SLOWFAST_8x8_R50.pyth", frames=32, protocol="pyslowfast_k400_32x2"),
            published(61.68, 86.92, "SLOWFAST_8x8_R50.pyth", frames=32, protocol="pyslowfast_ssv2_slowfast_32"),
        ),
    ),
    "slowfast_resnet101_8x8": (
        (101, 4, 5, SLOW, FAST),
        32,
        (published(77.90, 93.27, "SLOWFAST_8x8_R101.pyth", frames=32, protocol="pyslowfast_k400_32x2"),),
    ),
    "slowfast_resnet101_16x8": (
        (101, 4, 5, (*SLOW[:2], HALF, SLOW[3]), (*FAST[:2], HALF, FAST[3])),
        64,
        (published(78.70, 93.61, "SLOWFAST_16x8_R101_50_50.pyth", frames=64, protocol="pyslowfast_k400_64x2"),),
    ),
}
ONE_PATH_LAYOUTS = {  # by whether the net is pooled: PyTorchVideo numbers the pool too
    pooled: {
        "pytorchvideo": pytorchvideo(RESNET_STEM, stages="1345" if pooled else "1234"),
        "pyslowfast": pyslowfast({"conv": "conv1", "bn": "bn1"}),
    }
    for pooled in (False, True)
}
PATHS = {"0": "slow", "1": "fast"}
TWO_PATHS_LAYOUTS = {
    "pytorchvideo": pytorchvideo(
        {
            "conv": "0",
            "norm": "1",
            "multipathway_fusion.conv_fast_to_slow": "fuse.0",
            "multipathway_fusion.norm": "fuse.1",
        },
        stem="stem",
        paths=PATHS,
    ),
    "pyslowfast": pyslowfast(
        {"conv": "0", "bn": "1", "fuse.conv_f2s": "fuse.0", "fuse.bn": "fuse.1"}, stem="stem", paths=PATHS
    ),
}
for _name, (_form, _paper, _published) in ONE_PATH.items():
    NETS.add(
        _name,
        Entry(
            partial(SlowResNet, *_form),
            input=input_of(8, 224),
            options={"dropout": 0.5, "frames": 8, "size": 224},
            paper=_paper,
            weights=ONE_PATH_LAYOUTS[_form[-1]],
            published=_published,
            unshown="the pool after the first stage, which this net has, but PySlowFast's slow_c2d and slow_i3d lack"
            if _form[-1]
            else "",
        ),
    )
for _name, (_paths, _frames, _published) in TWO_PATHS.items():
    NETS.add(
        _name,
        Entry(
            partial(SlowFast, *_paths),
            input=input_of(_frames, 224),
            options={"dropout": 0.5, "frames": _frames, "size": 224},
            paper="arXiv:1812.03982",
            weights=TWO_PATHS_LAYOUTS,
            published=_published,
            unshown="the number of frames of the fast path per frame of the slow path (SLOWFAST.ALPHA), "
            f"{_paths[1]} in this net",
        ),
    )
