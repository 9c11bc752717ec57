from __future__ import annotations

import numpy as np

import actrec
from actrec import config
from actrec.data.sampling import order, plan
from actrec.engine import loss, step
from actrec.pipelines import augment


def test_no_two_purposes_draw_alike(monkeypatch):
    """Short keys are padded with zeros: without streams, mixing a batch would draw what a sample's plan draws."""
    made = {}
    sequence = np.random.SeedSequence

    def watch(entropy, spawn_key=()):
        made.setdefault(spawn_key, set()).add(purpose)
        return sequence(entropy, spawn_key=spawn_key)

    monkeypatch.setattr(np.random, "SeedSequence", watch)
    labels, options = np.arange(6) % 2, actrec.Augment(mixup=0.2, grayscale=0.5, blur=0.5)
    purpose = "order"
    order.epoch_order(6, seed=1, epoch=2)
    purpose = "balance"
    order.balanced_rows(labels, 1, 2)
    for augmentation in augment.active(options):
        purpose = augmentation.name
        augment.draw([augmentation], size=32, key=(1, 2, 3, 0))
    purpose = "mix"
    loss.plan_mix(options, seed=1, epoch=2, step=3, size=32)
    purpose = "net"
    step._seed(1, 2, 3)
    purpose = "clip"
    sample = {"num_frames": 9, "width": 40, "height": 30, "clip": config.Clip(frames=4), "size": 32}
    plan.plan_train(**sample, augment=options, seed=1, epoch=2, row=3)
    purposes = ["balance", "blur", "clip", "grayscale", "mix", "net", "order"]
    assert sorted(map(sorted, made.values())) == [[purpose] for purpose in purposes]
