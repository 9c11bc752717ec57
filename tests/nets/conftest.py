from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import actrec
from actrec import nets
from actrec.nets.backbone import Backbone

SMALL = {  # a cheap net of each family, and options that make it so
    "c3d": {"global_pooling": True},
    "csn_resnet50": {},
    "densenet3d_121": {},
    "i3d": {},
    "i3d_resnet18": {},
    "i3d_resnet50_mmaction2": {},
    "i3d_resnet50_pyslowfast": {},
    "mc3_18": {},
    "mvit_v2_s": {"depth": 2, "frames": 8, "size": 32},
    "preact_resnet3d_10": {},
    "r2plus1d_18": {},
    "r2plus1d_34_mmaction2": {},
    "r3d_18": {},
    "resnet2p1d_10": {"widen": 0.5},
    "resnet3d_10": {"widen": 0.5},
    "resnext3d_50": {"cardinality": 4},
    "s3d": {},
    "s3d_resnet18": {},
    "s3d_torchvision": {},
    "slowfast_resnet50_4x16": {},
    "swin3d_t": {"depth": 7},
    "tam_inception_v1": {"temporal_stride": False},
    "tam_resnet18": {"temporal_stride": False},
    "tiny3d": {},
    "tsm_inception_v1": {},
    "tsm_resnet18": {},
    "tsn_inception_v1": {},
    "tsn_resnet18": {},
    "videomae_s": {"depth": 2},
    "vjepa2_s": {"depth": 2, "probe_depth": 2},
    "wide_resnet3d_50": {"widen": 0.25},
    "x3d_xs": {},
}
FRAMES = {"densenet3d_121": 16, "tam_inception_v1": 3, "tam_resnet18": 3}  # of a clip for it; 8 for the others
SIZE = 32


@pytest.fixture(scope="module", params=SMALL)
def family(request) -> str:
    """The name of a small net, one for each family."""
    return request.param


@pytest.fixture(scope="session")
def small() -> dict[str, dict]:
    return SMALL


@pytest.fixture(scope="module")
def net(family) -> Backbone:
    """It in eval mode; no test changes its weights."""
    torch.manual_seed(0)
    return actrec.net(family, num_classes=5, **SMALL[family]).eval()


@pytest.fixture(scope="module")
def clips(family) -> Tensor:
    return torch.randn(2, 3, FRAMES.get(family, 8), SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def logits(net, clips) -> Tensor:
    with torch.inference_mode():
        return net(clips)


@functools.cache
def _meta_net(name: str, **options) -> Backbone:
    return nets.outline(name, **options).eval()


@pytest.fixture(scope="session")
def meta_net() -> Callable[..., Backbone]:
    """Builds nets without weights; no test changes them."""
    return _meta_net
