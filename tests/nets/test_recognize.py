"""Which net a weights file is of."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from actrec import nets
from actrec.nets import NETS
from actrec.nets.recognize import Guess, recognize
from actrec.nets.weights_file import read_checkpoint

FILES = [  # net, its options, classes and channels, other nets with the very same names
    ("c3d", {}, 5, 3, ()),
    ("c3d", {"batch_norm": True}, 5, 3, ()),
    ("c3d", {"global_pooling": True}, 5, 3, ()),
    ("densenet3d_121", {}, 700, 3, ()),
    ("i3d", {}, 400, 3, ()),
    ("csn_resnet50", {}, 400, 3, ()),
    ("i3d_resnet18", {}, 174, 10, ()),
    ("i3d_resnet50_mmaction2", {}, 400, 3, ("i3d_resnet50_pyslowfast",)),
    ("mc3_18", {}, 400, 3, ()),
    ("mvit_v1_b", {}, 400, 3, ()),
    ("mvit_v2_s", {}, 400, 3, ()),
    ("preact_resnet3d_10", {}, 5, 3, ()),
    ("preact_resnet3d_50", {"shortcut": "A"}, 5, 3, ()),
    ("r2plus1d_18", {}, 400, 3, ()),
    ("r2plus1d_34_mmaction2", {}, 400, 3, ()),
    ("r3d_18", {}, 101, 3, ()),
    ("resnet2p1d_18", {"shortcut": "A"}, 5, 2, ()),
    ("resnet3d_18", {"shortcut": "A"}, 700, 3, ()),
    ("resnet3d_50", {}, 700, 3, ()),
    ("resnext3d_50", {}, 5, 3, ()),
    ("s3d", {"depthwise_temporal": True}, 339, 3, ()),
    ("s3d_resnet18", {"depthwise_temporal": True}, 5, 3, ()),
    ("s3d_torchvision", {}, 400, 3, ()),
    ("slow_resnet50", {}, 400, 3, ()),
    ("slowfast_resnet50_4x16", {}, 400, 3, ()),
    ("swin3d_b", {"depth": 7, "window_t": 16}, 174, 3, ()),
    ("swin3d_s", {}, 400, 3, ()),
    ("tam_inception_v1", {"depthwise_blending": False}, 5, 3, ()),
    ("tam_resnet18", {"blending_frames": 5}, 5, 3, ()),
    ("tam_resnet50", {}, 400, 3, ()),
    ("tiny3d", {"widen": 2.0}, 5, 3, ()),
    ("tsm_inception_v1", {}, 5, 3, ("tsn_inception_v1",)),
    ("tsm_resnet18", {}, 5, 3, ("tsn_resnet18",)),
    ("tsn_inception_v1", {}, 5, 3, ("tsm_inception_v1",)),
    ("tsn_resnet50", {}, 174, 3, ("tsm_resnet50",)),
    ("videomae_s", {"depth": 2}, 5, 3, ()),
    ("vjepa2_s", {"depth": 3, "probe_depth": 2}, 5, 3, ()),
    ("wide_resnet3d_50", {}, 5, 3, ()),
    ("x3d_m", {}, 400, 3, ("x3d_xs", "x3d_s")),
]
QUICK = ("c3d", "i3d_resnet18", "s3d", "tam_resnet18", "tsm_resnet18")
net = functools.cache(nets.net)


@pytest.fixture(autouse=True)
def _build_once(monkeypatch):
    """70 nets for each file would take seconds."""
    monkeypatch.setattr(nets, "net", net)


def write(path, name: str, **options) -> None:
    with torch.device("meta"):
        module = nets.net(name, **options)
    torch.save({k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in module.state_dict().items()}, path)


def families(names) -> set:
    return {getattr(build, "func", build) for build in (NETS.get(name).build for name in names)}


def test_every_family_is_recognized():
    assert families(name for name, *_ in FILES) == families(NETS)


@pytest.mark.parametrize(
    ("name", "options", "classes", "channels", "twins"),
    [row if row[0] in QUICK else pytest.param(*row, marks=pytest.mark.slow) for row in FILES],
)
def test_recognized(name, options, classes, channels, twins, tmp_path):
    path = tmp_path / "weights-f16.pth"
    write(path, name, num_classes=classes, in_channels=channels, **options)
    found = recognize(path)
    same = {guess.net: guess for guess in found.guesses if guess.layout == "actrec"}
    assert set(same) == {name, *twins}
    assert replace(same[name], shown={}) == Guess(name, "actrec", options, classes, channels)
    assert same[name].shown == ({"frames": 16, "size": 224} if name.startswith("mvit") else {})
    assert found.guesses[0].net in same
    assert (found.frames, found.nearest, found.dtypes) == (16, None, ("float32",))
    with torch.device("meta"):
        own = nets.net(name, num_classes=classes, in_channels=channels, **options).state_dict()
    assert found.num_tensors == len(own)
    assert found.num_values == sum(value.numel() for value in own.values())


def test_a_net_cut_short(tmp_path):
    write(tmp_path / "whole.pth", "s3d")
    weights = torch.load(tmp_path / "whole.pth")
    del weights["inception5b.branch1.conv.weight"]
    torch.save(weights, tmp_path / "cut.pth")
    found = recognize(tmp_path / "cut.pth")
    assert found.guesses == ()
    assert found.nearest == "s3d (read as actrec): missing inception5b.branch1.conv.weight"
    assert found.frames is None


@pytest.mark.parametrize(
    ("file", "frames"),
    [
        ("K400-I3D-ResNet-50-f32.pth.tar", 32),
        ("tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e.pth", 8),
        ("i3d_r50_8xb8-32x2x1-100e.pth", 32),
        ("TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth", 8),
        ("r3d_18-b3b3357e.pth", None),
        ("MViTv2_S_16x4_k400_f302660347.pyth", None),
    ],
)
def test_frames_by_the_name(file, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(NETS, "names", lambda: [])
    torch.save({"weight": torch.zeros(1)}, tmp_path / file)
    found = recognize(tmp_path / file)
    assert (found.frames, found.guesses) == (frames, ())


def test_a_checkpoint_says_itself_what_it_is(tmp_path):
    net = nets.net("tsm_resnet18", num_classes=3, temporal_stride=True)
    path = tmp_path / "last.pt"
    described = {"name": net.name, "options": net.options}
    torch.save({"format": 1, "net": described, "state_dict": net.state_dict()}, path)
    best = recognize(path).guesses[0]
    assert (best.net, best.options, best.num_classes) == ("tsm_resnet18", {"temporal_stride": True}, 3)


@pytest.mark.parametrize("options", [{"widen": "x"}, {"widen": 1e9}, {"widen": [1]}, {"odd": 3}])
def test_options_of_a_checkpoint_that_no_net_has(options, tmp_path):
    path = tmp_path / "last.pt"
    module = nets.net("resnet3d_10", num_classes=3, widen=0.25)
    torch.save({"net": {"name": "resnet3d_10", "options": {"widen": 0.25}}, "state_dict": module.state_dict()}, path)
    assert recognize(path).guesses == (Guess("resnet3d_10", "actrec", {"widen": 0.25}, 3, 3),)
    torch.save({"net": {"name": "resnet3d_10", "options": options}, "state_dict": module.state_dict()}, path)
    assert recognize(path).guesses == ()


def test_the_values_of_the_weights_are_not_read(tmp_path):
    file = tmp_path / "weights.pt"
    torch.save({"fc.bias": torch.full((64,), 7.0)}, file)
    content = file.read_bytes()
    assert content.count(np.float32(7).tobytes() * 64) == 1
    file.write_bytes(content.replace(np.float32(7).tobytes() * 64, bytes(4 * 64)))
    assert recognize(file).num_values == 64
    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(file)
