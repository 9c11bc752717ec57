"""Every registered net, and what is particular to each family."""

from __future__ import annotations

import functools
import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import actrec
from actrec.nets import NETS
from actrec.nets.blocks import Backbone, Pool3d

FRAMES, SIZE = 8, 32
OPTIONS = {  # net: option sets that together turn every option on
    "i3d": [
        {"temporal_stride": False},
        {"temporal_pool": "avg"},
        {"last_pool": "valid"},
        {"last_pool": "valid", "temporal_stride": False},
        {"dropout": 0.0, "in_channels": 10},
    ],
    "s3d": [
        {"temporal_stride": False},
        {"temporal_pool": "avg"},
        {"depthwise_temporal": True},
        {"dropout": 0.0, "in_channels": 10},
    ],
}
OPTION_CASES = [(name, options) for name, sets in OPTIONS.items() for options in sets]
SMALLEST = [  # net, options, fewest frames
    ("i3d", {}, 1),
    ("i3d", {"temporal_pool": "avg"}, 1),
    ("i3d", {"last_pool": "valid"}, 5),
    ("i3d", {"last_pool": "valid", "temporal_stride": False}, 2),
    ("s3d", {}, 5),
    ("s3d", {"temporal_pool": "avg"}, 5),
    ("s3d", {"temporal_stride": False}, 2),
]


@functools.cache
def built(name: str) -> Backbone:
    """A net in eval mode that no test changes."""
    torch.manual_seed(0)
    return actrec.net(name, num_classes=5).eval()


def clips(*, frames: int = FRAMES, size: int = SIZE, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, frames, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETS.names())
def test_a_net_describes_itself(name):
    net = built(name)
    assert net.name == name
    assert net.input == NETS.get(name).input
    assert len(net.input.mean) == len(net.input.std) == 3
    assert net.options["num_classes"] == 5
    assert all(type(value) in (bool, int, float, str) for value in net.options.values())
    again = actrec.net(name, **net.options)
    assert again.options == net.options
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}


@pytest.mark.parametrize("name", NETS.names())
def test_parameter_count(name):
    net = built(name)
    assert sum(p.numel() for p in net.parameters()) == NETS.get(name).num_params + 5 * (net.num_features + 1)


def test_parameter_counts_of_the_published_tables():
    assert NETS.get("i3d").num_params == 12_287_264
    assert NETS.get("s3d").num_params == 7_903_328


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("i3d", {}, 21_411_353_600),
        ("i3d", {"temporal_stride": False}, 33_806_581_760),
        ("i3d", {"temporal_stride": False, "last_pool": "valid"}, 33_573_614_592),
        ("s3d", {}, 12_264_670_208),
        ("s3d", {"temporal_stride": False}, 19_778_626_560),
    ],
)
def test_multiply_adds_of_the_published_tables(name, options, expected):
    """Of the convolutions, biases not counted, for one clip of 8 frames of 224x224."""
    net, counts = actrec.net(name, **options).eval().to("meta"), []
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda conv, args, out: counts.append(out.numel() * conv.weight[0].numel()))
    net(torch.empty(1, 3, 8, 224, 224, device="meta"))
    assert sum(counts) == expected


@pytest.mark.parametrize("name", NETS.names())
def test_shapes(name):
    net = built(name)
    with torch.inference_mode():
        features = net.features(clips())
        logits = net(clips())
    assert features.shape[:2] == (2, net.num_features)
    assert logits.shape == (2, 5)
    assert torch.allclose(net.head(features), logits)


@pytest.mark.parametrize("name", NETS.names())
def test_gradient_reaches_every_parameter(name):
    # In eval mode: in training a bias before batch normalisation has none.
    net = actrec.net(name, num_classes=5).eval()
    net(clips()).square().sum().backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("name", NETS.names())
def test_channels_last_changes_nothing(name):
    net = built(name)
    last = actrec.net(name, **net.options).eval().to(memory_format=torch.channels_last_3d)
    last.load_state_dict(net.state_dict())
    with torch.inference_mode():
        expected, logits = net(clips()), last(clips().to(memory_format=torch.channels_last_3d))
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("temporal_pool", ["max", "avg"])
@pytest.mark.parametrize("name", NETS.names())
def test_channels_last_stays_channels_last_in_bfloat16(name, temporal_pool):
    net = actrec.net(name, temporal_pool=temporal_pool).eval().to(torch.bfloat16, memory_format=torch.channels_last_3d)
    formats = []
    for module in net.modules():
        module.register_forward_hook(
            lambda module, args, out: formats.append(
                out.ndim < 5 or out.is_contiguous(memory_format=torch.channels_last_3d)
            )
        )
    with torch.inference_mode():
        net(clips().to(torch.bfloat16, memory_format=torch.channels_last_3d))
    assert all(formats)


def test_exports_without_change():
    net = built("s3d")
    exported = torch.export.export(net, (clips(),))
    with torch.inference_mode():
        assert torch.allclose(exported.module()(clips()), net(clips()), atol=1e-5)


@pytest.mark.parametrize("name", NETS.names())
def test_head_averages_logits_over_time(name):
    net = built(name)
    features = torch.randn(2, net.num_features, 3, 2, 2)
    steps = [net.fc(features[:, :, t].mean((2, 3))) for t in range(3)]
    assert torch.allclose(net.head(features), torch.stack(steps).mean(0), atol=1e-6)


@pytest.mark.parametrize("name", NETS.names())
def test_dropout_differs_from_step_to_step(name):
    net = actrec.net(name, num_classes=5, dropout=0.5).train()
    nn.init.constant_(net.fc.weight, 1 / net.num_features)
    logits = net.head(torch.ones(64, net.num_features, 4, 1, 1))[:, 0]
    # One mask for all steps would have twice this standard deviation.
    expected = (1 / (net.num_features * 4)) ** 0.5
    assert logits.std().item() == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize("name", NETS.names())
def test_reset_head(name):
    net = actrec.net(name, num_classes=5).to(torch.float64)
    net.reset_head(7)
    assert net.fc.weight.shape == (7, net.num_features)
    assert net.fc.weight.dtype == torch.float64
    assert net.fc.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not net.fc.bias.any()
    assert net.options["num_classes"] == 7
    with pytest.raises(ValueError, match="num_classes 0: expected at least 1"):
        net.reset_head(0)


@pytest.mark.parametrize(("name", "options"), OPTION_CASES)
def test_options(name, options):
    net = actrec.net(name, num_classes=5, **options).eval()
    with torch.inference_mode():
        logits = net(clips(channels=net.in_channels))
    assert logits.shape == (2, 5)
    assert net.options.items() >= options.items()


@pytest.mark.parametrize("name", NETS.names())
def test_every_option_is_turned_on_by_a_test(name):
    options = {option for options in OPTIONS[name] for option in options}
    assert options | {"num_classes"} == set(inspect.signature(NETS.get(name).build).parameters)


@pytest.mark.parametrize(("name", "options", "fewest"), SMALLEST)
def test_too_few_frames(name, options, fewest):
    net = actrec.net(name, **options).eval()
    with torch.inference_mode():
        assert net(clips(frames=fewest)).shape == (2, 400)
    if fewest > 1:
        with pytest.raises(ValueError, match=f"clips of {fewest - 1} frames are too short.* at least {fewest}$"):
            net(clips(frames=fewest - 1))


@pytest.mark.parametrize(
    ("name", "options", "frames", "steps"),
    [
        ("i3d", {}, 9, 2),
        ("i3d", {"temporal_stride": False}, 8, 8),
        ("i3d", {"last_pool": "valid", "temporal_stride": False}, 8, 7),
        ("s3d", {}, 8, 1),
        ("s3d", {"temporal_stride": False}, 8, 7),
    ],
)
def test_time_steps_left(name, options, frames, steps):
    with torch.inference_mode():
        assert actrec.net(name, **options).features(clips(frames=frames)).shape[2] == steps


def test_clips_that_do_not_fit():
    net = built("s3d")
    with pytest.raises(ValueError, match=r"\(2, 10, 8, 32, 32\): expected NCTHW with 3 channels"):
        net(clips(channels=10))
    with pytest.raises(ValueError, match="expected NCTHW"):
        net(clips()[0])
    with pytest.raises(ValueError, match="16x16 pixels are too small.* at least 17x17"):
        net(clips(size=16))
    with torch.inference_mode():
        assert net(clips(size=17)).shape == (2, 5)


def test_unknown_names_and_options():
    with pytest.raises(ValueError, match="unknown net 's3dd': did you mean s3d"):
        actrec.net("s3dd")
    with pytest.raises(
        ValueError, match="net 'i3d' takes no option 'depthwise_temporal': it takes num_classes, .*last_p"
    ):
        actrec.net("i3d", depthwise_temporal=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temporal_pool": "mean"}, "temporal_pool 'mean': expected max or avg"),
        ({"last_pool": "full"}, "last_pool 'full': expected same or valid"),
        ({"num_classes": 0}, "num_classes 0: expected at least 1"),
        ({"in_channels": 0}, "in_channels 0: expected at least 1"),
        ({"dropout": 1.5}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_illegal_values(options, words):
    with pytest.raises(ValueError, match=words):
        actrec.net("i3d", **options)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("time_stride", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_pooling_is_that_of_torch(kernel, time_stride, memory_format):
    if kernel[0] == 1 and time_stride == 2:
        time_stride = 1
    stride, padding = (time_stride, 2, 2), tuple((k - 1) // 2 for k in kernel)
    x = torch.randn(2, 4, 5, 7, 6).to(memory_format=memory_format)
    for kind, pool3d in (("max", F.max_pool3d), ("avg", F.avg_pool3d)):
        ours = Pool3d(kind, kernel, stride=stride, padding=padding)(x)
        assert torch.allclose(ours, pool3d(x, kernel, stride, padding), atol=1e-6)


def test_initial_weights():
    net = built("s3d")
    conv, bn = net.conv1.conv, net.conv1.bn
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 3 * 7 * 7)) ** 0.5, rel=0.05)
    assert bool((bn.weight == 1).all())
    assert not bn.bias.any()
    assert net.fc.weight.std().item() == pytest.approx(0.001, rel=0.1)
