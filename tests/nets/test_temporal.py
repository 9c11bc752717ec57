"""Temporal modules, convolutions, pools and shortcuts against slow forms written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.nets.layers import Conv2d, Conv3d, Pool3d
from actrec.nets.residual import BasicBlock, PaddedShortcut
from actrec.nets.temporal import TemporalAggregation, TemporalShift

FORMATS = [torch.contiguous_format, torch.channels_last_3d]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def aggregated(x: Tensor, weights: list[Tensor], blending: str) -> Tensor:
    """out[t] = ReLU(blend over i of phi_i(x[t + i - b // 2])), frame by frame."""
    steps = []
    for t in range(x.shape[2]):
        terms = []
        for i, weight in enumerate(weights):
            source = t + i - len(weights) // 2
            if 0 <= source < x.shape[2]:
                groups = x.shape[1] if weight.shape[1] == 1 else 1
                terms.append(F.conv2d(x[:, :, source], weight, groups=groups))
            else:
                terms.append(torch.zeros_like(x[:, :, 0]))
        blended = torch.stack(terms)
        steps.append(F.relu(blended.sum(0) if blending == "sum" else blended.amax(0)))
    return torch.stack(steps, 2)


def shifted(x: Tensor) -> Tensor:
    """The first eighth of the channels from the next frame, the second from the one before."""
    fold, out = x.shape[1] // 8, torch.zeros_like(x)
    for t in range(x.shape[2]):
        if t + 1 < x.shape[2]:
            out[:, :fold, t] = x[:, :fold, t + 1]
        if t > 0:
            out[:, fold : 2 * fold, t] = x[:, fold : 2 * fold, t - 1]
        out[:, 2 * fold :, t] = x[:, 2 * fold :, t]
    return out


def agree(module: nn.Module, literal, x: Tensor) -> None:
    """Same values, and same gradients of input and weights."""
    inputs = [x.requires_grad_(), *module.parameters()]
    expected, found = literal(x), module(x)
    upstream = torch.randn_like(expected)
    assert torch.allclose(found, expected, atol=1e-12)
    gradients = torch.autograd.grad(found, inputs, upstream, materialize_grads=True)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, inputs, upstream, materialize_grads=True)):
        assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("blending", ["sum", "max"])
def test_aggregation(blending, depthwise, frames, steps):
    torch.manual_seed(0)
    module = TemporalAggregation(6, frames=frames, blending=blending, depthwise=depthwise).double()
    names = [key for key, _ in module.named_parameters()]
    if frames == 3:
        assert names == [f"{part}_se.fc1.weight" for part in ("prev", "next", "curr")]
        weights = [module.prev_se.fc1.weight, module.curr_se.fc1.weight, module.next_se.fc1.weight]
    else:
        assert names == [f"blending_layers.{i}.fc1.weight" for i in range(frames)]
        weights = [layer.fc1.weight for layer in module.blending_layers]
    for memory_format in FORMATS:
        x = random(2, 6, steps, 3, 2).contiguous(memory_format=memory_format)
        agree(module, lambda x: aggregated(x, weights, blending), x)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels", [16, 19, 7])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_shift(steps, channels, memory_format):
    x = random(2, channels, steps, 3, 2).contiguous(memory_format=memory_format)
    before = x.clone()
    agree(TemporalShift(), shifted, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("module", [TemporalShift(), TemporalAggregation(8), TemporalAggregation(8, blending="max")])
def test_gradcheck(module):
    torch.manual_seed(0)
    x = random(1, 8, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(module.double(), (x,))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 0}, "blending_frames 0: expected at least 1"),
        ({"blending": "mean"}, "blending 'mean': expected sum or max"),
    ],
)
def test_illegal_aggregations(options, words):
    with pytest.raises(ValueError, match=words):
        TemporalAggregation(8, **options)


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize("frames", [4, 5])
def test_padded_shortcut(frames, stride):
    x = random(2, 3, frames, 6, 5).requires_grad_()
    found = PaddedShortcut(3, 8, stride)(x)
    kept = x[:, :, :: stride[0], :: stride[1], :: stride[2]]
    assert torch.equal(found[:, :3], kept)
    assert found.shape == (2, 8, *kept.shape[2:])
    assert not found[:, 3:].any()
    found.sum().backward()
    assert torch.equal(x.grad[:, :, :: stride[0], :: stride[1], :: stride[2]], torch.ones_like(kept))


def test_padded_shortcut_passes_gradients_in_a_block():
    """The reference's cuts them off."""
    shortcut = PaddedShortcut(3, 8, (2, 2, 2))
    block = BasicBlock(3, 8, stride=(2, 2, 2), shortcut=shortcut).eval().double()
    nn.init.zeros_(block.bn2.weight)
    x = random(1, 3, 4, 4, 4).abs().requires_grad_()
    block(x).sum().backward()
    assert torch.equal(x.grad[:, :, ::2, ::2, ::2], torch.ones(1, 3, 2, 2, 2, dtype=torch.float64))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"),
    [
        ((1, 1, 1), (1, 1, 1), (0, 0, 0), 1),
        ((1, 1, 1), (2, 2, 2), (0, 0, 0), 1),
        ((1, 3, 3), (1, 2, 2), (0, 1, 1), 2),
        ((1, 3, 3), (2, 1, 1), (0, 1, 1), 1),
        ((3, 1, 1), (1, 1, 1), (1, 0, 0), 4),
        ((3, 1, 1), (2, 1, 1), (1, 0, 0), 1),
        ((3, 1, 1), (2, 2, 2), (1, 0, 0), 1),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1), 2),
        ((5, 7, 7), (2, 2, 2), (2, 3, 3), 1),
    ],
)
@pytest.mark.parametrize("frames", [1, 2, 5, 6])
def test_convolution_is_that_of_torch(frames, kernel, stride, padding, groups, memory_format):
    torch.manual_seed(0)
    conv = Conv3d(4, 8, kernel, stride, padding, groups=groups).double()
    x = random(2, 4, frames, 7, 6).contiguous(memory_format=memory_format)
    agree(conv, lambda x: F.conv3d(x, conv.weight, conv.bias, stride, padding, groups=groups), x)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_convolution_of_frames_is_that_of_torch(size, memory_format):
    conv = Conv2d(4, 8, (1, size, size), (1, 2, 2), (0, size // 2, size // 2)).double()
    x = random(2, 4, 3, 7, 6).contiguous(memory_format=memory_format)
    weight = conv.weight.unsqueeze(2)
    agree(conv, lambda x: F.conv3d(x, weight, conv.bias, (1, 2, 2), (0, size // 2, size // 2)), x)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((1, 3, 3), (1, 2, 2), (0, 0, 0)),
        ((2, 1, 1), (2, 1, 1), (0, 0, 0)),
        ((3, 1, 1), (2, 1, 1), (1, 0, 0)),
        ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
        ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
        ((1, 3, 3), (2, 2, 2), (0, 1, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_is_that_of_torch(kind, kernel, stride, padding, ceil_mode, memory_format):
    pool3d = {"max": F.max_pool3d, "avg": F.avg_pool3d}[kind]
    for frames in (3, 4, 5):
        x = random(2, 4, frames, 7, 6).contiguous(memory_format=memory_format)
        module = Pool3d(kind, kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
        agree(module, lambda x: pool3d(x, kernel, stride, padding, ceil_mode=ceil_mode), x)
