from __future__ import annotations

import json
import os
import pickle
import shlex
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import actrec
from actrec.cli.main import COMMANDS, main
from actrec.config import Net, WeightsOptions
from actrec.engine.build import build_net
from actrec.nets.matching import READERS
from actrec.nets.recognize import recognize
from actrec.settings import field_types
from tests.nets.test_vit import as_their_owners_write_it


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_wrapped(net: torch.nn.Module, path: str) -> dict[str, torch.Tensor]:
    """The net's weights, written as parallel training leaves them."""
    weights = net.state_dict()
    wrapped = OrderedDict((f"module.{name}", value) for name, value in weights.items())
    torch.save({"epoch": 200, "arch": "resnet-18", "state_dict": wrapped, "optimizer": {"param_groups": []}}, path)
    return weights


def test_inspect_recognizes_a_file_of_hara(run):
    save_wrapped(actrec.net("resnet3d_18", num_classes=700, shortcut="A"), "my r3d18.pth")
    code, out, _ = run("weights", "inspect", "my r3d18.pth", "--json", "said.json")
    assert code == 0
    assert out[0].startswith("my r3d18.pth: 104 tensors, 33.")
    assert out[0].endswith(" M values, float32")
    assert out[1:] == [
        "fits resnet3d_18 (read as hara, shortcut=A): 700 classes, 3 channels",
        "frames: 16, the net's default; neither the file nor its name contains the number",
        "actrec train --backbone resnet3d_18 --shortcut A --weights 'my r3d18.pth' --new-head",
    ]
    assert json.loads(Path("said.json").read_text())["guesses"][0]["num_classes"] == 700
    # and the command is one
    with pytest.raises(SystemExit):
        main([*shlex.split(out[-1])[1:], "--help"])


def test_inspect_takes_the_frames_from_the_name_and_puts_inflation_last(run):
    weights = actrec.net("resnet3d_18", num_classes=1000).state_dict()
    torch.save({k: v[:, :, 0] if v.ndim == 5 else v for k, v in weights.items()}, "resnet18-f32.pth")
    code, out, _ = run("weights", "inspect", "resnet18-f32.pth")
    assert code == 0
    fits = [line for line in out if line.startswith("fits")]
    inflated = ["torchvision2d" in line for line in fits]
    assert inflated == sorted(inflated)
    nets = [line.split()[1] for line in fits]
    assert len(nets) == len(set(nets))
    assert {"tsn_resnet18", "i3d_resnet18", "resnet3d_18"} <= set(nets)
    assert out[-2] == "frames: 32, according to the file name"
    assert "--frames 32" in out[-1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("c2d_resnet50", "the pool after the first stage, which this net has, but PySlowFast's slow_c2d and slow_i3d"),
        ("slow_resnet50", None),
        (
            "slowfast_resnet50_8x8",
            "the number of frames of the fast path per frame of the slow path (SLOWFAST.ALPHA), 4 in t",
        ),
        ("mvit_v2_s", "the residual pooling of queries (MVIT.RESIDUAL_POOLING), which this net has"),
    ],
)
def test_inspect_says_what_a_file_does_not_show(run, name, said):
    with torch.device("meta"):
        weights = actrec.net(name).state_dict()
    torch.save({k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in weights.items()}, "net.pyth")
    code, out, _ = run("weights", "inspect", "net.pyth")
    assert code == 0
    lines = [line for line in out if line.startswith("not visible in the file: ")]
    assert [line.removeprefix("not visible in the file: ")[: len(said or "")] for line in lines] == [said] * bool(said)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mvit_v1_b", {}, "16 of 224x224 pixels, according to the shapes"),
        ("mvit_v2_s", {"frames": 8, "size": 64}, "8 of 64x64 pixels, according to the shapes"),
        ("vjepa2_s", {"positions": "table", "size": 224}, "16 of 224x224 pixels, according to the shapes"),
        ("vjepa2_s", {}, "16 of 256x256 pixels, the net's defaults; neither the file nor its name contains these nu"),
        ("x3d_l", {}, "16 of 312x312 pixels, the net's defaults; neither the file nor its name contains these nu"),
    ],
)
def test_inspect_says_which_clips_a_file_shows(run, name, options, said):
    with torch.device("meta"):
        weights = actrec.net(name, **options).state_dict()
    kept = [key for key in weights if not name.startswith("vjepa2") or key.startswith("encoder.")]
    values = {key: torch.zeros((), dtype=weights[key].dtype).expand(weights[key].shape) for key in kept}
    torch.save({key.removeprefix("encoder."): value for key, value in values.items()}, "net.pt")
    (line,) = [line for line in run("weights", "inspect", "net.pt")[1] if line.startswith("frames: ")]
    assert line[8:].startswith(said)


def test_inspect_of_a_published_file(run):
    Path("my zoo").mkdir()
    torch.save(actrec.net("r3d_18", num_classes=400).state_dict(), "my zoo/r3d_18-b3b3357e.pth")
    code, out, _ = run("weights", "inspect", "my zoo/r3d_18-b3b3357e.pth")
    assert code == 0
    assert out[-2:] == [
        "published: Kinetics-400 top-1 63.20, top-5 83.48; this command measures it:",
        "actrec evaluate --weights 'my zoo/r3d_18-b3b3357e.pth' --backbone r3d_18 --list val.txt "
        "--protocol torchvision_r3d_18",
    ]


def test_inspect_of_a_run(run, inside):
    from actrec.engine import checkpoint

    net = actrec.net("resnet3d_10", num_classes=2, widen=0.25, shortcut="A")
    described = checkpoint.describe_net(net, replace(net.input, frames=8, size=64))
    checkpoint.save("best.pt", {"net": described, "state_dict": net.state_dict()})
    code, out, _ = run("weights", "inspect", "best.pt", "--backbone", "resnet3d_10")
    assert code == 0
    assert out[-3:] == [
        "frames: 8 of 64x64 pixels, according to the checkpoint",
        "actrec train --backbone resnet3d_10 --shortcut A --widen 0.25 --frames 8 --size 64 --weights best.pt",
        "for other classes, add --new-head",
    ]
    checkpoint.save(
        "odd.pt", {"net": described | {"input": {"frames": "8", "size": -1}}, "state_dict": net.state_dict()}
    )
    code, out, _ = run("weights", "inspect", "odd.pt", "--backbone", "resnet3d_10")
    assert (code, out[-2][:34]) == (0, "frames: 16, the net's default; nei")


def test_a_file_with_several_entries(run):
    net = actrec.net("tiny3d", num_classes=2)
    averaged = {name: value + 1 for name, value in net.state_dict().items()}
    torch.save({"model": net.state_dict(), "model_ema": averaged}, "both.pth")
    said = (
        "both.pth: the weights are those of its entry model, not model_ema; "
        "`actrec weights convert --entry NAME` writes those of another entry to a file"
    )
    code, out, _ = run("weights", "inspect", "both.pth", "--json", "said.json")
    assert (code, out[1], out[2][:11]) == (0, said, "fits tiny3d")
    result = json.loads(Path("said.json").read_text())
    assert (result["entry"], result["others"]) == ("model", ["model_ema"])
    code, out, _ = run("weights", "inspect", "both.pth", "--entry", "model_ema")
    assert (code, out[1][:11]) == (0, "fits tiny3d")
    code, out, _ = run("weights", "convert", "both.pth", "averaged.pt", "--entry", "model_ema")
    assert code == 0
    written = torch.load("averaged.pt", weights_only=True)["state_dict"]
    assert all(written[name].equal(value) for name, value in averaged.items())
    code, out, _ = run("weights", "convert", "both.pth", "first.pt")
    assert "; entry model, not model_ema -> first.pt" in out[-1]
    assert run("weights", "convert", "both.pth", "x.pt", "--entry", "state_dict")[2] == [
        "Error: entry 'state_dict' of both.pth: expected one of model, model_ema"
    ]
    Path("labels.txt").write_text("a\nb\n")
    assert actrec.load("both.pth", net="tiny3d", classes="labels.txt").weights_note == said
    notes: list[str] = []
    build_net(Net("tiny3d"), num_classes=2, weights="both.pth", new_head=False, log=notes.append)
    assert notes == [said]
    assert said in run("evaluate", "--weights", "both.pth", "--backbone", "tiny3d", "--list", "no.txt")[2]


def test_inspect_of_other_channels_says_how_in_python(run):
    torch.save(actrec.net("c3d", num_classes=2, in_channels=2, global_pooling=True).state_dict(), "flow.pth")
    code, out, _ = run("weights", "inspect", "flow.pth")
    assert code == 0
    names = {"actrec": actrec}
    exec(out[-1], names)
    assert names["net"].in_channels == 2


def test_inspect_of_a_probe_without_its_encoder(run):
    options = {"frames": 2, "size": 32, "depth": 1, "probe_depth": 2}
    net = actrec.net("vjepa2_s", num_classes=3, **options).eval()
    weights = net.state_dict()
    probe = {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.")}
    torch.save({name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}, "encoder.pt")
    torch.save(probe, "probe.pt")
    code, out, _ = run("weights", "inspect", "probe.pt", "--json", "said.json")
    assert (code, out[1]) == (0, "fits vjepa2_s (read as actrec, probe_depth=2): 3 classes, no encoder")
    assert json.loads(Path("said.json").read_text())["guesses"][0]["without"] == "encoder"
    names = {"actrec": actrec}
    exec(out[-1].replace("probe_depth=2", "probe_depth=2, depth=1"), names)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in names["net"].state_dict().items())
    assert [guess.without for guess in recognize("encoder.pt").guesses] == [None]


def test_a_file_of_no_net(run):
    weights = actrec.net("s3d", num_classes=2).state_dict()
    torch.save({**weights, "extra": torch.zeros(1)}, "other.pth")
    code, out, err = run("weights", "inspect", "other.pth")
    assert (code, len(out)) == (1, 1)
    assert err == ["Error: other.pth fits no net here; nearest: s3d (read as actrec): unexpected 'extra'"]
    torch.save({"conv1.weight": torch.zeros(3), "fc.weight": torch.tensor(1.0)}, "other.pth")
    code, _, err = run("weights", "convert", "other.pth", "out.pt", "--backbone", "tsn_resnet18")
    assert (code, err) == (1, ["Error: other.pth does not fit net 'tsn_resnet18', and none has similar names"])


class _Command:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("command", [["inspect"], ["convert", "--backbone", "s3d"], ["convert"]], ids=" ".join)
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("web page", "is a web page, not a weights file: download it again"),
        ("truncated", "is not a weights file, or is damaged or cut short"),
        ("code", "would run code to load (posix.system) and is refused"),
        ("absent", "Error: no weights file bad.pth"),
        (
            "caffe2",
            "is a Caffe2 model (a pickle with `blobs`), as in PySlowFast's model zoo, and is not read: PyTorchV",
        ),
    ],
)
def test_files_that_cannot_be_read(run, command, kind, said):
    path = Path("bad.pth")
    if kind == "web page":
        path.write_text("<!DOCTYPE html><html><body>Not found</body></html>")
    elif kind == "truncated":
        torch.save({"fc.weight": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "caffe2":
        path.write_bytes(pickle.dumps({"cfg": "NUM_GPUS: 8", "blobs": {"conv1_w": np.zeros(3), "hook": _Command()}}, 2))
    elif kind == "code":
        torch.save({"state_dict": {"fc.weight": torch.zeros(1)}, "hook": _Command()}, path)
    out = ["out.pt"] if command[0] == "convert" else []
    code, _, err = run("weights", *command, path, *out)
    assert (code, len(err)) == (1, 1)
    assert said in err[0]
    assert not {"ran", "out.pt"} & set(os.listdir())


@pytest.mark.parametrize("out", ["out.safetensors", "out.pt", "out.pth"])
def test_convert_gives_equal_tensors_under_the_nets_own_names(run, out):
    weights = save_wrapped(actrec.net("s3d", num_classes=5, depthwise_temporal=True), "ibm.pth.tar")
    code, said, _ = run("weights", "convert", "ibm.pth.tar", out, "--backbone", "s3d")
    assert code == 0
    assert said == [f"ibm: 477 tensors used (0 reshaped), 0 dropped, 0 missing -> {out}"]
    written = load_file(out) if out.endswith("safetensors") else torch.load(out, weights_only=True)["state_dict"]
    assert list(sorted(written)) == sorted(weights)
    assert all(torch.equal(value, weights[name]) for name, value in written.items())


def test_convert_finds_the_net_by_itself(run):
    weights = save_wrapped(actrec.net("densenet3d_121", num_classes=5), "hara.pth")
    renamed = {
        f"module.{name.replace('fc.', 'classifier.') if name.startswith('fc.') else f'features.{name}'}": value
        for name, value in weights.items()
    }
    torch.save({"state_dict": renamed}, "hara.pth")
    code, said, _ = run("weights", "convert", "hara.pth", "out.pt")
    assert code == 0
    assert said[0].startswith("recognized as densenet3d_121 (read as hara): 5 classes, 3 channels")
    assert set(torch.load("out.pt", weights_only=True)["state_dict"]) == set(weights)


def test_convert_with_options_that_inspect_does_not_try(run):
    save_wrapped(actrec.net("resnet3d_10", num_classes=5, widen=0.25), "narrow.pth")
    arguments = ["weights", "convert", "narrow.pth", "out.pt", "--backbone", "resnet3d_10"]
    code, _, err = run(*arguments)
    assert code == 1
    assert err[0].startswith("Error: narrow.pth does not fit net 'resnet3d_10'; nearest: resnet3d_10 (read as ")
    assert run(*arguments, "--widen", "0.25", "--classes", "5", "--layout", "hara")[0] == 0


@pytest.mark.parametrize("out", ["out.safetensors", "out.pt"])
def test_convert_keeps_what_the_file_implies(run, out):
    """transformers has other epsilons, and its positions in V-JEPA 2 are those of the net's size."""
    net = actrec.net("vjepa2_s", num_classes=5, depth=1, probe_depth=1)
    torch.save(as_their_owners_write_it(net, "transformers"), "model.bin")
    flags = ["--backbone", "vjepa2_s", "--depth", "1", "--probe-depth", "1", "--frames", "4", "--size", "32"]
    code, said, err = run("weights", "convert", "model.bin", out, *flags)
    assert (code, err) == (0, [])
    assert said == [f"transformers: {len(net.state_dict())} tensors used (0 reshaped), 0 dropped, 0 missing -> {out}"]

    clip = torch.randn(1, 3, 4, 48, 64, generator=torch.Generator().manual_seed(0))
    logits = []
    for file in ("model.bin", out):
        copied = actrec.net("vjepa2_s", num_classes=5, depth=1, probe_depth=1, frames=4, size=32).eval()
        actrec.load_weights(copied, file)
        logits.append(copied(clip))
    assert copied.probe.cross_attention_block.norm1.eps == 1e-6
    assert logits[0].equal(logits[1])
    best, *others = recognize(out).guesses
    assert others == []
    own = {"depth": 1, "probe_depth": 1, "frames": 4, "size": 32, "eps_of": "transformers"}
    assert (best.net, best.layout, best.options) == ("vjepa2_s", "actrec", own)
    command = run("weights", "inspect", out)[1][-1].split()
    assert sorted(command[4:-3]) == sorted(["--depth", "1", "--frames", "4", "--size", "32", "--probe-depth", "1"])


def test_convert_leaves_out_what_the_file_lacks(run):
    net = actrec.net("vjepa2_s", num_classes=5, depth=1, probe_depth=1)
    probe = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("encoder.")}
    torch.save({name.replace("probe.", "pooler.").replace("fc.", "linear."): t for name, t in probe.items()}, "p.pt")
    code, _, err = run("weights", "convert", "p.pt", "out.pt")
    assert (code, err) == (0, [])
    assert set(torch.load("out.pt", weights_only=True)["state_dict"]) == set(probe)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["s.pt", "out.bin"],
            2,
            "Error: Invalid value for 'OUT': out.bin: expected a name that ends in",
        ),
        (["s.pt", "nowhere/out.pt"], 2, "Error: Invalid value for 'OUT': nowhere/out.pt: there is no folder nowhere"),
        (["s.pt", "folder.pt"], 2, "Error: Invalid value for 'OUT': folder.pt is a folder: expected the name"),
        (["s.pt", "out.pt", "--backbone", "s3dd"], 1, "Error: unknown net 's3dd': did you mean s3d?"),
        (["s.pt", "out.pt", "--layout", "hra"], 2, "Error: Invalid value for '--layout': 'hra': expected one of"),
        (["s.pt", "out.pt", "--layout", "hara"], 1, "Error: layout 'hara' for net 's3d': expected auto, actrec, ibm"),
        (["s.pt", "out.pt", "--classes", "8"], 1, "Error: s.pt has 2 classes: expected 8, as --classes says"),
        (["s.pt", "out.pt", "--widen", "2"], 1, "Error: net 's3d' takes no option 'widen': expected one of depthwise_"),
        (["s.pt", "out.pt", "--frames", "8"], 1, "Error: net 's3d' takes no option 'frames': expected one of"),
        (["s.pt", "out.pt", "--backbone", "c3d"], 1, "Error: s.pt does not fit net 'c3d'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_of_convert(run, arguments, code, said):
    torch.save(actrec.net("s3d", num_classes=2).state_dict(), "s.pt")
    Path("folder.pt").mkdir()
    net = [] if "--backbone" in arguments else ["--backbone", "s3d"]
    found, out, err = run("weights", "convert", *arguments, *net)
    assert found == code
    assert err[-1].startswith(said)
    assert set(os.listdir()) == {"s.pt", "folder.pt"}


def test_other_mistakes(run):
    code, _, err = run("weights", "inspct", "x.pt")
    assert (code, err[-1]) == (2, "Error: no command 'inspct': did you mean inspect?")
    code, _, err = run("weights", "convert", "x.pt", "y.pt", "--shortcut", "A")
    assert (code, err[-1]) == (2, "Error: --shortcut A without --backbone: a net's options need its name")
    assert "weights" in COMMANDS


def test_layouts_of_the_command_line_are_those_of_the_reader():
    assert get_args(field_types(WeightsOptions)["layout"]) == ("auto", *READERS)


def test_where_the_default_form_fits_no_other_form_is_listed():
    weights = actrec.net("tam_resnet18", num_classes=5).state_dict()
    torch.save({name: value for name, value in weights.items() if ".tam." not in name}, "image.pth")
    guesses = recognize("image.pth", "tam_resnet18").guesses
    assert [(guess.layout, guess.options) for guess in guesses] == [("torchvision2d", {})]


@pytest.mark.parametrize(
    ("name", "layout", "flag"),
    [
        ("K400-resnet-50-f32.pth.tar", "ibm", "--no-temporal-stride"),
        ("K400-resnet-50-ts-max-f8.pth.tar", "ibm", ""),
        ("tsn_r50_1x1x8.pth", "mmaction2", "--no-temporal-stride"),
        ("tsn.pt", "actrec", ""),
    ],
)
def test_the_command_names_what_published_nets_leave_out(name, layout, flag):
    from actrec.cli.weights import _use
    from actrec.nets.recognize import Guess

    said = _use(Path(name), Guess("tsn_resnet50", layout, {}, 400, 3), None)
    assert said == " ".join(["actrec train --backbone tsn_resnet50", *flag.split(), f"--weights {name} --new-head"])
