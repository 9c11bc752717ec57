"""Nets that are made for clips of a certain length and size: their options `frames` and `size`."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import actrec
from actrec import config, nets
from actrec.engine import checkpoint
from actrec.engine.build import build_net, net_input
from actrec.settings import OptionError
from tests import clip_nets


@pytest.fixture(autouse=True)
def registered():
    with clip_nets.registered():
        yield


def test_defaults_are_those_of_the_net():
    net = actrec.net("learned_grid", num_classes=3)
    assert (net.input.frames, net.input.size) == (8, 64)
    assert net.options["frames"], net.options["size"] == (8, 64)


@pytest.mark.parametrize(("size", "grid", "stored"), [(32, (2, 2), 32), ((32, 48), (2, 3), (32, 48)),
                                                      ((48, 48), (3, 3), 48)])  # fmt: skip
def test_a_size_is_a_number_or_a_pair(size, grid, stored):
    net = actrec.net("learned_grid", num_classes=3, frames=4, size=size)
    assert net.grid == (4, *grid)
    assert (net.input.frames, net.input.size) == (4, stored)
    assert net.input.shape == (stored if isinstance(stored, tuple) else (stored, stored))
    assert net.options["size"] == stored
    assert nets.input_of("learned_grid", frames=4, size=size) == net.input
    assert net(torch.zeros(2, 3, 4, *net.input.shape)).shape == (2, 3)
    again = nets.net(net.name, **net.options)
    assert again.grid == net.grid


def test_only_one_of_them():
    assert nets.input_of("windowed", frames=3) == nets.net("windowed", frames=3).input
    assert (nets.input_of("windowed", frames=3).frames, nets.input_of("windowed", frames=3).size) == (3, 64)
    flow = nets.input_of("windowed", frames=3, in_channels=10)
    assert (len(flow.mean), flow.frames) == (10, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames 0: expected from 1 to 1000000"),
        ({"frames": 2_000_000}, "frames 2000000: expected from 1 to 1000000"),
        ({"frames": 4.5}, "frames 4.5: expected a whole number"),
        ({"frames": None}, "frames None: expected a whole number"),
        ({"size": 0}, "size 0: expected from 1 to 16384"),
        ({"size": (32, 0)}, "size 32,0: expected from 1 to 16384"),
        ({"size": (32, 32, 32)}, "size 32,32,32: expected 2 whole numbers"),
        ({"size": "32"}, "size '32': expected a whole number"),
        ({"depth": 0}, "depth 0: expected from 1 to 1000"),
        ({"drop_path": 1.0}, "drop_path 1.0: expected from 0 to below 1"),
    ],
)
def test_illegal_values(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        actrec.net("learned_grid", **options)
    if options.keys() & {"frames", "size"}:
        with pytest.raises(ValueError, match=re.escape(message)):
            nets.input_of("learned_grid", **options)


def test_other_nets_refuse_them():
    for option in ("frames", "size", "depth", "checkpointing"):
        with pytest.raises(ValueError, match=f"net 'tiny3d' takes no option '{option}'"):
            actrec.net("tiny3d", **{option: 1})
    with pytest.raises(OptionError, match="depth 3 with backbone tiny3d: this net has the options dropout, widen"):
        net_input(config.Net("tiny3d", depth=3), config.Clip(), config.Frame())


def test_build_net_makes_it_for_the_clips():
    choice = config.Net("learned_grid", depth=1)
    fed = net_input(choice, config.Clip(frames=2), config.Frame(size=32))
    assert (fed.frames, fed.size) == (2, 32)
    net = build_net(choice, num_classes=3, frames=fed.frames, size=fed.size, weights=None, new_head=False)
    assert net.grid == (2, 2, 2)
    assert net.input == fed
    other = build_net(config.Net("tiny3d"), num_classes=3, frames=2, size=32, weights=None, new_head=False)
    assert "size" not in other.options


def test_a_net_for_other_clips_keeps_its_weights():
    net = actrec.net("computed_grid", num_classes=3, frames=4, size=32)
    larger = nets.rebuilt(net, frames=4, size=64)
    assert (larger.grid, larger.input.size) == ((4, 4, 4), 64)
    assert torch.equal(larger.fc.weight, net.fc.weight)
    assert nets.rebuilt(net, frames=None, size=32) is net
    converted = nets.rebuilt(actrec.net("resized_grid", num_classes=3, frames=4, size=32), frames=8, size=None)
    assert converted.positions.shape == (8, 8 * 2 * 2)
    windowed = actrec.net("windowed", num_classes=3, size=32)
    assert nets.rebuilt(windowed, frames=4, size=64) is windowed
    learned = actrec.net("learned_grid", num_classes=3, frames=4, size=32)
    with pytest.raises(OptionError, match="size 64: the weights of learned_grid have learned positions for size 32"):
        nets.rebuilt(learned, frames=None, size=64)


def test_a_stored_input_can_be_a_pair():
    net = actrec.net("learned_grid", num_classes=3, size=(32, 48))
    described = checkpoint.describe_net(net, net.input)
    assert checkpoint.input_from(described["input"]) == net.input
    assert checkpoint.input_from({**described["input"], "size": [32, 48]}) == net.input


def test_loaders_refuse_clips_that_are_not_square():
    fed = actrec.net("learned_grid", size=(32, 48)).input
    with pytest.raises(OptionError, match="size 32,48: expected one number, because the clips of a loader are square"):
        _ = fed.side


def test_profile_takes_a_pair():
    net = actrec.net("tiny3d")
    wide, square = (actrec.profile(net, frames=4, size=size).flops for size in ((32, 64), 32))
    assert wide == 2 * square


class Own(nn.Module):
    def __init__(self, num_classes, frames, size):
        super().__init__()
        self.fc = nn.Linear(3 * frames * size * size, num_classes)

    def forward(self, x):
        return self.fc(x.flatten(1))


def test_nets_of_the_user_have_them_too(monkeypatch):
    def own(num_classes, frames=2, size=4):
        return Own(num_classes, frames, size)

    monkeypatch.setattr(nets.NETS, "_entries", {name: nets.NETS.get(name) for name in nets.NETS})
    nets.register("own", own)
    net = actrec.net("own", num_classes=3)
    assert (net.input.frames, net.input.size) == (2, 4)
    net = build_net(config.Net("own"), num_classes=3, frames=3, size=5, weights=None, new_head=False)
    assert (net.input.frames, net.input.size) == (3, 5)
    assert net(torch.zeros(1, 3, 3, 5, 5)).shape == (1, 3)


def test_a_pair_as_the_default_of_an_own_net(monkeypatch):
    def own(num_classes, size=(4, 6), others=("a", "b")):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

    monkeypatch.setattr(nets.NETS, "_entries", {name: nets.NETS.get(name) for name in nets.NETS})
    nets.register("own", own)
    assert dict(nets.NETS.get("own").options) == {"size": (4, 6)}
    assert nets.input_of("own").size == (4, 6)
