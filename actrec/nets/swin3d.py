"""Video Swin Transformer (Liu et al. 2021, arXiv:2106.13230).

Attention is computed within windows of 8x7x7 tokens. A token represents 2x4x4 pixels. Every second block shifts its
windows by half of their size, so that tokens of different windows are combined. After each of the first three stages,
2x2 tokens are merged into one.

The weights have the same names as in the authors' repository (SwinTransformer/Video-Swin-Transformer). Its files are
read with the layout `videoswin`. torchvision has the same net (layout `torchvision`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from math import prod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue, Published
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Conv3d, Triple
from actrec.nets.transformer import DropPath, Mlp, applied, as_map, as_tokens, drop_paths, init_linear

PATCH = (2, 4, 4)
SIDE = 7  # height and width of a window, in tokens
HEAD = 32  # channels of an attention head
MASKED = -100.0  # added to the attention between tokens that are neighbors only because of the shift


class WindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each relative position of two tokens.

    Args:
        window: size of a window in tokens (T, H, W).
        shifted: windows are shifted by half of their size.
    """

    def __init__(self, channels: int, window: Triple, *, shifted: bool):
        super().__init__()
        self.window, self.shifted, self.heads = window, shifted, channels // HEAD
        table = torch.empty(prod(2 * size - 1 for size in window), self.heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x_NLC: Tensor, shape: Triple) -> Tensor:
        """The tokens of maps of `shape` (T, H, W).

        If the map has no more tokens along an axis than a window, the window gets the size of the map along this axis,
        and is not shifted. Maps are padded to whole windows. As in the reference, the padding is not masked.
        """
        window, shift = self._fitted(shape)
        maps = x_NLC.unflatten(1, shape)
        (t, h, w) = (-size % of_window for size, of_window in zip(shape, window))
        maps = F.pad(maps, (0, 0, 0, w, 0, h, 0, t))
        padded = (shape[0] + t, shape[1] + h, shape[2] + w)
        bias = self._bias(prod(window))
        if any(shift):
            maps = torch.roll(maps, tuple(-s for s in shift), (1, 2, 3))
            bias = bias + _mask(padded, window, shift, like=bias)
        out = _whole(self._attention(_windows(maps, window), bias), padded, window)
        if any(shift):
            out = torch.roll(out, shift, (1, 2, 3))
        return out[:, : shape[0], : shape[1], : shape[2]].flatten(1, 3)

    def _fitted(self, shape: Triple) -> tuple[Triple, Triple]:
        """Size and shift of the windows for maps of this shape."""
        window = tuple(min(size, own) for size, own in zip(shape, self.window))
        shift = tuple(own // 2 if self.shifted and size > own else 0 for size, own in zip(shape, self.window))
        return window, shift  # type: ignore[return-value] # mypy does not count the items

    def _bias(self, length: int) -> Tensor:
        """Bias (heads, L, L) of the attention between the first L tokens of a whole window.

        Like the reference, the net also uses them for smaller windows, in which these tokens have other positions.
        """
        _, height, width = self.window
        token = torch.arange(prod(self.window), device=self.relative_position_bias_table.device)
        frame, row, column = token // (height * width), token // width % height, token % width
        place = (frame * (2 * height - 1) + row) * (2 * width - 1) + column
        index = place[:length, None] - place[:length] + place[-1]
        return self.relative_position_bias_table[index].permute(2, 0, 1)

    def _attention(self, x_NWLC: Tensor, bias: Tensor) -> Tensor:
        """Attention between the L tokens of each window.

        Args:
            bias: (heads, L, L), or (W, heads, L, L) if the windows differ.
        """
        qkv = self.qkv(x_NWLC).unflatten(3, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)  # (3, N, W, heads, L, d)
        # PyTorch's fast kernels need tensors of four axes. Windows with different masks are put on the axis of the
        # heads, and windows with equal masks on the axis of the clips.
        axes, bias = ((1, 2), bias.flatten(0, 1)) if bias.ndim == 4 else ((0, 1), bias)
        q, k, v = (part.flatten(*axes) for part in qkv.unbind())
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None].to(q.dtype))
        out = out.reshape(qkv.shape[1:])
        return self.proj(out.transpose(2, 3).flatten(3))


class Block(nn.Module):
    """Attention and an MLP. Each of them has a normalization before it, and a shortcut around both."""

    def __init__(self, channels: int, window: Triple, *, shifted: bool, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, shifted=shifted)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x_NLC: Tensor, shape: Triple) -> Tensor:
        x_NLC = x_NLC + self.drop_path(self.attn(self.norm1(x_NLC), shape))
        return x_NLC + self.drop_path(self.mlp(self.norm2(x_NLC)))


class PatchMerging(nn.Module):
    """Merges 2x2 tokens into one token with twice the channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        height, width = x_NCTHW.shape[3:]
        x = F.pad(x_NCTHW, (0, width % 2, 0, height % 2))
        parts = [x[:, :, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = torch.cat(parts, 1)
        t, h, w = x.shape[2:]
        return as_map(self.reduction(self.norm(as_tokens(x))), (t, h, w))


class Stage(nn.Module):
    """Blocks, and the merging of tokens before the next stage.

    Args:
        drop_path: probability of stochastic depth for each block.
        last: do not merge tokens after the blocks.
        checkpointing: gradient checkpointing, as for `transformer.Blocks`.
    """

    def __init__(self, channels: int, window: Triple, *, drop_path: list[float], last: bool, checkpointing: bool):
        super().__init__()
        self.checkpointing = checkpointing
        self.blocks = nn.ModuleList(
            Block(channels, window, shifted=i % 2 == 1, drop_path=rate) for i, rate in enumerate(drop_path)
        )
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        t, h, w = x_NCTHW.shape[2:]
        tokens = as_tokens(x_NCTHW)
        for block in self.blocks:
            tokens = applied(block, tokens, (t, h, w), checkpointing=self.checkpointing)
        x_NCTHW = as_map(tokens, (t, h, w))
        return x_NCTHW if self.downsample is None else self.downsample(x_NCTHW)


class PatchEmbedding(nn.Module):
    """One token for each 2x4x4 pixels. Clips are padded with zeros to whole tokens."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = Conv3d(in_channels, channels, PATCH, PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        (t, h, w) = (-size % patch for size, patch in zip(x_NCTHW.shape[2:], PATCH))
        x = self.proj(F.pad(x_NCTHW, (0, w, 0, h, 0, t)))
        t, h, w = x.shape[2:]
        return as_map(self.norm(as_tokens(x)), (t, h, w))


class Swin3D(Backbone):
    """The whole net. It accepts clips of any length and size.

    Args:
        channels: channels of a token in the first stage. They are doubled in each of the other stages.
        depth: number of blocks. The first, second and last stage have two blocks each, and the third has the others.
        window_t: temporal size of a window, in tokens of 2 frames.
        frames, size: number of frames, and height and width in pixels, of the clips that the net expects by default.
        drop_path: probability of stochastic depth for the last block. It grows linearly from 0 in the first block.
        checkpointing: gradient checkpointing, as for `transformer.Blocks`.
        num_classes, in_channels, dropout: as for `Backbone`.

    Raises:
        ValueError: there are too few blocks.
    """

    not_decayed = ("relative_position_bias_table",)

    def __init__(
        self,
        channels: int,
        *,
        num_classes: int,
        in_channels: int,
        frames: int,
        size: int | tuple[int, int],
        dropout: float,
        drop_path: float,
        depth: int,
        window_t: int,
        checkpointing: bool,
    ):
        super().__init__(num_features=8 * channels, in_channels=in_channels, dropout=dropout, head_std=0.01)
        if depth < 7:
            raise ValueError(f"depth {depth}: expected at least 7, one block in the third stage and two in the others")
        self.patch_embed = PatchEmbedding(in_channels, channels)
        rates = iter(drop_paths(drop_path, depth))
        stages = [
            Stage(
                channels * 2**i,
                (window_t, SIDE, SIDE),
                drop_path=[next(rates) for _ in range(blocks)],
                last=i == 3,
                checkpointing=checkpointing,
            )
            for i, blocks in enumerate((2, 2, depth - 6, 2))
        ]
        self.layers = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(self.num_features)
        init_linear(self)
        self.reset_head(num_classes)

    @property
    def depth_layers(self) -> list[nn.Module]:
        """See `Backbone`. Each block is a layer, and the merging of tokens belongs to the block before it, as in SimMIM
        (Xie et al. 2021, arXiv:2111.09886)."""
        return [self.patch_embed, *(block for stage in cast(Iterable[Stage], self.layers) for block in stage.blocks)]

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = self.layers(self.patch_embed(x_NCTHW))
        t, h, w = x.shape[2:]
        return as_map(self.norm(as_tokens(x)), (t, h, w))


def _windows(x_NTHWC: Tensor, window: Triple) -> Tensor:
    """The tokens (N, W, L, C) of W windows."""
    for axis, size in zip((1, 3, 5), window):
        x_NTHWC = x_NTHWC.unflatten(axis, (-1, size))
    return x_NTHWC.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)


def _whole(x_NWLC: Tensor, shape: Triple, window: Triple) -> Tensor:
    """The maps (N, T, H, W, C) of windows."""
    counts = [size // of_window for size, of_window in zip(shape, window)]
    x = x_NWLC.unflatten(2, window).unflatten(1, counts).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.flatten(5, 6).flatten(3, 4).flatten(1, 2)


def _mask(shape: Triple, window: Triple, shift: Triple, *, like: Tensor) -> Tensor:
    """Mask (W, 1, L, L) to add to the attention in shifted windows.

    It separates the tokens that were at opposite ends of the map before the shift.
    """
    regions = torch.zeros(1, *shape, 1, dtype=torch.long, device=like.device)
    for axis, (size, of_window, of_shift) in enumerate(zip(shape, window, shift)):
        if of_shift:
            place = torch.arange(size, device=like.device)
            region = (place >= size - of_window).long() + (place >= size - of_shift).long()
            regions = 3 * regions + region.reshape([-1 if i == axis + 1 else 1 for i in range(5)])
    tokens = _windows(regions, window)[0, :, :, 0]
    apart = tokens[:, None, :, None] != tokens[:, None, None, :]
    return torch.zeros(apart.shape, dtype=like.dtype, device=like.device).masked_fill(apart, MASKED)


def options_of(tensors: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    """The options that follow from the tensors of a file: `depth` and `window_t`."""
    blocks = {int(found[1]) for name in tensors if (found := re.match(r"layers\.2\.blocks\.(\d+)\.", name))}
    options: dict[str, OptionValue] = {"depth": max(blocks) + 7} if blocks else {}
    table = tensors.get("layers.0.blocks.0.attn.relative_position_bias_table")
    if table is not None:
        options["window_t"] = (len(table) // (2 * SIDE - 1) ** 2 + 1) // 2
    return options


INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=32, size=224)
UNUSED = {r".+\.relative_position_index": "computed index", r".+\.attn_mask": "computed mask"}
REPOSITORY = Layout(
    renames={r"backbone\.(.+)": r"\1", r"cls_head\.fc_cls\.(.+)": r"fc.\1"},
    dropped=UNUSED,
)
TORCHVISION = Layout(
    renames={
        **{
            rf"features\.{2 * stage}\.(\d+)\.mlp\.{theirs}\.(.+)": rf"layers.{stage}.blocks.\1.mlp.{ours}.\2"
            for stage in range(4)
            for theirs, ours in ((0, "fc1"), (3, "fc2"))
        },
        **{rf"features\.{2 * stage}\.(\d+\..+)": rf"layers.{stage}.blocks.\1" for stage in range(4)},
        **{rf"features\.{2 * stage + 1}\.(.+)": rf"layers.{stage}.downsample.\1" for stage in range(3)},
        r"head\.(.+)": r"fc.\1",
    },
    dropped=UNUSED,
)
of_authors = partial(Published, frames=32, views="4x3", size=224, source="Video-Swin-Transformer", layout="videoswin")
k400 = partial(of_authors, "Kinetics-400", protocol="videoswin_k400")
k600 = partial(of_authors, "Kinetics-600", protocol="videoswin_k600")
ssv2 = partial(of_authors, "Something-Something V2", views="1x3", protocol="videoswin_ssv2")
of_torchvision = partial(
    Published,
    "Kinetics-400",
    frames=32,
    views="12 clips",
    size=224,
    source="torchvision",
    layout="torchvision",
    protocol="torchvision_swin3d",
)
VARIANTS: dict[str, tuple[int, int, float, tuple[Published, ...]]] = {
    # name: channels, blocks, stochastic depth, accuracies
    "swin3d_t": (
        96,
        12,
        0.1,
        (
            k400(78.8, 93.6, file="swin_tiny_patch244_window877_kinetics400_1k.pth"),
            of_torchvision(77.715, 93.519, file="swin3d_t-7615ae03.pth"),
        ),
    ),
    "swin3d_s": (
        96,
        24,
        0.1,
        (
            k400(80.6, 94.5, file="swin_small_patch244_window877_kinetics400_1k.pth"),
            of_torchvision(79.521, 94.158, file="swin3d_s-da41c237.pth"),
        ),
    ),
    "swin3d_b": (
        128,
        24,
        0.3,
        (
            k400(80.6, 94.6, file="swin_base_patch244_window877_kinetics400_1k.pth"),
            k400(82.7, 95.5, file="swin_base_patch244_window877_kinetics400_22k.pth"),
            k600(84.0, 96.5, file="swin_base_patch244_window877_kinetics600_22k.pth"),
            ssv2(69.6, 92.7, file="swin_base_patch244_window1677_sthv2.pth"),
            of_torchvision(79.427, 94.386, file="swin3d_b_1k-24f7c7c6.pth"),
            of_torchvision(81.643, 95.574, file="swin3d_b_22k-7c6ae6fa.pth"),
        ),
    ),
}
for _name, (_channels, _depth, _drop_path, _published) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            partial(Swin3D, _channels),
            input=INPUT,
            options={
                "frames": INPUT.frames,
                "size": INPUT.size,
                "dropout": 0.5,
                "drop_path": _drop_path,
                "depth": _depth,
                "window_t": 8,
                "checkpointing": False,
            },
            paper="arXiv:2106.13230",
            weights={"torchvision": TORCHVISION, "videoswin": REPOSITORY},
            published=_published,
            options_of=options_of,
        ),
    )
