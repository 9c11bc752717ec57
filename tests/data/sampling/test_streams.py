from __future__ import annotations

import numpy as np

from actrec import config
from actrec.data.sampling import order as draw
from actrec.data.sampling import plan
from actrec.engine import loss, step


def test_no_two_purposes_draw_alike(monkeypatch):
    """A batch's mixing is not the look of the sample of its number: short keys are padded with zeros."""
    made = {}
    sequence = np.random.SeedSequence

    def watch(entropy, spawn_key=()):
        made.setdefault(spawn_key, set()).add(purpose)
        return sequence(entropy, spawn_key=spawn_key)

    monkeypatch.setattr(np.random, "SeedSequence", watch)
    labels, augment = np.arange(6) % 2, config.Augment(mixup=0.2, grayscale=0.5)
    purpose = "order"
    draw.epoch_draws(6, seed=1, epoch=2)
    purpose = "balance"
    draw._balanced(labels, 1, 2)
    purpose = "look"
    plan.plan_look(augment=augment, size=32, key=(1, 2, 3, 0))
    purpose = "mix"
    loss.plan_mix(augment, seed=1, epoch=2, step=3, size=32)
    purpose = "net"
    step._seed(1, 2, 3)
    purpose = "clip"
    monkeypatch.setattr(plan, "plan_look", lambda **_: plan.Look())
    sample = {"num_frames": 9, "width": 40, "height": 30, "clip": config.Clip(frames=4), "size": 32}
    plan.plan_train(**sample, augment=augment, seed=1, epoch=2, index=3)
    assert sorted(map(sorted, made.values())) == [["balance"], ["clip"], ["look"], ["mix"], ["net"], ["order"]]
