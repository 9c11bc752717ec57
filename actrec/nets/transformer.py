"""Building blocks of vision transformers. Tokens are (N, tokens, channels)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from actrec.nets.layers import Conv3d, Triple

Pair = tuple[int, int]


class Tokens(nn.Module):
    """A module with tokens as its output: the channels are the last dimension, as with `nn.Linear`."""


class DropPath(Tokens):
    """Stochastic depth: training skips a branch for a random fraction of the clips.

    Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016 (arXiv:1603.09382).

    Args:
        p: probability that the branch is skipped for a clip. If it is kept, its output is divided by 1 - p.

    Raises:
        ValueError: `p` is not a probability.
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"drop_path {p}: expected a probability from 0 to 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * (kept / (1 - self.p) if self.p < 1 else kept)

    def extra_repr(self) -> str:
        return f"p={self.p:.3g}"


def drop_paths(p: float, depth: int) -> list[float]:
    """The probability of `DropPath` for each block. It grows linearly from 0 in the first block to `p` in the last."""
    return [p * block / max(depth - 1, 1) for block in range(depth)]


class TubeletEmbedding(Tokens):
    """Tokens of the tubelets of a clip, in the order time, height, width.

    Frames and pixels after the last whole tubelet are not used.

    Args:
        in_channels, dim: channels of a frame and of a token.
        tubelet: frames, height and width of a tubelet.
    """

    def __init__(self, in_channels: int, dim: int, tubelet: Triple):
        super().__init__()
        self.proj = Conv3d(in_channels, dim, tubelet, tubelet)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return self.proj(x_NCTHW).flatten(2).transpose(1, 2)

    def grid(self, clip: Iterable[int]) -> Triple:
        """The number of tubelets along each axis, for the frames, height and width of a clip."""
        t, h, w = (extent // size for extent, size in zip(clip, self.proj.kernel_size))
        return t, h, w


class Attention(Tokens):
    """Multi-head self-attention.

    Args:
        dim: channels of a token.
        heads: number of attention heads, a divisor of `dim`.
        key_bias: the keys also have a bias. It is then stored in one tensor with the biases of queries and values.
    """

    def __init__(self, dim: int, heads: int, *, key_bias: bool = True):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=key_bias)
        if not key_bias:
            self.q_bias = nn.Parameter(torch.zeros(dim))
            self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        bias = self.qkv.bias
        if bias is None:
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rotation is not None:
            q, k = rotated(q, rotation), rotated(k, rotation)
        return self.proj(merged(F.scaled_dot_product_attention(q, k, v)))


class CrossAttention(Tokens):
    """Multi-head attention of queries to tokens, without an output projection. The arguments are as for `Attention`."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        q = self.q(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(x).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return merged(F.scaled_dot_product_attention(q, k, v))


class Mlp(Tokens):
    """Two linear layers with a GELU between them.

    Args:
        dim: channels of a token.
        hidden: channels between the layers.
        out: channels of an output token. None: `dim`.
    """

    def __init__(self, dim: int, hidden: int, out: int | None = None):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out or dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(Tokens):
    """Attention and an MLP. Each of them has a normalization before it, and a shortcut around both.

    Args:
        dim, heads, key_bias: as for `Attention`.
        hidden: channels inside the MLP.
        drop_path: probability of `DropPath` for both branches.
        eps: epsilon of the normalizations.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        *,
        key_bias: bool = True,
        drop_path: float = 0.0,
        eps: float = 1e-6,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = Attention(dim, heads, key_bias=key_bias)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), rotation))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Blocks(Tokens, nn.Sequential):
    """Blocks that act one after the other.

    Args:
        blocks: the blocks.
        checkpointing: gradient checkpointing. In training, only the input of each block is stored for the backward
            pass, which computes the block again.
    """

    def __init__(self, *blocks: Block, checkpointing: bool = False):
        super().__init__(*blocks)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, rotation: Tensor | None = None) -> Tensor:
        for block in self:
            x = applied(block, x, rotation, checkpointing=self.checkpointing)
        return x


def applied(block: nn.Module, *inputs: Any, checkpointing: bool) -> Any:
    """The output of a block for its inputs. With gradient checkpointing, training keeps only these: see `Blocks`."""
    if checkpointing and block.training and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


def merged(x: Tensor) -> Tensor:
    """(N, heads, tokens, channels) to (N, tokens, heads * channels)."""
    return x.transpose(1, 2).flatten(2)


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotates pairs of neighboring channels of (N, heads, tokens, channels).

    Args:
        x: queries or keys.
        rotation: (2, tokens, channels), the cosines and the sines.
    """
    cos, sin = rotation.to(x.dtype)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cos + torch.stack((-odd, even), -1).flatten(-2) * sin


def as_map(tokens: Tensor, grid: Triple) -> Tensor:
    """Tokens of a grid as a map NCTHW."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def as_tokens(map_NCTHW: Tensor) -> Tensor:
    """The tokens of a map NCTHW."""
    return map_NCTHW.flatten(2).transpose(1, 2)


def joined(tensors: dict[str, Tensor], parts: tuple[str, ...], whole: str) -> dict[str, Tensor]:
    """Concatenates tensors that a weights file stores separately, such as `...q.weight`, to `...qkv.weight`.

    Args:
        tensors: by name.
        parts: how the names of the modules end, in the order in which their rows are joined.
        whole: how the name of the joined module ends.

    Raises:
        ValueError: a part is missing.
    """
    found = dict(tensors)
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if not stem.endswith(f".{parts[0]}"):
            continue
        stem = stem.removesuffix(parts[0])
        names = [f"{stem}{part}.{kind}" for part in parts]
        if missing := [part for part in names if part not in found]:
            raise ValueError(f"missing {missing[0]}")
        found[f"{stem}{whole}.{kind}"] = torch.cat([found.pop(part) for part in names])
    return found


def num_blocks(names: Iterable[str], container: str) -> int:
    """The number of blocks in a container, such as `encoder.blocks`, by the names of its tensors."""
    pattern = re.compile(rf"{re.escape(container)}\.(\d+)\.")
    return max((int(found[1]) + 1 for name in names if (found := pattern.match(name))), default=0)


def init_linear(net: nn.Module) -> None:
    """Initializes all linear layers: weights normal with a standard deviation of 0.02, cut off at 2; biases 0."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
