"""Nets from outside actrec."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import actrec
from actrec import config, nets
from actrec.engine import checkpoint
from actrec.engine.bench import FORMS, training_speeds
from actrec.engine.build import build_net
from actrec.engine.devices import memory_format
from actrec.engine.freeze import freeze
from actrec.engine.optim import Schedule, make_optimizer, parameter_groups
from actrec.engine.step import Stepper
from actrec.nets import NETS, catalog
from actrec.nets.outside import DEFAULT_INPUT, last_layer, logits_of
from actrec.nets.recognize import recognize
from actrec.nets.weights import load_weights
from actrec.pipelines.loader import Batch

SOURCE = '''
import torch
from torch import nn
import actrec
from actrec import Input

def tiny(num_classes, in_channels=3, width=4, bias=True, scale=1.0, kind=None):
    return nn.Sequential(
        nn.Conv3d(in_channels, width, 3, padding=1, bias=bias), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(width, num_classes),
    )

class Own(nn.Module):
    """States its input and its last layer, which is not the last one that it registers."""
    input = Input(mean=(0.5,) * 3, std=(0.25,) * 3, frames=4, size=16)
    def __init__(self, num_classes, **unused):
        super().__init__()
        self.stem = nn.Conv3d(3, 4, 3, padding=1)
        self.last_layer = nn.Conv3d(4, num_classes, 1)
        self.auxiliary = nn.Linear(4, num_classes)
    def forward(self, x):
        return self.last_layer(self.stem(x)).mean((2, 3, 4))

def rgb_only(num_classes):
    return tiny(num_classes)

def changed(num_classes, in_channels=3):
    net = actrec.net("resnet3d_10", num_classes=num_classes, in_channels=in_channels, widen=0.1)
    net.maxpool = nn.Identity()
    return net

def headless(num_classes):
    return nn.Sequential(nn.Conv3d(3, 7, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Softmax(1))

def both(num_classes):
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.Flatten(2), nn.Conv2d(1, num_classes, 1))

def named(num_classes):
    net = tiny(num_classes)
    net.options = {}
    return net

def wrong_input(num_classes):
    net = tiny(num_classes)
    net.input = nn.Identity()
    return net

def nothing(num_classes):
    pass

def without_classes(width=4):
    pass

def needs_more(num_classes, width):
    pass

def raises(num_classes):
    return {}["layer"]

def leaves(num_classes):
    raise SystemExit(3)

def interrupted(num_classes):
    raise KeyboardInterrupt

class Answers(nn.Module):
    def __init__(self, num_classes, answer="right"):
        super().__init__()
        self.fc = nn.Linear(3, num_classes + {"few": -1, "many": 3}.get(answer, 0))
        self.answer = answer
    def forward(self, x):
        logits = self.fc(x.mean((2, 3, 4)))
        if self.answer == "lines":
            raise RuntimeError("one\\n  two")
        if self.answer == "memory":
            raise torch.OutOfMemoryError("full")
        if self.answer == "interrupt":
            raise KeyboardInterrupt
        if self.answer == "key":
            return {}["layer"]
        return {"tuple": (logits,), "none": None, "frames": logits[..., None], "sum": logits.sum(0)}.get(
            self.answer, logits
        )

class TwoInputs(Answers):
    def forward(self, x, y):
        return x

constant = 3
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, with a module of nets."""
    (tmp_path / "own_nets.py").write_text(SOURCE)
    (tmp_path / "broken_nets.py").write_text("import no_such_package\n")
    (tmp_path / "wrong_nets.py").write_text("def f(:\n")
    (tmp_path / "leaving_nets.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "many_lines.py").write_text("raise ImportError('one\\n  two')\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("own_nets", "broken_nets", "wrong_nets"):
        sys.modules.pop(name, None)


def test_a_function_is_a_net():
    path = list(sys.path)
    net = actrec.net("own_nets:tiny", num_classes=5, width=8)
    assert sys.path == path
    assert net(torch.zeros(2, 3, 4, 8, 8)).shape == (2, 5)
    assert (net.name, net.input) == ("own_nets:tiny", DEFAULT_INPUT)
    assert net.options == {
        "num_classes": 5, "in_channels": 3, "width": 8, "bias": True, "scale": 1.0, "kind": None,
    }  # fmt: skip
    again = actrec.net(net.name, **net.options)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}


def test_a_module_states_its_input():
    net = actrec.net("own_nets:Own", num_classes=5)
    assert (net.input.frames, net.input.size) == (4, 16)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert nets.input_of("own_nets:Own") == net.input
    assert torch.equal(torch.rand(1), expected)


def test_channels_of_flow():
    net = actrec.net("own_nets:tiny", in_channels=10)
    assert net.input == nets.input_of("own_nets:tiny", in_channels=10) == DEFAULT_INPUT.with_channels(10)
    assert net(torch.zeros(1, 10, 4, 8, 8)).shape == (1, 400)
    assert nets.input_of("s3d", in_channels=10) == actrec.net("s3d", in_channels=10).input


def test_a_changed_net_of_actrec():
    net = actrec.net("own_nets:changed", num_classes=5)
    assert net.options == {"num_classes": 5, "in_channels": 3}
    assert net.input == NETS.get("resnet3d_10").input
    assert last_layer(net) == ("fc", net.fc)


def test_registered_names():
    own_input = replace(DEFAULT_INPUT, frames=8)

    def factory(num_classes, in_channels=3):
        return nn.Linear(in_channels, num_classes)

    nets.register("my_tiny", factory, input=own_input, paper="arXiv:0000.00000", lr=0.004)
    try:
        assert NETS.get("my_tiny").lr == 0.004
        assert actrec.net("my_tiny", num_classes=2).input == nets.input_of("my_tiny") == own_input
        assert "my_tiny" in NETS
        assert "my_tiny" in [name for family in catalog.families() for name in family.names]
        with pytest.raises(ValueError, match="net 'my_tiny' is registered twice"):
            nets.register("my_tiny", factory)
    finally:
        del NETS._entries["my_tiny"]
    with pytest.raises(ValueError, match="net 'my:tiny': expected a name without a colon"):
        nets.register("my:tiny", factory)
    with pytest.raises(ValueError, match="lr 0.0: expected a positive number"):
        nets.register("my_tiny", factory, lr=0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "own_net:tiny",
            r"there is no module 'own_net' in the current folder \(/.*\) or among the installed",
        ),
        (
            "own_nets.sub:tiny",
            "there is no module 'own_nets.sub' in the current folder",
        ),
        ("own_nets:tin", r"own_nets.py has no function 'tin': did you mean tiny"),
        ("own_nets:constant", "own_nets.py has no function 'constant'"),
        (":tiny", "expected package.module:factory"),
        ("own_nets:", "expected package.module:factory"),
        ("leaving_nets:f", "importing 'leaving_nets' failed: SystemExit: 3"),
        ("many_lines:f", "importing 'many_lines' failed: ImportError: one two"),
        ("own_nets:raises", "building it failed: KeyError: 'layer'"),
        ("own_nets:leaves", "building it failed: SystemExit: 3"),
        ("broken_nets:tiny", "importing 'broken_nets' failed: ModuleNotFoundError: No module named 'no_such_package'"),
        ("wrong_nets:f", "importing 'wrong_nets' failed: SyntaxError: "),
        ("own_nets:without_classes", "has no parameter 'num_classes': expected a function factory"),
        ("own_nets:needs_more", "has a parameter 'width' without a default: expected a function factory"),
        ("own_nets:nothing", "returned a NoneType: expected a torch.nn.Module"),
        ("own_nets:named", "its module has an attribute 'options', which actrec sets: rename yours"),
        ("own_nets:wrong_input", "its module has an attribute 'input', which actrec sets: rename yours"),
        ("builtins:dict", "its parameters cannot be read: expected a function factory"),
    ],
)
def test_nets_that_cannot_be_used(name, expected):
    with pytest.raises(ValueError, match=f"^net '{name}'.*{expected}") as error:
        actrec.net(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"widht": 8}, r"net 'own_nets:tiny' takes no option 'widht': did you mean width\?"),
        ({"width": "8"}, "width '8': expected a whole number"),
        ({"bias": 1}, "bias 1: expected True or False"),
        ({"scale": "x"}, "scale 'x': expected a number"),
        ({"num_classes": 0}, "num_classes 0: expected at least 1"),
        ({"num_classes": "8"}, "num_classes '8': expected a whole number"),
        ({"num_classes": True}, "num_classes True: expected a whole number"),
        ({"in_channels": 3.0}, "in_channels 3.0: expected a whole number"),
    ],
)
def test_illegal_options(options, expected):
    with pytest.raises(ValueError, match=expected):
        actrec.net("own_nets:tiny", **options)


def test_numbers_of_numpy():
    options = {"num_classes": np.int64(5), "width": np.int32(8), "scale": np.float32(0.5), "bias": np.bool_(False)}
    net = actrec.net("own_nets:tiny", **options)
    assert {type(value).__module__ for value in net.options.values()} == {"builtins"}
    assert net.options == {"num_classes": 5, "in_channels": 3, "width": 8, "bias": False, "scale": 0.5, "kind": None}


def test_a_net_for_rgb_only():
    assert actrec.net("own_nets:rgb_only", num_classes=2)(torch.zeros(1, 3, 2, 4, 4)).shape == (1, 2)
    with pytest.raises(ValueError, match="net 'own_nets:rgb_only' has no parameter 'in_channels': it takes RGB only"):
        actrec.net("own_nets:rgb_only", in_channels=10)


def test_the_last_layer():
    assert last_layer(actrec.net("own_nets:tiny", num_classes=5))[0] == "4"
    assert last_layer(actrec.net("own_nets:Own", num_classes=5))[0] == "last_layer"
    with pytest.raises(ValueError, match="net 'own_nets:headless': its last layer was not found .* of 5 outputs"):
        last_layer(actrec.net("own_nets:headless", num_classes=5))


def test_a_learning_rate_of_the_last_layer():
    net = actrec.net("own_nets:tiny", num_classes=5)
    groups = parameter_groups(net, config.Optim(head_lr=10.0, lr=0.1, norm_decay=True))
    assert [(group["name"], group["lr"]) for group in groups] == [("body", 0.1), ("head", 1.0)]
    assert groups[1]["params"] == list(net[4].parameters())
    headless = actrec.net("own_nets:headless", num_classes=5)
    assert len(parameter_groups(headless, config.Optim(norm_decay=True))) == 1  # does not need it
    with pytest.raises(ValueError, match="its last layer was not found"):
        parameter_groups(headless, config.Optim(head_lr=10.0))


def test_layers_are_frozen_in_their_order():
    net = actrec.net("own_nets:Own", num_classes=5)
    freeze(net, config.Optim(freeze_until="last_layer"))
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == ["stem.weight", "stem.bias"]


def test_memory_formats():
    formats = {name: memory_format(actrec.net(f"own_nets:{name}"), True) for name in ("tiny", "both", "changed")}
    assert formats == {
        "tiny": torch.channels_last_3d, "both": torch.contiguous_format, "changed": torch.channels_last_3d
    }  # fmt: skip


def test_a_checkpoint_rebuilds_the_net(folder):
    net = build_net(config.Net(backbone="own_nets:Own"), num_classes=5, weights=None, new_head=False)
    saved = {"net": checkpoint.describe_net(net, net.input), "state_dict": net.state_dict()}
    saved |= {"clip": {}, "channels_last": True}
    checkpoint.save(folder / "last.pt", saved)
    sys.modules.pop("own_nets")
    again = checkpoint.build_net(checkpoint.load(folder / "last.pt"))
    clips = torch.rand(2, 3, 4, 8, 8)
    assert torch.equal(again(clips), net(clips))
    assert (again.name, again.input) == (net.name, net.input)
    changed = sys.modules["own_nets"]
    changed.Own = changed.tiny
    with pytest.raises(ValueError, match="do not fit net 'own_nets:Own': was its code changed"):
        checkpoint.build_net(checkpoint.load(folder / "last.pt"))


def test_weights(folder):
    net = actrec.net("own_nets:tiny", num_classes=5)
    torch.save(net.state_dict(), folder / "own.pt")
    again = actrec.net("own_nets:tiny", num_classes=5)
    assert len(load_weights(again, folder / "own.pt").used) == 4
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), net.state_dict().values()))
    other = actrec.net("own_nets:tiny", num_classes=2)
    with pytest.raises(ValueError, match=r"it has 5 classes, the net 2: .*--new-head"):
        load_weights(other, folder / "own.pt")
    account = load_weights(other, folder / "own.pt", new_head=True)
    assert account.missing == ("4.weight", "4.bias")
    assert torch.equal(other[0].weight, net[0].weight)


def test_weights_of_a_net_without_a_last_layer(folder):
    net = actrec.net("own_nets:headless")
    torch.save(net.state_dict(), folder / "headless.pt")
    assert len(load_weights(net, folder / "headless.pt").used) == 2
    with pytest.raises(ValueError, match="its last layer was not found"):
        load_weights(net, folder / "headless.pt", new_head=True)


def test_recognized_by_its_name(folder):
    torch.save(actrec.net("own_nets:tiny", num_classes=5, width=8).state_dict(), folder / "own.pt")
    (guess,) = recognize(folder / "own.pt", "own_nets:tiny", width=8).guesses
    assert (guess.net, guess.num_classes, guess.options) == ("own_nets:tiny", 5, {"width": 8})


def test_details():
    found = catalog.describe(nets.outline("own_nets:tiny"))
    assert (found.paper, found.params, found.layers) == ("", 4 * 3 * 27 + 4 + 400 * 4 + 400, ("0", "4"))
    assert found.flops == 4 * 3 * 27 * 16 * 112 * 112


def test_speed():
    (speed,) = training_speeds([("own_nets:tiny", FORMS[1])], frames=2, size=8, batch_size=2, steps=1, turns=1)
    assert speed.median > 0


@pytest.mark.parametrize("use", [actrec.profile, lambda net: load_weights(net, "none.pt")])
def test_modules_that_actrec_did_not_make(use):
    made = actrec.net("own_nets:tiny", num_classes=5)
    for net in (made[4], actrec.nets.Backbone(num_features=1, in_channels=3, dropout=0)):
        with pytest.raises(ValueError, match=f"^net: this {type(net).__name__} was not made by actrec.net: expected"):
            use(net)
    with pytest.raises(ValueError, match=r"^net: expected torch.nn.Module, found str 's3d'"):
        use("s3d")


def test_compiled_nets(folder):
    net = actrec.net("own_nets:tiny", num_classes=5)
    torch.save(net.state_dict(), folder / "own.pt")
    again = actrec.net("own_nets:tiny", num_classes=5)
    compiled = nn.Module()  # as torch.compile wraps a net, without loading its compiler
    compiled._orig_mod = again
    assert len(load_weights(compiled, folder / "own.pt").used) == 4
    assert torch.equal(again[4].weight, net[4].weight)
    assert actrec.profile(compiled) == actrec.profile(net)


def test_interrupts_pass():
    with pytest.raises(KeyboardInterrupt):
        actrec.net("own_nets:interrupted")
    with pytest.raises(KeyboardInterrupt):
        logits_of(actrec.net("own_nets:Answers", answer="interrupt"), torch.zeros(2, 3, 4, 8, 8))
    with pytest.raises(torch.OutOfMemoryError):  # the command line explains this error
        logits_of(actrec.net("own_nets:Answers", answer="memory"), torch.zeros(2, 3, 4, 8, 8))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("few", r"returned a tensor (2, 4): expected logits (2, 5), as (N, num_classes)"),
        ("many", r"returned a tensor (2, 8): expected logits (2, 5), as (N, num_classes)"),
        ("frames", r"returned a tensor (2, 5, 1): expected logits (2, 5), as (N, num_classes)"),
        ("sum", r"returned a tensor (5,): expected logits (2, 5), as (N, num_classes)"),
        ("tuple", r"returned a tuple: expected logits (2, 5), as (N, num_classes)"),
        ("none", r"returned a NoneType: expected logits (2, 5), as (N, num_classes)"),
        ("key", "its forward failed: KeyError: 'layer'"),
        ("lines", "its forward failed: RuntimeError: one two"),
    ],
)
def test_what_a_forward_does_wrong(answer, expected):
    clips, optim = torch.zeros(2, 3, 4, 8, 8), config.Optim()
    net = actrec.net("own_nets:Answers", num_classes=5, answer=answer)
    message = f"^net 'own_nets:Answers'.? {re.escape(expected)}$"
    with pytest.raises(ValueError, match=message):
        logits_of(net, clips)
    optimizer = make_optimizer(net, optim, 2)
    stepper = Stepper(
        net, augment=actrec.Augment(), loss=config.Loss(), run=config.Run(), num_classes=5, clips_per_step=2,
        clip_gradient=None, optimizer=optimizer, schedule=Schedule(optimizer, optim, 1), average=None,
        device=torch.device("cpu"), precision="float32",
    )  # fmt: skip
    with pytest.raises(ValueError, match=message):
        stepper.add(Batch(clips, torch.zeros(2, dtype=torch.int64), ["a", "b"]), 0, 0)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_forward_that_needs_two_inputs():
    net = actrec.net("own_nets:TwoInputs", num_classes=5)
    with pytest.raises(ValueError, match="^net 'own_nets:TwoInputs': its forward failed: TypeError: .* 'y'$"):
        logits_of(net, torch.zeros(2, 3, 4, 8, 8))
    with pytest.raises(ValueError, match="^net 'own_nets:TwoInputs': its forward failed: TypeError"):
        actrec.profile(net)
    assert net.training


def test_the_errors_of_other_nets_stay_as_they_are():
    with pytest.raises(ValueError, match="^clips of shape .*: expected NCTHW with 3 channels"):
        logits_of(actrec.net("s3d", num_classes=5), torch.zeros(1, 4, 8, 64, 64))
