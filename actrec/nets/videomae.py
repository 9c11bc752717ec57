"""VideoMAE, versions 1 and 2: vision transformers on tubelets of two frames, pretrained as masked autoencoders.

Papers: Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022 (arXiv:2203.12602); Wang et al., "VideoMAE V2: Scaling Video Masked Autoencoders with Dual Masking", CVPR
2023 (arXiv:2303.16727). The nets read the files of both versions (layout `videomae`) and those of transformers
(layout `transformers`), fine-tuned or pretrained. A pretrained file has no classifier, and its decoder is dropped.

The positions are a fixed table of sines and cosines of the number of a token in the clip. They are computed for each
clip, so a net accepts clips of any length and size. Queries and values have biases, keys have none. The authors and
transformers use different epsilons in the normalizations. Loading a file sets the epsilons of its project.

The features that `actrec embed` computes are the normalized mean of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue, Published
from actrec.nets.backbone import Backbone
from actrec.nets.transformer import (
    Block,
    Blocks,
    TubeletEmbedding,
    as_map,
    as_tokens,
    drop_paths,
    init_linear,
    joined,
    num_blocks,
)

INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=16, size=224)


class VideoMAE(Backbone):
    """A vision transformer. The head normalizes the mean of all tokens and classifies it.

    Args:
        dim, heads, hidden: channels, attention heads, channels inside the MLPs.
        patch: height and width of a tubelet in pixels.
        depth: number of blocks.
        num_classes, in_channels, dropout: as for `Backbone`.
        frames, size: of the clips, as in `Input`. Other clips are accepted, too.
        drop_path: probability of `DropPath` for the last block.
        checkpointing: gradient checkpointing, as for `Blocks`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        patch: int,
        /,
        *,
        depth: int,
        num_classes: int,
        in_channels: int,
        dropout: float,
        frames: int,
        size: int | tuple[int, int],
        drop_path: float,
        checkpointing: bool,
    ):
        super().__init__(num_features=dim, in_channels=in_channels, dropout=dropout)
        self.patch_embed = TubeletEmbedding(in_channels, dim, (2, patch, patch))
        self.blocks = Blocks(
            *(Block(dim, heads, hidden, key_bias=False, drop_path=p) for p in drop_paths(drop_path, depth)),
            checkpointing=checkpointing,
        )
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6)
        init_linear(self)
        self.reset_head(num_classes)
        self.min_frames, self.min_size = 2, patch
        height, width = (size, size) if isinstance(size, int) else size
        t, h, w = self.patch_embed.grid((frames, height, width))
        self.register_buffer("positions", positions(t * h * w, dim), persistent=False)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        grid = self.patch_embed.grid(x_NCTHW.shape[2:])
        tokens = self.patch_embed(x_NCTHW)
        return as_map(self.blocks(tokens + self._positions(tokens)), grid)

    def head(self, features_NCTHW: Tensor) -> Tensor:
        return self.fc(self.dropout(self.fc_norm(as_tokens(features_NCTHW).mean(1))))

    def _positions(self, tokens: Tensor) -> Tensor:
        num_tokens, known = tokens.shape[1], len(self.positions)
        table = self.positions if num_tokens <= known else positions(num_tokens, self.num_features, tokens.device)
        return table[:num_tokens].to(tokens.dtype)


def positions(num_tokens: int, dim: int, device: torch.device | None = None) -> Tensor:
    """The table (num_tokens, dim): pairs of sine and cosine of a token's number. The frequencies decrease."""
    device = device or torch.get_default_device()
    real = torch.device("cpu") if device.type == "meta" else device  # `arange` on `meta` loads torch's compiler
    number = torch.arange(num_tokens, dtype=torch.float64, device=real)
    frequency = 10000 ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=real) / dim)
    angle = number[:, None] * frequency
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1).float().to(device)


def options_of(tensors: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    """The number of blocks in a weights file."""
    depth = num_blocks(tensors, "blocks")
    return {"depth": depth} if depth else {}


PRETRAINING = "decoder and masking of the pretraining"
BLOCK = r"(?:videomae\.)?encoder\.layer\.(\d+)\."
LAYOUTS = {
    "videomae": Layout(
        renames={r"(?:encoder\.)?((?:patch_embed|blocks)\..+)": r"\1", r"head\.(.+)": r"fc.\1"},
        dropped={
            r"decoder\..+|encoder_to_decoder\..+|mask_token": PRETRAINING,
            r"encoder\.norm\..+": "normalization of all tokens in the pretraining",
        },
        parts=("fc",),
        eps={r"blocks\.\d+\.norm\d|fc_norm": 1e-6},
    ),
    "transformers": Layout(
        renames={
            r"(?:videomae\.)?embeddings\.patch_embeddings\.projection\.(.+)": r"patch_embed.proj.\1",
            BLOCK + r"layernorm_before\.(.+)": r"blocks.\1.norm1.\2",
            BLOCK + r"layernorm_after\.(.+)": r"blocks.\1.norm2.\2",
            BLOCK + r"attention\.attention\.(?:query\.bias|q_bias)": r"blocks.\1.attn.q_bias",
            BLOCK + r"attention\.attention\.(?:value\.bias|v_bias)": r"blocks.\1.attn.v_bias",
            BLOCK + r"attention\.attention\.(query|key|value)\.weight": r"blocks.\1.attn.\2.weight",
            BLOCK + r"attention\.output\.dense\.(.+)": r"blocks.\1.attn.proj.\2",
            BLOCK + r"intermediate\.dense\.(.+)": r"blocks.\1.mlp.fc1.\2",
            BLOCK + r"output\.dense\.(.+)": r"blocks.\1.mlp.fc2.\2",
            r"classifier\.(.+)": r"fc.\1",
        },
        dropped={
            r"decoder\..+|encoder_to_decoder\..+|mask_token": PRETRAINING,
            r"(?:.+\.)?position_embeddings": "table of positions, which is computed",
            r"(?:videomae\.)?layernorm\..+": "normalization of all tokens in the pretraining",
        },
        convert=lambda tensors, net: joined(tensors, ("attn.query", "attn.key", "attn.value"), "attn.qkv"),
        parts=("fc",),
        eps={r"blocks\.\d+\.norm\d": 1e-12, r"fc_norm": 1e-5},
    ),
}
V1 = "VideoMAE (MCG-NJU)"
k400 = partial(Published, "Kinetics-400", frames=16, views="5x3", size=224)
ssv2 = partial(Published, "Something-Something V2", frames=16, views="2x3", size=224)
v1 = partial(k400, source=V1, layout="videomae", protocol="videomae_k400")
v1_ssv2 = partial(ssv2, source=V1, layout="videomae", protocol="videomae_ssv2")
SIZES = {"videomae_s": "small", "videomae_b": "base", "videomae_l": "large", "videomae_h": "huge"}


def in_transformers(name: str, row: Published) -> Published:
    """The same weights in transformers' layout. The folder of the file is its repository."""
    dataset = "kinetics" if row.dataset == "Kinetics-400" else "ssv2"
    file = f"videomae-{SIZES[name]}-finetuned-{dataset}/model.safetensors"
    return replace(row, source="VideoMAE in transformers", layout="transformers", file=file)


v2 = partial(k400, source="VideoMAEv2 (OpenGVLab)", layout="videomae")
VARIANTS = {  # name: channels, heads, channels in the MLPs, patch, depth, accuracies
    "videomae_s": (384, 6, 1536, 16, 12, (v1(79.0, 93.8), v1_ssv2(66.8, 90.3), v2(83.7, None))),
    "videomae_b": (768, 12, 3072, 16, 12, (v1(81.5, 95.1), v1_ssv2(70.8, 92.4), v2(86.6, None))),
    "videomae_l": (1024, 16, 4096, 16, 24, (v1(85.2, 96.8),)),
    "videomae_h": (1280, 16, 5120, 16, 32, (v1(86.6, 97.1),)),
    "videomae_g": (1408, 16, 6144, 14, 40, (v2(87.2, 97.4, protocol="videomae_k400"),)),
}
for _name, (*_sizes, _depth, _published) in VARIANTS.items():
    NETS.add(
        _name,
        Entry(
            partial(VideoMAE, *_sizes),
            input=INPUT,
            options={
                "dropout": 0.0,
                "frames": INPUT.frames,
                "size": INPUT.size,
                "depth": _depth,
                "drop_path": 0.0,
                "checkpointing": False,
            },
            paper="arXiv:2303.16727" if _name == "videomae_g" else "arXiv:2203.12602",
            weights=LAYOUTS,
            published=(*_published, *(in_transformers(_name, row) for row in _published if row.source == V1)),
            options_of=options_of,
        ),
    )
