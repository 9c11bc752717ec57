from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import actrec
from actrec.engine.ema import WeightAverage


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return actrec.net("resnet3d_10", num_classes=3, widen=0.25).to(memory_format=torch.channels_last_3d)


def disturb(net: nn.Module, seed: int) -> None:
    """As a step would: other weights, statistics and counters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in net.state_dict().values():
            value += 1 if value.dtype == torch.int64 else torch.rand(value.shape, generator=generator)


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


def test_the_average_of_weights_and_statistics():
    net = small_net()
    average, expected = WeightAverage(net, 0.9), {k: v.double() for k, v in net.state_dict().items()}
    assert same(average.net, net)
    for seed in range(3):
        disturb(net, seed)
        average.update(net)
        expected = {k: 0.9 * v + 0.1 * net.state_dict()[k] for k, v in expected.items()}
    found = average.net.state_dict()
    assert list(found) == list(net.state_dict())
    for name, value in found.items():
        if name.endswith("num_batches_tracked"):
            assert value == 3 == net.state_dict()[name]
        else:
            torch.testing.assert_close(value, expected[name].float(), rtol=1e-5, atol=1e-6)
            assert value.stride() == net.state_dict()[name].stride()


def test_it_is_apart_from_the_net():
    net = small_net()
    average = WeightAverage(net, 0.5)
    before = copy.deepcopy(average.net)
    disturb(net, 0)
    assert same(average.net, before)
    assert (average.net.training, net.training) == (False, True)
    assert not any(p.requires_grad for p in average.net.parameters())
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_a_restored_average_goes_on_bit_for_bit(stop):
    def run(net, average, first, last):
        for seed in range(first, last):
            disturb(net, seed)
            average.update(net)

    net, other = small_net(), small_net()
    whole, started = WeightAverage(net, 0.99), WeightAverage(other, 0.99)
    run(net, whole, 0, 5)
    run(other, started, 0, stop)
    resumed = WeightAverage(small_net(), 0.99)
    resumed.net.load_state_dict(copy.deepcopy(started.net.state_dict()))
    run(other, resumed, stop, 5)
    assert same(resumed.net, whole.net)


@pytest.mark.parametrize("name", ["c3d", "densenet3d_121", "s3d_torchvision", "tam_inception_v1", "tsm_resnet18"])
def test_nets_can_be_averaged(name):
    with torch.device("meta"):
        net = actrec.net(name)
    average = WeightAverage(net, 0.9)
    average.update(net)
    assert list(average.net.state_dict()) == list(net.state_dict())
    assert average.net.input == net.input
