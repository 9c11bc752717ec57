from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import actrec
from actrec import config
from actrec.engine.freeze import freeze
from actrec.engine.optim import Schedule, lay_out_gradients, make_optimizer, parameter_groups


def plain(**options) -> config.Optim:
    """SGD without warm-up, with weight decay on all parameters."""
    return config.Optim(**{"optimizer": "sgd", "norm_decay": True, "warmup": 0.0, **options})


def meta(name: str, **options) -> actrec.nets.Backbone:
    with torch.device("meta"):
        return actrec.net(name, num_classes=5, **options)


def numel(parameters) -> int:
    return sum(p.numel() for p in parameters)


def test_one_group():
    net = meta("s3d")
    (group,) = parameter_groups(net, plain(lr=0.1, weight_decay=0.3))
    assert (group["name"], group["lr"], group["weight_decay"]) == ("net", 0.1, 0.3)
    assert all(a is b for a, b in zip(group["params"], net.parameters(), strict=True))


@pytest.mark.parametrize("name", ["s3d", "tam_resnet18"])
def test_groups_of_the_head_and_without_decay(name):
    net = meta(name)
    groups = parameter_groups(net, plain(lr=0.1, head_lr=10, norm_decay=False))
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in groups] == [
        ("body", 0.1, 5e-4),
        ("body norms and biases", 0.1, 0),
        ("head", 1.0, 5e-4),
        ("head norms and biases", 1.0, 0),
    ]
    norms = numel(p for m in net.modules() if isinstance(m, nn.BatchNorm3d) for p in m.parameters())
    biases = numel(m.bias for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)) and m.bias is not None)
    weights = numel(m.weight for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)))
    found = [numel(g["params"]) for g in groups]
    assert found == [weights, norms + biases, 5 * net.head_features, 5]
    assert sum(found) == numel(net.parameters())


def test_names_without_a_head_of_its_own():
    groups = parameter_groups(meta("resnet3d_10"), plain(norm_decay=False))
    assert [g["name"] for g in groups] == ["net", "net norms and biases"]
    assert 5 in [p.numel() for p in groups[1]["params"]]  # the last layer's bias


def test_only_trained_parameters_have_a_group():
    net = meta("resnet3d_10").requires_grad_(False)
    net.last_layer.requires_grad_(True)
    (group,) = parameter_groups(net, plain(head_lr=2))
    assert (group["name"], group["lr"], len(group["params"])) == ("head", 0.02, 2)


class Transformer(nn.Module):
    """Layers as in a vision transformer, with positions before them and a norm after them."""

    def __init__(self, num_classes):
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 2, 4))
        self.patch_embed = nn.Conv3d(3, 4, 2)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)) for _ in range(3))
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.norm(x.mean((3, 4)).mean(2)))


def test_layer_decay_as_in_beit(monkeypatch):
    registry = actrec.nets.NETS
    monkeypatch.setattr(registry, "_entries", {name: registry.get(name) for name in registry})
    actrec.nets.register("transformer", Transformer)
    net = actrec.net("transformer", num_classes=5)
    groups = parameter_groups(net, config.Optim(lr=0.1, layer_decay=0.5))
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    found = {name: rates[id(p)] for name, p in net.named_parameters()}
    assert found == pytest.approx(
        {"positions": 0.1 / 16, "patch_embed.weight": 0.1 / 16, "patch_embed.bias": 0.1 / 16}
        | {
            f"blocks.{i}.{p}": 0.1 / 2 ** (3 - i)
            for i in range(3)
            for p in ("0.weight", "0.bias", "1.weight", "1.bias")
        }
        | dict.fromkeys(("norm.weight", "norm.bias", "fc.weight", "fc.bias"), 0.1)
    )
    assert [g["name"] for g in groups][:4] == ["net 0", "net 0 norms and biases", "net 1", "net 1 norms and biases"]
    assert groups[0]["lr"] == 0.1  # the rate that the log shows
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(p) for p in net.parameters() if p.ndim > 1}


@pytest.mark.parametrize(
    ("name", "blocks", "output"),
    [("videomae_s", "blocks", ("fc_norm", "fc")), ("vjepa2_s", "encoder.blocks", ("encoder.norm", "probe", "fc"))],
)
def test_layer_decay_of_transformers(name, blocks, output):
    net = meta(name, depth=3)
    groups = parameter_groups(net, config.Optim(lr=1.0, layer_decay=0.5))
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    for key, parameter in net.named_parameters():
        if key.startswith(f"{blocks}."):
            expected = 0.5 ** (3 - int(key.removeprefix(f"{blocks}.")[0]))
        else:
            expected = 1.0 if key.startswith(output) else 0.5**4
        assert rates[id(parameter)] == expected, key


def test_layer_decay_of_mvit_as_in_pyslowfast():
    net = meta("mvit_v1_b", depth=3)
    groups = parameter_groups(net, config.Optim(lr=1.0, layer_decay=0.5))
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    for key, parameter in net.named_parameters():
        if key.startswith("blocks."):
            expected = 0.5 ** (3 - int(key.split(".")[1]))
        else:
            expected = 0.5**4 if key.startswith(("positions.", "patch_embed.")) else 1.0
        assert rates[id(parameter)] == expected, key


def test_layer_decay_of_swin_as_in_simmim():
    """Each block is a layer. The positions are trained without weight decay, like norms and biases."""
    net, first = meta("swin3d_t", depth=8), (0, 2, 4, 6)
    groups = parameter_groups(net, config.Optim(lr=1.0, layer_decay=0.5))
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    for key, parameter in net.named_parameters():
        _, stage, part, number, *_ = [*key.split("."), "", "", ""]
        if part == "blocks":
            expected = 0.5 ** (8 - first[int(stage)] - int(number))
        elif part == "downsample":
            expected = 0.5 ** (9 - first[int(stage) + 1])
        else:
            expected = 0.5**9 if key.startswith("patch_embed.") else 1.0
        assert rates[id(parameter)] == expected, key
    spared = {id(p) for g in groups if not g["weight_decay"] for p in g["params"]}
    tables = [p for key, p in net.named_parameters() if p.ndim > 1 and id(p) in spared]
    assert [tuple(p.shape) for p in tables] == [(15 * 13 * 13, heads) for heads in (3, 3, 6, 6, 12, 12, 24, 24)]
    assert all(id(p) in spared for p in net.parameters() if p.ndim == 1)
    assert all(g["weight_decay"] for g in parameter_groups(net, plain()))


def test_layer_decay_of_a_convolutional_net():
    net = meta("resnet3d_10")
    assert [layer is child for layer, child in zip(net.depth_layers, [net.conv1, *net.stages])] == [True] * 5
    groups = parameter_groups(net, plain(lr=0.1, layer_decay=0.5, head_lr=10))
    assert [(g["name"], g["lr"]) for g in groups] == [
        *((f"body {distance}", 0.1 / 2**distance) for distance in (1, 2, 3, 4, 5)),
        ("head", 1.0),
    ]
    first = groups[4]["params"]
    assert {id(p) for p in first} == {id(p) for p in [*net.conv1.parameters(), *net.bn1.parameters()]}
    assert sum(numel(g["params"]) for g in groups) == numel(net.parameters())


def test_layer_decay_with_frozen_layers_and_a_scaled_rate():
    net = meta("resnet3d_10")
    freeze(net, config.Optim(freeze_until="layer3"))
    optim = plain(lr=0.1, layer_decay=0.5, lr_batch=8, freeze_until="layer3")
    found = [(g["lr"], len(g["params"])) for g in make_optimizer(net, optim, 16).param_groups]
    assert [lr for lr, _ in found] == [0.2, 0.1, 0.05]
    assert sum(number for _, number in found) == sum(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("name", ["s3d", "tam_resnet18", "densenet3d_121", "c3d", "tiny3d", "tsn_inception_v1"])
def test_every_net_has_layers_for_the_decay(name):
    net = meta(name)
    assert len(net.depth_layers) >= 3
    groups = parameter_groups(net, plain(layer_decay=0.9))
    assert sum(numel(g["params"]) for g in groups) == numel(net.parameters())
    assert len({g["lr"] for g in groups}) == len(net.depth_layers) + 1


def test_defaults_depend_on_the_optimizer():
    net = nn.Conv3d(3, 4, 2, bias=False)
    adamw, sgd = (make_optimizer(net, config.Optim(optimizer=name), 4) for name in ("adamw", "sgd"))
    assert isinstance(make_optimizer(net, config.Optim(), 4), torch.optim.AdamW)
    expected = [(0.001, 0.05), (0.01, 5e-4)]
    for optimizer, (lr, decay) in zip((adamw, sgd), expected):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (lr, decay)
    settled = config.Optim(optimizer="sgd", weight_decay=0.1).settled(0.002)
    assert (settled.lr, settled.weight_decay) == (0.01, 0.1)


def test_a_net_can_have_a_default_learning_rate_of_its_own():
    assert config.Optim().settled(None).lr == 0.001
    assert config.Optim(min_lr=0.0015).settled(0.002).lr == 0.002
    assert config.Optim(lr=0.5).settled(0.002).lr == 0.5
    with pytest.raises(config.OptionError, match="min_lr 0.0015 with lr 0.001: expected at most as much"):
        config.Optim(min_lr=0.0015).settled(None)
    with pytest.raises(config.OptionError, match="min_lr 0.02 with lr 0.01: expected at most as much"):
        config.Optim(optimizer="sgd", min_lr=0.02)


def test_optimizers():
    net = nn.Conv3d(3, 4, 2)
    sgd = make_optimizer(net, plain(momentum=0.8, dampening=0.1), 4)
    assert isinstance(sgd, torch.optim.SGD)
    (group,) = sgd.param_groups
    assert (group["lr"], group["momentum"], group["dampening"], group["weight_decay"]) == (0.01, 0.8, 0.1, 5e-4)
    assert make_optimizer(net, plain(nesterov=True), 4).param_groups[0]["nesterov"]
    adamw = make_optimizer(net, plain(optimizer="adamw", lr=1e-3, weight_decay=0.02), 4)
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.param_groups[0]["lr"], adamw.param_groups[0]["weight_decay"]) == (1e-3, 0.02)
    assert adamw.param_groups[0]["fused"]
    assert not sgd.param_groups[0]["fused"]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_fused_step_is_torchs_plain_one(device):
    """Also for gradients that lie in memory otherwise than their weights."""
    optim = plain(optimizer="adamw", lr=0.1, weight_decay=0.1)
    torch.manual_seed(0)
    layers = nn.Conv3d(5, 4, (3, 2, 2)), nn.Conv3d(5, 4, (3, 1, 1))
    nets = [nn.Sequential(*layers).to(device, memory_format=torch.channels_last_3d)]
    nets.append(copy.deepcopy(nets[0]))
    fused = make_optimizer(nets[0], optim, 4)
    torchs = torch.optim.AdamW(nets[1].parameters(), lr=0.1, weight_decay=0.1, foreach=False)
    for _ in range(3):
        for ours, theirs in zip(*(net.parameters() for net in nets)):
            gradient = torch.randn(ours.shape, device=device)  # contiguous
            assert ours.ndim == 1 or gradient.stride() != ours.stride()
            ours.grad, theirs.grad = gradient, gradient.clone()
        lay_out_gradients(nets[0].parameters())
        fused.step()
        torchs.step()
        for ours, theirs in zip(*(net.parameters() for net in nets)):
            assert ours.grad.stride() == ours.stride()
            assert torch.equal(ours.grad, theirs.grad)
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_linear_scaling():
    optim = plain(lr=0.1, lr_batch=64, accumulate=2, head_lr=10)
    optimizer = make_optimizer(meta("resnet3d_10"), optim, 16)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.5])


def optimizer_of(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def rates(schedule: Schedule, optimizer, *, epochs: int, steps: int, losses=None) -> list[float]:
    """The first group's learning rate in every step."""
    found = []
    for epoch in range(epochs):
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            schedule.step()
        schedule.end_epoch(losses[epoch] if losses else None)
    return found


LOSSES = [1.0, 0.9, 0.9, 0.89999, 0.8, 0.9, 0.9, 0.9, float("nan"), 0.9, 0.5, 0.6]
SCHEDULES = {
    "cosine": ({"min_lr": 0.02}, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=12, eta_min=0.02)),
    "step": ({"lr_steps": (3,), "gamma": 0.3}, lambda o: lr_scheduler.StepLR(o, 3, gamma=0.3)),
    "multistep": ({"lr_steps": (2, 5, 5)}, lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 5], gamma=0.1)),
    "plateau": (
        {"patience": 1, "gamma": 0.5},
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_torchs(name):
    options, torchs = SCHEDULES[name]
    ours, theirs = optimizer_of(0.1), optimizer_of(0.1)
    schedule = Schedule(ours, plain(epochs=12, lr=0.1, schedule=name, **options), 3)
    found = rates(schedule, ours, epochs=12, steps=3, losses=LOSSES)
    reference, expected = torchs(theirs), []
    for loss in LOSSES:
        expected += 3 * [theirs.param_groups[0]["lr"]]
        theirs.step()
        reference.step(loss) if name == "plateau" else reference.step()
    assert found == pytest.approx(expected, rel=1e-12)
    assert min(found) < 0.06
    assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)


def test_cosine_in_steps_is_torchs():
    ours, theirs = optimizer_of(0.1), optimizer_of(0.1)
    schedule = Schedule(ours, plain(epochs=4, lr=0.1, per_step=True), 5)
    reference, expected = lr_scheduler.CosineAnnealingLR(theirs, T_max=20), []
    for _ in range(20):
        expected.append(theirs.param_groups[0]["lr"])
        theirs.step()
        reference.step()
    assert rates(schedule, ours, epochs=4, steps=5) == pytest.approx(expected, rel=1e-9)
    assert ours.param_groups[0]["lr"] == 0
    schedule.step()  # an epoch with more steps than told
    assert ours.param_groups[0]["lr"] == 0


def test_gradients_that_lie_as_their_weights_are_left_alone():
    """A temporal kernel's gradient may have other strides, of axes of length 1."""
    weight = nn.Parameter(torch.zeros(8, 4, 3, 1, 1).contiguous(memory_format=torch.channels_last_3d))
    weight.grad = gradient = torch.rand(8, 3, 1, 4, 1).permute(0, 3, 1, 2, 4)
    assert gradient.stride() != weight.stride()
    lay_out_gradients([weight, nn.Parameter(torch.zeros(2))])
    assert weight.grad is gradient


@pytest.mark.parametrize(
    ("options", "expected"),  # of a tenth of an epoch each
    [
        ({"schedule": "step", "lr_steps": (0.3,)}, [0.5 ** (step // 3) for step in range(20)]),
        ({"schedule": "step", "lr_steps": (1,)}, [0.5 ** (step // 10) for step in range(20)]),
        ({"schedule": "multistep", "lr_steps": (0.7, 1.5)}, 7 * [1] + 8 * [0.5] + 5 * [0.25]),
    ],
)
def test_steps_within_an_epoch(options, expected):
    optimizer = optimizer_of(1.0)
    optim = plain(epochs=2, lr=1.0, gamma=0.5, per_step=True, **options)
    assert rates(Schedule(optimizer, optim, 10), optimizer, epochs=2, steps=10) == expected


def test_milestones_that_cannot_be():
    with pytest.raises(ValueError, match=r"lr_steps 2.5,4: expected whole epochs, or per_step"):
        plain(schedule="multistep", lr_steps=(2.5, 4))
    with pytest.raises(ValueError, match=r"per_step with schedule plateau: it belongs to schedule cosine or step"):
        plain(schedule="plateau", per_step=True)


def test_warm_up_is_linear_in_steps_and_times_the_schedule():
    ours, theirs = optimizer_of(0.1), optimizer_of(0.1)
    optim = plain(epochs=4, lr=0.1, warmup=1.5, warmup_start=0.2, schedule="multistep", lr_steps=(1, 3))
    found = rates(Schedule(ours, optim, 4), ours, epochs=4, steps=4)
    reference, expected = lr_scheduler.LinearLR(theirs, start_factor=0.2, total_iters=6), []
    for step in range(16):
        expected.append(theirs.param_groups[0]["lr"] * (1 if step < 4 else 0.1 if step < 12 else 0.01))
        theirs.step()
        reference.step()
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[0] == pytest.approx(0.02)
    assert found[6] == 0.1 * 0.1


@pytest.mark.parametrize("options", [{"min_lr": 0.01, "per_step": True}, {"schedule": "plateau", "patience": 0}])
def test_the_heads_multiple_stays(options):
    optimizer = optimizer_of(0.1, 0.5)
    schedule = Schedule(optimizer, plain(epochs=3, lr=0.1, warmup=0.5, **options), 2)
    for loss in (1.0, 2.0, 3.0):
        for _ in range(2):
            body, head = (group["lr"] for group in optimizer.param_groups)
            assert head == pytest.approx(5 * body)
            schedule.step()
        schedule.end_epoch(loss)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 if "min_lr" in options else 0.001)


@pytest.mark.parametrize("options", [{}, {"per_step": True}, {"schedule": "plateau", "patience": 0, "gamma": 0.7}])
@pytest.mark.parametrize("stop", [1, 7, 9, 14])
def test_a_restored_schedule_goes_on_bit_for_bit(options, stop):
    optim = plain(epochs=12, lr=0.1, warmup=2.3, **options)

    def run(schedule, optimizer, first, last):
        found = []
        for step in range(first, last):
            found.append(optimizer.param_groups[0]["lr"])
            schedule.step()
            if step % 3 == 2:
                schedule.end_epoch(LOSSES[step // 3])
        return found

    whole, first, second = optimizer_of(0.1), optimizer_of(0.1), optimizer_of(0.1)
    expected = run(Schedule(whole, optim, 3), whole, 0, 36)
    started, resumed = Schedule(first, optim, 3), Schedule(second, optim, 3)
    found = run(started, first, 0, stop)
    saved = started.state_dict()
    assert all(type(value) in (int, float) for value in saved.values())
    resumed.load_state_dict(saved)
    second.load_state_dict(first.state_dict())
    assert found + run(resumed, second, stop, 36) == expected
    assert started.state_dict() == saved


def test_an_epoch_without_a_loss_does_not_count_for_plateau():
    optimizer = optimizer_of(0.1)
    schedule = Schedule(optimizer, plain(lr=0.1, schedule="plateau", patience=1, gamma=0.5), 1)
    for loss in (1.0, 1.0, None, None, None):
        schedule.end_epoch(loss)
    assert optimizer.param_groups[0]["lr"] == 0.1
    schedule.end_epoch(1.0)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_min_lr_above_lr():
    with pytest.raises(ValueError, match="min_lr 0.1 with lr 0.01: expected at most as much"):
        plain(min_lr=0.1)
