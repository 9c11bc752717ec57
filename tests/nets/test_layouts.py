"""Names and shapes of other people's weights files, for every layout and family."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import actrec
from actrec import nets
from actrec.nets import NETS
from actrec.nets.backbone import Backbone
from actrec.nets.matching import match_names

VIT = json.loads(Path(__file__).with_name("golden_vit.json").read_text())["cases"]
MVIT_SWIN3D = json.loads(Path(__file__).with_name("golden_mvit_swin3d.json").read_text())["cases"]
PYTORCHVIDEO = json.loads(Path(__file__).with_name("golden_pytorchvideo.json").read_text())["cases"]
DEPTHS = (18, 34, 50, 101, 152)
ALL_DEPTHS = (10, *DEPTHS, 200)
DEEP = (50, 101, 152, 200)
IBM = {  # name in the reference's schemas: net, options
    "inception-v1": ("tsn_inception_v1", {}),
    "inception-v1-TAM": ("tam_inception_v1", {}),
    "i3d": ("i3d", {}),
    "s3d": ("s3d", {}),
    "s3d-dw_t_conv": ("s3d", {"depthwise_temporal": True}),
    **{f"resnet-{depth}": (f"tsn_resnet{depth}", {}) for depth in DEPTHS},
    **{f"resnet-{depth}-TAM": (f"tam_resnet{depth}", {}) for depth in DEPTHS},
    "resnet-50-TAM-b5": ("tam_resnet50", {"blending_frames": 5}),
    "resnet-50-TAM-b3-allc": ("tam_resnet50", {"depthwise_blending": False}),
    **{f"i3d-resnet-{depth}": (f"i3d_resnet{depth}", {}) for depth in DEPTHS},
    **{f"s3d-resnet-{depth}": (f"s3d_resnet{depth}", {}) for depth in DEPTHS},
    **{f"s3d-resnet-{depth}-dw_t_conv": (f"s3d_resnet{depth}", {"depthwise_temporal": True}) for depth in (18, 50)},
}
HARA = {
    **{f"resnet-{depth}-{kind}": (f"resnet3d_{depth}", {"shortcut": kind}) for depth in ALL_DEPTHS for kind in "AB"},
    **{f"resnet2p1d-{depth}-B": (f"resnet2p1d_{depth}", {}) for depth in ALL_DEPTHS},
    **{f"preresnet-{depth}-B": (f"preact_resnet3d_{depth}", {}) for depth in ALL_DEPTHS},
    **{f"wideresnet(k=2)-{depth}-B": (f"wide_resnet3d_{depth}", {}) for depth in DEEP},
    **{f"resnext(c=32)-{depth}-B": (f"resnext3d_{depth}", {}) for depth in DEEP},
    **{f"densenet-{depth}": (f"densenet3d_{depth}", {}) for depth in (121, 169, 201, 264)},
}
TORCHVISION = {name: (name, {}) for name in ("r3d_18", "mc3_18", "r2plus1d_18")} | {"s3d": ("s3d_torchvision", {})}
REFERENCES = {"ibm": IBM, "hara": HARA, "torchvision": TORCHVISION}


@pytest.fixture(scope="module")
def schemas(shared_spec) -> dict[str, dict[str, dict[str, list[int]]]]:
    """Layout -> model -> name of a tensor -> shape."""
    with gzip.open(shared_spec / "state_dict_schemas.json.gz") as file:
        found = json.load(file)
    torchvision = json.loads((shared_spec / "state_dict_schemas_torchvision.json").read_text())
    return {"ibm": found["ibm"], "hara": found["hara_pytorch"], "torchvision": torchvision}


@pytest.mark.parametrize("layout", REFERENCES)
def test_schemas_are_all_known(layout, schemas):
    assert set(schemas[layout]) == set(REFERENCES[layout])


@pytest.mark.parametrize(
    ("layout", "model"), [(layout, model) for layout in REFERENCES for model in REFERENCES[layout]]
)
def test_schema_of_the_reference(layout, model, schemas, meta_net):
    name, options = REFERENCES[layout][model]
    net = meta_net(name, **options)
    own = net.state_dict()
    reference = {
        key: torch.empty(shape, device="meta", dtype=torch.long if key.endswith("num_batches_tracked") else None)
        for key, shape in schemas[layout][model].items()
    }
    match = match_names(reference, net, layout, NETS.get(name).weights[layout], head="fc.", new_head=False)
    assert (match.problems, match.missing, match.dropped) == ([], [], {})
    assert {key: value.shape for key, value in match.found.items()} == {key: v.shape for key, v in own.items()}
    assert set(match.reshaped) == ({"fc.weight"} if name == "s3d_torchvision" else set())


def constants(net: Backbone) -> dict[str, Tensor]:
    """Weights of the net's names and shapes, each tensor full of a number of its own: small files."""
    return {
        key: torch.tensor(i + 1, dtype=value.dtype).expand(value.shape)
        for i, (key, value) in enumerate(net.state_dict().items())
    }


def empty(name: str, **options) -> Backbone:
    return nets.outline(name, **{"num_classes": 5, **options}).to_empty(device="cpu")


def holds(net: Backbone, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())


def rename(key: str, *renames: tuple[str, str]) -> str:
    return next((re.sub(f"^{old}$", new, key) for old, new in renames if re.fullmatch(old, key)), key)


def tsm_authors(key: str, shifted: str = "") -> str:
    wrapped = [(rf"({shifted}\.conv1)\.weight", r"module.base_model.\1.net.weight")] if shifted else []
    return rename(key, *wrapped, (r"fc\.(.+)", r"module.new_fc.\1"), (r"(.+)", r"module.base_model.\1"))


def mmaction2(key: str, shifted: str = "") -> str:
    """Convolutions and normalizations are modules of a `ConvModule`."""
    wrapped = [(rf"({shifted}\.conv1)\.weight", r"backbone.\1.conv.net.weight")] if shifted else []
    return rename(
        key,
        *wrapped,
        (r"fc\.(.+)", r"cls_head.fc_cls.\1"),
        (r"(.*)bn(\d)\.(.+)", r"backbone.\1conv\2.bn.\3"),
        (r"(.+\.downsample)\.0\.(.+)", r"backbone.\1.conv.\2"),
        (r"(.+\.downsample)\.1\.(.+)", r"backbone.\1.bn.\2"),
        (r"(.*conv\d)\.(.+)", r"backbone.\1.conv.\2"),
    )


def densenet(key: str) -> str:
    return rename(key, (r"fc\.(.+)", r"classifier.\1"), (r"(.+)", r"features.\1"))


def s3d_of_torchvision(key: str) -> str:
    return rename(key, (r"fc\.(.+)", r"classifier.1.\1"), (r"body\.(.+)", r"features.\1"))


EVERY, HALF = r"layer\d\.\d+", r"layer\d\.\d*[02468]"
ROUND_TRIPS = [  # net, layout, its names from ours, a name that it must have
    *[(name, "ibm", lambda key: f"module.{key}", "module.fc.weight") for name in ("i3d", "s3d", "tsn_inception_v1")],
    ("tam_inception_v1", "ibm", lambda key: f"module.{key}", "module.tam3a.prev_se.fc1.weight"),
    ("tsn_resnet18", "ibm", lambda key: f"module.{key}", "module.layer1.0.conv1.weight"),
    ("tam_resnet18", "ibm", lambda key: f"module.{key}", "module.layer1.0.tam.prev_se.fc1.weight"),
    ("i3d_resnet18", "ibm", lambda key: f"module.{key}", "module.layer1.0.conv1.weight"),
    ("s3d_resnet18", "ibm", lambda key: f"module.{key}", "module.layer1.0.conv1_t.weight"),
    ("resnet3d_10", "hara", lambda key: f"module.{key}", "module.layer1.0.conv1.weight"),
    ("resnet2p1d_10", "hara", lambda key: f"module.{key}", "module.layer1.0.conv1_s.weight"),
    ("preact_resnet3d_10", "hara", lambda key: f"module.{key}", "module.layer1.0.bn1.weight"),
    ("wide_resnet3d_50", "hara", lambda key: f"module.{key}", "module.layer1.0.conv3.weight"),
    ("resnext3d_50", "hara", lambda key: f"module.{key}", "module.layer1.0.conv3.weight"),
    ("densenet3d_121", "hara", densenet, "features.denseblock1.denselayer1.norm1.weight"),
    ("r3d_18", "torchvision", str, "layer1.0.conv1.0.weight"),
    ("mc3_18", "torchvision", str, "layer1.0.conv1.0.weight"),
    ("r2plus1d_18", "torchvision", str, "layer1.0.conv1.0.3.weight"),
    ("s3d_torchvision", "torchvision", s3d_of_torchvision, "features.0.0.0.weight"),
    ("tsn_resnet18", "tsm", tsm_authors, "module.base_model.layer1.0.conv1.weight"),
    ("tsn_resnet50", "tsm", tsm_authors, "module.base_model.layer1.0.downsample.0.weight"),
    (
        "tsm_resnet50",
        "tsm",
        functools.partial(tsm_authors, shifted=EVERY),
        "module.base_model.layer1.1.conv1.net.weight",
    ),
    (
        "tsm_resnet101",
        "tsm",
        functools.partial(tsm_authors, shifted=HALF),
        "module.base_model.layer3.1.conv1.weight",
    ),
    ("tsn_resnet50", "mmaction2", mmaction2, "backbone.layer1.0.conv1.conv.weight"),
    (
        "tsm_resnet50",
        "mmaction2",
        functools.partial(mmaction2, shifted=EVERY),
        "backbone.layer1.1.conv1.conv.net.weight",
    ),
    (
        "tsm_resnet101",
        "mmaction2",
        functools.partial(mmaction2, shifted=HALF),
        "backbone.layer3.12.conv1.conv.net.weight",
    ),
    ("i3d_resnet50_mmaction2", "mmaction2", mmaction2, "backbone.layer1.0.downsample.conv.weight"),
    ("r2plus1d_34_mmaction2", "mmaction2", mmaction2, "backbone.layer1.0.conv1.conv.bn_s.weight"),
]


@pytest.mark.parametrize(("name", "layout", "theirs", "example"), ROUND_TRIPS)
def test_round_trip_as_their_owners_wrote_it(name, layout, theirs, example, tmp_path):
    net, path = empty(name), tmp_path / "checkpoint.pth.tar"
    weights = constants(net)
    file = {theirs(key): value for key, value in weights.items()}
    assert example in file
    assert len(file) == len(weights)
    accuracy = np.float64(76.5)  # a number of numpy, which is no tensor
    torch.save(file if layout == "torchvision" else {"epoch": 3, "best": accuracy, "state_dict": file}, path)
    for choice in ("auto", layout):
        account = actrec.load_weights(net, path, layout=choice)
        assert (set(account.used), account.dropped, account.missing) == (set(weights), {}, ())
        assert holds(net, weights)
    assert account.layout == layout


@pytest.mark.parametrize(("layout", "theirs"), [("tsm", tsm_authors), ("mmaction2", mmaction2)])
@pytest.mark.parametrize("depth", [50, 101])
def test_tsm_and_tsn_do_not_pass_for_each_other(layout, theirs, depth, tmp_path):
    shifted = EVERY if depth == 50 else HALF
    for source, target, names in (
        ("tsm", "tsn", functools.partial(theirs, shifted=shifted)),
        ("tsn", "tsm", theirs),
    ):
        path = tmp_path / f"{source}.pth"
        weights = constants(empty(f"{source}_resnet{depth}"))
        torch.save({"state_dict": {names(key): value for key, value in weights.items()}}, path)
        net = empty(f"{target}_resnet{depth}")
        for choice in ("auto", layout):
            with pytest.raises(ValueError, match=f"does not fit net '{target}_resnet{depth}'.*conv1"):
                actrec.load_weights(net, path, layout=choice)


IMAGE = [  # net, the image net whose names it has, what it does not take from it
    ("i3d_resnet18", "tsn_resnet18", None),
    ("s3d_resnet18", "tsn_resnet18", r".+\.(conv|bn)\d_t\..+"),
    ("tsn_resnet18", "tsn_resnet18", None),
    ("tam_resnet18", "tsn_resnet18", r".+\.tam\..+"),
    ("tsm_resnet18", "tsn_resnet18", None),
    ("resnet3d_18", "tsn_resnet18", None),
    ("i3d_resnet50_mmaction2", "tsn_resnet50", None),
    ("i3d", "tsn_inception_v1", None),
    ("s3d", "tsn_inception_v1", r".+\.(conv|bn)_t\..+"),
    ("tsn_inception_v1", "tsn_inception_v1", None),
    ("tam_inception_v1", "tsn_inception_v1", r"tam.+"),
    ("tsm_inception_v1", "tsn_inception_v1", None),
]


@pytest.mark.parametrize(("name", "image", "fresh"), IMAGE)
def test_image_weights(name, image, fresh, tmp_path):
    """Each kernel is repeated in time and divided by its frames."""
    net, path = empty(name), tmp_path / "image.pth"
    weights = constants(empty(image, num_classes=1000))
    torch.save(weights, path)
    account = actrec.load_weights(net, path, new_head=True, layout="torchvision2d")
    own = net.state_dict()
    missing = {key for key in own if key.startswith("fc.") or (fresh is not None and re.fullmatch(fresh, key))}
    assert set(account.missing) == missing
    assert set(account.dropped) == {"fc.weight", "fc.bias"}
    for key in account.used:
        frames = own[key].shape[2] if own[key].ndim == 5 else 1
        expected = weights[key].flatten()[0] / frames
        assert torch.equal(own[key], expected.to(own[key].dtype).expand(own[key].shape))
        assert (key in account.reshaped) == (own[key].ndim == 5)


@pytest.mark.parametrize("name", ["i3d_resnet18", "resnet3d_18", "i3d"])
def test_inflation_keeps_the_activations_of_a_still_clip(name, tmp_path):
    torch.manual_seed(0)
    stem = "conv1.conv" if name == "i3d" else "conv1"
    net, path = empty(name), tmp_path / "image.pth"
    weights = constants(empty("tsn_inception_v1" if name == "i3d" else "tsn_resnet18", num_classes=1000))
    kernel = weights[f"{stem}.weight"] = torch.randn(64, 3, 7, 7)
    torch.save(weights, path)
    actrec.load_weights(net, path, new_head=True)
    conv, image = net.get_submodule(stem), torch.randn(1, 3, 32, 32)
    still = conv(image.unsqueeze(2).expand(-1, -1, 9, -1, -1))[:, :, 4]
    assert torch.allclose(still, F.conv2d(image, kernel, stride=2, padding=3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "stem", "prefix"),
    [("tsn_resnet18", "conv1.weight", "module."), ("i3d", "conv1.conv.weight", ""), ("r3d_18", "stem.0.weight", "")],
)
def test_other_colors(name, stem, prefix, tmp_path):
    """A first convolution of RGB is averaged for other numbers of channels."""
    net, path = empty(name, in_channels=10), tmp_path / "rgb.pth"
    weights = constants(empty(name))
    kernel = weights[stem] = torch.randn(weights[stem].shape)
    torch.save({f"{prefix}{key}": value for key, value in weights.items()}, path)
    account = actrec.load_weights(net, path)
    assert list(account.reshaped) == [stem]
    assert account.reshaped[stem].endswith("colors averaged for 10 channels")
    found = net.state_dict()[stem]
    assert found.shape[1] == 10
    assert torch.equal(found, kernel.mean(1, keepdim=True).expand_as(found))


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("i3d_resnet18", "i3d_resnet34", "missing layer1.2.conv1.weight"),
        ("i3d_resnet50", "i3d_resnet18", "unexpected"),
        ("resnet3d_10", "resnet2p1d_10", "unexpected"),
        ("resnet3d_18", "i3d_resnet18", r"conv1.weight is \(64, 3, 7, 7, 7\), expected \(64, 3, 3, 7, 7\)"),
        ("s3d", "s3d_torchvision", "unexpected"),
        ("tam_resnet18", "tsn_resnet18", r"unexpected '(module\.)?layer1\.0\.tam"),
        ("c3d", "densenet3d_121", "unexpected"),
    ],
)
def test_weights_of_another_net(source, target, words, tmp_path):
    net, path = empty(target), tmp_path / "weights.pt"
    torch.save(constants(empty(source)), path)
    with pytest.raises(ValueError, match=f"does not fit net '{target}' .*{words}"):
        actrec.load_weights(net, path)


def test_a_form_is_another_shape(tmp_path):
    net, path = empty("tam_resnet18"), tmp_path / "weights.pt"
    torch.save(constants(empty("tam_resnet18", blending_frames=5)), path)
    with pytest.raises(ValueError, match="it has blending_frames 5, the net 3: pass --blending-frames 5"):
        actrec.load_weights(net, path)
    actrec.load_weights(empty("tam_resnet18", blending_frames=5), path)


def test_every_layout_and_family_has_a_round_trip():
    def families(pairs) -> Iterator[tuple[Callable, str]]:
        for name, layout in pairs:
            build = NETS.get(name).build
            yield getattr(build, "func", build), layout

    tried = {(row[0], row[1]) for row in ROUND_TRIPS} | {(row[0], "torchvision2d") for row in IMAGE}
    tried |= {(case["net"], case["layout"]) for case in VIT}  # in test_vit.py
    tried |= {(case["net"], case["layout"]) for case in MVIT_SWIN3D}  # in test_mvit_swin3d.py, like these
    tried |= {("mvit_v1_b", "actrec"), ("swin3d_t", "videoswin")}
    tried |= {(case["net"], case["layout"]) for case in PYTORCHVIDEO}  # in test_pytorchvideo.py
    known = {(name, layout) for name in NETS for layout in NETS.get(name).weights}
    assert set(families(tried)) == set(families(known))
