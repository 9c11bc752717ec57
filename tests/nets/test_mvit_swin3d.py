"""MViT and Video Swin against torchvision, PySlowFast and PyTorchVideo: names, logits, positions, windows."""

from __future__ import annotations

import json
import re

import pytest
import references
import torch
import torch.nn.functional as F
from references import far, filled, load, load_without_file, logits_of, renamed, schema_sha1
from torch import Tensor

import actrec
from actrec import nets
from actrec.nets import swin3d
from actrec.nets.backbone import Backbone
from actrec.nets.mvit import options_of

GOLDEN = references.cases("golden_mvit_swin3d.json")
MORE = ("psf_mvit_strided", "psf_mvitv2_strided", "psf_mvit_b_32x3")  # not among the shared goldens
CHEAP = ("tv_swin3d_t", "psf_mvitv2_s_16x4", *MORE[:2])
BLOCK, STAGE = r"(blocks\.\d+)", r"layers\.(\d)"
POSITIONS = r"positions\.(cls_token|pos_embed_.+)"
NAMES = {  # net and layout -> pattern of our name, theirs; the first that matches
    "swin3d videoswin": {r"fc\.(.+)": r"cls_head.fc_cls.\1", r"(.+)": r"backbone.\1"},
    "swin3d torchvision": {
        **{rf"layers\.{i}\.blocks\.(\d+)\.mlp\.fc1\.(.+)": rf"features.{2 * i}.\1.mlp.0.\2" for i in range(4)},
        **{rf"layers\.{i}\.blocks\.(\d+)\.mlp\.fc2\.(.+)": rf"features.{2 * i}.\1.mlp.3.\2" for i in range(4)},
        **{rf"layers\.{i}\.blocks\.(.+)": rf"features.{2 * i}.\1" for i in range(4)},
        **{rf"layers\.{i}\.downsample\.(.+)": rf"features.{2 * i + 1}.\1" for i in range(4)},
        r"fc\.(.+)": r"head.\1",
    },
    "mvit pyslowfast": {POSITIONS: r"\1", r"fc\.(.+)": r"head.projection.\1"},
    "mvit pytorchvideo": {
        POSITIONS: r"cls_positional_encoding.\1",
        r"patch_embed\.proj\.(.+)": r"patch_embed.patch_model.\1",
        rf"{BLOCK}\.attn\.qkv\.(.+)": r"\1.attn.{q,k,v}.\2",
        r"norm\.(.+)": r"norm_embed.\1",
        r"fc\.(.+)": r"head.proj.\1",
    },
    "mvit torchvision": {
        r"positions\.cls_token": "pos_encoding.class_token",
        r"positions\.pos_embed_(.+)": r"pos_encoding.\1_pos",
        r"patch_embed\.proj\.(.+)": r"conv_proj.\1",
        rf"{BLOCK}\.attn\.pool_(.)\.(.+)": r"\1.attn.pool_\2.pool.\3",
        rf"{BLOCK}\.attn\.norm_(.)\.(.+)": r"\1.attn.pool_\2.norm_act.0.\3",
        rf"{BLOCK}\.attn\.proj\.(.+)": r"\1.attn.project.0.\2",
        rf"{BLOCK}\.mlp\.fc1\.(.+)": r"\1.mlp.0.\2",
        rf"{BLOCK}\.mlp\.fc2\.(.+)": r"\1.mlp.3.\2",
        rf"{BLOCK}\.proj\.(.+)": r"\1.project.\2",
        r"fc\.(.+)": r"head.1.\1",
    },
}


def as_their_owners_write_it(net: Backbone, layout: str) -> dict[str, Tensor]:
    """The tensors of a net by the names of another project and in its shapes."""
    found = renamed(net, NAMES[f"{net.name.partition('_')[0]} {layout}"])
    for key, value in found.items():
        if key.startswith("pos_encoding."):  # torchvision leaves out axes of length 1
            found[key] = value[0, 0] if "class" in key else value[0]
    return found


def small(name: str, **options) -> Backbone:
    """A cheap net with random weights."""
    options = {"frames": 4, "size": 32, "depth": 7 if name.startswith("swin3d") else 4} | options
    net = actrec.net(name, num_classes=5, **options).eval()
    net.load_state_dict({key: filled(key, value) for key, value in net.state_dict().items()})
    return net


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
    account = load_without_file(net, tensors, monkeypatch, layout=case["layout"])
    assert (set(account.used), account.missing) == (set(net.state_dict()), ())
    assert far(logits_of(net, case), torch.tensor(case["logits"])) < 3e-6


def test_the_goldens_are_those_of_the_reference(shared_spec):
    """Every case of tier `core` of these families."""
    theirs = {case["name"]: case for case in json.loads((shared_spec / "golden_modern.json").read_text())["cases"]}
    ours = {case["case"]: case for case in GOLDEN if case["case"] not in MORE}
    assert ours.keys() == {
        name for name, case in theirs.items() if re.search("mvit|swin", case["family"]) and case["tier"] == "core"
    }
    for name, case in ours.items():
        assert torch.allclose(torch.tensor(case["logits"]), torch.tensor(theirs[name]["logits"]), rtol=1e-6)
        assert case["params"] == theirs[name]["n_params"]
        assert case["input_shape"] == theirs[name]["input"]["shape"]


@pytest.mark.parametrize(
    ("name", "frames", "size", "params"),
    [
        ("mvit_v1_b", 16, 224, 36_610_672),
        ("mvit_v2_s", 16, 224, 34_537_744),
        ("swin3d_t", 32, 224, 28_158_070),
        ("swin3d_s", 32, 224, 49_816_678),
        ("swin3d_b", 32, 224, 88_048_984),
    ],
)
def test_parameters_are_those_that_torchvision_states(name, frames, size, params, meta_net):
    net = meta_net(name)
    assert (net.input.frames, net.input.size) == (frames, size)
    assert sum(parameter.numel() for parameter in net.parameters()) == params


@pytest.mark.parametrize(
    ("name", "frames", "published", "tolerance"),
    [
        ("mvit_v1_b", 16, 70.80, 0.005),
        ("mvit_v1_b", 16, 70.599, 1e-4),  # torchvision
        ("mvit_v1_b", 32, 170.37, 0.005),
        ("mvit_v2_s", 16, 64.224, 1e-4),  # torchvision
        ("mvit_v2_b", 32, 225, 0.003),
        ("swin3d_t", 32, 87.9, 0.003),  # of the authors: torchvision states half of it
        ("swin3d_s", 32, 165.9, 0.003),
        ("swin3d_b", 32, 281.6, 0.003),
    ],
)
def test_costs_are_those_that_were_published(name, frames, published, tolerance, meta_net):
    cost = actrec.profile(meta_net(name, frames=frames))
    assert cost.flops / 1e9 == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "options", "places"),
    [
        ("mvit_v1_b", {}, (1, 3, 14)),
        ("mvit_v1_b", {"depth": 24}, (2, 5, 21)),
        ("mvit_v1_b", {"depth": 4}, (1, 3)),
        ("mvit_v2_s", {}, (1, 3, 14)),
        ("mvit_v2_b", {}, (2, 5, 21)),
    ],
)
def test_blocks_that_halve_the_map(name, options, places, meta_net):
    net = meta_net(name, **options)
    assert tuple(i for i, block in enumerate(net.blocks) if block.pool_skip is not None) == places
    assert net.num_features == 96 * 2 ** len(places)


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s"])
@pytest.mark.parametrize("size", [32, (48, 32)])
def test_files_of_every_layout_fit(name, size, tmp_path):
    net, clip = small(name, size=size), torch.randn(1, 3, 4, *((size, size) if size == 32 else size))
    layouts = ("torchvision", "pyslowfast", *(["pytorchvideo"] if name == "mvit_v1_b" else []))
    for layout in layouts:
        other = actrec.net(name, num_classes=5, frames=4, size=size, depth=4).eval()
        account = load(other, as_their_owners_write_it(net, layout), tmp_path, layout=layout)
        assert (account.missing, account.dropped, other.options["eps_of"]) == ((), {}, layout)
        assert not any("interpolated" in how for how in account.reshaped.values())
        assert all(torch.equal(value, net.state_dict()[key]) for key, value in other.state_dict().items())
        eps = 1e-5 if layout == "pytorchvideo" else 1e-6
        assert {block.attn.norm_k.eps for block in other.blocks} == {eps}
        with torch.inference_mode():
            assert (far(other(clip), net(clip)) == 0) == (eps == 1e-6)


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s"])
@pytest.mark.parametrize("layout", ["pyslowfast", "auto"])
def test_pools_become_those_of_the_file(name, layout, tmp_path):
    """Unless the net was built with certain ones."""
    for file, built in (("strided", "3x3x3"), ("3x3x3", "strided")):
        made, clip = small(name, pool_kernel=file), torch.randn(1, 3, 4, 32, 32)
        tensors = as_their_owners_write_it(made, "pyslowfast")
        net = actrec.net(name, num_classes=5, frames=4, size=32, depth=4).double().train()
        if file == "strided":
            before = net.state_dict()
            with pytest.raises(ValueError, match=r"missing norm\.weight"):
                load(net, {k: v for k, v in tensors.items() if k != "norm.weight"}, tmp_path, layout=layout)
            assert net.options["pool_kernel"] is None
            assert net.state_dict().keys() == before.keys()
        parameters = {id(parameter) for parameter in net.parameters()}
        account = load(net, tensors, tmp_path, layout=layout)
        assert (account.missing, net.options["pool_kernel"]) == ((), "strided" if file == "strided" else None)
        assert net.training
        assert {id(parameter) for parameter in net.parameters()} <= parameters  # an optimizer may hold them
        assert {parameter.dtype for parameter in net.parameters()} == {torch.float64}
        again = actrec.net(name, **net.options).eval()  # as a checkpoint builds it
        again.load_state_dict(net.state_dict())
        with torch.inference_mode():
            assert far(again(clip), made(clip)) == 0
        with pytest.raises(ValueError, match="pool_k"):
            load(actrec.net(name, num_classes=5, frames=4, size=32, depth=4, pool_kernel=built), tensors, tmp_path)


def test_second_names_of_pools_are_dropped(tmp_path):
    """State dicts of PyTorchVideo's later versions contain the pools twice."""
    net = small("mvit_v1_b")
    file = as_their_owners_write_it(net, "pytorchvideo")
    twice = {re.sub(r"pool_(.)\.", r"_attention_pool_\1.pool.", key): v for key, v in file.items() if ".pool_" in key}
    account = load(net, {**file, **twice}, tmp_path)
    assert (account.layout, account.missing, account.dropped.keys()) == ("pytorchvideo", (), twice.keys())


def test_absolute_positions_of_another_grid(tmp_path):
    """As PySlowFast interpolates them: bicubic in space, linear in time."""
    net, other = small("mvit_v1_b", frames=4, size=32), small("mvit_v1_b", frames=8, size=(48, 64))
    account = load(other, as_their_owners_write_it(net, "pyslowfast"), tmp_path, layout="pyslowfast")
    space, time = (net.state_dict()[f"positions.pos_embed_{kind}"] for kind in ("spatial", "temporal"))
    expected = F.interpolate(space.reshape(1, 8, 8, 96).permute(0, 3, 1, 2), (12, 16), mode="bicubic")
    found = other.positions
    assert torch.equal(found.pos_embed_spatial, expected.flatten(2).transpose(1, 2))
    assert torch.equal(found.pos_embed_temporal, F.interpolate(time.mT, 4, mode="linear").mT)
    assert account.reshaped.keys() == {"positions.pos_embed_spatial", "positions.pos_embed_temporal"}
    with pytest.raises(ValueError, match="96 positions in space: expected those of a square"):
        load(net, as_their_owners_write_it(small("mvit_v1_b", size=(48, 32)), "pyslowfast"), tmp_path)


def test_relative_positions_of_another_grid(tmp_path):
    net, other = small("mvit_v2_s", frames=4, size=32), small("mvit_v2_s", frames=8, size=64)
    account = load(other, as_their_owners_write_it(net, "torchvision"), tmp_path, layout="torchvision")
    for axis, length in (("t", 7), ("h", 31), ("w", 31)):
        key = f"blocks.0.attn.rel_pos_{axis}"
        expected = F.interpolate(net.state_dict()[key].T[None], length, mode="linear")[0].T
        assert torch.equal(other.state_dict()[key], expected)
        assert "interpolated" in account.reshaped[key]


def test_relative_positions_are_a_bias_of_the_attention():
    """The bias of a query and a key is the product of the query with a row for each axis, without the scale."""
    attention = small("mvit_v2_s").blocks[1].attn  # queries (2, 4, 4), keys (2, 2, 2)
    torch.manual_seed(0)
    tokens = torch.randn(1, 1 + 2 * 8 * 8, 96)
    calls = []

    def plain(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
        calls.append((q, k, v))
        return torch.softmax(scale * q @ k.mT, -1) @ v

    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", plain)
        attention(tokens, (2, 8, 8))
    (q, k, v), *_ = calls
    bias = (q @ k.mT - q[..., :96] @ k[..., :96].mT)[0, 0]
    assert bias[0].abs().max() < 1e-5
    assert bias[:, 0].abs().max() < 1e-5
    for query, key in (((0, 0, 0), (0, 0, 0)), ((1, 3, 2), (0, 1, 0)), ((0, 2, 1), (1, 0, 1))):
        row = 1 + (query[0] * 4 + query[1]) * 4 + query[2]
        column = 1 + (key[0] * 2 + key[1]) * 2 + key[2]
        tables = (attention.rel_pos_t, attention.rel_pos_h, attention.rel_pos_w)
        places = (query[0] - key[0] + 1, query[1] - 2 * key[1] + 2, query[2] - 2 * key[2] + 2)
        expected = sum(q[0, 0, row, :96] @ table[place].detach() for table, place in zip(tables, places))
        assert bias[row, column].item() == pytest.approx(expected.item(), abs=1e-4)
    assert not v[..., 96:].any()


def test_a_net_is_built_again_for_other_clips():
    for name in ("mvit_v1_b", "mvit_v2_s"):
        net = small(name, frames=4, size=32)
        other = nets.rebuilt(net, frames=8, size=64).eval()
        assert (other.options["frames"], other.options["size"]) == (8, 64)
        with torch.inference_mode():
            assert other(torch.randn(1, 3, 8, 64, 64)).isfinite().all()


def test_options_that_follow_from_a_file():
    for name, size in (("mvit_v1_b", 64), ("mvit_v2_s", 64), ("mvit_v1_b", (32, 48))):
        tensors = small(name, frames=8, size=size, depth=3).state_dict()
        expected = {"depth": 3, "frames": 8} | ({"size": 64} if size == 64 else {})
        assert options_of(tensors) == expected
    for name, kernel, depth, found in (
        ("mvit_v1_b", "strided", 3, {"pool_kernel": "strided"}),
        ("mvit_v2_s", "strided", 3, {"pool_kernel": "strided"}),
        ("mvit_v1_b", "3x3x3", 24, {"pool_kernel": "3x3x3"}),
        ("mvit_v1_b", None, 24, {}),
    ):
        tensors = nets.outline(name, frames=8, size=64, depth=depth, pool_kernel=kernel).state_dict()
        assert options_of(tensors) == {"depth": depth, "frames": 8, "size": 64} | found
    assert options_of(small("swin3d_t").state_dict()) == {}
    assert options_of({}) == {}


@pytest.mark.parametrize("layout", ["torchvision", "videoswin"])
def test_files_of_swin_fit(layout, tmp_path):
    """With and without the indices that the net computes."""
    net, index = small("swin3d_t"), torch.zeros(392, 392, dtype=torch.long)
    file = as_their_owners_write_it(net, layout)
    prefix = "features.0.0" if layout == "torchvision" else "backbone.layers.0.blocks.0"
    assert f"{prefix}.attn.qkv.weight" in file
    indices = {f"{prefix}.attn.relative_position_index": index}
    for more in ({}, indices):
        other = actrec.net("swin3d_t", num_classes=5, depth=7)
        account = load(other, {**file, **more}, tmp_path)
        assert (account.layout, account.missing, account.dropped.keys()) == (layout, (), more.keys())
        assert all(torch.equal(value, net.state_dict()[key]) for key, value in other.state_dict().items())


def attended(net: Backbone, shape: tuple[int, int, int], token: tuple[int, int, int]) -> set[tuple[int, ...]]:
    """The tokens that affect one token in the first shifted attention."""
    attention, (t, h, w) = net.layers[0].blocks[1].attn, shape
    x = torch.randn(1, t * h * w, 96, requires_grad=True)
    attention(x, shape).unflatten(1, shape)[0, token[0], token[1], token[2]].sum().backward()
    return {tuple(place) for place in x.grad[0].abs().sum(1).unflatten(0, shape).gt(1e-20).nonzero().tolist()}


@pytest.mark.parametrize(
    ("shape", "token", "expected"),
    [
        ((2, 14, 14), (0, 5, 5), (range(2), range(3, 10), range(3, 10))),
        ((2, 14, 14), (1, 0, 13), (range(2), range(3), range(10, 14))),  # at the edge, the mask makes windows smaller
        ((2, 7, 14), (0, 0, 4), (range(2), range(7), range(3, 10))),  # an axis of one window is not shifted
        ((16, 7, 7), (8, 3, 3), (range(4, 12), range(7), range(7))),
        ((2, 9, 7), (0, 8, 0), (range(2), range(3, 9), range(7))),  # a padded map
    ],
)
def test_shifted_windows(shape, token, expected):
    found = attended(small("swin3d_t"), shape, token)
    assert found == {(t, h, w) for t in expected[0] for h in expected[1] for w in expected[2]}


def test_padding_takes_part_in_the_attention():
    attention = small("swin3d_t").layers[0].blocks[0].attn
    with torch.inference_mode():
        x = torch.randn(1, 2 * 9 * 7, 96)
        padded = F.pad(x.unflatten(1, (2, 9, 7)), (0, 0, 0, 0, 0, 5)).flatten(1, 3)
        whole = attention(padded, (2, 14, 7)).unflatten(1, (2, 14, 7))[:, :, :9].flatten(1, 3)
        assert torch.allclose(attention(x, (2, 9, 7)), whole, atol=1e-5)


def test_a_small_window_uses_the_first_biases_of_a_whole_one():
    attention = swin3d.WindowAttention(32, (8, 7, 7), shifted=False)
    with torch.no_grad():
        attention.relative_position_bias_table[:, 0] = torch.arange(15 * 13 * 13)
    small, whole = attention._bias(4), attention._bias(392)
    assert torch.equal(small, whole[:, :4, :4])
    center = 7 * 169 + 6 * 13 + 6
    assert whole[0, 0, 0] == whole[0, 391, 391] == center
    assert whole[0, 0].tolist()[:8] == [center - i for i in range(7)] + [center - 13]
    assert whole[0, 49, 0] == center + 169


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s", "swin3d_t"])
def test_explain_finds_a_map_with_time(name):
    from actrec.inference import explain

    net = small(name, frames=8, size=64, depth=7)
    clips = torch.randn(1, 3, 8, 64, 64)
    layers = dict(explain._layers_in_time(net, clips))
    layer = "last_map" if name.startswith("mvit") else "layers.0"
    if name.startswith("mvit"):
        assert layers["last_map"] == (4, 4, 4)
    evidence = explain.grad_cam(net, clips, 2, layer=layer)
    assert evidence.shape[1] == 4
    assert evidence.max() > 0
