"""Weights files: the reference's logits from the reference's weights, inflation, and files that must be refused."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import os
import pickle
import random
import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import actrec
from actrec import nets
from actrec.nets import weights
from actrec.nets.backbone import Backbone
from actrec.nets.matching import unwrapped
from actrec.nets.recognize import recognize
from actrec.nets.weights_file import WeightsFile, read_checkpoint

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())["cases"]


def filled(net: Backbone) -> dict[str, torch.Tensor]:
    """Weights by the fill rule of golden.json, under the reference's names."""
    own = {reference_name(net, key): value for key, value in net.state_dict().items()}
    shapes = {
        key: (*value.shape, 1, 1, 1) if key == "classifier.1.weight" else tuple(value.shape)
        for key, value in own.items()
    }
    return {key: _fill(key, shapes[key], value.dtype) for key, value in own.items()}


def reference_name(net: Backbone, key: str) -> str:
    if net.name == "s3d_torchvision":
        return key.replace("fc.", "classifier.1.") if key.startswith("fc.") else key.replace("body.", "features.", 1)
    if net.name.startswith("densenet3d"):
        return key.replace("fc.", "classifier.") if key.startswith("fc.") else f"features.{key}"
    return key


@functools.cache
def _fill(key: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    random_state = np.random.RandomState(zlib.crc32(key.encode()))
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        values = random_state.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = 0.1 * random_state.standard_normal(shape)
    else:
        values = random_state.standard_normal(shape) * math.sqrt(1 / math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def googlenet() -> dict[str, torch.Tensor]:
    """Random weights with the names and shapes of torchvision's GoogLeNet, its auxiliary classifiers in part."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, value in actrec.net("i3d", num_classes=1000).state_dict().items():
        shape = value.shape[:2] + value.shape[3:] if value.ndim == 5 else value.shape
        weights[key] = torch.randn(shape, generator=generator).to(value.dtype)
    weights["aux1.conv.conv.weight"] = torch.zeros(128, 512, 1, 1)
    weights["aux2.fc2.bias"] = torch.zeros(1000)
    return weights


def reference_clips(case: dict) -> torch.Tensor:
    n, c, t, h, w = case["input_shape"]
    random_state = np.random.RandomState(1234)
    if case.get("frames_in_channels"):
        values = random_state.standard_normal((n, t * c, h, w)).reshape(n, t, c, h, w).swapaxes(1, 2)
    else:
        values = random_state.standard_normal((n, c, t, h, w))
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id="-".join(map(str, [case["net"], *case["options"].values()])),
            marks=pytest.mark.slow if case["net"].startswith("wide") else (),  # 0.6 GB; others are narrower
        )
        for case in GOLDEN
    ],
)
def test_logits_of_the_reference(case, monkeypatch):
    net = nets.outline(case["net"], num_classes=5, **case["options"]).eval()
    net.to_empty(device="cpu")
    tensors = filled(net)
    schema = "\n".join(sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in tensors.items()))
    assert hashlib.sha1(schema.encode()).hexdigest() == case["schema_sha1"]
    monkeypatch.setattr(
        weights, "read_checkpoint", lambda path, entry: WeightsFile(tensors)
    )  # writing them takes longer
    account = actrec.load_weights(net, "model_best.pth.tar", layout=case["layout"])
    assert len(account.used) == len(tensors)

    with torch.inference_mode():
        logits = net(reference_clips(case)).numpy()
    expected = np.array(case["logits"])
    assert np.abs(logits - expected).max() / np.abs(expected).max() < 1e-4


KINDS = ["state_dict", "net", "module", "legacy", "safetensors"]


@pytest.mark.parametrize("kind", ["bare", *KINDS])
def test_round_trip(kind, tmp_path):
    net, other = actrec.net("s3d", num_classes=5), actrec.net("s3d", num_classes=5)
    weights = net.state_dict()
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    if kind == "safetensors":
        save_file(weights, path)
    elif kind == "legacy":
        schedule = {"milestones": Counter([15, 30])}  # as schedulers save them
        torch.save({"state_dict": weights, "scheduler": schedule}, path, _use_new_zipfile_serialization=False)
    elif kind == "module":
        torch.save({f"module.{key}": value for key, value in weights.items()}, path)
    else:
        torch.save(weights if kind == "bare" else {kind: weights, "epoch": 1}, path)
    account = actrec.load_weights(other, path)
    assert account.layout == ("ibm" if kind == "module" else "actrec")
    assert (set(account.used), account.dropped, account.missing) == (set(weights), {}, ())
    assert all(torch.equal(value, weights[key]) for key, value in other.state_dict().items())
    assert str(account) == f"{account.layout}: {len(weights)} tensors used (0 reshaped), 0 dropped, 0 missing"


def test_new_head(tmp_path):
    net, path = actrec.net("s3d", num_classes=8), tmp_path / "weights.pt"
    before = {key: value.clone() for key, value in net.state_dict().items()}
    torch.save({"state_dict": actrec.net("s3d", num_classes=400).state_dict()}, path)
    with pytest.raises(
        ValueError, match=r"has 400 classes, the net 8: ask for a new head \(--new-head, new_head=True\)$"
    ):
        actrec.load_weights(net, path)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    account = actrec.load_weights(net, path, new_head=True)
    assert account.dropped == {"fc.weight": "new head", "fc.bias": "new head"}
    assert account.missing == ("fc.weight", "fc.bias")
    assert torch.equal(net.fc.weight, before["fc.weight"])
    assert not torch.equal(net.conv1.conv.weight, before["conv1.conv.weight"])
    assert str(account) == "actrec: 475 tensors used (0 reshaped), 2 dropped (2 new head), 2 missing"


def test_half_precision_files_and_lost_counters(tmp_path):
    net, path = actrec.net("s3d", num_classes=5), tmp_path / "weights.pt"
    weights = {k: v.half() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(weights, path)
    account = actrec.load_weights(net, path)
    assert all(key.endswith("num_batches_tracked") for key in account.missing)
    assert len(account.used) + len(account.missing) == 477
    assert net.fc.weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["i3d", "s3d"])
def test_inflation_keeps_the_activations_of_a_still_clip(name, tmp_path):
    net, path, weights = actrec.net(name, num_classes=8), tmp_path / "googlenet.pth", googlenet()
    torch.save(weights, path)
    with pytest.raises(ValueError, match="has 1000 classes, the net 8: ask for a new head"):
        actrec.load_weights(net, path)
    account = actrec.load_weights(net, path, new_head=True)
    assert account.layout == "torchvision2d"
    assert Counter(account.dropped.values()) == {"auxiliary classifier of GoogLeNet": 2, "new head": 2}
    assert account.reshaped["conv1.conv.weight"].startswith("(64, 3, 7, 7) to (64, 3, ")
    assert account.reshaped["conv1.conv.weight"].endswith("): repeated in time")
    assert set(account.used) | set(account.missing) == set(net.state_dict())
    assert all(".conv_t." in key or ".bn_t." in key or key.startswith("fc.") for key in account.missing)

    for layer, channels, padding in (("conv1", 3, 3), ("conv2", 64, 0), ("conv3", 64, 1)):
        image = torch.randn(1, channels, 16, 16)
        conv = net.get_submodule(layer).conv
        still = conv(image.unsqueeze(2).expand(-1, -1, 9, -1, -1))[:, :, 4]
        expected = F.conv2d(image, weights[f"{layer}.conv.weight"], stride=conv.stride[1:], padding=padding)
        assert (still - expected).abs().max() < 1e-4 * expected.abs().max()


def test_inflation_takes_2d_weights_only(tmp_path):
    # Else a file that lost its temporal convolutions would pass for ImageNet weights.
    net, path = actrec.net("s3d", num_classes=5), tmp_path / "weights.pt"
    torch.save({k: v for k, v in net.state_dict().items() if "_t." not in k}, path)
    with pytest.raises(ValueError, match=r"missing conv3\.conv_t\.weight"):
        actrec.load_weights(net, path)
    with pytest.raises(ValueError, match=r"conv1\.conv\.weight is \(64, 3, 3, 7, 7\), expected \(64, 3, 7, 7\)"):
        actrec.load_weights(net, path, layout="torchvision2d")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra.weight": torch.zeros(1)}, "unexpected 'extra.weight'"),
        ({"fc.bias": None}, r"missing fc\.bias"),
        ({"fc.weight": torch.zeros(5, 7)}, r"fc\.weight is \(5, 7\), expected \(5, 1024\)"),
        (
            {"conv1.bn.bias": torch.zeros(64, dtype=torch.long)},
            r"conv1\.bn\.bias is torch.int64, expected torch.float32",
        ),
        (
            {f"inception{block}.branch1.bn.bias": None for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e")},
            r"missing inception3a\.branch1\.bn\.bias; .*; and 2 more; `actrec weights inspect`",
        ),
    ],
)
def test_nothing_is_left_unexplained(change, words, tmp_path):
    net, path = actrec.net("s3d", num_classes=5), tmp_path / "weights.pt"
    weights = {**net.state_dict(), **change}
    torch.save({key: value for key, value in weights.items() if value is not None}, path)
    with pytest.raises(ValueError, match=f"does not fit net 's3d' .*{words}"):
        actrec.load_weights(net, path)


class _Command:
    def __reduce__(self):
        return os.system, ("exit 1",)


def _write(path: Path, kind: str) -> None:
    if kind == "empty":
        path.touch()
    elif kind == "web page":
        path.write_text("\n<!DOCTYPE html><html><body>Not found</body></html>")
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1")
    elif kind == "code":
        torch.save({"state_dict": {"fc.weight": torch.zeros(1)}, "hook": _Command()}, path)
    elif kind == "truncated":
        torch.save({"fc.weight": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "no tensors":
        torch.save({"epoch": 3, "model": {}}, path)
    elif kind == "nothing":
        torch.save({}, path)
    elif kind == "list":
        torch.save([torch.zeros(1)], path)
    elif kind == "meta":
        torch.save({"fc.weight": torch.zeros(1, device="meta")}, path)


@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "is empty"),
        ("web page", "is a web page, not a weights file"),
        ("text", "is (a pointer of Git LFS, )?not a weights file"),
        ("code", r"would run code to load \((posix|nt)\.system\) and is refused"),
        ("truncated", "is not a weights file, or is damaged or cut short"),
        ("nothing", r"holds no weights \(it is empty\): expected named tensors"),
        ("no tensors", r"holds no weights \(epoch, model\): expected named tensors, directly or in an entry such"),
        ("list", r"holds no weights \(list\)"),
        ("meta", "holds no weights"),
    ],
)
def test_files_that_are_no_weights(kind, words, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    _write(path, kind)
    if suffix == ".safetensors" and kind in ("code", "nothing", "no tensors", "list", "meta"):
        words = "is not a weights file, or is damaged"
    with pytest.raises(ValueError, match=words):
        actrec.load_weights(_small(), path)


def test_damaged_files_raise_value_error(tmp_path):
    path, choose = tmp_path / "weights.pt", random.Random(0)
    torch.save({"fc.weight": torch.zeros(8)}, path, _use_new_zipfile_serialization=False)
    good = path.read_bytes()
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(4):
            bad[choose.randrange(len(bad))] = choose.randrange(256)
        path.write_bytes(bad)
        with pytest.raises(ValueError):
            actrec.load_weights(_small(), path)


def test_no_file_and_unknown_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights file .*absent.pt"):
        actrec.load_weights(_small(), tmp_path / "absent.pt")
    with pytest.raises(FileNotFoundError, match="is a folder: expected a weights file$"):
        actrec.load_weights(_small(), tmp_path)
    with pytest.raises(ValueError, match="layout 'caffe' for net 's3d': expected auto, actrec, ibm, torchvision2d"):
        actrec.load_weights(_small(), tmp_path / "absent.pt", layout="caffe")


@functools.cache
def _small() -> Backbone:
    """A net that no test fills."""
    return actrec.net("s3d", num_classes=5)


class _Blown:
    """Bytes that grow by a codec."""

    def __reduce__(self):
        import _codecs

        return _codecs.encode, ("00" * 8, "hex")


def test_numbers_of_numpy_load_and_codecs_do_not(tmp_path):
    net, path = _small(), tmp_path / "weights.pt"
    weights = net.state_dict()
    for number in (np.float64(0.5), np.float32(0.5), np.uint8(3), np.int16(3), np.bool_(True)):
        torch.save({"state_dict": weights, "best": number}, path)
        assert actrec.load_weights(net, path).layout == "actrec"
    torch.save({"state_dict": weights, "best": _Blown()}, path)
    with pytest.raises(ValueError, match="is not a weights file|is refused"):
        actrec.load_weights(net, path)


def test_weights_of_tsn_under_other_names_are_none_of_tsms_authors(tmp_path):
    path = tmp_path / "weights.pth.tar"
    weights = actrec.net("tsn_resnet18", num_classes=5).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
    with pytest.raises(ValueError, match="does not fit net 'tsm_resnet18'"):
        actrec.load_weights(actrec.net("tsm_resnet18", num_classes=5), path, layout="tsm")


def test_a_first_convolution_without_axes_is_refused(tmp_path):
    net, path = _small(), tmp_path / "weights.pt"
    torch.save({**net.state_dict(), "conv1.conv.weight": torch.zeros(3), "fc.bias": torch.tensor(0.0)}, path)
    with pytest.raises(ValueError, match="does not fit net 's3d'"):
        actrec.load_weights(net, path)


def test_colors_are_averaged_for_flow(tmp_path):
    """A stack of ten equal channels is to the flow net what ten thirds of a gray picture are to the color net."""
    color, flow = (actrec.net("tsn_resnet18", num_classes=5, in_channels=channels) for channels in (3, 10))
    torch.save(color.state_dict(), tmp_path / "rgb.pt")
    account = actrec.load_weights(flow, tmp_path / "rgb.pt")
    assert list(account.reshaped) == ["conv1.weight"]
    gray = torch.full((1, 1, 2, 16, 16), 0.3)
    one, other = color.conv1(gray.expand(-1, 3, -1, -1, -1)), flow.conv1(gray.expand(-1, 10, -1, -1, -1))
    assert torch.allclose(other, one * 10 / 3, atol=1e-5)
    own = color.input
    assert flow.input.mean == (0.5,) * 10
    assert flow.input.std == pytest.approx((sum(own.std) / 3,) * 10)
    assert (flow.input.frames, flow.input.size) == (own.frames, own.size)


@pytest.mark.parametrize(
    ("prefix", "removed"),
    [
        ("module.module.", "module.module."),
        ("_orig_mod.", "_orig_mod."),
        ("_orig_mod.module.", "_orig_mod.module."),
        ("module._orig_mod.", "module._orig_mod."),
        ("model.", "model."),
        ("net.module.", "net.module."),
        ("backbone.", "backbone."),
        ("recognizer.video_encoder.", "recognizer.video_encoder."),
    ],
)
@pytest.mark.parametrize("under", [(), ("model_state_dict",), ("model_state",), ("model",), ("model", "state_dict")])
def test_prefixes_that_all_names_have_are_removed(tmp_path, prefix, removed, under):
    net, path = actrec.net("tsn_resnet18", num_classes=5), tmp_path / "weights.pt"
    weights = net.state_dict()
    content = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    for name in reversed(under):
        content = {"epoch": 3, "optimizer_state": {}, name: content}
    torch.save(content, path)
    other = actrec.net("tsn_resnet18", num_classes=5)
    account = actrec.load_weights(other, path)
    assert (account.prefix, set(account.used)) == (removed, set(weights))
    assert str(account).endswith(f"0 missing; prefix {removed} removed")
    assert all(torch.equal(value, weights[name]) for name, value in other.state_dict().items())
    guess = recognize(path, "tsn_resnet18").guesses[0]
    assert (guess.net, guess.num_classes, guess.prefix) == ("tsn_resnet18", 5, removed)


def test_compiled_parts_of_a_net(tmp_path):
    net, path = actrec.net("tsn_resnet18", num_classes=5), tmp_path / "weights.pt"
    names = {name: name.replace("layer1.", "layer1._orig_mod.") for name in net.state_dict()}
    torch.save({names[name]: tensor for name, tensor in net.state_dict().items()}, path)
    assert actrec.load_weights(net, path).prefix == "…_orig_mod."
    part = "_fsdp_wrapped_module._checkpoint_wrapped_module."
    torch.save({name.replace("layer1.", f"layer1.{part}"): value for name, value in net.state_dict().items()}, path)
    assert actrec.load_weights(net, path).prefix == f"…{part}"


def test_a_prefix_that_belongs_to_the_net_stays(tmp_path):
    """Every name of a net of the user can begin with the same word."""
    tensors = {"body.0.weight": torch.zeros(2), "body.1.weight": torch.zeros(2)}
    assert list(unwrapped(tensors)) == ["", "body."]
    assert list(unwrapped({"a": torch.zeros(1), "module.b": torch.zeros(1)})) == [""]
    assert len(unwrapped({"a." * 10_000: torch.zeros(1)})) < 10


def test_tensors_beside_the_net_are_named(tmp_path):
    """As Lightning stores a net with its loss."""
    path, weights = tmp_path / "epoch=1.ckpt", _small().state_dict()
    state = {f"model.{name}": value for name, value in weights.items()}
    torch.save({"state_dict": {**state, "criterion.weight": torch.zeros(5)}}, path)
    with pytest.raises(ValueError, match=r"\(read as actrec\): unexpected 'criterion.weight'(;|$)"):
        actrec.load_weights(_small(), path)


def test_averaged_weights_of_torch(tmp_path):
    net = _small()
    averaged = torch.optim.swa_utils.AveragedModel(net)
    torch.save({"model_ema": averaged.state_dict()}, tmp_path / "w.pt")
    other = _small()
    account = actrec.load_weights(other, tmp_path / "w.pt")
    assert (account.prefix, dict(account.dropped)) == ("module.", {"n_averaged": "count of averaged weights"})
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())
    assert recognize(tmp_path / "w.pt").guesses[0].net == net.name


@pytest.mark.parametrize("under", ["model_ema", "state_dict_ema", "ema_state_dict", "network", "backbone"])
def test_other_entries_with_weights(under, tmp_path):
    net, path = _small(), tmp_path / "weights.pth"
    options = argparse.Namespace(lr=0.1, opt_betas=[0.9, 0.999])
    torch.save({"args": options, "epoch": 3, under: net.state_dict()}, path)
    assert len(actrec.load_weights(net, path).used) == len(net.state_dict())


def _net(number: int) -> dict[str, torch.Tensor]:
    """The weights of a net of two tensors."""
    return {"conv.weight": torch.full((2, 2), float(number)), "conv.bias": torch.zeros(2)}


ADAM = {"state": {0: {"exp_avg": torch.zeros(2, 2)}, "conv": {"exp_avg": torch.zeros(2, 2)}}, "param_groups": []}
MODEL, AVERAGED = _net(1), _net(2)
SEVERAL = {  # who writes them: content; the entry that is read, and the others
    "timm": ({"arch": "x", "state_dict": MODEL, "optimizer": ADAM, "state_dict_ema": AVERAGED}, "state_dict_ema"),
    "torchvision": ({"model": MODEL, "optimizer": ADAM, "lr_scheduler": {}, "model_ema": AVERAGED}, "model_ema"),
    "mmengine": ({"state_dict": MODEL, "optimizer": ADAM, "ema_state_dict": AVERAGED}, "ema_state_dict"),
    "d2go": ({"model": MODEL, "optimizer": ADAM, "iteration": 3, "ema_state": AVERAGED}, "ema_state"),
    "averaged first": ({"ema": AVERAGED, "network": MODEL}, "ema"),
    "pyslowfast": ({"epoch": 1, "model_state": MODEL, "optimizer_state": ADAM, "cfg": "TRAIN:"}, None),
    "v-jepa": ({"target_encoder": MODEL, "encoder": AVERAGED, "opt": ADAM, "scaler": None}, "encoder"),
    "probes": ({"classifiers": [MODEL, AVERAGED]}, "classifiers.1"),
    "lightning": (
        {
            "state_dict": MODEL,
            "callbacks": {"Best": {"best_k_models": {"a.ckpt": torch.tensor(0.5)}}, "EMA": {"weights": AVERAGED}},
            "loops": {"seen": {"rows": torch.zeros(2, 2, dtype=torch.long)}},
        },
        "callbacks.EMA.weights",
    ),
    "unusual": ({"my_net": MODEL, "optimizer": ADAM, "rng": {"torch": torch.zeros(9, dtype=torch.uint8)}}, None),
    "a loss": ({"my_net": MODEL, "loss": {"weight": torch.ones(2)}}, None),
    "the same twice": ({"model": MODEL, "best": MODEL}, None),
    "state": ({"state": {"model": MODEL, "optimizer": ADAM}}, None),
    "checkpoint": ({"checkpoint": {"model_state": MODEL, "model_ema": AVERAGED}}, "checkpoint.model_ema"),
    "outer first": ({"state": {"model": AVERAGED}, "model": MODEL}, "state.model"),
    "within": ({"state_dict": {"loss": AVERAGED, "model": MODEL}}, "state_dict.loss"),
    "usual name": ({"loss": AVERAGED, "state": {"model": MODEL}}, "loss"),
    "a pair": (({"model": MODEL}, {"optimizer": ADAM}), None),
    "deep": ({"a": {"b": {"c": [MODEL]}}}, None),
}


@pytest.mark.parametrize(("content", "other"), SEVERAL.values(), ids=SEVERAL)
def test_entries_of_checkpoints(content, other, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    found = read_checkpoint(path)
    assert found.tensors["conv.weight"][0, 0] == 1
    assert found.others == (() if other is None else (other,))
    if other is not None:
        chosen = read_checkpoint(path, entry=other)
        assert (chosen.entry, chosen.others, chosen.tensors["conv.weight"][0, 0]) == (other, (), 2)
    assert read_checkpoint(path, entry=found.entry).tensors.keys() == MODEL.keys()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"generator": MODEL, "discriminator": AVERAGED}, "generator, discriminator"),
        ({"student": {"model": MODEL}, "teacher": {"model": AVERAGED}}, "student.model, teacher.model"),
        ({"a": {"b": MODEL}, "c": AVERAGED, "optimizer": ADAM}, "c, a.b"),
        ({str(i): _net(i) for i in range(7)}, "0, 1, 2, 3, 4, ..."),
    ],
)
def test_entries_of_which_none_is_usual(content, names, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    message = (
        f"{path} has weights in several entries, and their names do not show which to read: {names}; "
        "`actrec weights convert --entry NAME` writes those of one entry to a file"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_checkpoint(path)


def test_a_chosen_entry(tmp_path):
    net, path = actrec.net("tiny3d", num_classes=2), tmp_path / "weights.pth"
    averaged = {name: value + 1 for name, value in net.state_dict().items()}
    torch.save({"model": net.state_dict(), "model_ema": averaged}, path)
    account = actrec.load_weights(net, path)
    assert (account.entry, account.others) == ("model", ("model_ema",))
    assert str(account).endswith("0 missing; entry model, not model_ema")
    account = actrec.load_weights(net, path, entry="model_ema")
    assert (account.entry, account.others) == ("model_ema", ())
    assert str(account).endswith("0 missing")
    assert all(value.equal(averaged[name]) for name, value in net.state_dict().items())
    with pytest.raises(ValueError, match=r"entry 'ema' of .*weights.pth: did you mean model_ema\?$"):
        actrec.load_weights(net, path, entry="ema")
    torch.save(net.state_dict(), path)
    with pytest.raises(ValueError, match="entry 'ema' of .*weights.pth: its tensors are not in an entry$"):
        actrec.load_weights(net, path, entry="ema")


def test_entries_that_a_stranger_has_made(tmp_path):
    content = {"end": _net(1)}
    for _ in range(30):  # 2**30 ways to the tensors
        content = {"a": content, "b": content}
    torch.save(content, tmp_path / "deep.pt")
    with pytest.raises(ValueError, match=r"holds no weights \(a, b\)"):
        read_checkpoint(tmp_path / "deep.pt")
    ring = {"a\n\x1b" + "b" * 200: _net(1), 3: _net(2)}
    ring["self"] = ring
    torch.save(ring, tmp_path / "ring.pt")
    entry = read_checkpoint(tmp_path / "ring.pt").entry
    assert entry.startswith("a\\n\\x1bbb")
    assert len(entry) < 110
    assert read_checkpoint(tmp_path / "ring.pt", entry=entry).tensors["conv.weight"][0, 0] == 1


def test_weights_four_entries_deep(tmp_path):
    net, path = _small(), tmp_path / "weights.pth"
    torch.save({"state_dict": {"model": {"module": net.state_dict()}}}, path)
    assert actrec.load_weights(net, path).missing == ()


def test_safetensors_under_another_name(tmp_path):
    net, path = _small(), tmp_path / "weights.bin"
    save_file(net.state_dict(), path)
    assert actrec.load_weights(net, path).missing == ()


def _shards(folder) -> Path:
    """The index of weights in two files."""
    items = list(_small().state_dict().items())
    places = {}
    for number, part in enumerate((items[:7], items[7:]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file(dict(part), folder / file)
        places |= {name: file for name, _ in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def test_weights_in_several_files(tmp_path):
    index = _shards(tmp_path)
    assert actrec.load_weights(_small(), index).missing == ()
    with pytest.raises(FileNotFoundError, match="a folder: expected a weights file, such as .*safetensors.index.json$"):
        actrec.load_weights(_small(), tmp_path)
    part = tmp_path / "model-00001-of-00002.safetensors"
    with pytest.raises(ValueError, match="is one of several files of a net: expected their index, a file that ends in"):
        actrec.load_weights(_small(), part)
    part.unlink()
    with pytest.raises(FileNotFoundError, match="no weights file .*model-00001-of-00002.safetensors"):
        actrec.load_weights(_small(), index)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"fc.weight": "../w.pt"}, "names the file '../w.pt': expected a weights file in the same folder"),
        ({"fc.weight": "model.safetensors.index.json"}, "expected a weights file in the same folder"),
        ({"odd": "model-00001-of-00002.safetensors"}, "its files lack odd$"),
        ({"odd": 3}, "expected the names of files by the names of their tensors, under weight_map"),
        ([], "under weight_map"),
    ],
)
def test_a_wrong_index(places, words, tmp_path):
    index = _shards(tmp_path)
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ValueError, match=words):
        actrec.load_weights(_small(), index)


@pytest.mark.parametrize("protocol", range(6))
def test_files_of_caffe2_are_named_and_not_unpickled(protocol, tmp_path):
    class Command:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    path = tmp_path / "c2.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.zeros(3), "hook": Command()}}, protocol))
    with pytest.raises(ValueError, match=r"is a Caffe2 model .* PyTorchVideo's model zoo has \.pyth files"):
        actrec.load_weights(_small(), path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("net", "other", "said"),
    [
        (("videomae_s", {"depth": 2}), {}, "it has depth 2, the net 12: pass --depth 2 (depth=2)"),
        (
            ("vjepa2_s", {"depth": 3, "probe_depth": 2}),
            {"depth": 2},
            "it has depth 3, the net 2: pass --depth 3 (depth=3); it has probe_depth 2, the net 4: pass --probe",
        ),
        (("swin3d_t", {"depth": 7}), {"depth": 8, "window_t": 16}, "it has depth 7, the net 8: pass --depth 7"),
        (("mvit_v1_b", {"depth": 2}), {}, "it has depth 2, the net 16: pass --depth 2 (depth=2)"),
        (("resnet3d_18", {"shortcut": "A"}), {}, "it has shortcut A, the net B: pass --shortcut A (shortcut='A')"),
        (("resnet3d_18", {}), {"shortcut": "A"}, "it has shortcut B, the net A: pass --shortcut B (shortcut='B')"),
        (
            ("s3d", {"depthwise_temporal": True, "num_classes": 9}),
            {},
            "it has depthwise_temporal True, the net False: pass --depthwise-temporal (depthwise_temporal=True)",
        ),
        (
            ("tam_resnet18", {}),
            {"blending_frames": 5},
            "it has blending_frames 3, the net 5: pass --blending-frames 3 (blending_frames=3)",
        ),
        (("c3d", {}), {"batch_norm": True}, "it has batch_norm False, the net True: pass --no-batch-norm"),
    ],
)
def test_weights_of_other_options(net, other, said, tmp_path):
    name, options = net
    with torch.device("meta"):
        weights = actrec.net(name, **options).state_dict()
        wrong = actrec.net(name, **other)
    tensors = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in weights.items()}
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=re.escape(f"does not fit net {name!r} (read as actrec): {said}")):
        actrec.load_weights(wrong, tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html>", "is a web page, not a weights file: download it again"),
        (b"\x89PNG\r\n\x1a\n", "is an image, not a weights file"),
        (b"\x1f\x8b" + bytes(50), "is an archive, not a weights file: unpack it"),
        (b"a.mp4 1\n", "is a text file, not a weights file"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of Git LFS, not a weights file: fetch its content with",
        ),
        (b"", "is empty"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path, data, words):
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(ValueError) as caught:
        actrec.load_weights(_small(), tmp_path / "w.pth")
    assert str(caught.value).startswith(f"{tmp_path}/w.pth {words}")


@pytest.mark.parametrize("error", [MemoryError("8 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_not_the_files_fault(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(type(error)):
        actrec.load_weights(_small(), tmp_path / "w.pth")
