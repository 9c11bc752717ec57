"""VideoMAE and V-JEPA 2 against their authors' code and transformers: names, logits, positions, parts of files."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import references
import torch
import torch.nn.functional as F
from references import far, filled, load, load_without_file, logits_of, renamed, schema_sha1
from torch import Tensor, nn

import actrec
from actrec.inference import embed
from actrec.inference.protocols import published_rows
from actrec.nets import NETS, weights
from actrec.nets.backbone import Backbone
from actrec.nets.recognize import recognize
from actrec.nets.transformer import as_tokens, rotated
from actrec.nets.videomae import positions
from actrec.nets.vjepa2 import grid_of_2024, rotation, sines
from actrec.report import reproduce

GOLDEN = references.cases("golden_vit.json")
MORE = ("vjepa_table", "vjepa_table_larger", "vjepa_table_shorter")  # not among the shared goldens
CHEAP = ("hf_videomae_small", "hf_vjepa2_d3", *MORE)
LAYER = "videomae.encoder.layer."
NAMES = {  # net and layout -> pattern of our name, theirs; the first that matches
    "videomae videomae": {r"fc\.(.+)": r"head.\1"},
    "videomae transformers": {
        r"patch_embed\.proj\.(.+)": r"videomae.embeddings.patch_embeddings.projection.\1",
        r"blocks\.(\d+)\.norm1\.(.+)": LAYER + r"\1.layernorm_before.\2",
        r"blocks\.(\d+)\.norm2\.(.+)": LAYER + r"\1.layernorm_after.\2",
        r"blocks\.(\d+)\.attn\.qkv\.(.+)": LAYER + r"\1.attention.attention.{query,key,value}.\2",
        r"blocks\.(\d+)\.attn\.q_bias": LAYER + r"\1.attention.attention.query.bias",
        r"blocks\.(\d+)\.attn\.v_bias": LAYER + r"\1.attention.attention.value.bias",
        r"blocks\.(\d+)\.attn\.proj\.(.+)": LAYER + r"\1.attention.output.dense.\2",
        r"blocks\.(\d+)\.mlp\.fc1\.(.+)": LAYER + r"\1.intermediate.dense.\2",
        r"blocks\.(\d+)\.mlp\.fc2\.(.+)": LAYER + r"\1.output.dense.\2",
        r"fc\.(.+)": r"classifier.\1",
    },
    "vjepa2 vjepa2": {r"probe\.(.+)": r"classifier.pooler.\1", r"fc\.(.+)": r"classifier.linear.\1"},
    "vjepa2 transformers": {
        r"encoder\.patch_embed\.(.+)": r"vjepa2.encoder.embeddings.patch_embeddings.\1",
        r"encoder\.blocks\.(\d+)\.attn\.qkv\.(.+)": r"vjepa2.encoder.layer.\1.attention.{query,key,value}.\2",
        r"encoder\.blocks\.(\d+)\.attn\.(.+)": r"vjepa2.encoder.layer.\1.attention.\2",
        r"encoder\.blocks\.(.+)": r"vjepa2.encoder.layer.\1",
        r"encoder\.norm\.(.+)": r"vjepa2.encoder.layernorm.\1",
        r"probe\.blocks\.(\d+)\.attn\.qkv\.(.+)": r"pooler.self_attention_layers.\1.self_attn.{q,k,v}_proj.\2",
        r"probe\.blocks\.(\d+)\.attn\.proj\.(.+)": r"pooler.self_attention_layers.\1.self_attn.out_proj.\2",
        r"probe\.blocks\.(\d+)\.norm(.+)": r"pooler.self_attention_layers.\1.layer_norm\2",
        r"probe\.blocks\.(\d+)\.(.+)": r"pooler.self_attention_layers.\1.\2",
        r"probe\.cross_attention_block\.xattn\.q\.(.+)": r"pooler.cross_attention_layer.cross_attn.q_proj.\1",
        r"probe\.cross_attention_block\.xattn\.kv\.(.+)": r"pooler.cross_attention_layer.cross_attn.{k,v}_proj.\1",
        r"probe\.cross_attention_block\.norm(.+)": r"pooler.cross_attention_layer.layer_norm\1",
        r"probe\.cross_attention_block\.(.+)": r"pooler.cross_attention_layer.\1",
        r"probe\.query_tokens": r"pooler.query_tokens",
        r"fc\.(.+)": r"classifier.\1",
    },
}


def as_their_owners_write_it(net: Backbone, layout: str) -> dict[str, Tensor]:
    """The tensors of a net by the names of another project."""
    return renamed(net, NAMES[f"{net.name.partition('_')[0]} {layout}"])


def small(name: str, **options) -> Backbone:
    """A cheap net with random weights, biases included."""
    torch.manual_seed(0)
    probe = {"probe_depth": 2} if name.startswith("vjepa2") else {}
    net = actrec.net(name, **{"num_classes": 5, "depth": 2, "frames": 4, "size": 32, **probe, **options}).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
    return net


def clip(*, frames: int = 4, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(2, 3, frames, height, width, generator=torch.Generator().manual_seed(1))


@references.each(GOLDEN)
def test_names_and_shapes_of_the_reference(case, meta_net):
    net = meta_net(case["net"], num_classes=11, **case["options"])
    tensors = as_their_owners_write_it(net, case["layout"])
    assert schema_sha1(tensors) == case["schema_sha1"]
    assert sum(parameter.numel() for parameter in net.parameters()) == case["params"]
    assert net.state_dict().keys() == dict(net.named_parameters()).keys()


@references.each(GOLDEN, cheap=CHEAP)
def test_logits_of_the_reference(case, monkeypatch):
    net = actrec.net(case["net"], num_classes=11, **case["options"])
    tensors = {key: filled(key, value) for key, value in as_their_owners_write_it(net, case["layout"]).items()}
    account = load_without_file(net, tensors, monkeypatch)
    assert (account.layout, set(account.used), account.missing) == (case["layout"], set(net.state_dict()), ())
    assert far(logits_of(net, case), torch.tensor(case["logits"])) < 2e-6


def test_the_goldens_are_those_of_the_reference(shared_spec, tmp_path):
    """Every case of both families but three options that no published file uses."""
    theirs = {case["name"]: case for case in json.loads((shared_spec / "golden_modern.json").read_text())["cases"]}
    ours = {case["case"]: case for case in GOLDEN if case["case"] not in MORE}
    assert {n for n, c in theirs.items() if c["family"] in ("videomae", "vjepa2") and c["tier"] == "core"} == set(ours)
    for name, case in ours.items():
        assert np.allclose(case["logits"], theirs[name]["logits"], rtol=1e-6)
    case = theirs["vjepa_vits_sincos"]
    net = actrec.net("vjepa2_s", num_classes=11, frames=8, size=64, positions="table", probe_depth=1, probe_heads=6)
    tensors = {key: filled(key, torch.empty(shape, device="meta")) for key, shape in case["keys"]}
    assert "encoder.pos_embed" not in tensors  # it is computed
    account = load(net.eval(), tensors, tmp_path, layout="vjepa2")
    assert account.missing == ("encoder.pos_embed",)
    assert sum(parameter.numel() for parameter in net.parameters()) == case["n_params"]
    x = np.random.RandomState(7).standard_normal(case["input"]["shape"]).astype(np.float32)
    with torch.inference_mode():
        assert far(net(torch.from_numpy(x)), torch.tensor(case["logits"])) < 1e-5


# ---- files ----


@pytest.mark.parametrize("name", ["videomae_s", "vjepa2_s"])
@pytest.mark.parametrize("other", ["authors", "transformers"])
def test_round_trip_as_their_owners_wrote_it(name, other, tmp_path):
    layout = name.partition("_")[0] if other == "authors" else other
    net, copied = small(name), small(name, dropout=0.5)
    nn.init.normal_(net.fc.weight)
    account = load(copied, {"module": as_their_owners_write_it(net, layout)}, tmp_path)
    assert (account.layout, account.missing, account.dropped) == (layout, (), {})
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in copied.state_dict().items())
    assert copied.options["eps_of"] == layout


def test_biases_of_queries_and_values_of_transformers_4(tmp_path):
    net, copied = small("videomae_s"), small("videomae_s")
    tensors = {
        key.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value
        for key, value in as_their_owners_write_it(net, "transformers").items()
    }
    assert "videomae.encoder.layer.1.attention.attention.v_bias" in tensors
    load(copied, tensors, tmp_path)
    assert torch.equal(copied.blocks[1].attn.v_bias, net.blocks[1].attn.v_bias)
    del tensors["videomae.encoder.layer.1.attention.attention.v_bias"]
    with pytest.raises(ValueError, match=r"missing blocks\.1\.attn\.v_bias"):
        load(copied, tensors, tmp_path)


@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_a_missing_part_of_a_joined_tensor(part, tmp_path):
    net = small("videomae_s")
    tensors = as_their_owners_write_it(net, "transformers")
    del tensors[f"videomae.encoder.layer.1.attention.attention.{part}.weight"]
    with pytest.raises(ValueError, match=f"missing blocks.1.attn.{'qkv' if part == 'query' else part}.weight"):
        load(net, tensors, tmp_path, layout="transformers")


def test_pretrained_files_of_videomae(tmp_path):
    """Without a classifier, with a decoder and with a normalization that fine-tuning replaces."""
    net, extra = small("videomae_s"), torch.zeros(2)
    body = {key: value for key, value in net.state_dict().items() if not key.startswith("fc")}
    theirs = {f"encoder.{key}": value for key, value in body.items()} | {"encoder.norm.weight": extra}
    theirs |= {"mask_token": extra, "encoder_to_decoder.weight": extra, "decoder.blocks.0.norm1.bias": extra}
    names = {key: value for key, value in as_their_owners_write_it(net, "transformers").items() if "videomae." in key}
    names |= {"mask_token": extra, "decoder.norm.bias": extra, "videomae.layernorm.weight": extra}
    for tensors in (theirs, names):
        copied = small("videomae_s", num_classes=7)
        account = load(copied, {"model": tensors}, tmp_path)
        assert set(account.used) == set(body)
        assert set(account.missing) == {"fc_norm.weight", "fc_norm.bias", "fc.weight", "fc.bias"}
        assert len(account.dropped) == len(tensors) - (len(body) if tensors is theirs else len(names) - 3)
    tokens = {key: value for key, value in names.items() if not key.startswith(("mask", "decoder"))}
    tokens |= {"classifier.weight": net.fc.weight, "classifier.bias": net.fc.bias}  # classifies the first token
    with pytest.raises(ValueError, match=r"missing fc_norm\.weight"):
        load(small("videomae_s"), tokens, tmp_path)


def test_parts_of_vjepa2(tmp_path):
    """An encoder file and a probe file together give the net that one file with both gives."""
    net, x = small("vjepa2_s"), clip()
    theirs = as_their_owners_write_it(net, "vjepa2")
    encoder = {f"module.backbone.{k.removeprefix('encoder.')}": v for k, v in theirs.items() if k.startswith("encoder")}
    encoder["module.backbone.pos_embed"] = torch.zeros(1, 8, 384)
    probe = {f"module.{k.removeprefix('classifier.')}": v for k, v in theirs.items() if k.startswith("classifier")}
    random = {key: torch.randn_like(value) for key, value in encoder.items()}
    copied = small("vjepa2_s")
    for parameter in copied.parameters():
        nn.init.normal_(parameter)
    files = {"encoder": random, "target_encoder": encoder, "predictor": {}, "epoch": 3}, {"classifiers": [probe]}
    accounts = [load(copied, file, tmp_path) for file in files]
    assert set(accounts[0].used) == set(accounts[1].missing) == {k for k in theirs if k.startswith("encoder.")}
    assert list(accounts[0].dropped) == ["pos_embed"]
    assert "rotates" in accounts[0].dropped["pos_embed"]
    with torch.inference_mode():
        assert torch.equal(copied(x), net(x))
    del encoder["module.backbone.norm.bias"]
    with pytest.raises(ValueError, match=r"missing encoder\.norm\.bias"):
        load(copied, {"encoder": encoder}, tmp_path)
    hub = as_their_owners_write_it(net, "transformers")
    hub = {key.removeprefix("vjepa2."): value for key, value in hub.items() if key.startswith("vjepa2.")}
    account = load(copied, {**hub, "predictor.embeddings.mask_tokens": torch.zeros(2)}, tmp_path)
    assert (account.layout, set(account.used)) == ("transformers", set(accounts[0].used))


@pytest.mark.parametrize(
    ("section", "options", "encoder", "probe", "top1"),
    [
        ("V-JEPA 2", {}, "vitl.pt", "ssv2-vitl-16x2x3.pt", 73.7),
        (
            "V-JEPA (2024)",
            {"num_classes": 400, "probe_depth": 1, "positions": "table", "size": 224},
            "vitl16/vitl16.pth.tar",
            "vitl16/k400-probe.pth.tar",
            80.8,
        ),
    ],
)
def test_the_files_that_the_page_joins(section, options, encoder, probe, top1, tmp_path, monkeypatch):
    """The programs of docs/reproduce.md make files that are recognized, and that have the published accuracies."""
    net = actrec.nets.outline("vjepa2_l", **{"num_classes": 174, **options})
    zeros = {k: torch.zeros(()).expand(v.shape) for k, v in as_their_owners_write_it(net, "vjepa2").items()}
    parts = {
        name: {f"module.{inner}{k.removeprefix(name)}": v for k, v in zeros.items() if k.startswith(name)}
        for name, inner in (("encoder.", "backbone."), ("classifier.", ""))
    }
    monkeypatch.chdir(tmp_path)
    Path("downloads", encoder).parent.mkdir(parents=True)
    torch.save({"target_encoder": parts["encoder."], "epoch": 3}, Path("downloads", encoder))
    heads = {"classifiers": [parts["classifier."]]} if section == "V-JEPA 2" else {"classifier": parts["classifier."]}
    torch.save(heads, Path("downloads", probe))
    exec(reproduce.NOTES[section].partition("```python")[2].partition("```")[0], {})
    guess = recognize(Path(probe)).guesses[0]
    assert (guess.net, guess.layout, guess.num_classes) == ("vjepa2_l", "vjepa2", net.fc.out_features)
    (found,) = reproduce.published_file(Path(probe), guess.net, guess.num_classes)
    assert found.published.top1 == top1
    for name in (probe, "renamed.pt"):  # the probe tells the two versions apart
        rows = published_rows(Path(name), guess, None)
        assert {row.protocol for row in rows} == {found.published.protocol}


@pytest.mark.parametrize(
    ("name", "module", "epsilons"),
    [
        ("videomae_s", "blocks.1.norm2", {"videomae": 1e-6, "transformers": 1e-12}),
        ("videomae_s", "fc_norm", {"videomae": 1e-6, "transformers": 1e-5}),
        ("vjepa2_s", "encoder.blocks.1.norm2", {"vjepa2": 1e-6, "transformers": 1e-6}),
        ("vjepa2_s", "probe.blocks.0.norm1", {"vjepa2": 1e-5, "transformers": 1e-6}),
        ("vjepa2_s", "probe.cross_attention_block.norm2", {"vjepa2": 1e-5, "transformers": 1e-6}),
    ],
)
def test_epsilons_are_those_of_the_file(name, module, epsilons, tmp_path):
    for layout, eps in epsilons.items():
        net = small(name)
        load(net, as_their_owners_write_it(net, layout), tmp_path)
        again = actrec.net(name, **net.options)  # as a checkpoint builds it
        assert net.get_submodule(module).eps == again.get_submodule(module).eps == eps


def test_the_depth_follows_from_a_file():
    for name, layout, depth in (("videomae_s", "videomae", 2), ("vjepa2_s", "transformers", 3)):
        net = small(name, depth=depth)
        entry = NETS.get(name)
        named = weights.renamed_tensors(as_their_owners_write_it(net, layout), entry.weights[layout])
        expected = {"depth": depth} | ({"probe_depth": 2} if name == "vjepa2_s" else {})
        assert entry.options_of(named) == expected
        assert entry.options_of({"conv1.weight": torch.zeros(1)}) == {}
    assert NETS.get("vjepa2_s").options_of({"probe.query_tokens": torch.zeros(1)}) == {"probe_depth": 1}


# ---- positions ----


def test_positions_of_videomae_count_through_the_clip():
    """Those of a net that is made for other clips are computed."""
    table = positions(40, 6)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert table[39, 2:4].tolist() == pytest.approx([np.sin(39 / 10000 ** (1 / 3)), np.cos(39 / 10000 ** (1 / 3))])
    net = small("videomae_s", frames=2, size=16)
    assert len(net.positions) == 1
    other = small("videomae_s", frames=6, size=(48, 80))
    x = clip(frames=6, height=48, width=80)
    with torch.inference_mode():
        assert net.features(x).shape == (2, 384, 3, 3, 5)
        assert torch.equal(net(x), other(x))
        moved = net(x.transpose(3, 4))  # other positions for the same tubelets
        assert far(moved, net(x)) > 1e-3


def test_the_table_of_the_older_vjepa():
    """Values of the reference: sines and cosines of the frame, the row and the column."""
    table = sines((4, 4, 4), 384)
    assert table.shape == (1, 64, 384)
    found = table[0, [21, 38, 63]][:, [0, 1, 64, 127, 128, 200, 256, 383]]
    expected = [
        [0.841471, 0.7617204, 0.5403023, 1.0, 0.841471, 0.9504153, 0.841471, 1.0],
        [0.9092974, 0.9870462, -0.4161468, 1.0, 0.841471, 0.9504153, 0.9092974, 1.0],
        [0.14112, 0.5173057, -0.9899925, 0.9999999, 0.14112, 0.5827536, 0.14112, 0.9999999],
    ]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)
    net = small("vjepa2_s", positions="table")
    assert not net.encoder.pos_embed.requires_grad
    net.train()(clip()).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("dim", "tokens", "grid"),
    [
        (1024, 1568, (8, 14, 14)),  # V-JEPA of 2024: L and H with 16 frames of 224 pixels, H with 16 of 384
        (1280, 1568, (8, 14, 14)),
        (1280, 4608, (8, 24, 24)),
        (384, 3136, (16, 14, 14)),
        (1024, 2048, None),  # V-JEPA 2: 16 and 64 frames of 256 pixels, g with 384
        (1280, 8192, None),
        (1408, 4608, None),
        (1408, 18432, None),
        (384, 0, None),
    ],
)
def test_the_size_of_a_table_tells_the_older_vjepa(dim, tokens, grid):
    table = {"encoder.pos_embed": torch.zeros(1, 1, 1).expand(1, tokens, dim)}
    assert grid_of_2024(table) == grid
    assert ("positions" in NETS.get("vjepa2_s").options_of(table)) == (grid is not None)


def test_files_of_the_older_vjepa(tmp_path):
    """Their encoder needs its table, which is resized for the net; their probe has a projection that is not used."""
    older = small("vjepa2_s", size=224, positions="table", probe_depth=1)
    theirs = as_their_owners_write_it(older, "vjepa2")
    encoder = {f"module.backbone.{k.removeprefix('encoder.')}": v for k, v in theirs.items() if k.startswith("encoder")}
    probe = {f"module.{k.removeprefix('classifier.')}": v for k, v in theirs.items() if k.startswith("classifier")}
    probe["module.pooler.cross_attention_block.xattn.proj.weight"] = torch.randn(384, 384)
    torch.save({"target_encoder": encoder, "epoch": 3}, tmp_path / "vits16.pth.tar")
    best = recognize(tmp_path / "vits16.pth.tar").guesses[0]
    assert (best.net, best.layout) == ("vjepa2_s", "vjepa2")
    assert best.options == {"depth": 2, "positions": "table", "frames": 4, "size": 224}

    net = actrec.net("vjepa2_s", num_classes=5, depth=2, probe_depth=1, frames=4, size=224)
    for content in ({"target_encoder": encoder}, {"classifier": probe, "epoch": 3}):
        account = load(net.eval(), content, tmp_path)
    assert account.dropped == {"pooler.cross_attention_block.xattn.proj.weight": "not used by V-JEPA of 2024"}
    assert net.options["positions"] == "table"
    x = clip(height=224, width=224)
    with torch.inference_mode():
        assert torch.equal(net(x), older(x))

    other = small("vjepa2_s", frames=6, size=(240, 208), probe_depth=1)
    assert "interpolated" in load(other, theirs, tmp_path).reshaped["encoder.pos_embed"]
    x = clip(frames=6, height=240, width=208)
    with torch.inference_mode():
        assert torch.equal(other(x), older(x))  # it interpolates the table for each clip


def test_own_files_with_a_table_keep_it(tmp_path):
    """Also where the size of the table is that of V-JEPA 2."""
    table = small("vjepa2_s", positions="table")
    x = clip()
    described = {"name": "vjepa2_s", "options": {**table.options}}
    net = small("vjepa2_s")
    with pytest.raises(ValueError, match=r"unexpected 'encoder\.pos_embed'"):
        load(net, table.state_dict(), tmp_path)
    account = load(net, {"net": described, "state_dict": table.state_dict()}, tmp_path)
    assert (account.layout, account.dropped, net.options["positions"]) == ("actrec", {}, "table")
    with torch.inference_mode():
        assert torch.equal(net(x), table(x))


def test_an_optimizer_keeps_the_parameters_of_a_net_that_loading_rebuilds(tmp_path):
    """The file decides about the positions, so the net is rebuilt."""
    theirs = as_their_owners_write_it(small("vjepa2_s", size=224, positions="table"), "vjepa2")
    net = small("vjepa2_s", size=224)
    net.probe.requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    load(net, theirs, tmp_path)
    assert {id(p) for p in net.parameters() if p is not net.encoder.pos_embed} == {
        id(p) for p in optimizer.param_groups[0]["params"]
    }
    assert not any(p.requires_grad for p in net.probe.parameters())
    assert torch.equal(net.fc.weight, theirs["classifier.linear.weight"])


def test_rotation_is_by_frame_row_and_column():
    table = rotation(2 * 3 * 5, (3, 5), 64, torch.device("cpu"))
    assert table.shape == (2, 30, 64)
    angles = torch.atan2(table[1], table[0])
    token = (1 * 3 + 2) * 5 + 4
    frequency = 10000 ** (-torch.arange(10) / 10)
    for start, place in ((0, 1), (20, 2), (40, 4)):
        third = torch.polar(torch.ones(10), place * frequency).angle()
        assert torch.allclose(angles[token, start : start + 20], torch.cat((third, third)), atol=1e-6)
    assert not angles[:, 60:].any()
    x = torch.randn(1, 2, 30, 64)
    assert torch.equal(rotated(x, table)[..., 60:], x[..., 60:])
    turned = rotated(x, table)[0, 0, token]
    cos, sin = table[:, token]
    assert turned[6].item() == pytest.approx((x[0, 0, token, 6] * cos[6] - x[0, 0, token, 7] * sin[6]).item(), abs=1e-6)
    assert turned[7].item() == pytest.approx((x[0, 0, token, 7] * cos[7] + x[0, 0, token, 6] * sin[7]).item(), abs=1e-6)


def test_positions_of_vjepa2_are_those_of_the_clip_or_of_the_net(tmp_path):
    """transformers counts rows and columns as in its own crop, also on clips of another size."""
    net, x = small("vjepa2_s"), clip(height=48, width=64)
    authors, transformers = small("vjepa2_s", size=64), small("vjepa2_s", size=(48, 64))
    with torch.inference_mode():
        assert torch.equal(authors(x), net(x))
    for made, layout in ((net, "transformers"), (transformers, "transformers"), (authors, "vjepa2")):
        load(made, as_their_owners_write_it(authors, layout), tmp_path)
    with torch.inference_mode():
        assert far(transformers(x), authors(x)) < 1e-4  # its own size; the epsilons differ
        assert far(net(x), transformers(x)) > 1e-3
    again = actrec.net("vjepa2_s", **net.options).eval()  # as a checkpoint builds it
    again.load_state_dict(net.state_dict())
    with torch.inference_mode():
        assert torch.equal(again(x), net(x))
    table = rotation(24, (2, 2), 64, x.device)
    assert torch.equal(table[0, :, 0], (torch.arange(24) // 4).float().cos())


def test_heads_of_the_probe_follow_from_the_file(tmp_path):
    with torch.device("meta"):
        giant = actrec.net("vjepa2_g", depth=1, probe_depth=2)
        fixed = actrec.net("vjepa2_g", depth=1, probe_depth=2, probe_heads=8)
    for layout, expected in (("vjepa2", 16), ("transformers", 22)):
        giant.follow(layout)
        fixed.follow(layout)
        assert giant.probe.blocks[0].attn.heads == giant.probe.cross_attention_block.xattn.heads == expected
        assert fixed.probe.blocks[0].attn.heads == fixed.probe.cross_attention_block.xattn.heads == 8
    assert giant.encoder.blocks[0].attn.heads == 22


# ---- training and features ----


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("videomae_s", {}),
        ("vjepa2_s", {}),
        ("mvit_v1_b", {}),
        ("mvit_v2_s", {}),
        ("swin3d_t", {"depth": 7}),
    ],
)
def test_checkpointing_changes_no_gradient(name, options):
    net = small(name, drop_path=0.5, **options)
    other = copy.deepcopy(net)
    for module in other.modules():
        if hasattr(module, "checkpointing"):
            module.checkpointing = True
    kept: list[list[Tensor]] = []
    for made in (net.train(), other.train()):
        torch.manual_seed(3)
        saved: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):
            loss = F.cross_entropy(made(clip()), torch.tensor([1, 2]))
        loss.backward()
        kept.append(saved)
    for found, expected in zip(other.parameters(), net.parameters()):
        assert torch.allclose(found.grad, expected.grad, atol=1e-6)
    assert len(kept[1]) < len(kept[0]) / 2
    assert small(name, checkpointing=True, **options).eval()(clip()).equal(net.eval()(clip()))


@pytest.mark.parametrize(
    ("name", "giga", "millions"),
    [("videomae_s", 57, 22), ("videomae_b", 180, 87), ("videomae_l", 597, 305), ("videomae_h", 1192, 633)],
)
def test_costs_are_those_of_the_paper(name, giga, millions, meta_net):
    """Tables of the paper of VideoMAE: FLOPs of one view, and parameters."""
    cost = actrec.profile(meta_net(name, num_classes=400))
    assert cost.flops / 1e9 == pytest.approx(giga, rel=3e-3)
    assert cost.params / 1e6 == pytest.approx(millions, rel=1e-2)


def test_costs_count_attention():
    net = small("vjepa2_s", depth=1, probe_depth=1)
    tokens, dim = 8, 384
    block = tokens * dim * (4 * dim + 2 * tokens + 8 * dim)
    query = tokens * dim * 2 * dim + dim * (dim + 2 * tokens + 8 * dim)
    assert actrec.profile(net).flops == tokens * dim * 3 * 2 * 16 * 16 + block + query


def test_every_block_is_a_layer_of_its_own():
    """For a learning rate that decays from layer to layer."""
    net = small("vjepa2_s")
    assert net.depth_layers == [net.encoder.patch_embed, *net.encoder.blocks]
    net = small("videomae_s")
    assert net.depth_layers == [net.patch_embed, *net.blocks]


def test_initial_weights():
    torch.manual_seed(0)
    net = actrec.net("vjepa2_s", depth=4, probe_depth=4)
    assert net.encoder.blocks[3].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert net.encoder.blocks[3].mlp.fc2.weight.std().item() == pytest.approx(0.02 / 8**0.5, rel=0.05)
    assert net.probe.cross_attention_block.mlp.fc2.weight.std().item() == pytest.approx(0.02 / 6**0.5, rel=0.05)
    net = actrec.net("videomae_s", depth=1)
    assert net.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not net.fc.bias.any()
    assert net.fc.weight.std().item() == pytest.approx(0.001, rel=0.1)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("videomae_s", None), ("videomae_s", "blocks.1"), ("vjepa2_s", None), ("vjepa2_s", "encoder")],
)
def test_features(name, layer):
    """The input of the last layer, or the mean of the tokens that another layer gives."""
    net, x = small(name), clip()
    with torch.inference_mode():
        found = embed._features(net, layer, x)
        tokens = as_tokens(net.features(x))
        mean = tokens.mean(1)
        default = net.probe(tokens) if name == "vjepa2_s" else net.fc_norm(mean)
        assert far(found, (default if layer is None else mean).double()) < 1e-6
        assert far(net.fc(default), net(x)) < 1e-6
