"""I3D-ResNet: an image ResNet with its 3x3 kernels extended to 3x3x3.

Paper: Chen et al., "Deep Analysis of CNN-based Spatio-temporal Representations for Action Recognition", CVPR 2021
(arXiv:2010.11757). It reads the weights of this paper (layout `ibm`). It can also start from torchvision's ImageNet
ResNet (layout `torchvision2d`): each kernel is repeated in time and divided by the number of repeats. The reference
does not divide.

T frames become T steps without temporal stride, and ceil(T / 8) steps with it.
"""

from __future__ import annotations

from functools import partial

from actrec.config import Input
from actrec.nets import NETS, Entry, Layout, OptionValue
from actrec.nets.checkpoints import ibm
from actrec.nets.residual import ResNet, block_of, halving, image_pool, plain_stem

INPUT = Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), frames=8, size=224)
DEPTHS = (18, 34, 50, 101, 152)


def i3d_resnet(
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    dropout: float,
    temporal_stride: bool,
) -> ResNet:
    """I3D-ResNet.

    Args:
        num_classes: number of logits per clip.
        in_channels: channels of a frame.
        dropout: probability of dropout before the last layer.
        temporal_stride: halve the time axis at the second, third and fourth stage.
    """
    block, expansion = block_of(depth)
    return ResNet(
        num_classes=num_classes,
        in_channels=in_channels,
        dropout=dropout,
        stem=plain_stem(in_channels, 64, (3, 7, 7), (1, 2, 2)),
        pool=image_pool(),
        stem_channels=64,
        depth=depth,
        strides=halving(temporal_stride),
        block=block,
        expansion=expansion,
        head_std=0.001,
    )


PUBLISHED = {50: ibm("I3D-ResNet-50", 76.61, 62.84), 101: ibm("I3D-ResNet-101", 77.80, 64.29)}
OPTIONS: dict[str, OptionValue] = {"dropout": 0.5, "temporal_stride": True}
LAYOUTS = {"ibm": Layout(), "torchvision2d": Layout()}
for _depth in DEPTHS:
    NETS.add(
        f"i3d_resnet{_depth}",
        Entry(
            partial(i3d_resnet, _depth),
            input=INPUT,
            options=OPTIONS,
            paper="arXiv:2010.11757",
            weights=LAYOUTS,
            published=PUBLISHED.get(_depth, ()),
        ),
    )
