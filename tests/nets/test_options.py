"""What the options of each family do, and what nets refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import actrec
from actrec.nets import NETS
from actrec.nets.temporal import TemporalShift

COMMON = ({"in_channels": 10, "dropout": 0.75}, "more")
SLOW_TIME = ({"temporal_stride": False}, "longer")
AVERAGE = ({"temporal_pool": "avg"}, "logits")
FRAMEWISE = [SLOW_TIME, AVERAGE, COMMON]
BLENDING = [
    ({"blending": "max"}, "logits"),
    ({"blending_frames": 1}, "fewer"),
    ({"blending_frames": 2}, "fewer"),
    ({"blending_frames": 4}, "more"),
    ({"blending_frames": 5, "blending": "max"}, "more"),
    ({"depthwise_blending": False}, "more"),
]
STEM = [
    ({"stem_kernel_t": 3}, "fewer"),
    ({"stem_stride_t": 2}, "shorter"),
    ({"stem_pool": False}, "larger"),
    ({"in_channels": 2, "dropout": 0.75}, "fewer"),
]
TRANSFORMER = [
    ({"depth": 2, "frames": 8, "size": 64, "drop_path": 0.1, "checkpointing": True, "eps_of": "transformers"}, "fewer"),
    COMMON,
]
WINDOW = [({"frames": 2, "size": 32}, "window"), COMMON]
TYPE_A = ({"shortcut": "A"}, "fewer")
OPTIONS = {  # net: option sets that together turn every option on, and what they change
    "c3d": [({"batch_norm": True}, "more"), ({"global_pooling": True}, "fewer"), COMMON],
    "csn_resnet50": WINDOW,
    "densenet3d_121": STEM,
    "i3d": [
        SLOW_TIME,
        AVERAGE,
        ({"last_pool": "valid"}, "logits"),
        ({"last_pool": "valid", "temporal_stride": False}, "longer"),
        COMMON,
    ],
    "i3d_resnet18": [SLOW_TIME, COMMON],
    "i3d_resnet50_mmaction2": [COMMON],
    "i3d_resnet50_pyslowfast": WINDOW,
    "mc3_18": [COMMON],
    "mvit_v2_s": [
        (
            {
                "depth": 2,
                "frames": 8,
                "size": 64,
                "drop_path": 0.1,
                "checkpointing": True,
                "eps_of": "pyslowfast",
            },
            "fewer",
        ),
        ({"pool_kernel": "strided"}, "fewer"),
        COMMON,
    ],
    "preact_resnet3d_10": [*STEM, TYPE_A],
    "r2plus1d_18": [COMMON],
    "r2plus1d_34_mmaction2": [COMMON],
    "r3d_18": [COMMON],
    "resnet2p1d_10": [*STEM, TYPE_A, ({"widen": 2.0}, "more")],
    "resnet3d_10": [*STEM, TYPE_A, ({"widen": 0.5, "shortcut": "A"}, "fewer")],
    "resnext3d_50": [*STEM, TYPE_A, ({"cardinality": 64}, "more")],
    "s3d": [SLOW_TIME, AVERAGE, ({"depthwise_temporal": True}, "fewer"), COMMON],
    "s3d_resnet18": [SLOW_TIME, ({"depthwise_temporal": True}, "fewer"), COMMON],
    "s3d_torchvision": [COMMON],
    "slowfast_resnet50_4x16": WINDOW,
    "swin3d_t": [
        ({"depth": 7, "frames": 8, "size": 64, "drop_path": 0.2, "checkpointing": True}, "fewer"),
        ({"window_t": 16}, "more"),
        COMMON,
    ],
    "tam_inception_v1": [*FRAMEWISE, *BLENDING],
    "tam_resnet18": [*FRAMEWISE, *BLENDING],
    "tiny3d": [({"widen": 0.5}, "fewer"), COMMON],
    "tsm_inception_v1": [({"temporal_stride": True}, "shorter"), COMMON],
    "tsm_resnet18": [({"temporal_stride": True}, "shorter"), COMMON],
    "tsn_inception_v1": FRAMEWISE,
    "tsn_resnet18": FRAMEWISE,
    "videomae_s": TRANSFORMER,
    "vjepa2_s": [*TRANSFORMER, ({"positions": "table"}, "more"), ({"probe_depth": 1, "probe_heads": 2}, "fewer")],
    "wide_resnet3d_50": [*STEM, TYPE_A, ({"widen": 1.0}, "fewer")],
    "x3d_xs": WINDOW,
}
STRIDED = {"temporal_stride": True, "temporal_pool": "avg"}
CASES = [
    *[(name, options, change) for name, sets in OPTIONS.items() for options, change in sets],
    *[(name, STRIDED, "shorter") for name in ("tsm_inception_v1", "tsm_resnet18")],
]


def clips(*, frames: int = 8, size: int = 32, channels: int = 3, device: str = "cpu") -> Tensor:
    return torch.randn(1, channels, frames, size, size, device=device)


def test_every_option_is_turned_on(small):
    assert set(OPTIONS) == set(small)
    for name in OPTIONS:
        on = {option for net, options, _ in CASES if net == name for option in options}
        assert on == {"in_channels", *NETS.get(name).options}, name


@pytest.mark.parametrize(("name", "options", "change"), CASES)
def test_options(name, options, change, meta_net):
    default, net = meta_net(name), meta_net(name, **options)
    assert net.options == {**default.options, **options}
    assert net.dropout.p == net.options["dropout"]
    frames, size = (16, 112) if name == "c3d" else (32, 64)
    was, found = (
        tuple(n.features(clips(frames=frames, size=size, channels=n.in_channels, device="meta")).shape[1:])
        for n in (default, net)
    )
    expected, params = (sum(p.numel() for p in n.parameters()) for n in (default, net))
    if change == "more":
        assert params > expected
    elif change == "fewer":
        assert params < expected
    else:
        assert params == expected
        if change == "longer":
            assert found[1] > was[1]
        elif change == "shorter":
            assert found[1] < was[1]
        elif change == "larger":
            assert all(ours > theirs for ours, theirs in zip(found[1:], was[1:]))
        else:
            assert found == was


@pytest.mark.parametrize(("name", "options"), [(name, o) for name, o, change in CASES if change == "logits"])
def test_options_that_change_logits_alone(name, options):
    torch.manual_seed(0)
    net, other = actrec.net(name).eval(), actrec.net(name, **options).eval()
    other.load_state_dict(net.state_dict())
    x = clips(size=64)
    with torch.inference_mode():
        expected, found = net.features(x), other.features(x)
    assert (found - expected).abs().max() > 1e-3 * expected.abs().max()


def test_shortcuts_of_type_a_have_no_parameters(meta_net):
    for name in ("resnet3d_18", "preact_resnet3d_50", "resnet2p1d_18"):
        assert [key for key in meta_net(name).state_dict() if "downsample" in key]
        assert not [key for key in meta_net(name, shortcut="A").state_dict() if "downsample" in key]


@pytest.mark.parametrize(
    ("depth", "expected"), [(18, "all"), (34, "all"), (50, "all"), (101, "every second"), (152, "every second")]
)
def test_blocks_that_tsm_shifts(depth, expected, meta_net):
    net = meta_net(f"tsm_resnet{depth}")
    assert net.options["temporal_stride"] is False
    for stage in net.stages:
        shifts = [isinstance(block.tam, TemporalShift) for block in stage]
        assert shifts == [expected == "all" or i % 2 == 0 for i in range(len(stage))]


@pytest.mark.parametrize("name", ["tsm_resnet18", "tsm_inception_v1"])
def test_shift_mixes_neighbors_only(name):
    torch.manual_seed(0)
    net, x = actrec.net(name).eval(), clips(frames=2)
    with torch.inference_mode():
        both = net.features(x)
        alone = [net.features(x[:, :, t : t + 1]) for t in range(2)]
    assert not torch.allclose(both, torch.cat(alone, 2), rtol=1e-3)
    tsn = actrec.net(name.replace("tsm", "tsn"), temporal_stride=False).eval()
    tsn.load_state_dict(net.state_dict())
    with torch.inference_mode():
        both = tsn.features(x)
        alone = [tsn.features(x[:, :, t : t + 1]) for t in range(2)]
    assert torch.allclose(both, torch.cat(alone, 2), rtol=1e-3, atol=1e-3 * both.abs().max().item())


@pytest.mark.parametrize(
    ("name", "options", "frames", "steps"),
    [
        ("c2d_resnet50", {}, 8, 4),
        ("c3d", {"global_pooling": True}, 16, 2),
        ("csn_resnet50", {}, 32, 4),
        ("densenet3d_121", {}, 16, 1),
        ("i3d", {}, 9, 2),
        ("i3d", {"temporal_stride": False}, 8, 8),
        ("i3d", {"last_pool": "valid", "temporal_stride": False}, 8, 7),
        ("i3d_resnet18", {}, 32, 4),
        ("i3d_resnet50_mmaction2", {}, 32, 4),
        ("mc3_18", {}, 16, 16),
        ("r2plus1d_34_mmaction2", {}, 32, 4),
        ("r2plus1d_resnet50_pytorchvideo", {}, 16, 4),
        ("r3d_18", {}, 16, 2),
        ("resnet3d_18", {}, 16, 1),
        ("resnet2p1d_18", {"stem_pool": False}, 16, 2),
        ("s3d", {}, 8, 1),
        ("s3d", {"temporal_stride": False}, 8, 7),
        ("s3d_resnet18", {}, 32, 4),
        ("s3d_torchvision", {}, 64, 8),
        ("slow_resnet50", {}, 8, 8),
        ("slowfast_resnet50_4x16", {}, 32, 32),
        ("swin3d_t", {"depth": 7}, 16, 8),
        ("tiny3d", {}, 16, 16),
        ("tsn_resnet18", {}, 16, 2),
        ("tsm_resnet18", {}, 8, 8),
        ("videomae_s", {"depth": 2}, 16, 8),
        ("vjepa2_s", {"depth": 2}, 16, 8),
        ("x3d_s", {}, 13, 13),
    ],
)
def test_time_steps_left(name, options, frames, steps, meta_net):
    size = 32 if name != "c3d" else 112
    features = meta_net(name, **options).features(clips(frames=frames, size=size, device="meta"))
    assert features.shape[2] == steps


SMALLEST = [  # net, options, fewest frames and fewest pixels
    ("c3d", {"global_pooling": True}, 1, 1),
    ("csn_resnet50", {}, 1, 1),
    ("densenet3d_121", {}, 15, 29),
    ("densenet3d_121", {"stem_pool": False}, 8, 15),
    ("densenet3d_121", {"stem_stride_t": 2}, 29, 29),
    ("i3d", {}, 1, 1),
    ("i3d", {"temporal_pool": "avg"}, 1, 1),
    ("i3d", {"last_pool": "valid"}, 5, 17),
    ("i3d", {"last_pool": "valid", "temporal_stride": False}, 2, 17),
    ("i3d_resnet18", {}, 1, 1),
    ("i3d_resnet50_mmaction2", {}, 5, 1),
    ("i3d_resnet50_pyslowfast", {}, 2, 1),
    ("mc3_18", {}, 1, 1),
    ("preact_resnet3d_10", {}, 1, 1),
    ("r2plus1d_18", {}, 1, 1),
    ("r2plus1d_34_mmaction2", {}, 1, 1),
    ("r3d_18", {}, 1, 1),
    ("resnet2p1d_10", {}, 1, 1),
    ("resnet3d_10", {"stem_kernel_t": 1}, 1, 1),
    ("resnext3d_50", {}, 1, 1),
    ("s3d", {}, 5, 17),
    ("s3d", {"temporal_pool": "avg"}, 5, 17),
    ("s3d", {"temporal_stride": False}, 2, 17),
    ("s3d_resnet18", {}, 1, 1),
    ("s3d_torchvision", {}, 5, 17),
    ("swin3d_t", {"depth": 7}, 1, 1),
    ("tam_inception_v1", {"temporal_stride": False}, 1, 15),
    ("tam_resnet18", {"temporal_stride": False, "blending": "max"}, 1, 1),
    ("tiny3d", {}, 1, 1),
    ("tsm_inception_v1", {}, 1, 15),
    ("tsm_resnet18", {}, 1, 1),
    ("tsn_inception_v1", {"temporal_stride": False}, 1, 15),
    ("tsn_resnet18", {"temporal_stride": False}, 1, 1),
    ("videomae_g", {"depth": 1}, 2, 14),
    ("videomae_s", {"depth": 2}, 2, 16),
    ("vjepa2_s", {"depth": 2, "probe_depth": 2}, 2, 16),
    ("wide_resnet3d_50", {"widen": 0.25}, 1, 1),
    ("x3d_xs", {}, 1, 1),
]


@pytest.mark.parametrize(("name", "options", "frames", "size"), SMALLEST)
def test_smallest_clips(name, options, frames, size, meta_net):
    """They pass; one frame or one pixel less is refused, and would not pass."""
    net = meta_net(name, **options)
    assert (net.min_frames, net.min_size) == (frames, size)
    assert net(clips(frames=frames, size=size, device="meta")).shape == (1, 400)
    if frames > 1:
        short = clips(frames=frames - 1, size=size, device="meta")
        with pytest.raises(ValueError, match=f"clips of {frames - 1} frames are too short.* at least {frames}$"):
            net(short)
        with pytest.raises(RuntimeError):
            net.features(short)
    if size > 1:
        small = clips(frames=frames, size=size - 1, device="meta")
        with pytest.raises(ValueError, match=f"{size - 1}x{size - 1} pixels are too small.* at least {size}x{size}$"):
            net(small)
        with pytest.raises(RuntimeError):
            net.features(small)


def test_smallest_clips_compute():
    for name, options, frames, size in SMALLEST:
        if frames > 1 or size > 1:
            with torch.inference_mode():
                assert actrec.net(name, **options).eval()(clips(frames=frames, size=size)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("s3d", (2, 10, 8, 32, 32), r"\(2, 10, 8, 32, 32\): expected NCTHW with 3 channels"),
        ("s3d", (3, 8, 32, 32), "expected NCTHW"),
        ("tsn_resnet18", (1, 3, 12, 32, 32), "clips of 12 frames: .*temporal_stride .*a multiple of 8, at least 8"),
        ("tam_inception_v1", (1, 3, 4, 32, 32), "clips of 4 frames: .*temporal_stride .*a multiple of 8, at least 8"),
        ("slowfast_resnet50_8x8", (1, 3, 6, 32, 32), "^clips of 6 frames: this net needs a multiple of 4, at least 4$"),
        ("slowfast_resnet50_8x8", (1, 3, 3, 32, 32), "^clips of 3 frames are too short: this net needs at least 4$"),
        ("c3d", (1, 3, 16, 64, 64), "16 frames of 64x64 pixels: c3d takes exactly 16 of 112x112"),
        ("c3d", (1, 3, 8, 112, 112), "8 frames of 112x112 pixels: c3d takes exactly 16 of 112x112"),
        (
            "mvit_v1_b",
            (1, 3, 16, 112, 112),
            "clips of 16 frames of 112x112 pixels: .* built for 16 .* 224x224 .*`size`",
        ),
        (
            "mvit_v2_s",
            (1, 3, 8, 224, 224),
            "clips of 8 frames of 224x224 pixels: .* built for 16 .*`frames` and `size`",
        ),
    ],
)
def test_clips_that_do_not_fit(name, shape, words, meta_net):
    with pytest.raises(ValueError, match=words):
        meta_net(name)(torch.empty(shape, device="meta"))


def test_c3d_with_its_layers_takes_its_clips():
    with torch.inference_mode():
        assert actrec.net("c3d", num_classes=5).eval()(clips(frames=16, size=112)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("i3d", {"temporal_pool": "median"}, "temporal_pool 'median': expected one of max, avg"),
        ("tsn_resnet18", {"temporal_pool": "median"}, "temporal_pool 'median': expected one of max, avg"),
        ("tsm_resnet18", {"temporal_pool": "median"}, "temporal_pool 'median': expected one of max, avg"),
        ("i3d", {"last_pool": "full"}, "last_pool 'full': expected one of same, valid"),
        ("i3d", {"dropout": 1.5}, "dropout 1.5: expected from 0 to 1"),
        ("tam_resnet18", {"blending": "mean"}, "blending 'mean': expected one of sum, max"),
        ("tam_inception_v1", {"blending_frames": 0}, "blending_frames 0: expected at least 1"),
        ("resnet3d_10", {"shortcut": "C"}, "shortcut 'C': expected one of A, B"),
        ("resnet3d_10", {"stem_kernel_t": 4}, "stem_kernel_t 4: expected an odd number"),
        ("densenet3d_121", {"stem_kernel_t": 0}, "stem_kernel_t 0: expected from 1 to"),
        ("resnet3d_10", {"stem_stride_t": 0}, "stem_stride_t 0: expected from 1 to"),
        ("densenet3d_121", {"stem_stride_t": 0}, "stem_stride_t 0: expected from 1 to"),
        ("resnet2p1d_10", {"widen": 0.001}, "widen 0.001: expected at least"),
        ("mvit_v2_s", {"frames": 5}, "frames 5: this net needs a multiple of 2"),
        ("mvit_v1_b", {"size": (64, 30)}, "size 64,30: this net needs multiples of 4"),
        ("swin3d_t", {"depth": 6}, "depth 6: expected at least 7"),
        ("resnext3d_50", {"cardinality": 5}, "cardinality 5: expected a multiple of 4"),
        ("resnext3d_50", {"cardinality": 0}, "cardinality 0: expected at least 1"),
        ("vjepa2_s", {"probe_heads": 5}, "probe_heads 5: expected a divisor of 384"),
    ],
)
def test_illegal_values(name, options, words, meta_net):
    with pytest.raises(ValueError, match=words):
        meta_net(name, **options)


def test_illegal_counts(family, meta_net):
    for option in ("num_classes", "in_channels"):
        with pytest.raises(ValueError, match=f"{option} 0: expected at least 1"):
            meta_net(family, **{option: 0})


def test_numbers_of_classes_and_channels_are_whole_numbers():
    for value in ("8", True, 8.0):
        with pytest.raises(ValueError, match=f"^num_classes '?{value}'?: expected a whole number$"):
            actrec.net("resnet3d_10", num_classes=value)
    with pytest.raises(ValueError, match="^in_channels None: expected a whole number$"):
        actrec.net("resnet3d_10", in_channels=None)
    with torch.device("meta"):
        options = actrec.net("resnet3d_10", num_classes=np.int64(8), widen=np.float32(2)).options
    assert (type(options["num_classes"]), type(options["widen"])) == (int, float)
