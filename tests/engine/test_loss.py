from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import actrec
from actrec import config
from actrec.engine.loss import Mix, hits, mix, partner, per_clip_loss, plan_mix, targets

SIZE = 16
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


def clips_of(number: int, *, layout=torch.channels_last_3d) -> torch.Tensor:
    clips = torch.randn(number, 3, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(number))
    return clips.contiguous(memory_format=layout)


def one_hot(*labels: int, classes: int = 4) -> torch.Tensor:
    return targets(torch.tensor(labels, dtype=torch.int64), classes)


def plans(number: int = 200, **augment) -> list[Mix | None]:
    return [plan_mix(actrec.Augment(**augment), seed=1, epoch=2, step=s, size=SIZE) for s in range(number)]


def test_targets():
    assert one_hot(1, 0).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert one_hot(1).dtype == torch.float32
    several = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert torch.equal(targets(several, 2), several)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [0.25, 0.9])
def test_mixup_by_hand(layout, share):
    clips, labels = clips_of(5, layout=layout), one_hot(0, 1, 2, 2, 3)
    before, strides = clips.clone(), clips.stride()
    mixed, soft = mix(clips, labels, Mix(share, None))
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        torch.testing.assert_close(mixed[i], share * before[i] + (1 - share) * before[j])
    assert torch.equal(mixed[4], before[4])
    expected = [[share, 1 - share, 0, 0], [1 - share, share, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(soft, torch.tensor(expected))
    assert mixed.stride() == strides
    assert torch.equal(labels, one_hot(0, 1, 2, 2, 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cutmix_exchanges_exactly_the_box(layout):
    clips = clips_of(3, layout=layout)
    before = clips.clone()
    mixed, soft = mix(clips, one_hot(0, 1, 2), Mix(1 - 5 * 7 / SIZE**2, (2, 3, 5, 7)))
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[3:10, 2:7] = True
    for i, j in ((0, 1), (1, 0)):
        assert torch.equal(mixed[i], torch.where(inside, before[j], before[i]))
    assert torch.equal(mixed[2], before[2])
    own = inside.logical_not().float().mean()
    torch.testing.assert_close(soft[:, :3], torch.tensor([[own, 1 - own, 0], [1 - own, own, 0], [0, 0, 1]]))


def test_a_global_batch_mixes_alike_however_it_is_divided():
    for plan in (Mix(0.3, None), Mix(0.5, (0, 0, 8, SIZE))):
        labels = one_hot(*range(4), *range(3))
        whole, soft = mix(clips_of(7), labels, plan)
        parts = [mix(clips_of(7)[place], labels[place], plan) for place in (slice(0, 2), slice(2, 6), slice(6, 7))]
        assert torch.equal(torch.cat([clips for clips, _ in parts]), whole)
        assert torch.equal(torch.cat([part for _, part in parts]), soft)


@pytest.mark.parametrize("repeats", [2, 3])
def test_repeated_clips_are_mixed_with_those_of_another_video(repeats):
    number = 4 * repeats + 1  # the last video has no partner
    labels = one_hot(*(i // repeats for i in range(number)), classes=5)
    before = clips_of(number)
    mixed, soft = mix(before.clone(), labels, Mix(0.7, None), repeats=repeats)
    for i in range(4 * repeats):
        j = partner(i, repeats)
        assert (j // repeats, j % repeats) == ((i // repeats) ^ 1, i % repeats)
        torch.testing.assert_close(mixed[i], 0.7 * before[i] + 0.3 * before[j])
        torch.testing.assert_close(soft[i], 0.7 * labels[i] + 0.3 * labels[j])
        assert soft[i].count_nonzero() == 2
    assert torch.equal(mixed[-1], before[-1])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 0.25), (1.0, 1)])
def test_how_often_cutmix_is_chosen(share, expected):
    found = plans(1000, mixup=0.8, cutmix=1.0, cutmix_share=share)
    assert np.mean([plan.box is not None for plan in found]) == pytest.approx(expected, abs=0.05)


def test_plans_depend_on_seed_epoch_and_step():
    augment = actrec.Augment(mixup=0.8, cutmix=1.0)
    keys = [(seed, epoch, step) for seed in (0, 1) for epoch in (0, 1) for step in (0, 1)]
    drawn = [plan_mix(augment, seed=s, epoch=e, step=n, size=SIZE) for s, e, n in keys]
    again = [plan_mix(augment, seed=s, epoch=e, step=n, size=SIZE) for s, e, n in keys]
    assert drawn == again
    assert len({plan.share for plan in drawn}) == len(drawn)


def test_no_plan_without_mixing():
    assert plans(2) == [None, None]


def test_mixup_draws_from_beta():
    shares = np.array([plan.share for plan in plans(1000, mixup=0.2)])
    assert shares.mean() == pytest.approx(0.5, abs=0.05)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.1)  # of Beta(a, a)


def test_cutmix_boxes():
    found = plans(1000, cutmix=1.0)
    for plan in found:
        x, y, w, h = plan.box
        assert 0 <= x <= x + w <= SIZE
        assert 0 <= y <= y + h <= SIZE
        assert plan.share == 1 - w * h / SIZE**2
        assert 0 <= plan.share <= 1
    assert {x == 0 for x, *_ in (plan.box for plan in found)} == {True, False}
    assert np.mean([plan.share for plan in found]) > 0.5  # boxes end at the border


def test_both_by_turns():
    found = plans(1000, mixup=0.8, cutmix=1.0)
    assert 450 < sum(plan.box is None for plan in found) < 550


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(smoothing):
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = config.Loss(label_smoothing=smoothing)
    found = per_clip_loss(logits, labels, loss)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(found.mean(), expected)
    smooth = one_hot(*labels.tolist()) * (1 - smoothing) + smoothing / 4
    torch.testing.assert_close(found, -(smooth * logits.log_softmax(1)).sum(1))
    torch.testing.assert_close(per_clip_loss(logits, one_hot(*labels.tolist()), loss), found)


def test_the_loss_of_a_mixed_clip_is_that_of_both_labels():
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    _, soft = mix(clips_of(2), one_hot(0, 3), Mix(0.7, None))
    first, second = (F.cross_entropy(logits, torch.tensor(labels), reduction="none") for labels in ([0, 3], [3, 0]))
    torch.testing.assert_close(per_clip_loss(logits, soft, config.Loss()), 0.7 * first + 0.3 * second)


def test_several_labels():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    found = per_clip_loss(logits, labels, config.Loss(multi_label=True, label_smoothing=0.2))
    smooth = torch.where(labels == 1, 0.9, 0.1)
    p = logits.sigmoid()
    torch.testing.assert_close(found, -(smooth * p.log() + (1 - smooth) * (1 - p).log()).mean(1))


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_losses_precision(multi_label):
    loss, labels = config.Loss(multi_label=multi_label), one_hot(0, 1)
    for given, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert per_clip_loss(torch.ones(2, 4, dtype=given), labels, loss).dtype == expected
    logits = torch.tensor([[300.0, 1.0, 0.0, -300.0]] * 2, dtype=torch.float16)
    assert torch.equal(per_clip_loss(logits, labels, loss), per_clip_loss(logits.float(), labels, loss))


def test_hits():
    logits = torch.eye(4)[[0, 1, 2, 3]]
    assert hits(logits, torch.tensor([0, 1, 0, 3])) == 3
    several = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert hits(logits, several) == 2
    for share, expected in ((0.7, 4), (0.2, 0)):
        _, soft = mix(clips_of(4), one_hot(0, 1, 2, 3), Mix(share, None))
        assert hits(logits, soft) == expected
    assert hits(logits, soft).shape == ()


def test_without_clips():
    empty, labels = clips_of(0), torch.zeros(0, dtype=torch.int64)
    assert targets(labels, 4).shape == (0, 4)
    for plan in (Mix(0.3, None), Mix(0.5, (0, 0, 8, SIZE))):
        clips, soft = mix(empty, targets(labels, 4), plan)
        assert (clips.shape, soft.shape) == (empty.shape, (0, 4))
    logits = torch.zeros(0, 4, requires_grad=True)
    several = torch.zeros(0, 4)
    for given, loss in ((labels, {}), (several, {"label_smoothing": 0.1}), (several, {"multi_label": True})):
        found = per_clip_loss(logits, given, config.Loss(**loss))
        assert found.shape == (0,)
        found.sum().backward()
        assert hits(logits, given) == 0


@pytest.mark.gpu
def test_nothing_waits_for_the_gpu():
    logits, labels = torch.randn(4, 6, device="cuda"), torch.tensor([0, 1, 2, 3], device="cuda")
    clips = clips_of(4).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for plan in (Mix(0.3, None), Mix(0.5, (1, 2, 8, 9))):
            clips, soft = mix(clips, targets(labels, 6), plan)
            for given, multi_label in ((labels, False), (soft, False), (soft, True)):
                per_clip_loss(logits, given, config.Loss(multi_label=multi_label, label_smoothing=0.1))
                hits(logits, given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
