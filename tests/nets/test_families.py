"""A small net of each family computes: gradients, memory formats, bfloat16, export and compilation."""

from __future__ import annotations

import copy
import functools
import os
import re
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from references import far
from torch import nn

import actrec
from actrec.nets import NETS, catalog, densenet3d

TRACED = {  # options of nets to export and compile
    "c3d": {"global_pooling": True},
    "mvit_v2_s": {"depth": 2, "frames": 8, "size": 32},
    "swin3d_t": {"depth": 7},
    "videomae_s": {"depth": 2},
    "vjepa2_s": {"depth": 2, "probe_depth": 2},
}
# Nets with every kind of building block. `make slow` exports all families to both formats: inference/test_export.py.
EXPORTED = [
    "mvit_v2_s",
    "s3d",
    "slowfast_resnet50_4x16",
    "swin3d_t",
    "tam_resnet18",
    "videomae_s",
    "vjepa2_s",
    "x3d_xs",
]
# Only the class token of the last block is classified. It is neither pooled nor has it a position.
UNUSED = {"mvit_v2_s": r"blocks\.1\.attn\.(rel_pos_[thw]|pool_q\.weight)"}


def builder(name: str) -> object:
    """The function or class that makes a net. Nets that share it differ in depth, or in the numbers of a table."""
    build = NETS.get(name).build
    return build.func if isinstance(build, functools.partial) else build


def test_every_family_is_here(small):
    builders = {builder(name) for name in small}
    assert all(
        any(name in small for name in family.names) or builder(family.names[0]) in builders
        for family in catalog.families()
    )


def test_shapes(net, clips, logits):
    with torch.inference_mode():
        features = net.features(clips)
        assert features.shape[:2] == (2, net.num_features)
        assert logits.shape == (2, 5)
        assert far(net.head(features), logits) < 1e-5


def test_gradient_reaches_every_parameter(net, clips):
    # In eval mode: in training a bias before batch normalization has none.
    net(clips).square().sum().backward()
    without = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    net.zero_grad()
    assert all(re.fullmatch(UNUSED.get(net.name, ""), key) for key in without)


def test_channels_last_changes_nothing(net, clips, logits):
    last = copy.deepcopy(net).to(memory_format=net.channels_last)
    with torch.inference_mode():
        assert far(last(clips.to(memory_format=torch.channels_last_3d)), logits) < 1e-4


def test_bfloat16(net, clips, logits):
    """Close to float32, and no step leaves channels-last."""
    last = copy.deepcopy(net).to(memory_format=net.channels_last)
    strays = []

    def check(module: nn.Module, args: tuple, out: object) -> None:
        for each in out if isinstance(out, tuple) else (out,):
            if isinstance(each, torch.Tensor) and each.ndim == 5 and each.shape[2] > 1 and each.stride(1) != 1:
                strays.append(type(module).__name__)

    for module in last.modules():
        module.register_forward_hook(check)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = last(clips.to(memory_format=torch.channels_last_3d))
    assert not strays
    assert far(found.float(), logits) < 0.1


def test_reset_head(net):
    before, head, options = dict(net.named_parameters()), net.fc, net.options
    net.reset_head(7)
    after, found = dict(net.named_parameters()), net.fc
    changed, net.fc, net.options = net.options, head, options
    assert found.weight.shape == (7, net.head_features)
    assert changed == {**options, "num_classes": 7}
    assert {key for key in before if after[key] is not before[key]} == {"fc.weight", "fc.bias"}


def test_dropout(net):
    features, usual = torch.randn(1, net.num_features, 8, 2, 2), net.dropout.p
    assert torch.equal(net.head(features), net.head(features))
    net.dropout.p = 0.5
    net.dropout.train()
    found = [net.head(features) for _ in range(2)]
    net.dropout.p = usual
    net.dropout.eval()
    assert not torch.equal(*found)


def traced(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A net without the blocks that repeat an earlier one of their stage: torch takes a while to trace each of them."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(densenet3d.BLOCKS, 121, (2, 2, 2, 2))
        net = actrec.net(name, num_classes=5, **TRACED.get(name, {})).eval()
    for module in net.modules():
        if isinstance(module, nn.Sequential):
            known: list[list[torch.Size]] = []
            for key, block in list(module.named_children()):
                shapes = [tensor.shape for tensor in block.state_dict().values()]
                if shapes and shapes in known:
                    delattr(module, key)
                known.append(shapes)
    frames, size = {"densenet3d_121": (16, 32), "c3d": (8, 16)}.get(name, (8, 32))
    return net, torch.randn(1, 3, frames, size, size)


@pytest.mark.parametrize("name", EXPORTED)
def test_exports(name):
    net, clip = traced(name)
    exported = torch.export.export(net, (clip,))
    with torch.inference_mode():
        assert far(exported.module()(clip), net(clip)) < 1e-4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_traces_as_one_graph(family):
    net, clip = traced(family)
    torch.compiler.reset()
    with torch.no_grad():
        assert far(torch.compile(net, backend="eager", fullgraph=True)(clip), net(clip)) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize("name", ["mc3_18", "tam_resnet18", "tsm_resnet18"])
def test_compiles(name):
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("no headers of Python")
    net, clip = traced(name)
    torch.compiler.reset()
    with torch.no_grad():
        assert far(torch.compile(net, fullgraph=True)(clip), net(clip)) < 1e-4


def test_the_last_layer_is_last(net):
    assert list(net.parameters())[-2:] == [net.last_layer.weight, net.last_layer.bias]
    assert (net.last_layer.in_features, net.last_layer.out_features) == (net.head_features, 5)


def test_layers_stand_in_the_order_in_which_they_act(net, clips):
    net, acted = copy.deepcopy(net), []
    layers = {name: layer for name, layer in net.named_children() if list(layer.parameters())}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda *_, name=name: acted.append(name))
    with torch.inference_mode():
        net(clips)
    assert acted == list(layers)
