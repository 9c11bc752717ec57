from __future__ import annotations

import pytest
import torch

import actrec
from actrec import config
from actrec.engine import dist
from actrec.engine.optim import Schedule, make_optimizer
from actrec.engine.step import Stepper, read_sums
from actrec.pipelines.loader import Batch


def stepper(device="cpu", precision="float32", dropout=0.5, optimizer="sgd", **run) -> tuple[Stepper, torch.nn.Module]:
    optim = config.Optim(optimizer=optimizer, warmup=0.0)
    torch.manual_seed(0)
    net = actrec.net("resnet3d_10", num_classes=3, widen=0.125, dropout=dropout).to(device).train()
    made_optimizer = make_optimizer(net, optim, 4)
    made = Stepper(
        net,
        augment=actrec.Augment(),
        loss=config.Loss(),
        run=config.Run(device=device, precision=precision, **run),
        num_classes=3,
        clips_per_step=4,
        clip_gradient=None,
        optimizer=made_optimizer,
        schedule=Schedule(made_optimizer, optim, 10),
        average=None,
        device=torch.device(device),
        precision=precision,
    )
    return made, net


def batch(number: int, device="cpu") -> Batch:
    clips = torch.rand(number, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    return Batch(clips, torch.arange(number, device=device) % 3, [f"video{i}" for i in range(number)], clamped=number)


def test_a_step_and_its_numbers():
    one, net = stepper(dropout=0.0)
    before = [parameter.clone() for parameter in net.parameters()]
    one.add(batch(4), 0, 0)
    taken, wishes = one.finish(False, True)
    assert (taken.clips, taken.clamped, taken.videos) == (4, 4, ["video0", "video1", "video2", "video3"])
    assert wishes == [False, True]
    ((loss, hits),) = read_sums([taken])
    assert loss / 4 == pytest.approx(1.0986, abs=0.3)
    assert hits in range(5)
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters()))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_chance_hangs_on_the_batch_alone():
    """Dropout is the same whatever was drawn before, and another for another batch."""
    losses = []
    for number, disturbed in ((0, False), (0, True), (1, False)):
        one, _ = stepper()
        if disturbed:
            torch.rand(100)
        one.add(batch(4), 0, number)
        losses.append(read_sums([one.finish()[0]])[0][0])
    assert losses[0] == losses[1] != losses[2]


def test_without_any_clip_nothing_changes():
    one, net = stepper()
    before = [parameter.clone() for parameter in net.parameters()]
    one.add(batch(0), 0, 0)
    taken, _ = one.finish()
    assert taken.clips == 0
    assert read_sums([taken]) == [[0.0, 0.0]]
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters()))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_clips_of_the_others_only(precision, monkeypatch):
    one, net = stepper(precision=precision)
    before = [parameter.clone() for parameter in net.parameters()]
    one.add(batch(0), 0, 0)
    monkeypatch.setattr(dist, "total", lambda numbers: [4, *numbers[1:]])
    monkeypatch.setattr(dist, "sum_gradients", _give_gradients)
    assert one.finish()[0].clips == 4
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters()))


def _give_gradients(parameters) -> None:
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "optimizer"),
    [("float32", "sgd"), ("bfloat16", "sgd"), ("float32", "adamw"), ("bfloat16", "adamw"), ("float16", "adamw")],
)
def test_a_step_does_not_wait_for_the_gpu(precision, optimizer):
    one, _ = stepper("cuda", precision, optimizer=optimizer)
    own = batch(4, "cuda")
    for number in range(2):  # the first one sets things up
        torch.cuda.set_sync_debug_mode("error" if number else "default")
        try:
            one.add(own, 0, number)
            taken, _ = one.finish()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert read_sums([taken])[0][0] > 0
