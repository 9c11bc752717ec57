from __future__ import annotations

import pytest
import torch
from torch import nn

import actrec
from actrec import config
from actrec.engine.freeze import freeze, train_mode
from actrec.engine.optim import make_optimizer

NET = {"widen": 0.25}


def small_net() -> actrec.nets.Backbone:
    torch.manual_seed(0)
    return actrec.net("resnet3d_10", num_classes=3, **NET)


def changed_by_a_step(net: nn.Module, optim: config.Optim) -> set[str]:
    """Names of what a step of training changes, weights and statistics."""
    optimizer = make_optimizer(net, optim, 4)
    train_mode(net)
    net.eval()
    train_mode(net)  # as after a validation
    before = {name: value.clone() for name, value in net.state_dict().items()}
    clips = torch.randn(4, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    nn.functional.cross_entropy(net(clips), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    return {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}


def test_nothing_is_frozen_by_default():
    net = small_net()
    freeze(net, config.Optim())
    assert changed_by_a_step(net, config.Optim(lr=1)) == set(net.state_dict())


@pytest.mark.parametrize(
    ("until", "kept"),
    [
        ("layer4", ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.")),
        ("fc", ("conv1.", "bn1.", "layer")),
        (
            "layer4.0.conv2",
            ("conv1.", "bn1.", "layer1", "layer2", "layer3", "layer4.0.downsample", "layer4.0.conv1", "layer4.0.bn1"),
        ),
        ("lay", ("conv1.", "bn1.")),
        ("conv1", ()),
    ],
)
def test_what_comes_before_stays(until, kept):
    net, optim = small_net(), config.Optim(lr=1, freeze_until=until)
    freeze(net, optim)
    assert changed_by_a_step(net, optim) == {name for name in net.state_dict() if not name.startswith(kept)}


def test_a_name_goes_before_a_start():
    net = nn.ModuleDict({name: nn.Linear(1, 1) for name in ("block10", "block1")})
    freeze(net, config.Optim(freeze_until="block1"))
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]


@pytest.mark.parametrize(("which", "kept"), [("partial", 1), ("all", 0)])
def test_batch_norms(which, kept):
    net, optim = small_net(), config.Optim(lr=1, freeze_norm=which)
    freeze(net, optim)
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm3d)]
    frozen = tuple(f"{name}." for name in norms[kept:])
    assert (norms[0], len(norms)) == ("bn1", 12)
    assert changed_by_a_step(net, optim) == {name for name in net.state_dict() if not name.startswith(frozen)}


def test_synchronized_batch_norms_too():
    net = nn.SyncBatchNorm.convert_sync_batchnorm(small_net())
    freeze(net, config.Optim(freeze_norm="partial"))
    train_mode(net)
    assert [m.training for m in net.modules() if isinstance(m, nn.SyncBatchNorm)] == [True] + 11 * [False]


def test_layers_and_norms_together():
    net = small_net()
    freeze(net, config.Optim(freeze_until="layer4", freeze_norm="all"))
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"layer4.0.conv1.weight", "layer4.0.conv2.weight", "layer4.0.downsample.0.weight",
                       "fc.weight", "fc.bias"}  # fmt: skip


def test_tams_layers_lie_where_they_act():
    with torch.device("meta"):
        net = actrec.net("tam_inception_v1")
    freeze(net, config.Optim(freeze_until="inception3a"))
    frozen = {name.split(".")[0] for name, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "tam1", "conv2", "tam2", "conv3", "tam3"}


@pytest.mark.parametrize("name", ["c3d", "densenet3d_121", "s3d_torchvision", "tam_inception_v1", "tam_resnet18"])
def test_nets_can_train_its_last_layer_alone(name):
    with torch.device("meta"):
        net = actrec.net(name)
    freeze(net, config.Optim(freeze_until="fc"))
    train_mode(net)
    assert [key for key, p in net.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert not any(m.training for m in net.modules() if isinstance(m, nn.BatchNorm3d))


def test_unknown_layers():
    with pytest.raises(ValueError, match=r"freeze_until 'layre4': resnet3d_10 has no such layer: did you mean layer4"):
        freeze(small_net(), config.Optim(freeze_until="layre4"))
    with pytest.raises(ValueError, match="expected one of bn1, conv1, fc, layer1, layer2, layer3, layer4$"):
        freeze(small_net(), config.Optim(freeze_until="zzz"))
    with pytest.raises(ValueError, match="no such layer"):
        freeze(small_net(), config.Optim(freeze_until=""))
    with torch.device("meta"), pytest.raises(ValueError, match="freeze_norm all: c3d has no batch norms"):
        freeze(actrec.net("c3d"), config.Optim(freeze_norm="all"))
