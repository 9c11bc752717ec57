"""Facts of every registered net, on no device."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import actrec
from actrec import config, nets
from actrec.nets import INPUT_OPTIONS, NETS
from actrec.nets.profile import profile


def shapes(net) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in net.state_dict().items()}


@pytest.mark.parametrize("name", NETS.names())
def test_a_net_describes_itself(name, meta_net):
    net, entry = meta_net(name), NETS.get(name)
    assert (net.name, net.input) == (name, entry.input)
    assert len(net.input.mean) == len(net.input.std) == 3
    assert net.input.frames >= net.min_frames
    assert net.input.frames % net.frames_multiple == 0
    assert net.input.size >= net.min_size
    assert net.options == {"num_classes": 400, "in_channels": 3, **entry.options}
    own = {option: value for option, value in entry.options.items() if option not in INPUT_OPTIONS}
    config.Net(backbone=name, **own)  # their values are legal
    assert net.dropout.p == entry.options["dropout"]
    assert entry.paper.startswith("arXiv:")


@pytest.mark.parametrize("name", NETS.names())
def test_options_build_it_again(name, meta_net):
    net = meta_net(name)
    again = nets.outline(name, **net.options)
    assert again.options == net.options
    assert shapes(again) == shapes(net)
    assert net.fc.weight.shape == (400, net.head_features)


def test_forms_have_weights_of_their_own(family, meta_net):
    known = [shapes(meta_net(family))]
    for options in NETS.get(family).forms:
        known.append(shapes(meta_net(family, **options)))
        assert known[-1] not in known[:-1]


@pytest.mark.parametrize("name", NETS.names())
def test_misspelt_options(name):
    option = list(NETS.get(name).options)[-1]
    with pytest.raises(ValueError, match=f"net '{name}' takes no option '{option}s': did you mean .*{option}"):
        actrec.net(name, **{f"{option}s": 1})


def test_unknown_names_and_options():
    with pytest.raises(ValueError, match="unknown net 's3dd': did you mean s3d"):
        actrec.net("s3dd")
    with pytest.raises(ValueError, match="unknown net 'S3D': did you mean s3d"):
        actrec.net("S3D")
    with pytest.raises(ValueError, match="net 'i3d' takes no option 'shortcut'.* num_classes, "):
        actrec.net("i3d", shortcut="A")


@pytest.mark.parametrize(
    ("name", "options", "clip", "params", "flops"),
    [
        ("i3d", {}, (8, 224), 12_697_264, 21_411_353_600),
        ("i3d", {"temporal_stride": False}, (8, 224), 12_697_264, 33_806_581_760),
        ("i3d", {"temporal_stride": False, "last_pool": "valid"}, (8, 224), 12_697_264, 33_573_614_592),
        ("s3d", {}, (8, 224), 8_313_328, 12_264_670_208),
        ("s3d", {"temporal_stride": False}, (8, 224), 8_313_328, 19_778_626_560),
        ("s3d", {"temporal_stride": False, "depthwise_temporal": True}, (8, 224), 6_048_304, 13_784_987_328),
        ("i3d_resnet18", {}, (8, 224), 33_371_472, 22_472_425_472),
        ("i3d_resnet50", {}, (32, 256), 46_980_944, 153_914_179_584),
        ("s3d_resnet18", {}, (8, 224), 15_586_128, 12_125_732_864),
        ("s3d_resnet50", {}, (8, 224), 28_126_416, 19_672_203_264),
        ("tsn_resnet18", {}, (8, 224), 11_381_712, 7_520_780_288),
        ("tam_resnet18", {"temporal_stride": False}, (8, 224), 11_386_128, 14_530_768_896),
        ("tam_resnet50", {}, (8, 224), 24_366_992, 14_213_054_464),
        ("tsn_inception_v1", {}, (8, 224), 6_009_904, 6_521_725_952),
        ("tam_inception_v1", {}, (8, 224), 6_027_328, 6_570_863_936),
        ("resnet3d_18", {}, (16, 112), 33_409_104, 8_307_802_112),
        ("resnet3d_18", {"shortcut": "A"}, (16, 112), 33_235_280, 8_296_071_168),
        ("resnet2p1d_18", {}, (16, 112), 33_421_164, 8_476_690_432),
        ("resnet2p1d_50", {}, (16, 112), 47_035_382, 10_523_224_064),
        ("preact_resnet3d_18", {}, (16, 112), 33_408_208, 8_307_802_112),
        ("wide_resnet3d_50", {}, (16, 112), 158_338_832, 29_697_376_256),
        ("resnext3d_50", {}, (16, 112), 26_775_824, 10_910_007_296),
        ("densenet3d_121", {}, (16, 112), 11_696_528, 10_403_774_464),
    ],
)
def test_profile_is_that_of_the_published_tables(name, options, clip, params, flops, meta_net):
    found = profile(meta_net(name, **options), frames=clip[0], size=clip[1])
    assert (found.params, found.flops) == (params, flops)


class Attention(nn.Module):
    """Tokens of 4 frames: a convolution, a linear layer, attention, a product with a table, and the last layer."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 1)
        self.qkv = nn.Linear(8, 24)
        self.register_buffer("table", torch.zeros(5, 8), persistent=False)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        tokens = F.conv3d(self.conv(x), torch.ones(8, 1, 1, 1, 1, device=x.device), groups=8).mean((3, 4)).mT
        attended = F.scaled_dot_product_attention(*self.qkv(tokens).chunk(3, -1))
        return self.fc(attended.mean(1)) + torch.einsum("ntc,kc->ntk", attended, self.table).sum((1, 2))[:, None]


def test_profile_counts_matrix_products_but_not_the_last_layer(monkeypatch):
    monkeypatch.setattr(actrec.nets.NETS, "_entries", dict(actrec.nets.NETS._entries))
    actrec.nets.register("attention", lambda num_classes: Attention(num_classes))
    found = profile(actrec.net("attention", num_classes=7), frames=4, size=2)
    convolutions = 4 * 2 * 2 * (8 * 3 + 8)
    assert found.flops == convolutions + 4 * 8 * 24 + 2 * 4 * 4 * 8 + 4 * 8 * 5
    assert found.params == 8 * 3 + 8 + 24 * 8 + 24 + 7 * 8 + 7


def test_profile_leaves_the_net_as_it_is():
    net = actrec.net("tam_resnet18").train()
    found = profile(net, frames=8, size=32)
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(parameter.device.type == "cpu" for parameter in net.parameters())
    assert found.flops == profile(net, frames=16, size=32).flops // 2
    with pytest.raises(ValueError, match="a multiple of 8"):
        profile(net, frames=12)


@pytest.mark.parametrize("name", ["s3d", "i3d_resnet18", "tsn_resnet18"])
def test_head_averages_logits_over_time(name):
    net = actrec.net(name, num_classes=5).eval()
    features = torch.randn(2, net.num_features, 3, 2, 2)
    steps = [net.fc(features[:, :, t].mean((2, 3))) for t in range(3)]
    assert torch.allclose(net.head(features), torch.stack(steps).mean(0), atol=1e-6)


def test_dropout_differs_from_step_to_step():
    net = actrec.net("s3d", num_classes=5, dropout=0.5).train()
    torch.nn.init.constant_(net.fc.weight, 1 / net.num_features)
    logits = net.head(torch.ones(64, net.num_features, 4, 1, 1))[:, 0]
    # One mask for all steps would have twice this standard deviation.
    expected = (1 / (net.num_features * 4)) ** 0.5
    assert logits.std().item() == pytest.approx(expected, rel=0.4)


def test_reset_head():
    net = actrec.net("s3d").to(torch.float64)
    net.reset_head(7)
    assert net.fc.weight.dtype == torch.float64
    assert net.fc.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not net.fc.bias.any()
    with pytest.raises(ValueError, match="num_classes 0: expected at least 1"):
        net.reset_head(0)


@pytest.mark.parametrize(
    ("name", "stem"), [("s3d", "conv1.conv"), ("i3d_resnet18", "conv1"), ("tsn_resnet18", "conv1")]
)
def test_initial_weights(name, stem):
    torch.manual_seed(0)
    net = actrec.net(name)
    weight = net.get_submodule(stem).weight
    assert weight.std().item() == pytest.approx((2 / (64 * weight[0, 0].numel())) ** 0.5, rel=0.05)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    assert all(bool((norm.weight == 1).all()) and not norm.bias.any() for norm in norms)
    if name != "tsn_resnet18":
        assert net.fc.weight.std().item() == pytest.approx(0.001, rel=0.1)
        assert not net.fc.bias.any()


def test_a_net_can_be_pickled():
    for name in ("tam_resnet18", "i3d"):
        net = actrec.net(name, num_classes=2)
        assert pickle.loads(pickle.dumps(net)).name == name


def test_profile_leaves_the_net_as_it_was():
    net = actrec.net("s3d", num_classes=2).train()
    net.conv1.bn.eval()
    actrec.profile(net, frames=8, size=32)
    assert net.training
    assert not net.conv1.bn.training
    assert not net._forward_hooks
