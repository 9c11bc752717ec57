"""bfloat16 on the CPU: torch 2.13's own 3D convolution gives uninitialized weight gradients for clips shorter than the
kernel, on processors with AVX512-BF16."""

import copy

import pytest
import torch

from actrec.nets.layers import Conv3d


def dirty_memory() -> None:
    """So that what is left uninitialized does not happen to be zero."""
    for size in (16 * 16 * 3, 16 * 16 * 27, 48 * 48 * 3, 48 * 48 * 27):
        for dtype in (torch.bfloat16, torch.float32):
            for _ in range(4):
                torch.full((size,), float("nan"), dtype=dtype)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "groups"),
    [*[((k, 1, 1), 1) for k in (1, 3)], *[((k, 3, 3), 1) for k in (1, 3)], ((7, 7, 7), 1), ((3, 3, 3), 16)],
)
def test_gradients_of_a_convolution(kernel, groups, frames, stride):
    padding = tuple(k // 2 for k in kernel)
    torch.manual_seed(0)
    conv = Conv3d(16, 16, kernel, (stride, 1, 1), padding, groups=groups, bias=True)
    x = torch.randn(4, 16, frames, 8, 8).to(memory_format=torch.channels_last_3d)
    plain = torch.nn.functional.conv3d(x, conv.weight, conv.bias, (stride, 1, 1), padding, groups=groups)
    assert torch.allclose(conv(x), plain, atol=1e-4)
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, conv.weight, upstream)[0]
    for _ in range(3):
        dirty_memory()
        with torch.autocast("cpu", torch.bfloat16):
            out = conv(x)
        found = torch.autograd.grad(out, conv.weight, upstream.bfloat16())[0]
        assert out.shape == plain.shape
        assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_gradients_of_a_net(net, clips):
    net = copy.deepcopy(net).train().to(memory_format=net.channels_last)
    x = clips.to(memory_format=torch.channels_last_3d)
    dirty_memory()
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(net(x).float(), torch.tensor([1, 2]))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_depthwise_convolutions_are_trained_in_float32():
    conv = Conv3d(16, 16, (3, 3, 3), (1, 2, 2), (1, 1, 1), groups=16, bias=False)
    conv = conv.to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 16, 4, 8, 8).bfloat16().to(memory_format=torch.channels_last_3d).requires_grad_()
    expected = torch.nn.functional.conv3d(x.float(), conv.weight, None, (1, 2, 2), 1, groups=16)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
        with torch.no_grad():
            scored = conv(x)
    assert (out.dtype, scored.dtype) == (torch.bfloat16, torch.bfloat16)
    assert torch.equal(out, expected.bfloat16())
    (found,) = torch.autograd.grad(out, conv.weight, torch.ones_like(out))
    assert torch.equal(found, torch.autograd.grad(expected, conv.weight, torch.ones_like(expected))[0])
