"""The base class of all nets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from actrec.config import Input
from actrec.known_nets import OptionValue
from actrec.nets.transformer import Blocks


def outermost_layers(net: nn.Module, last_layer: nn.Module) -> list[nn.Module]:
    """See `Backbone.depth_layers`.

    Args:
        last_layer: it is left out, and so is a layer that contains it.
    """
    found: list[nn.Module] = []
    for layer in net.children():
        if isinstance(layer, (nn.ModuleList, Blocks)):
            found += outermost_layers(layer, last_layer)
        elif last_layer not in layer.modules() and any(parameter.ndim > 1 for parameter in layer.parameters()):
            found.append(layer)
    return found


class Backbone(nn.Module):
    """A net that maps clips to a feature map, and a head that maps the feature map to logits.

    The head averages over space, applies dropout to each time step, classifies each time step and averages the logits
    over time. Because the classifier is linear, the average is computed before it.

    Args:
        num_features: channels of the feature map.
        in_channels: channels of a frame.
        dropout: probability of dropout before the last layer.
        head_std: standard deviation of the last layer's initial weights; its bias is then 0. With None the layer keeps
            torch's own initialization.

    Attributes:
        min_frames, min_size: frames and pixels of the smallest clip that the net accepts.
        frames_multiple: the number of frames of a clip must be a multiple of this.
        exact: the net accepts only clips of `min_frames` frames of `min_size` x `min_size` pixels.
        fixed_grid: the net is built for clips of its options `frames` and `size`. `actrec.load` builds it again for
            other clips, and its own layout (`Entry.weights["actrec"]`) can convert tables of positions. Other nets
            stay as they were built.
        window_average: what a head that averages over windows of the map averages: the logits or, as in PySlowFast,
            the probabilities of the windows. With probabilities, the output is the logarithm of their average.
        not_decayed: last parts of the names of tables that are trained without weight decay, like norms and biases.
        channels_last: torch's name for the channels-last format of the weights. Clips are always `channels_last_3d`.
        name, input, options: set by `actrec.net`.
    """

    name: str
    input: Input
    options: dict[str, OptionValue]
    fc: nn.Linear

    channels_last = torch.channels_last_3d
    window_average: Literal["logits", "probabilities"] = "logits"
    exact = False
    fixed_grid = False
    not_decayed: tuple[str, ...] = ()

    if TYPE_CHECKING:  # submodules are registered by name, so that their types are unknown

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, *, num_features: int, in_channels: int, dropout: float, head_std: float | None = 0.001):
        super().__init__()
        self.in_channels = in_channels
        self.num_features = num_features
        self.min_frames = self.min_size = self.frames_multiple = 1
        self.options = {}
        self.dropout = nn.Dropout(dropout)
        self._head_std = head_std

    def reset_head(self, num_classes: int) -> None:
        """Replaces the last layer by a new one with fresh weights. Raises ValueError for less than 1 class."""
        if num_classes < 1:
            raise ValueError(f"num_classes {num_classes}: expected at least 1")
        like = next(self.parameters())
        self.fc = nn.Linear(self.head_features, num_classes, device=like.device, dtype=like.dtype)
        if self._head_std is not None:
            nn.init.normal_(self.fc.weight, std=self._head_std)
            nn.init.zeros_(self.fc.bias)
        self.options = {**self.options, "num_classes": num_classes}

    def follow(self, layout: str) -> None:
        """Makes the net compute as the project that wrote files of this layout, if projects differ."""

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that `reset_head` replaces."""
        return self.fc

    @property
    def depth_layers(self) -> list[nn.Module]:
        """The layers before the last one, from the input to the output, for layer-wise decay of the learning rate.

        These are the outermost layers that have weights of two or more dimensions. Each member of an `nn.ModuleList`
        or of `Blocks` is a layer.
        """
        return outermost_layers(self, self.last_layer)

    @property
    def head_features(self) -> int:
        """Number of inputs of the last layer."""
        return self.num_features

    def features(self, x_NCTHW: Tensor) -> Tensor:
        """The feature map (N, num_features, T', H', W'), which is the input of `head`."""
        raise NotImplementedError

    def head(self, features_NCTHW: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        steps_NCT = self.dropout(features_NCTHW.mean((3, 4)))
        return self.fc(steps_NCT.mean(2))

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Logits (N, num_classes). Raises ValueError if the net does not accept clips of this shape."""
        self._check(x_NCTHW)
        return self.head(self.features(x_NCTHW))

    def _check(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[1] != self.in_channels:
            raise ValueError(f"clips of shape {tuple(x.shape)}: expected NCTHW with {self.in_channels} channels")
        if x.shape[2] < self.min_frames:
            raise ValueError(f"clips of {x.shape[2]} frames are too short: this net needs at least {self.min_frames}")
        if x.shape[2] % self.frames_multiple:
            why = "with temporal_stride " if self.options.get("temporal_stride") else ""
            raise ValueError(
                f"clips of {x.shape[2]} frames: {why}this net needs a multiple of "
                f"{self.frames_multiple}, at least {self.frames_multiple}"
            )
        if min(x.shape[3], x.shape[4]) < self.min_size:
            raise ValueError(
                f"frames of {x.shape[3]}x{x.shape[4]} pixels are too small: this net needs at least "
                f"{self.min_size}x{self.min_size}"
            )
