"""X3D, SlowFast, CSN and R(2+1)D against PyTorchVideo and PySlowFast: names, logits, windows and costs."""

from __future__ import annotations

import itertools
import re

import pytest
import references
import torch
import torch.nn.functional as F
from references import far, filled, load_without_file, logits_of, schema_sha1
from torch import Tensor, nn

import actrec
from actrec.nets import NETS
from actrec.nets.backbone import Backbone
from actrec.nets.layers import WindowPool, window_of
from actrec.nets.matching import match_names
from actrec.nets.recognize import recognize
from actrec.nets.slowfast import slow_frames

GOLDEN = references.cases("golden_pytorchvideo.json")
CHEAP = ("ptv_x3d_m_112", "psf_x3d_m", "ptv_slow_r50_fullyconv", "psf_slowfast_8x8_r50", "psf_i3d_8x8_r50")
NAME = r"(?:layer(\d)\.)?(?:stem\.)?(?:(slow|fast|fuse)\.)?(?:(\d+)\.)?(.+)\.(\w+)"  # stage, path, block, part, tensor
PARTS = {  # layout: our names of the parts outside of blocks -> theirs, and of those in blocks
    "pytorchvideo": (
        {
            **{"conv1": "conv", "conv1_s": "conv.conv_t", "conv1_t": "conv.conv_xy", "bn1": "norm", "fc": "proj"},
            **{"conv5": "pool.pre_conv", "bn5": "pool.pre_norm", "lin5": "pool.post_conv", "0": "conv", "1": "norm"},
        },
        {
            **{f"conv{i}": f"branch2.conv_{x}" for i, x in enumerate("abc", 1)},
            **{f"bn{i}": f"branch2.norm_{x}" for i, x in enumerate("abc", 1)},
            **{f"conv2.{part}": f"branch2.conv_b.{part}" for part in ("conv_t", "norm", "conv_xy")},
            **{"downsample.0": "branch1_conv", "downsample.1": "branch1_norm"},
            **{"se.fc1": "branch2.norm_b.1.block.0", "se.fc2": "branch2.norm_b.1.block.2"},
        },
    ),
    "pyslowfast": (
        {
            **{"conv1": "conv", "conv1_s": "conv_xy", "conv1_t": "conv", "bn1": "bn", "fc": "projection"},
            **{"conv5": "conv_5", "bn5": "conv_5_bn", "lin5": "lin_5", "0": "conv", "1": "bn"},
        },
        {
            **{f"conv{i}": f"branch2.{x}" for i, x in enumerate("abc", 1)},
            **{f"bn{i}": f"branch2.{x}_bn" for i, x in enumerate("abc", 1)},
            **{"downsample.0": "branch1", "downsample.1": "branch1_bn"},
            **{"se.fc1": "branch2.se.fc1", "se.fc2": "branch2.se.fc2"},
        },
    ),
}
HEAD = ("fc", "conv5", "bn5", "lin5")


def reference_name(net: Backbone, layout: str, key: str) -> str:
    """The name of one of our tensors in the reference."""
    stage, path, block, part, tensor = re.fullmatch(NAME, key).groups()
    theirs = PARTS[layout][block is not None].get(part, part)
    number, pooled = int(stage or 0), net.name.startswith(("c2d", "i3d"))
    if layout == "pytorchvideo":
        number = 5 + (pooled or "slowfast" in net.name) if part in HEAD else number + (pooled and number > 1)
        if "x3d" in net.name and part == "bn2":
            theirs += ".0"
        if path == "fuse":
            theirs = theirs.replace("conv", "conv_fast_to_slow")
        paths = {"slow": "multipathway_blocks.0", "fast": "multipathway_blocks.1", "fuse": "multipathway_fusion"}
        where = [f"blocks.{number}", paths.get(path), f"res_blocks.{block}" if block else None]
    elif part in HEAD:
        where = ["head"]
    elif path == "fuse":
        where, theirs = [f"s{number + 1}_fuse"], theirs.replace("conv", "conv_f2s")
    else:
        where = [f"s{number + 1}", f"pathway{int(path == 'fast')}_{f'res{block}' if block else 'stem'}"]
    return ".".join(filter(None, (*where, theirs, tensor)))


def absent(net: Backbone, layout: str, key: str) -> bool:
    """PyTorchVideo's X3D has no normalization there."""
    return layout == "pytorchvideo" and "x3d" in net.name and key.startswith("layer1.0.downsample.1.")


def reference_shapes(net: Backbone, layout: str) -> dict[str, Tensor]:
    own = net.state_dict()
    return {reference_name(net, layout, key): own[key] for key in own if not absent(net, layout, key)}


@references.each(GOLDEN)
def test_names_and_shapes_of_the_reference(case, meta_net):
    net = meta_net(case["net"], num_classes=11)
    tensors = reference_shapes(net, case["layout"])
    assert schema_sha1(tensors) == case["schema_sha1"]
    layout = NETS.get(net.name).weights[case["layout"]]
    match = match_names(tensors, net, case["layout"], layout, head="fc.", new_head=False)
    assert (match.problems, match.dropped, set(match.found) >= set(dict(net.named_parameters()))) == ([], {}, True)
    own = {key: value for key, value in net.named_parameters() if not absent(net, case["layout"], key)}
    assert sum(value.numel() for value in own.values()) == case["params"]


@references.each(GOLDEN, cheap=CHEAP)
def test_logits_of_the_reference(case, monkeypatch):
    net = actrec.nets.outline(case["net"], num_classes=11, **case["options"])
    net.to_empty(device="cpu")
    tensors = {key: filled(key, value, gain=2) for key, value in reference_shapes(net, case["layout"]).items()}
    account = load_without_file(net, tensors, monkeypatch, layout=case["layout"])
    assert len(account.used) >= len(tensors)
    assert far(logits_of(net, case), torch.tensor(case["logits"])) < 1e-4


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("window", [(2, 3, 1), (4, 2, 9), (9, 9, 9), (1, 1, 1), (4, 5, 6)])
def test_pool_of_windows(window, memory_format):
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=memory_format)
    kernel = [min(extents) for extents in zip(window, x.shape[2:])]
    assert torch.allclose(WindowPool(window)(x), F.avg_pool3d(x, kernel, 1), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "clip", "windows"),
    [
        ("slow_resnet50", {"frames": 2, "size": 224}, (3, 32, 64), [(2, 1, 2)]),  # smaller than its window
        ("i3d_resnet50_pyslowfast", {"frames": 4, "size": (20, 64)}, (6, 64, 64), [(2, 1, 2)]),
        ("csn_resnet50", {"frames": 9, "size": 32}, (24, 32, 64), [(2, 1, 1)]),
        ("r2plus1d_resnet50_pytorchvideo", {"frames": 4, "size": 32}, (8, 32, 32), [(1, 1, 1)]),
        ("x3d_xs", {"frames": 3, "size": (33, 64)}, (4, 96, 64), [(3, 2, 2)]),
        ("slowfast_resnet50_8x8", {"frames": 8, "size": 32}, (12, 64, 32), [(2, 1, 1), (8, 1, 1)]),
    ],
)
def test_head_averages_the_logits_of_all_windows(name, options, clip, windows):
    """The windows are cut out one by one."""
    torch.manual_seed(0)
    net = actrec.net(name, num_classes=3, **options).eval()
    with torch.inference_mode():
        x = torch.randn(1, 3, *clip)
        features, logits = net.features(x), net(x)
        maps = [features] if len(windows) == 1 else [features[:, :2048, ::4], features[:, 2048:]]
        found = net.fc.bias.clone()
        weight = net.fc.weight.split([m.shape[1] for m in maps], 1) if name[:3] != "x3d" else [net.fc.weight]
        for path, window, columns in zip(maps, windows, weight):
            starts = [range(extent - size + 1) for extent, size in zip(path.shape[2:], window)]
            each = []
            for t, h, w in itertools.product(*starts):
                cut = path[0, :, t : t + window[0], h : h + window[1], w : w + window[2]].mean((1, 2, 3))
                if name[:3] == "x3d":
                    cut = F.relu(net.lin5.weight[:, :, 0, 0, 0] @ cut)
                each.append(columns @ cut)
            found += torch.stack(each).mean(0)
    assert len(each) > 1
    assert torch.allclose(logits[0], found, rtol=1e-4, atol=1e-5 * found.abs().max())


def test_windows_of_sizes():
    assert window_of(4, 160) == (4, 5, 5)
    assert window_of(16, 312) == (16, 10, 10)
    assert window_of(0, (182, 256)) == (1, 6, 8)


@pytest.mark.parametrize("alpha", [4, 8])
def test_frames_of_the_slow_path(alpha):
    """Those of the reference, also where float32 rounds below the next whole number (160 frames)."""
    assert slow_frames(32, 4) == [0, 4, 8, 13, 17, 22, 26, 31]
    for frames in range(alpha, 2049, alpha):
        assert slow_frames(frames, alpha) == torch.linspace(0, frames - 1, frames // alpha).long().tolist()


def test_the_slow_path_can_take_every_nth_frame():
    """As the protocols of mmaction2 do."""
    net = actrec.net("slowfast_resnet50_8x8", num_classes=2, frames=32, size=32).eval()
    seen = []
    net.stem.slow.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0, 0, :, 0, 0].tolist()))
    clip = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 3, 32, 32, 32)
    with torch.inference_mode():
        net(clip)
        net.slow_path = "stride"
        net(clip)
    assert seen == [[0, 4, 8, 13, 17, 22, 26, 31], [0, 4, 8, 12, 16, 20, 24, 28]]


@pytest.mark.parametrize(
    ("name", "size"), [("slow_resnet50", (64, 96)), ("slowfast_resnet50_8x8", (64, 64)), ("x3d_xs", (64, 96))]
)
def test_probabilities_of_windows_are_averaged_as_in_pyslowfast(name, size):
    """A crop that is larger than the net's gives several windows; each has a softmax of its own."""
    net = actrec.net(name, num_classes=5, frames=4, size=32).eval()
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(net.fc.weight, generator=generator)
    clips = torch.randn(2, 3, 4, *size, generator=generator)
    with torch.no_grad():
        net.fc.weight.mul_(3 / net(clips).std())
        maps, logits = net.features(clips), net(clips)
        net.window_average = "probabilities"
        found = net(clips)
        if name == "slowfast_resnet50_8x8":
            slow, fast = maps.split((2048, 256), 1)
            pooled = torch.cat([path.mean(2, keepdim=True) for path in (slow, fast)], 1)
        else:
            pooled = maps.mean(2, keepdim=True)
        windows = F.relu(net.lin5(pooled)) if name == "x3d_xs" else pooled
        each = F.linear(windows.permute(0, 2, 3, 4, 1), net.fc.weight, net.fc.bias)
        assert each.shape[1:4].numel() == (size[0] // 32) * (size[1] // 32)
        expected = each.softmax(4).mean((1, 2, 3))
    assert torch.allclose(found.exp(), expected, atol=1e-6)
    assert torch.allclose(logits, each.mean((1, 2, 3)), atol=1e-4)
    assert not torch.allclose(logits.softmax(1), expected, atol=1e-3)


def test_weights_without_the_first_normalization_of_x3d(tmp_path):
    """It becomes an identity, whatever it was before."""
    net, path = actrec.net("x3d_xs", num_classes=2).eval(), tmp_path / "X3D_XS.pyth"
    torch.save({"model_state": reference_shapes(net, "pytorchvideo")}, path)
    shortcut = net.layer1[0].downsample
    for value in shortcut[1].state_dict().values():
        value.fill_(3)
    account = actrec.load_weights(net, path)
    assert (account.layout, account.dropped) == ("pytorchvideo", {})
    assert set(account.missing) <= {"layer1.0.downsample.1.num_batches_tracked"}
    x = torch.randn(1, 24, 2, 4, 4)
    with torch.inference_mode():
        assert torch.allclose(shortcut(x), shortcut[0](x), rtol=1e-6)


@pytest.mark.parametrize(("name", "layout"), [("x3d_m", "pytorchvideo"), ("slowfast_resnet50_4x16", "pyslowfast")])
def test_files_are_recognized(name, layout, tmp_path):
    net = actrec.nets.outline(name)
    numbers = {key: torch.zeros((), dtype=v.dtype).expand(v.shape) for key, v in reference_shapes(net, layout).items()}
    torch.save({"model_state": numbers}, tmp_path / "model.pyth")
    found = {(guess.net, guess.layout) for guess in recognize(tmp_path / "model.pyth").guesses}
    same = ("x3d_xs", "x3d_s", "x3d_m") if name == "x3d_m" else (name,)  # X3D-XS, S and M have the same weights
    assert found == {(each, layout) for each in same}


FLOPS = [  # net, frames, size, published 10^9 multiply-adds, whether normalizations count as five operations per value
    ("x3d_xs", 4, 160, 0.60, False),
    ("x3d_xs", 4, 182, 0.91, True),
    ("x3d_s", 13, 160, 1.96, False),
    ("x3d_s", 13, 182, 2.96, True),
    ("x3d_m", 16, 224, 4.73, False),
    ("x3d_m", 16, 256, 6.72, True),
    ("x3d_l", 16, 312, 18.37, False),
    ("x3d_l", 16, 356, 26.64, True),
    ("c2d_resnet50", 8, 256, 25.89, True),
    ("i3d_resnet50_pyslowfast", 8, 256, 37.53, True),
    ("slow_resnet50", 4, 256, 27.55, True),
    ("slow_resnet50", 8, 256, 54.52, False),
    ("slowfast_resnet50_4x16", 32, 256, 36.69, True),
    ("slowfast_resnet50_8x8", 32, 256, 65.71, False),
    ("slowfast_resnet101_8x8", 32, 256, 127.20, True),
    ("slowfast_resnet101_16x8", 64, 256, 215.61, True),
    ("csn_resnet101", 32, 256, 75.62, True),
    ("r2plus1d_resnet50_pytorchvideo", 16, 256, 76.45, True),
]


@pytest.mark.parametrize(("name", "frames", "size", "published", "with_norms"), FLOPS)
def test_published_costs(name, frames, size, published, with_norms, meta_net):
    net, normalized = meta_net(name), []
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm3d)]
    hooks = [module.register_forward_hook(lambda m, args, out: normalized.append(out.numel())) for module in norms]
    flops = actrec.profile(net, frames=frames, size=size).flops
    for hook in hooks:
        hook.remove()
    assert (flops + 5 * with_norms * sum(normalized)) / 1e9 == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        *[("x3d_xs", 3.79), ("x3d_l", 6.15), ("c2d_resnet50", 24.33), ("i3d_resnet50_pyslowfast", 28.04)],
        *[("slow_resnet50", 32.45), ("slowfast_resnet50_4x16", 34.48), ("slowfast_resnet50_8x8", 34.57)],
        *[("slowfast_resnet101_8x8", 62.83), ("slowfast_resnet101_16x8", 53.77), ("csn_resnet101", 22.21)],
        ("r2plus1d_resnet50_pytorchvideo", 28.11),
    ],
)
def test_published_parameters(name, millions, meta_net):
    assert sum(p.numel() for p in meta_net(name).parameters()) / 1e6 == pytest.approx(millions, abs=0.006)
