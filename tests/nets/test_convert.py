"""Layouts that convert tensors, come in parts, or have epsilons of their own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import actrec
from actrec.config import Input
from actrec.nets import NETS, Backbone, Entry, Layout

SIZE = 3  # positions of the small net's table


class Small(Backbone):
    """A net with a fused projection, a table of positions and a normalization."""

    def __init__(self, *, num_classes: int, in_channels: int, blending_frames: int):
        super().__init__(num_features=4, in_channels=in_channels, dropout=0)
        self.encoder = nn.Module()
        self.encoder.conv = nn.Conv3d(in_channels, 4, 1)
        self.encoder.positions = nn.Parameter(torch.zeros(blending_frames, 4))
        self.encoder.blocks = nn.ModuleList(nn.Linear(4, 12) for _ in range(2))
        self.encoder.norm = nn.LayerNorm(4, eps=1e-6)
        self.reset_head(num_classes)

    def features(self, x: Tensor) -> Tensor:
        tokens = self.encoder.conv(x).mean((2, 3, 4))
        for block in self.encoder.blocks:
            tokens = tokens + block(tokens).chunk(3, -1)[0]
        return self.encoder.norm(tokens)[..., None, None, None]


def joined(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    for name in [name for name in tensors if ".q." in name]:
        parts = [tensors.pop(name.replace(".q.", f".{part}.")) for part in "qkv"]
        tensors[name.replace(".q.", ".")] = torch.cat(parts)
    table = tensors.get("encoder.positions")
    if table is not None and len(table) != len(net.encoder.positions):
        table = table.T[None]
        table = F.interpolate(table, len(net.encoder.positions), mode="linear")
        tensors["encoder.positions"] = table[0].T
    return tensors


LAYOUTS = {
    "transformers": Layout(
        renames={r"classifier\.(.+)": r"fc.\1"},
        dropped={r"predictor\..+": "not needed"},
        convert=joined,
        parts=("encoder.", "fc."),
        eps={r"encoder\.norm": 1e-3},
    )
}


@pytest.fixture(autouse=True)
def small_net(monkeypatch) -> None:
    NETS.names()  # all others are registered
    monkeypatch.setattr(NETS, "_entries", dict(NETS._entries))
    own_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=16)
    NETS.add("small_vit", Entry(Small, input=own_input, options={"blending_frames": SIZE}, weights=LAYOUTS))


def file_of(net: Backbone) -> dict[str, Tensor]:
    """The net's weights as another project writes them."""
    tensors = {}
    for key, value in net.state_dict().items():
        if key.startswith("encoder.blocks."):
            *path, kind = key.split(".")
            tensors |= {".".join([*path, part, kind]): rows for part, rows in zip("qkv", value.chunk(3))}
        else:
            tensors[key.replace("fc.", "classifier.")] = value
    return tensors | {"predictor.weight": torch.zeros(1)}


@pytest.fixture
def net() -> Backbone:
    torch.manual_seed(0)
    net = actrec.net("small_vit", num_classes=5)
    nn.init.normal_(net.encoder.positions)
    return net


def same(one: Backbone, other: Backbone, *, part: str = "") -> bool:
    weights = other.state_dict()
    return all(torch.equal(value, weights[key]) for key, value in one.state_dict().items() if key.startswith(part))


def test_tensors_are_converted(net, tmp_path):
    torch.save({"model": file_of(net)}, tmp_path / "w.pt")
    other = actrec.net("small_vit", num_classes=5)
    account = actrec.load_weights(other, tmp_path / "w.pt")
    assert (account.layout, account.missing, dict(account.reshaped)) == ("transformers", (), {})
    assert account.dropped == {"predictor.weight": "not needed"}
    assert same(net, other)


def test_tables_of_positions_are_interpolated(net, tmp_path):
    torch.save(file_of(net), tmp_path / "w.pt")
    other = actrec.net("small_vit", num_classes=5, blending_frames=2 * SIZE)
    account = actrec.load_weights(other, tmp_path / "w.pt")
    assert account.reshaped == {"encoder.positions": "(3, 4) to (6, 4): interpolated"}
    assert other.encoder.positions[0].equal(net.encoder.positions[0])


def test_other_classes_need_a_new_head(net, tmp_path):
    torch.save(file_of(net), tmp_path / "w.pt")
    other = actrec.net("small_vit", num_classes=7)
    with pytest.raises(ValueError, match="it has 5 classes, the net 7: ask for a new head"):
        actrec.load_weights(other, tmp_path / "w.pt")
    account = actrec.load_weights(other, tmp_path / "w.pt", new_head=True)
    assert set(account.dropped) == {"predictor.weight", "classifier.weight", "classifier.bias"}
    assert same(net, other, part="encoder.")


@pytest.mark.parametrize("part", ["encoder.", "fc."])
def test_a_file_of_one_part(net, part, tmp_path):
    tensors = {k: v for k, v in file_of(net).items() if k.replace("classifier.", "fc.").startswith(part)}
    torch.save({"target_encoder": tensors} if part == "encoder." else {"classifiers": [tensors]}, tmp_path / "w.pt")
    other = actrec.net("small_vit", num_classes=5)
    account = actrec.load_weights(other, tmp_path / "w.pt")
    assert account.missing == tuple(key for key in other.state_dict() if not key.startswith(part))
    assert same(net, other, part=part)


def test_a_part_cut_short(net, tmp_path):
    tensors = {k: v for k, v in file_of(net).items() if k.startswith("encoder.")}
    del tensors["encoder.norm.bias"]
    torch.save(tensors, tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match=r"does not fit net 'small_vit' \(read as transformers\): missing encoder.norm.b"
    ):
        actrec.load_weights(net, tmp_path / "w.pt")


def test_what_the_conversion_raises_is_a_part_of_the_message(net, tmp_path):
    tensors = file_of(net)
    del tensors["encoder.blocks.0.k.weight"]
    torch.save(tensors | {"odd": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="its tensors cannot be converted: KeyError: 'encoder.blocks.0.k.weight'; "):
        actrec.load_weights(net, tmp_path / "w.pt")


def test_epsilons_of_the_file_stay_with_the_net(net, tmp_path):
    torch.save(file_of(net), tmp_path / "w.pt")
    assert (net.encoder.norm.eps, net.options["eps_of"]) == (1e-6, None)
    actrec.load_weights(net, tmp_path / "w.pt")
    assert (net.encoder.norm.eps, net.options["eps_of"]) == (1e-3, "transformers")
    again = actrec.net("small_vit", **net.options)
    assert again.encoder.norm.eps == 1e-3
    with pytest.raises(ValueError, match="eps_of 'hara' for net 'small_vit': expected transformers"):
        actrec.net("small_vit", eps_of="hara")
