from __future__ import annotations

import json

import pytest

import actrec
from actrec.nets import NETS, page


def test_one_line_per_family(run, tmp_path, monkeypatch):
    monkeypatch.setattr("actrec.nets.net", lambda *_, **__: pytest.fail("a net was built"))
    code, out, _ = run("nets", "--json", tmp_path / "nets.json")
    assert code == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in out}
    assert lines["tsn_resnet{18,34,50,101,152}"].endswith(
        "} 8 x 224x224 arXiv:1608.00859 weights: actrec, ibm, torchvision2d, tsm, mmaction2"
    )
    written = json.loads((tmp_path / "nets.json").read_text())
    assert len(written) == len(out)
    assert sorted(name for family in written for name in family["names"]) == NETS.names()


def test_one_net(run, tmp_path):
    code, out, _ = run("nets", "tam_resnet50", "--json", tmp_path / "net.json")
    assert code == 0
    assert out[:4] == [
        "tam_resnet50  arXiv:1912.00869",
        "cost: 24.37 M parameters, 14.21 GFLOPs (multiply-adds)",
        "input: 8 frames of 224x224, mean 0.485,0.456,0.406, std 0.229,0.224,0.225",
        "takes: clips from 8 frames, a multiple of 8, from 1x1 pixels",
    ]
    assert "layers: conv1, bn1, layer1, layer2, layer3, layer4, fc" in out
    assert "  --depthwise-blending  Let TAM blend each channel separately." in out
    assert "  --blending-frames 3   Number of frames that TAM blends." in out
    assert not any("num_classes" in line or "in_channels" in line for line in out)
    assert out[-1].startswith("  Something-Something V2 top-1 63.83 (32 frames, 2x3 clips x crops, 256x256; arXiv:")
    assert out[-1].endswith(", protocol ibm_ssv2")
    written = json.loads((tmp_path / "net.json").read_text())
    assert (written["input"]["frames"], written["options"]["blending"]) == (8, "sum")


def test_a_net_of_one_size(run):
    _, out, _ = run("nets", "c3d")
    assert out[3] == "takes: only clips of 16 frames of 112x112 pixels; any clips with --global-pooling"
    assert any(line.startswith("  --no-global-pooling  Use global average pooling") for line in out)
    _, out, _ = run("nets", "r3d_18")
    assert out[3] == "takes: clips from 1 frame, from 1x1 pixels"
    assert "learning rate: 0.001 by default, with AdamW" in out
    _, out, _ = run("nets", "tiny3d")
    assert "learning rate: 0.002 by default, with AdamW" in out


def test_benchmark_of_a_net(run, tmp_path):
    code, out, _ = run("nets", "i3d", "--benchmark", "--json", tmp_path / "rows.json")
    assert code == 0
    assert len(out) == 1 + 24
    assert out[1].split() == ["mini_st2stv2", "i3d", "8", "no", "56.36", "82.49", "33.57", "12.38", "last_pool=valid"]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert len(rows) == 24
    assert {row["net"] for row in rows} == {"i3d"}


def test_markdown(run, monkeypatch):
    monkeypatch.setattr(page, "markdown", lambda: "# Nets\n")
    assert run("nets", "--markdown")[:2] == (0, ["# Nets"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["s3dd"], 1, "Error: unknown net 's3dd': did you mean s3d?"),
        (["resnet3d_51"], 1, "Error: unknown net 'resnet3d_51': did you mean "),
        (["s3dd", "--benchmark"], 1, "Error: unknown net 's3dd': did you mean s3d?"),
        (["c3d", "--benchmark"], 1, "Error: nothing of net 'c3d' in the mini benchmark: expected one of i3d, "),
        (["s3d", "--markdown"], 2, "Error: --markdown with other arguments"),
        (
            ["--json", "/nowhere/nets.json"],
            2,
            "Error: Invalid value for '--json': /nowhere/nets.json: there",
        ),
    ],
)
def test_mistakes(run, arguments, code, said):
    found, _, err = run("nets", *arguments)
    assert found == code
    assert err[-1].startswith(said)


def test_a_net_for_other_clips(run, tmp_path):
    code, out, err = run(
        "nets", "videomae_s", "--frames", "4", "--size", "64", "--depth", "2", "--json", tmp_path / "n"
    )
    assert (code, err) == (0, [])
    net = actrec.net("videomae_s", frames=4, size=64, depth=2)
    cost = actrec.profile(net)
    assert out[1] == f"cost: {cost.params / 1e6:.2f} M parameters, {cost.flops / 1e9:.2f} GFLOPs (multiply-adds)"
    assert out[2].startswith("input: 4 frames of 64x64, mean 0.485")
    written = json.loads((tmp_path / "n").read_text())
    assert (written["flops"], written["input"]["size"], written["options"]["depth"]) == (cost.flops, 64, 2)
    _, out, _ = run("nets", "tiny3d", "--frames", "8")  # not an option of this net
    assert out[1].endswith(f", {actrec.profile(actrec.net('tiny3d'), frames=8).flops / 1e9:.2f} GFLOPs (multiply-adds)")
    assert out[2].startswith("input: 8 frames of ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--frames", "8"], 2, "Error: --frames 8: expected with NAME, and without --benchmark and --markdown"),
        (["tiny3d", "--benchmark", "--widen", "2"], 2, "Error: --widen 2.0: expected with NAME, and without --bench"),
        (["tiny3d", "--depth", "2"], 1, "Error: net 'tiny3d' takes no option 'depth'"),
        (["mvit_v1_b", "--size", "30"], 1, "Error: size 30: this net needs multiples of 4"),
        (["videomae_s", "--size", "8"], 1, "Error: frames of 8x8 pixels are too small: this net needs at least 16x16"),
        (["slowfast_resnet50_8x8", "--frames", "7"], 1, "Error: clips of 7 frames: this net needs a multiple of 4"),
    ],
)
def test_clips_that_a_net_does_not_take(run, arguments, code, said):
    found, _, err = run("nets", *arguments)
    assert found == code
    assert err[-1].startswith(said)
