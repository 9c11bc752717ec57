"""V-JEPA 2: a vision transformer with rotary positions, and an attentive probe as its head.

Paper: Assran et al., "V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning", 2025
(arXiv:2506.09985). The nets read the authors' files (layout `vjepa2`): an encoder, a probe, or both in one file with
the prefixes `encoder.` and `classifier.`. They also read files of transformers (layout `transformers`); the predictor
is dropped.

The encoder is trained without labels, and is usually kept frozen while the probe is trained (`--freeze-until probe`).
The probe consists of some blocks and one learned query that attends to all tokens. The last layer classifies the
output of this query.

Rotary positions rotate pairs of neighboring channels of queries and keys: one third of the pairs by the token's frame,
one by its row and one by its column. As in the reference, the angles of neighboring pairs do not have the frequencies
that were intended (see `rotation`), because the published weights were trained in this way.

The features that `actrec embed` computes are the output of the probe's query. If the probe is not trained, use the mean
of the normalized tokens instead: `--layer encoder`.

V-JEPA, the older version (Bardes et al. 2024, arXiv:2404.08471), adds a table of sines and cosines to the tokens and
rotates nothing: `positions="table"`. The tensors in its encoder files have the same names as those of V-JEPA 2, whose
files also contain a table, which V-JEPA 2 does not use. `grid_of_2024` tells them apart by the size of the table.

The code of the authors and transformers differ in three details. After a file is loaded, the net computes as the
project that wrote the file.

- transformers counts rows and columns as on clips of the net's `size`, even if a clip has another size.
- The normalizations of the probe have different epsilons.
- In transformers, the probe has as many attention heads as the encoder. In the code of the authors, it has 16, or as
  many as the encoder if these are fewer. The option `probe_heads` sets another number for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue, Published
from actrec.nets.backbone import Backbone
from actrec.nets.checkpoints import K400, SSV2
from actrec.nets.layers import Triple
from actrec.nets.transformer import (
    Attention,
    Block,
    Blocks,
    CrossAttention,
    Mlp,
    Pair,
    Tokens,
    TubeletEmbedding,
    as_map,
    as_tokens,
    drop_paths,
    init_linear,
    joined,
    num_blocks,
)

INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=16, size=256)
PATCH = 16  # height and width of a tubelet in pixels
PROBE_HEADS = 16
PROBE_EPS = 1e-5


class Encoder(Tokens):
    """The vision transformer. Its output is the normalized tokens.

    Args:
        in_channels: channels of a frame.
        dim, heads, hidden: channels, attention heads, channels inside the MLPs.
        depth: number of blocks.
        table: tokens of a clip along time, height and width, for a table of positions. None if they are rotary.
        drop_path, checkpointing: as for `VJepa2`.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        heads: int,
        hidden: int,
        *,
        depth: int,
        table: Triple | None,
        drop_path: float,
        checkpointing: bool,
    ):
        super().__init__()
        self.table = table
        if table is not None:
            self.pos_embed = nn.Parameter(sines(table, dim), requires_grad=False)
        self.head_channels = dim // heads
        self.patch_embed = TubeletEmbedding(in_channels, dim, (2, PATCH, PATCH))
        blocks = (Block(dim, heads, hidden, drop_path=p) for p in drop_paths(drop_path, depth))
        self.blocks = Blocks(*blocks, checkpointing=checkpointing)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x_NCTHW: Tensor, plane: Pair) -> Tensor:
        """Tokens.

        Args:
            plane: rows and columns with which the positions are counted.
        """
        tokens = self.patch_embed(x_NCTHW)
        if self.table is not None:
            table = places(self.pos_embed, self.table, self.patch_embed.grid(x_NCTHW.shape[2:]))
            return self.norm(self.blocks(tokens + table.to(tokens.dtype)))
        return self.norm(self.blocks(tokens, rotation(tokens.shape[1], plane, self.head_channels, tokens.device)))


def places(table: Tensor, own: Triple, grid: Triple) -> Tensor:
    """A table of positions for a clip. As in the reference, it is interpolated only for more frames or another size.

    Args:
        own: the grid of the table.
        grid: the grid of the clip.
    """
    if grid[1:] == own[1:] and grid[0] <= own[0]:
        return table[:, : math.prod(grid)]
    return as_tokens(nn.functional.interpolate(as_map(table, own), grid, mode="trilinear"))


def sines(grid: Triple, dim: int) -> Tensor:
    """The table (1, tokens, dim): sines and cosines of frame, row and column, a third of the channels for each."""
    third = math.ceil(dim / 6) * 2
    frequency = 10000 ** (-torch.arange(third // 2, dtype=torch.float64) / (third / 2))
    parts = []
    for axis, extent in enumerate(grid):
        angle = torch.arange(extent, dtype=torch.float64)[:, None] * frequency
        part = torch.cat((angle.sin(), angle.cos()), 1)
        parts.append(part.reshape([extent if i == axis else 1 for i in range(3)] + [third]).expand(*grid, third))
    return torch.cat(parts, 3)[..., :dim].flatten(0, 2)[None].float()


def rotation(num_tokens: int, plane: Pair, channels: int, device: torch.device) -> Tensor:
    """The cosines and sines (2, num_tokens, channels) for `rotated`.

    A third of the channels belongs to the frame, a third to the row and a third to the column. Each third is rounded
    down to an even number, and the remaining channels are not rotated. The frequencies f0, f1, ... of a third are
    repeated as a whole: f0, f1, ..., f0, f1, .... But `rotated` rotates pairs of neighboring channels, so the two
    channels of a pair have different angles. The reference contains this error, and the published weights were trained
    with it.

    Args:
        num_tokens: number of tokens of a clip, in the order time, height, width.
        plane: rows and columns of the tokens of a frame.
        channels: channels of an attention head.
    """
    number = torch.arange(num_tokens, device=device)
    rows, columns = plane
    places = number // (rows * columns), number % (rows * columns) // columns, number % columns
    half = channels // 3 // 2
    frequency = 1 / 10000 ** (torch.arange(half, dtype=torch.float32, device=device) / half)
    angle = torch.cat([(place[:, None] * frequency).repeat(1, 2) for place in places], 1)
    angle = torch.nn.functional.pad(angle, (0, channels - angle.shape[1]))
    return torch.stack((angle.cos(), angle.sin()))


class QueryBlock(Tokens):
    """Queries attend to normalized tokens, without a normalization of their own, and pass an MLP."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, PROBE_EPS)
        self.xattn = CrossAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, PROBE_EPS)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        queries = queries + self.xattn(queries, self.norm1(x))
        return queries + self.mlp(self.norm2(queries))


class Probe(nn.Module):
    """The attentive probe: blocks, and a learned query. It maps tokens to one vector per clip (N, dim).

    Args:
        dim, heads: channels of a token and attention heads.
        depth: number of blocks. The last one is the block of the query.
        checkpointing: as for `Blocks`.
    """

    def __init__(self, dim: int, heads: int, *, depth: int, checkpointing: bool):
        super().__init__()
        blocks = (Block(dim, heads, 4 * dim, eps=PROBE_EPS) for _ in range(depth - 1))
        self.blocks = Blocks(*blocks, checkpointing=checkpointing)
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, dim))
        self.cross_attention_block = QueryBlock(dim, heads)
        nn.init.trunc_normal_(self.query_tokens, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query_tokens.expand(x.shape[0], -1, -1)
        return self.cross_attention_block(queries, self.blocks(x)).squeeze(1)


class VJepa2(Backbone):
    """The encoder and the probe.

    Args:
        dim, heads, hidden: channels, attention heads, channels inside the encoder's MLPs.
        depth, probe_depth: number of blocks of the encoder and of the probe.
        num_classes, in_channels, dropout: as for `Backbone`.
        frames, size: of the clips, as in `Input`. Other clips are accepted, too.
        positions: "rotary", or "table" (see above). None: rotary, unless the file that is loaded needs the table.
        probe_heads: attention heads of the probe. None: see above.
        drop_path: probability of `DropPath` for the encoder's last block.
        checkpointing: gradient checkpointing, as for `Blocks`.

    Raises:
        ValueError: `probe_heads` does not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        /,
        *,
        depth: int,
        num_classes: int,
        in_channels: int,
        dropout: float,
        frames: int,
        size: int | tuple[int, int],
        positions: str | None,
        probe_depth: int,
        probe_heads: int | None,
        drop_path: float,
        checkpointing: bool,
    ):
        super().__init__(num_features=dim, in_channels=in_channels, dropout=dropout, head_std=None)
        if probe_heads is not None and dim % probe_heads:
            raise ValueError(f"probe_heads {probe_heads}: expected a divisor of {dim}, the channels of a token")
        self._heads, self._probe_heads = heads, probe_heads
        height, width = (size, size) if isinstance(size, int) else size
        grid = (frames // 2, height // PATCH, width // PATCH)
        self.encoder = Encoder(
            in_channels,
            dim,
            heads,
            hidden,
            depth=depth,
            table=grid if positions == "table" else None,
            drop_path=drop_path,
            checkpointing=checkpointing,
        )
        self.probe = Probe(dim, probe_heads or min(heads, PROBE_HEADS), depth=probe_depth, checkpointing=checkpointing)
        self._initialize()
        self.reset_head(num_classes)
        self.min_frames, self.min_size = 2, PATCH
        self._plane = grid[1:]
        self._own_plane = False

    def _initialize(self) -> None:
        """The last layer of each branch gets smaller initial weights the later its block is."""
        init_linear(self)
        nn.init.trunc_normal_(self.encoder.patch_embed.proj.weight, std=0.02)
        nn.init.zeros_(cast(Tensor, self.encoder.patch_embed.proj.bias))
        scaled: list[tuple[Any, int]] = [(self.probe.cross_attention_block.mlp.fc2, max(len(self.probe.blocks), 1))]
        for blocks in (self.encoder.blocks, self.probe.blocks):
            for number, block in enumerate(cast("Iterable[Block]", blocks), 1):
                scaled += [(block.attn.proj, number), (block.mlp.fc2, number)]
        with torch.no_grad():
            for layer, number in scaled:
                layer.weight /= (2 * number) ** 0.5

    def follow(self, layout: str) -> None:
        """Computes as the project that wrote files of this layout."""
        self._own_plane = layout == "transformers"
        if self._probe_heads is None:
            heads = self._heads if layout == "transformers" else min(self._heads, PROBE_HEADS)
            for module in self.probe.modules():
                if isinstance(module, (Attention, CrossAttention)):
                    module.heads = heads

    @property
    def depth_layers(self) -> list[nn.Module]:
        """See `Backbone`. The probe has the same learning rate as the last layer."""
        return [self.encoder.patch_embed, *self.encoder.blocks]

    def features(self, x_NCTHW: Tensor) -> Tensor:
        grid = self.encoder.patch_embed.grid(x_NCTHW.shape[2:])
        return as_map(self.encoder(x_NCTHW, self._plane if self._own_plane else grid[1:]), grid)

    def head(self, features_NCTHW: Tensor) -> Tensor:
        return self.fc(self.dropout(self.probe(as_tokens(features_NCTHW))))


def grid_of_2024(tensors: Mapping[str, Tensor]) -> Triple | None:
    """The grid of a table of positions, if it is one of the grids of V-JEPA of 2024. None for other tables.

    That version was trained with crops of 224 pixels, and its largest net (1280 channels) also of 384. V-JEPA 2 was
    trained with crops of 256 pixels, and its largest net (1408 channels) also of 384.
    """
    table = tensors.get("encoder.pos_embed")
    _, tokens, dim = table.shape if table is not None and table.ndim == 3 else (1, 0, 0)
    sides = (14, 24) if dim == 1280 else (14,)
    return next(((tokens // side**2, side, side) for side in sides if tokens and tokens % side**2 == 0), None)


def options_of(tensors: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    """The numbers of blocks in a weights file, and the positions if they are those of V-JEPA of 2024."""
    depth, probe = num_blocks(tensors, "encoder.blocks"), num_blocks(tensors, "probe.blocks")
    found: dict[str, OptionValue] = {"depth": depth} if depth else {}
    if probe or "probe.query_tokens" in tensors:
        found["probe_depth"] = probe + 1  # with the block of the query
    if (grid := grid_of_2024(tensors)) is not None:
        found |= {"positions": "table", "frames": 2 * grid[0], "size": PATCH * grid[1]}
    return found


def resized(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Interpolates a table of positions of V-JEPA of 2024 for the grid of the net, as in the reference."""
    assert isinstance(net, VJepa2)
    grid, table = grid_of_2024(tensors), net.encoder.table
    if grid is None or table is None:
        return tensors
    return {**tensors, "encoder.pos_embed": places(tensors["encoder.pos_embed"], grid, table)}


PARTS = ("encoder.", "probe.", "fc.")
BLOCK = r"(?:vjepa2\.)?encoder\.layer\.(\d+)\."
PROBE = r"pooler\.self_attention_layers\.(\d+)\."
QUERY = r"pooler\.cross_attention_layer\."
LAYOUTS = {
    "vjepa2": Layout(
        renames={
            r"(?:encoder\.)?((?:patch_embed|blocks|norm)\..+|pos_embed)": r"encoder.\1",
            r"(?:classifier\.)?pooler\.(.+)": r"probe.\1",
            r"(?:classifier\.)?linear\.(.+)": r"fc.\1",
        },
        dropped={
            r"(?:encoder\.)?pos_embed": "table of positions: the net rotates queries and keys instead",
            r"(?:classifier\.)?pooler\.cross_attention_block\.xattn\.proj\..+": "not used by V-JEPA of 2024",
        },
        fresh=(r"encoder\.pos_embed",),  # it is computed
        convert=resized,
        parts=PARTS,
        eps={r"probe\..+\.norm\d": PROBE_EPS},
    ),
    "transformers": Layout(
        renames={
            r"(?:vjepa2\.)?encoder\.embeddings\.patch_embeddings\.(.+)": r"encoder.patch_embed.\1",
            BLOCK + r"attention\.(.+)": r"encoder.blocks.\1.attn.\2",
            BLOCK + r"(.+)": r"encoder.blocks.\1.\2",
            r"(?:vjepa2\.)?encoder\.layernorm\.(.+)": r"encoder.norm.\1",
            r"pooler\.query_tokens": r"probe.query_tokens",
            PROBE + r"layer_norm(\d)\.(.+)": r"probe.blocks.\1.norm\2.\3",
            PROBE + r"self_attn\.out_proj\.(.+)": r"probe.blocks.\1.attn.proj.\2",
            PROBE + r"self_attn\.([qkv]_proj\..+)": r"probe.blocks.\1.attn.\2",
            PROBE + r"mlp\.(.+)": r"probe.blocks.\1.mlp.\2",
            QUERY + r"layer_norm(\d)\.(.+)": r"probe.cross_attention_block.norm\1.\2",
            QUERY + r"cross_attn\.q_proj\.(.+)": r"probe.cross_attention_block.xattn.q.\1",
            QUERY + r"cross_attn\.([kv]_proj\..+)": r"probe.cross_attention_block.xattn.\1",
            QUERY + r"mlp\.(.+)": r"probe.cross_attention_block.mlp.\1",
            r"classifier\.(.+)": r"fc.\1",
        },
        dropped={r"(?:vjepa2\.)?predictor\..+": "predictor of the pretraining"},
        convert=lambda tensors, net: _joined(tensors),
        parts=PARTS,
        eps={r"probe\..+\.norm\d": 1e-6},
    ),
}


def _joined(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Joins queries, keys and values of transformers."""
    for parts, whole in (
        (("attn.query", "attn.key", "attn.value"), "attn.qkv"),
        (("attn.q_proj", "attn.k_proj", "attn.v_proj"), "attn.qkv"),
        (("xattn.k_proj", "xattn.v_proj"), "xattn.kv"),
    ):
        tensors = joined(tensors, parts, whole)
    return tensors


ssv2 = partial(Published, SSV2, top5=None, views="2x3", source="V-JEPA 2")
l_16 = partial(ssv2, 73.7, frames=16, size=256, protocol="vjepa2_vitl_ssv2")
g_64 = partial(ssv2, 77.3, frames=64, size=384, protocol="vjepa2_vitg384_ssv2", options={"frames": 64, "size": 384})
IN_TRANSFORMERS: dict[str, Any] = {"source": "V-JEPA 2 in transformers", "layout": "transformers"}


def older(folder: str, k400: float, ssv2: float) -> tuple[Published, ...]:
    """The probes of V-JEPA of 2024 for one encoder. `folder` is the folder in which the authors publish them."""
    size = 384 if "384" in folder else 224
    row = partial(
        Published,
        top5=None,
        frames=16,
        size=size,
        source="V-JEPA (2024)",
        layout="vjepa2",
        options={"size": size, "probe_depth": 1},
    )
    return (
        row(K400, k400, views="8x3", file=f"{folder}/k400-probe.pth.tar", protocol=f"vjepa_{size}_k400"),
        row(SSV2, ssv2, views="2x3", file=f"{folder}/ssv2-probe.pth.tar", protocol=f"vjepa_{size}_ssv2"),
    )


PUBLISHED = {  # files of transformers contain the encoder too
    "vjepa2_l": (
        l_16(layout="vjepa2", file="ssv2-vitl-16x2x3.pt"),
        l_16(**IN_TRANSFORMERS, file="vjepa2-vitl-fpc16-256-ssv2/model.safetensors"),
        *older("vitl16", 80.8, 69.5),
    ),
    "vjepa2_h": (*older("vith16", 82.0, 71.4), *older("vith16-384", 81.9, 72.2)),
    "vjepa2_g": (
        g_64(layout="vjepa2", file="ssv2-vitg-384-64x2x3.pt"),
        g_64(**IN_TRANSFORMERS, file="vjepa2-vitg-fpc64-384-ssv2/model.safetensors"),
    ),
}
VARIANTS = {  # name: channels, heads, channels in the MLPs, depth
    "vjepa2_s": (384, 6, 1536, 12),
    "vjepa2_b": (768, 12, 3072, 12),
    "vjepa2_l": (1024, 16, 4096, 24),
    "vjepa2_h": (1280, 16, 5120, 32),
    "vjepa2_g": (1408, 22, 6144, 40),
}
for _name, (*_sizes, _depth) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            partial(VJepa2, *_sizes),
            input=INPUT,
            options={
                "dropout": 0.0,
                "frames": INPUT.frames,
                "size": INPUT.size,
                "depth": _depth,
                "positions": None,
                "probe_depth": 4,
                "probe_heads": None,
                "drop_path": 0.0,
                "checkpointing": False,
            },
            paper="arXiv:2506.09985",
            weights=LAYOUTS,
            forms=({"probe_depth": 1},),  # a probe without blocks has other names
            published=PUBLISHED.get(_name, ()),
            options_of=options_of,
        ),
    )
