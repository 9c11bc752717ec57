"""I3D: GoogLeNet with 3D convolutions.

Paper: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017
(arXiv:1705.07750), with the layer sizes of Chen et al., "Deep Analysis of CNN-based Spatio-temporal Representations for
Action Recognition", CVPR 2021 (arXiv:2010.11757). It reads the weights of the latter (layout `ibm`).

It can also start from torchvision's ImageNet GoogLeNet (layout `torchvision2d`): each kernel is repeated in time and
divided by the number of repeats, so that a clip of one repeated image gives the activations of the image, except at the
first and last frames. The reference does not divide, and always loads these weights; actrec loads or downloads nothing
unless it is asked to.

T frames become T steps without temporal stride, and ceil(T / 8) steps with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue
from actrec.nets.backbone import Backbone
from actrec.nets.inception import GOOGLENET_DROPPED, INCEPTION_CHANNELS, ConvUnit, InceptionBlock
from actrec.nets.layers import Pool3d, PoolKind, init_convs, one_of, smallest_extent

INPUT = Input(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), frames=16, size=224)


class Inception3d(Backbone):
    """I3D, and S3D by means of `unit`.

    Args:
        num_classes: number of logits per clip.
        in_channels: channels of a frame.
        dropout: probability of dropout before the last layer.
        temporal_stride: halve the time axis at the second, third and fourth pool.
        temporal_pool: what the four pools between the stages compute: max or avg.
        last_pool: the fourth pool. same: kernel 3 with padding. valid: kernel 2 without padding, which loses a frame
            unless it halves the time axis.
        stem_frames: extent of the first kernel in frames.
        unit: makes a 3x3 unit from its numbers of input and output channels.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float,
        temporal_stride: bool,
        temporal_pool: PoolKind,
        last_pool: Literal["same", "valid"],
        stem_frames: int,
        unit: Callable[[int, int], nn.Module],
    ):
        super().__init__(num_features=1024, in_channels=in_channels, dropout=dropout)
        stride = (2 if temporal_stride else 1, 2, 2)
        pool = partial(Pool3d, temporal_pool)
        last_pools = {"same": ((3, 3, 3), (1, 1, 1)), "valid": ((2, 2, 2), (0, 0, 0))}
        kernel, padding = one_of("last_pool", last_pool, last_pools)

        self.conv1 = ConvUnit(in_channels, 64, kernel=(stem_frames, 7, 7), stride=(1, 2, 2))
        self.pool1 = pool((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.conv2 = ConvUnit(64, 64)
        self.conv3 = unit(64, 192)
        self.pool2 = pool((3, 3, 3), stride=stride, padding=(1, 1, 1))
        self.pool3 = pool((3, 3, 3), stride=stride, padding=(1, 1, 1))
        self.pool4 = pool(kernel, stride=stride, padding=padding)
        for name, channels in INCEPTION_CHANNELS.items():
            self.add_module(f"inception{name}", InceptionBlock(channels, unit=unit))
        init_convs(self)
        self.reset_head(num_classes)

        narrowing = (self.conv1.conv, self.pool1, self.pool2, self.pool3, self.pool4)
        self.min_frames = smallest_extent(narrowing, axis=0)
        self.min_size = smallest_extent(narrowing, axis=1)

    def features(self, x_NCTHW: Tensor) -> Tensor:
        x = self.pool1(self.conv1(x_NCTHW))
        x = self.pool2(self.conv3(self.conv2(x)))
        x = self.pool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        x = self.pool4(self.inception4e(self.inception4d(x)))
        return self.inception5b(self.inception5a(x))


OPTIONS: dict[str, OptionValue] = {"dropout": 0.5, "temporal_stride": True, "temporal_pool": "max"}
NETS.add(
    "i3d",
    Entry(
        partial(Inception3d, stem_frames=7, unit=partial(ConvUnit, kernel=(3, 3, 3))),
        input=INPUT,
        options={**OPTIONS, "last_pool": "same"},  # "valid" is the net of some published tables
        paper="arXiv:1705.07750",
        weights={"ibm": Layout(), "torchvision2d": Layout(dropped=GOOGLENET_DROPPED)},
    ),
)
