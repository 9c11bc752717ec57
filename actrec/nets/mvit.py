"""Multiscale Vision Transformers: MViT (Fan et al. 2021, arXiv:2104.11227) and MViTv2 (Li et al. 2022,
arXiv:2112.01526).

The blocks get a class token, and one token for each 2x4x4 pixels. A few blocks halve height and width of the map of
tokens by pooling the queries, and double the channels. All blocks pool keys and values.

The weights have the same names as in PySlowFast, the authors' repository, except for those of `positions`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue, Published
from actrec.nets.backbone import Backbone
from actrec.nets.layers import Conv3d, Pool3d, Triple
from actrec.nets.transformer import (
    DropPath,
    Mlp,
    applied,
    as_map,
    as_tokens,
    drop_paths,
    init_linear,
    joined,
    merged,
    num_blocks,
)
from actrec.settings import show

KERNEL, STRIDE = (3, 7, 7), (2, 4, 4)  # of the convolution that makes the tokens
HEAD = 96  # channels of an attention head, and of the first blocks
LARGE = 24  # blocks; from this depth on, other blocks halve the map
COARSEST = 8  # stride of keys and values in the first block
EPS = 1e-6
Norm = partial(nn.LayerNorm, eps=EPS)


class Positions(nn.Module):
    """The class token, and learned absolute positions.

    Args:
        grid: tokens of a clip along time, height and width. None: there are no absolute positions, because the blocks
            have relative ones.
    """

    def __init__(self, channels: int, grid: Triple | None):
        super().__init__()
        self.cls_token = _table(1, 1, channels)
        self.absolute = grid is not None
        if grid is not None:
            self.pos_embed_spatial = _table(1, grid[1] * grid[2], channels)
            self.pos_embed_temporal = _table(1, grid[0], channels)
            self.pos_embed_class = _table(1, 1, channels)

    def forward(self, x_NLC: Tensor) -> Tensor:
        """The tokens after the class token."""
        token: Tensor = self.cls_token
        if self.absolute:
            token = token + self.pos_embed_class
            x_NLC = x_NLC + (self.pos_embed_temporal[0, :, None] + self.pos_embed_spatial).flatten(0, 1)
        return torch.cat((token.expand(x_NLC.shape[0], -1, -1).to(x_NLC.dtype), x_NLC), 1)


class BiasedProduct(nn.Module):
    """Scaled dot-product attention with a bias for each pair of a query and a key. The class token has no bias.

    A bias is the sum of one bias for each axis. Additional channels of queries and keys compute it. So there is no
    tensor of shape (N, heads, queries, keys), and PyTorch can use its fast attention kernels.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, biases: Tensor, places: Tensor) -> Tensor:
        """The result (N, heads, 1 + queries, C).

        Args:
            q, k, v: (N, heads, 1 + queries or keys, C), the class token first.
            biases: (N, heads, queries, P), for the P = T + H + W places along the axes of the map of keys.
            places: (keys, P), 1 at the three places of a key, and 0 elsewhere.
        """
        channels, more = q.shape[3], places.shape[1]
        queries = torch.cat((q, F.pad(biases.to(q.dtype), (0, 0, 1, 0))), 3)
        keys = torch.cat((k * channels**-0.5, F.pad(places, (0, 0, 1, 0)).expand(*k.shape[:2], -1, -1)), 3)
        out = F.scaled_dot_product_attention(queries, keys, F.pad(v, (0, more)), scale=1.0)
        return out[..., :channels]

    def multiply_adds(self, out: Tensor, q: Tensor, k: Tensor, *others: Tensor) -> int:
        """Multiply-adds of the two matrix products. Like the published tables, they do not include the bias."""
        return 2 * out.numel() * k.shape[2]


class Attention(nn.Module):
    """Multi-head attention with pooled queries, keys and values.

    Args:
        in_channels, channels: channels of an input token and of an output token. An attention head has 96.
        q_stride: stride along height and width of the convolution that pools queries. None: they are not pooled.
        kv_stride: stride along height and width of the convolutions that pool keys and values.
        strided: as for `Block`.
        grid: tokens along time, height and width, for relative positions (version 2). None: there are none.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        q_stride: int | None,
        kv_stride: int,
        strided: bool,
        grid: Triple | None,
    ):
        super().__init__()
        self.heads = channels // HEAD
        self.qkv = nn.Linear(in_channels, 3 * channels)
        self.pools_q = q_stride is not None and (q_stride > 1 or not strided)
        self.pools_kv, self.relative = kv_stride > 1 or not strided, grid is not None
        if self.pools_q:
            assert q_stride is not None
            self.pool_q, self.norm_q = _pool(q_stride, strided), Norm(HEAD)
        if self.pools_kv:
            self.pool_k, self.norm_k = _pool(kv_stride, strided), Norm(HEAD)
            self.pool_v, self.norm_v = _pool(kv_stride, strided), Norm(HEAD)
        if grid is not None:
            assert q_stride is not None
            side = max(grid[1:])
            places = 2 * max(side // q_stride, side // kv_stride) - 1
            self.rel_pos_h, self.rel_pos_w = _table(places, HEAD), _table(places, HEAD)
            self.rel_pos_t = _table(2 * grid[0] - 1, HEAD)
            self.product = BiasedProduct()
        self.proj = nn.Linear(channels, channels)

    def forward(self, x_NLC: Tensor, grid: Triple) -> tuple[Tensor, Triple]:
        """The tokens of maps of `grid` (T, H, W), after the class token, and the grid of the result."""
        q, k, v = self.qkv(x_NLC).unflatten(2, (3, self.heads, HEAD)).permute(2, 0, 3, 1, 4)
        kv_grid = grid
        if self.pools_kv:
            k, kv_grid = _pooled(k, self.pool_k, grid)
            v, _ = _pooled(v, self.pool_v, grid)
            k, v = self.norm_k(k), self.norm_v(v)
        if self.pools_q:
            q, grid = _pooled(q, self.pool_q, grid)
            q = self.norm_q(q)
        if not self.relative:
            return self.proj(merged(F.scaled_dot_product_attention(q, k, v))), grid
        biases = self._biases(q[:, :, 1:].unflatten(2, grid), kv_grid)
        out = self.product(q, k, v, biases, _one_hot(kv_grid, like=k))
        return self.proj(merged(out + F.pad(q[:, :, 1:], (0, 0, 1, 0)))), grid

    def _biases(self, q: Tensor, kv_grid: Triple) -> Tensor:
        """The biases (N, heads, queries, T + H + W) of queries (N, heads, T', H', W', C) and of the places of keys."""
        t, h, w = (
            _relative(table, of_q, of_k)
            for table, of_q, of_k in zip((self.rel_pos_t, self.rel_pos_h, self.rel_pos_w), q.shape[2:5], kv_grid)
        )
        found = (
            torch.einsum("ndthwc,tkc->ndthwk", q, t),
            torch.einsum("ndthwc,hkc->ndthwk", q, h),
            torch.einsum("ndthwc,wkc->ndthwk", q, w),
        )
        return torch.cat(found, 5).flatten(2, 4)


class Block(nn.Module):
    """Attention and an MLP. Each of them has a normalization before it, and a shortcut around both.

    Args:
        in_channels, channels: channels of an input token and of an output token. In version 1 the MLP changes their
            number, in version 2 the attention.
        halves: pool the queries, which halves height and width of the map.
        kv_stride: as for `Attention`.
        strided: the kernels of the pools follow from their strides (see `MViT`).
        grid: as for `Attention`. The block is of version 2 if it is given.
        drop_path: probability of stochastic depth.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        halves: bool,
        kv_stride: int,
        strided: bool,
        grid: Triple | None,
        drop_path: float,
    ):
        super().__init__()
        self.v2 = grid is not None
        inner = channels if self.v2 else in_channels
        q_stride = 2 if halves else 1 if self.v2 else None
        self.norm1 = Norm(in_channels)
        self.attn = Attention(in_channels, inner, q_stride=q_stride, kv_stride=kv_stride, strided=strided, grid=grid)
        self.norm2 = Norm(inner)
        self.mlp = Mlp(inner, 4 * inner, channels)
        self.proj = nn.Linear(in_channels, channels) if channels != in_channels else None
        self.pool_skip = Pool3d("max", (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)) if halves else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x_NLC: Tensor, grid: Triple) -> tuple[Tensor, Triple]:
        """The tokens of maps of `grid` (T, H, W), after the class token, and the grid of the result."""
        normed = self.norm1(x_NLC)
        out, new_grid = self.attn(normed, grid)
        skip = self.proj(normed) if self.proj is not None and self.v2 else x_NLC
        if self.pool_skip is not None:
            skip = _pooled(skip[:, None], self.pool_skip, grid)[0][:, 0]
        x_NLC = skip + self.drop_path(out)
        normed = self.norm2(x_NLC)
        skip = self.proj(normed) if self.proj is not None and not self.v2 else x_NLC
        return skip + self.drop_path(self.mlp(normed)), new_grid


class Blocks(nn.ModuleList):
    """Blocks that act one after the other.

    Args:
        checkpointing: gradient checkpointing, as for `transformer.Blocks`.
    """

    def __init__(self, *, checkpointing: bool):
        super().__init__()
        self.checkpointing = checkpointing

    def forward(self, x_NLC: Tensor, grid: Triple, last_map: nn.Module) -> Tensor:
        """The tokens of maps of `grid` (T, H, W), after the class token.

        Args:
            last_map: module that is called with the map before the last block. `actrec explain` uses this map, because
                after the last block only the class token affects the logits.
        """
        *blocks, last = self
        for block in blocks:
            x_NLC, grid = applied(block, x_NLC, grid, checkpointing=self.checkpointing)
        found = last_map(as_map(x_NLC[:, 1:], grid))
        x_NLC = torch.cat((x_NLC[:, :1], as_tokens(found)), 1)
        x_NLC, _ = applied(last, x_NLC, grid, checkpointing=self.checkpointing)
        return x_NLC


class MViT(Backbone):
    """The whole net. Like the references, it accepts only clips of the length and size for which it was built.

    Args:
        v2: version 2: relative positions, and the changes of width inside the attention.
        frames, size: number of frames, and height and width in pixels, of the clips. `frames` must be even, height and
            width must be multiples of 4.
        depth: number of blocks. With 24 or more blocks, the width changes at the blocks 2, 5 and 21, otherwise at the
            blocks 1, 3 and 14.
        pool_kernel: kernel (time, height, width) of the pools of queries, keys and values. "3x3x3": the same for all
            pools. "strided": (1, S + 1, S + 1) for the spatial stride S, and no pool where S is 1; this is what
            PySlowFast does if its configuration states no kernel. None: "strided" for version 1 with 24 blocks, as in
            the only configuration of this net, otherwise "3x3x3". Weights set it when they are loaded.
        drop_path: probability of stochastic depth for the last block. It grows linearly from 0 in the first block.
        checkpointing: gradient checkpointing, as for `Blocks`.
        num_classes, in_channels, dropout: as for `Backbone`.

    Raises:
        ValueError: `frames` or `size` do not fit.
    """

    fixed_grid = exact = True

    def __init__(
        self,
        v2: bool,
        *,
        num_classes: int,
        in_channels: int,
        frames: int,
        size: int | tuple[int, int],
        dropout: float,
        drop_path: float,
        depth: int,
        pool_kernel: str | None,
        checkpointing: bool,
    ):
        changes = _changes(depth)
        super().__init__(num_features=HEAD * 2 ** len(changes), in_channels=in_channels, dropout=dropout, head_std=0.02)
        height, width = (size, size) if isinstance(size, int) else size
        if frames % 2:
            raise ValueError(f"frames {frames}: this net needs a multiple of 2")
        if height % 4 or width % 4:
            raise ValueError(f"size {show(size)}: this net needs multiples of 4")
        self.clip: Triple = (frames, height, width)
        self.min_frames, self.min_size = frames, min(height, width)
        self.grid = grid = (frames // 2, height // 4, width // 4)
        self.patch_embed = PatchEmbedding(in_channels)
        self.positions = Positions(HEAD, None if v2 else grid)
        self.blocks = Blocks(checkpointing=checkpointing)
        channels, kv_stride = HEAD, COARSEST
        for i, rate in enumerate(drop_paths(drop_path, depth)):
            halves = i in changes
            # Version 2 widens the tokens in the block that halves the map, version 1 in the block before it.
            wider = 2 if (i if v2 else i + 1) in changes else 1
            kv_stride = kv_stride // 2 if halves else kv_stride
            self.blocks.append(
                Block(
                    channels,
                    wider * channels,
                    halves=halves,
                    kv_stride=kv_stride,
                    strided=(pool_kernel or _default_kernel(v2, depth)) == "strided",
                    grid=grid if v2 else None,
                    drop_path=rate,
                )
            )
            channels *= wider
            grid = (grid[0], grid[1] // 2, grid[2] // 2) if halves else grid
        self.last_map = nn.Identity()
        self.norm = Norm(channels)
        init_linear(self)
        self.reset_head(num_classes)

    @property
    def depth_layers(self) -> list[nn.Module]:
        """See `Backbone`. The tables of positions belong to the first layer, as in PySlowFast."""
        return [self.patch_embed, *self.blocks]

    def features(self, x_NCTHW: Tensor) -> Tensor:
        """The class token (N, num_features, 1, 1, 1). The head classifies only this token."""
        x = self.patch_embed(x_NCTHW)
        tokens = self.blocks(self.positions(as_tokens(x)), x.shape[2:], self.last_map)
        return self.norm(tokens[:, 0])[:, :, None, None, None]

    def _check(self, x: Tensor) -> None:
        if x.ndim == 5 and tuple(x.shape[2:]) != self.clip:
            frames, height, width = self.clip
            raise ValueError(
                f"clips of {x.shape[2]} frames of {x.shape[3]}x{x.shape[4]} pixels: this net was built for {frames} "
                f"frames of {height}x{width} (its options `frames` and `size`)"
            )
        super()._check(x)


class PatchEmbedding(nn.Module):
    """The map of tokens of a clip."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.proj = Conv3d(in_channels, HEAD, KERNEL, STRIDE, (1, 3, 3))

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return self.proj(x_NCTHW)


def _changes(depth: int) -> tuple[int, ...]:
    """The blocks that halve the map."""
    return tuple(i for i in ((1, 3, 14) if depth < LARGE else (2, 5, 21)) if i < depth)


def _default_kernel(v2: bool, depth: int) -> str:
    """The value of `pool_kernel` that None stands for."""
    return "strided" if not v2 and depth >= LARGE else "3x3x3"


def _table(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(*shape), std=0.02))


def _pool(stride: int, strided: bool) -> Conv3d:
    """A convolution that pools the tokens of a head, channel by channel."""
    kernel = (1, stride + 1, stride + 1) if strided else (3, 3, 3)
    t, h, w = (extent // 2 for extent in kernel)
    return Conv3d(HEAD, HEAD, kernel, (1, stride, stride), (t, h, w), groups=HEAD, bias=False)


def _pooled(x: Tensor, pool: nn.Module, grid: Triple) -> tuple[Tensor, Triple]:
    """Pools tokens (N, heads, 1 + T*H*W, C) without the class token.

    Returns:
        The tokens, and (T, H, W) of their map.
    """
    maps = x[:, :, 1:].flatten(0, 1).contiguous().unflatten(1, grid).permute(0, 4, 1, 2, 3)  # channels-last
    found = pool(maps)
    tokens = as_tokens(found).unflatten(0, x.shape[:2])
    return torch.cat((x[:, :, :1], tokens), 2), found.shape[2:]


def _relative(table: Tensor, of_q: int, of_k: int) -> Tensor:
    """The rows (queries, keys, C) of a table for the positions of queries and keys along one axis.

    The positions are counted on the larger of the two maps. A table for another size is interpolated.
    """
    needed = 2 * max(of_q, of_k) - 1
    if len(table) != needed:
        table = _interpolated(table, needed)
    q = torch.arange(of_q, device=table.device)[:, None] * max(of_k / of_q, 1.0)
    k = (torch.arange(of_k, device=table.device) + (1.0 - of_k)) * max(of_q / of_k, 1.0)
    return table[(q - k).long()]


def _interpolated(table: Tensor, length: int) -> Tensor:
    """A table (positions, C) for another number of positions along one axis."""
    return F.interpolate(table.T[None], size=length, mode="linear")[0].T


def _interpolated_map(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """A table (positions, C) of a square map for the positions of another map.

    Raises:
        ValueError: the map is not square, so that its height and width are not known.
    """
    side = math.isqrt(len(table))
    if side**2 != len(table):
        raise ValueError(f"{len(table)} positions in space: expected those of a square, or a net of the file's size")
    maps = F.interpolate(table.T.reshape(1, -1, side, side), size=grid, mode="bicubic")
    return maps.flatten(2)[0].T


def _one_hot(grid: Triple, *, like: Tensor) -> Tensor:
    """The places (T*H*W, T + H + W) of the tokens of a map: in each row, a 1 for each of its three axes."""
    axes = []
    for axis, extent in enumerate(grid):
        shape = [extent if i == axis else 1 for i in range(3)]
        axes.append(torch.eye(extent, dtype=like.dtype, device=like.device).reshape(*shape, extent))
    return torch.cat([axis.expand(*grid, -1) for axis in axes], 3).flatten(0, 2)


def converted(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Joins queries, keys and values, and interpolates tables of positions for the grid of the net.

    The interpolation is that of PySlowFast when it loads a file: bicubic in space, and linear along single axes.

    Raises:
        ValueError: a part is missing, or the positions in space are not those of a square.
    """
    assert isinstance(net, MViT)
    own = net.state_dict()
    found = joined(tensors, ("q", "k", "v"), "qkv")
    for name, tensor in found.items():
        if name not in own or not re.search(r"\.(cls_token|pos_embed_\w+|rel_pos_[thw])$", name):
            continue
        wanted = own[name].shape
        table = tensor.reshape(-1, tensor.shape[-1])
        if len(table) != wanted[-2] and name.endswith("pos_embed_spatial"):
            table = _interpolated_map(table, net.grid[1:])
        elif len(table) != wanted[-2]:
            table = _interpolated(table, wanted[-2])
        found[name] = table.reshape(*wanted[:-1], -1)  # torchvision's tables have no axes of length 1
    return found


def options_of(tensors: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    """The options that follow from the tensors of a file: `depth`, `frames` and `size` if the clips are square, and
    `pool_kernel` if it is not the one that nets of this depth have by default."""
    depth = num_blocks(tensors, "blocks")
    options: dict[str, OptionValue] = {"depth": depth} if depth else {}
    pool = tensors.get("blocks.0.attn.pool_k.weight")
    if pool is not None and pool.ndim == 5:
        kernel = "strided" if pool.shape[2] == 1 else "3x3x3"
        if kernel != _default_kernel("blocks.0.attn.rel_pos_t" in tensors, depth):
            options["pool_kernel"] = kernel
    places = {name: tensor.shape[-2] for name, tensor in tensors.items() if tensor.ndim > 1}
    if {"positions.pos_embed_temporal", "positions.pos_embed_spatial"} <= places.keys():
        frames, area = places["positions.pos_embed_temporal"], places["positions.pos_embed_spatial"]
        side = math.isqrt(area)
        return options | {"frames": 2 * frames} | ({"size": 4 * side} if side**2 == area else {})
    if {"blocks.0.attn.rel_pos_t", "blocks.0.attn.rel_pos_h"} <= places.keys():
        frames, side = ((places[f"blocks.0.attn.rel_pos_{axis}"] + 1) // 2 for axis in "th")
        return options | {"frames": 2 * frames, "size": 4 * side}
    return options


INPUT = Input(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), frames=16, size=224)
POOL_NORMS = r"blocks\.\d+\.attn\.norm_[qkv]"
PYTORCHVIDEO = Layout(
    renames={
        r"patch_embed\.patch_model\.(.+)": r"patch_embed.proj.\1",
        r"cls_positional_encoding\.(.+)": r"positions.\1",
        r"norm_embed\.(.+)": r"norm.\1",
        r"head\.proj\.(.+)": r"fc.\1",
    },
    dropped={r".+\.attn\._attention_pool_[qkv]\..+": "second name of a tensor"},
    convert=converted,
    eps={POOL_NORMS: 1e-5},
)
PYSLOWFAST = Layout(
    renames={r"(cls_token|pos_embed_\w+)": r"positions.\1", r"head\.projection\.(.+)": r"fc.\1"},
    convert=converted,
    eps={POOL_NORMS: EPS},
)
TORCHVISION = Layout(
    renames={
        r"conv_proj\.(.+)": r"patch_embed.proj.\1",
        r"pos_encoding\.class_token": r"positions.cls_token",
        r"pos_encoding\.(class|spatial|temporal)_pos": r"positions.pos_embed_\1",
        r"(blocks\.\d+\.attn)\.(pool_[qkv])\.pool\.(.+)": r"\1.\2.\3",
        r"(blocks\.\d+\.attn)\.pool_([qkv])\.norm_act\.0\.(.+)": r"\1.norm_\2.\3",
        r"(blocks\.\d+\.attn)\.project\.0\.(.+)": r"\1.proj.\2",
        r"(blocks\.\d+)\.project\.(.+)": r"\1.proj.\2",
        r"(blocks\.\d+\.mlp)\.0\.(.+)": r"\1.fc1.\2",
        r"(blocks\.\d+\.mlp)\.3\.(.+)": r"\1.fc2.\2",
        r"head\.1\.(.+)": r"fc.\1",
    },
    convert=converted,
    eps={POOL_NORMS: EPS},
)
K400 = partial(Published, "Kinetics-400", views="5 clips", size=224)
SSV2 = partial(Published, "Something-Something V2", views="1x3", size=224)
ptv = partial(K400, source="PyTorchVideo's model zoo", layout="pytorchvideo")
slowfast = partial(K400, source="PySlowFast's model zoo", layout="pyslowfast")
slowfast_k600 = partial(
    Published,
    "Kinetics-600",
    views="5 clips",
    size=224,
    source="PySlowFast's model zoo",
    layout="pyslowfast",
    protocol="pyslowfast_k600_mvit_32x3",
)
slowfast_ssv2 = partial(SSV2, source="PySlowFast's model zoo", layout="pyslowfast")
of_torchvision = partial(K400, frames=16, source="torchvision", layout="torchvision", protocol="torchvision_mvit")
SHORT, LONG = "pyslowfast_mvit_16x4", "pyslowfast_mvit_32x3"
LAYOUTS = {"torchvision": TORCHVISION, "pytorchvideo": PYTORCHVIDEO, "pyslowfast": PYSLOWFAST}
LAYOUTS_V2 = {"torchvision": TORCHVISION, "pyslowfast": PYSLOWFAST}
VARIANTS: dict[str, tuple[bool, int, int, float, tuple[Published, ...]]] = {
    # name: version 2, frames, blocks, stochastic depth, accuracies
    "mvit_v1_b": (
        False,
        16,
        16,
        0.2,
        (
            ptv(78.85, 93.85, frames=16, file="MVIT_B_16x4.pyth", protocol=SHORT),
            ptv(80.30, 94.69, frames=32, file="MVIT_B_32x3_f294077834.pyth", protocol=LONG, options={"frames": 32}),
            slowfast(78.4, 93.5, frames=16, protocol=SHORT),
            slowfast(80.4, 94.8, frames=32, file="k400.pyth", protocol=LONG, options={"frames": 32}),
            slowfast_k600(83.9, 96.5, frames=32, file="k600.pyth", options={"frames": 32}),
            of_torchvision(78.477, 93.582, file="mvit_v1_b-dbeb1030.pth"),
        ),
    ),
    "mvit_v2_s": (
        True,
        16,
        16,
        0.2,
        (
            slowfast(81.0, 94.6, frames=16, file="MViTv2_S_16x4_k400_f302660347.pyth", protocol=SHORT),
            slowfast_ssv2(
                68.2, 91.4, frames=16, file="MViTv2_S_16x4_ssv2_f308341823.pyth", protocol="pyslowfast_ssv2_mvit_16"
            ),
            of_torchvision(80.757, 94.665, file="mvit_v2_s-ae3be167.pth"),
        ),
    ),
    "mvit_v2_b": (
        True,
        32,
        24,
        0.3,
        (
            slowfast(82.9, 95.7, frames=32, file="MViTv2_B_32x3_k400_f304025456.pyth", protocol=LONG),
            slowfast_ssv2(
                70.5, 92.7, frames=32, file="MViTv2_B_32x3_ssv2_f305803282.pyth", protocol="pyslowfast_ssv2_mvit_32"
            ),
        ),
    ),
}
for _name, (_v2, _frames, _depth, _drop_path, _published) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            partial(MViT, _v2),
            input=replace(INPUT, frames=_frames),
            options={
                "frames": _frames,
                "size": INPUT.size,
                "dropout": 0.5,
                "drop_path": _drop_path,
                "depth": _depth,
                "pool_kernel": None,
                "checkpointing": False,
            },
            paper="arXiv:2112.01526" if _v2 else "arXiv:2104.11227",
            weights={**(LAYOUTS_V2 if _v2 else LAYOUTS), "actrec": Layout(convert=converted)},
            published=_published,
            options_of=options_of,
            unshown="the residual pooling of queries (MVIT.RESIDUAL_POOLING), which this net has" if _v2 else "",
        ),
    )
