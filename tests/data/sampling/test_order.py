from __future__ import annotations

import itertools

import numpy as np
import pytest

from actrec.data.lists import Video
from actrec.data.sampling.order import EpochDraws, batch_slice, epoch_order, single_labels

LABELS = np.array([3] * 50 + [0] * 7 + [9] * 3 + [5])  # 61 videos of 4 classes, one of them with a single video


def epoch_draws(num_videos, **options):
    return EpochDraws(num_videos, **options)[:]


def balanced(epoch, **options):
    return epoch_draws(len(LABELS), seed=1, epoch=epoch, labels=LABELS, **options)


def test_plainly_every_video_is_drawn_once():
    draws = epoch_draws(50, seed=1, epoch=2)
    assert draws.dtype == np.int64
    assert draws[:, 0].tolist() == epoch_order(50, seed=1, epoch=2).tolist()
    assert not draws[:, 1].any()


def test_repeats_stand_next_to_each_other():
    draws = epoch_draws(20, seed=1, epoch=2, repeats=3)
    assert draws[::3, 0].tolist() == epoch_order(20, seed=1, epoch=2).tolist()
    assert draws.reshape(20, 3, 2)[:, :, 1].tolist() == [[0, 1, 2]] * 20
    assert (draws.reshape(20, 3, 2)[:, :, 0] == draws[::3, :1]).all()


def test_every_class_is_drawn_equally_often():
    total = np.zeros(10, int)
    for epoch in range(8):
        rows = balanced(epoch)[:, 0]
        assert len(rows) == 61
        counts = np.bincount(LABELS[rows], minlength=10)
        assert sorted(counts[[0, 3, 5, 9]].tolist()) == [15, 15, 15, 16]
        total += counts
    assert total[[0, 3, 5, 9]].tolist() == [122] * 4  # who gets one more goes round


def test_the_videos_of_a_class_are_drawn_in_turn():
    """A fresh permutation in each pass, from epoch to epoch."""
    for label in (0, 3, 9):
        rows = np.flatnonzero(label == LABELS)
        num_epochs = 2 * -(-len(rows) // 15)
        counts = np.zeros(len(LABELS), int)
        for epoch in range(num_epochs):
            drawn = balanced(epoch)[:, 0]
            counts += np.bincount(drawn[LABELS[drawn] == label], minlength=len(LABELS))
            assert counts[rows].max() - counts[rows].min() <= 1, (label, epoch)
    often = {tuple(np.flatnonzero(np.bincount(balanced(epoch)[:, 0])[50:57] == 3)) for epoch in range(9)}
    assert len(often) > 2  # which of the seven are drawn once more is not always the same


def test_a_video_that_is_drawn_again_has_another_number():
    for repeats in (1, 2):
        draws = balanced(3, repeats=repeats)
        assert len(draws) == 61 * repeats
        for row in np.unique(draws[:, 0]):
            times = draws[draws[:, 0] == row, 1]
            assert times.tolist() == [*range(len(times))]
        assert (draws[::repeats, 0] == draws[repeats - 1 :: repeats, 0]).all()
    single = draws[draws[:, 0] == 60]
    assert len(single) in (30, 32)


def test_the_order_is_random_over_the_epoch():
    labels = np.arange(1000) % 2
    drawn = labels[epoch_draws(1000, seed=0, epoch=0, labels=labels)[:, 0]]
    assert [drawn[i : i + 250].mean() for i in range(0, 1000, 250)] == pytest.approx([0.5] * 4, abs=0.1)
    changes = np.count_nonzero(np.diff(drawn))
    assert changes == pytest.approx(500, abs=65)  # 16 standard deviation


def test_it_hangs_on_seed_and_epoch_alone():
    again = [balanced(epoch).tolist() for epoch in (7, 2, 7)]
    assert again[0] == again[2] != again[1]
    other = epoch_draws(len(LABELS), seed=2, epoch=7, labels=LABELS)
    assert sorted(other[:, 0].tolist()) != sorted(balanced(7)[:, 0].tolist())


def test_single_labels():
    videos = [Video("a", "a", None, None, (4,)), Video("b", "b", None, None, (1, 2)), Video("c", "c", None, None, ())]
    assert single_labels(videos[:1]).tolist() == [4]
    with pytest.raises(ValueError, match="balanced with b, which has 2 labels: expected one of each"):
        single_labels(videos)
    with pytest.raises(ValueError, match="balanced with c, which has 0 labels"):
        single_labels(videos[2:])


def test_an_epoch_is_a_permutation_and_each_is_another():
    orders = [tuple(epoch_order(50, seed=s, epoch=e).tolist()) for s in (0, 1) for e in (0, 1, 2)]
    assert len(set(orders)) == 6
    assert all(sorted(order) == [*range(50)] for order in orders)


def test_ranks_tile_an_epoch():
    for world, batch_size, num_videos in itertools.product(range(1, 10), (1, 2, 5, 8, 13, 16), (0, 1, 7, 50, 64)):
        order = epoch_order(num_videos, seed=0, epoch=0)
        options = {"batch_size": batch_size, "num_draws": num_videos, "world": world}
        seen = []
        for step in range(-(-num_videos // batch_size)):
            parts = [order[batch_slice(step, rank=rank, **options)] for rank in range(world)]
            assert np.concatenate(parts).tolist() == order[step * batch_size : (step + 1) * batch_size].tolist(), (
                options
            )
            sizes = [len(part) for part in parts]
            if (step + 1) * batch_size <= num_videos:  # a whole batch is shared evenly
                assert max(sizes) - min(sizes) <= 1, options
            assert max(sizes) <= -(-batch_size // world), options
            seen += sizes
        assert sum(seen) == num_videos


def test_batch_slice_examples():
    assert batch_slice(2, batch_size=4, num_draws=20) == slice(8, 12)
    assert [batch_slice(1, batch_size=5, num_draws=20, rank=r, world=2) for r in (0, 1)] == [slice(5, 7), slice(7, 10)]
    assert [batch_slice(1, batch_size=8, num_draws=11, rank=r, world=2) for r in (0, 1)] == [
        slice(8, 11),
        slice(11, 11),
    ]


def test_rows_that_are_left_out_change_no_other_order():
    out = {3, 17, 0}
    for repeats in (1, 2):
        whole = epoch_draws(20, seed=1, epoch=2, repeats=repeats)
        draws = epoch_draws(20, seed=1, epoch=2, repeats=repeats, left_out=out)
        assert draws.tolist() == [draw for draw in whole.tolist() if draw[0] not in out]
        assert epoch_draws(20, seed=1, epoch=2, repeats=repeats, left_out=()).tolist() == whole.tolist()


def test_class_balance_among_the_rows_that_are_not_left_out():
    out = {0, 1, 52, 60 - 2}
    usable = np.array([row for row in range(61) if row not in out])
    for epoch in range(4):
        rows = balanced(epoch, left_out=out)[:, 0]
        assert rows.tolist() == usable[epoch_draws(57, seed=1, epoch=epoch, labels=LABELS[usable])[:, 0]].tolist()
        counts = np.bincount(LABELS[rows], minlength=10)
        assert sorted(counts[[0, 3, 5, 9]].tolist()) == [14, 14, 14, 15]
    assert balanced(0, left_out=()).tolist() == balanced(0).tolist()


def test_a_part_of_the_draws():
    for options in ({}, {"repeats": 3}, {"labels": LABELS, "repeats": 2}, {"left_out": (0, 5)}):
        draws = EpochDraws(len(LABELS), seed=1, epoch=2, **options)
        whole = draws[:]
        assert len(whole) == len(draws)
        assert whole.dtype == np.int64
        for begin in range(0, len(draws), 7):
            assert draws[begin : begin + 7].tolist() == whole[begin : begin + 7].tolist()
        assert draws[len(draws) :].shape == (0, 2)


@pytest.mark.parametrize("left_out", [(), range(0, 9_000, 100)])
def test_64_processes_draw_every_video_once(left_out):
    """8 machines with 8 GPUs each: what they draw in an epoch is complete and without repetition."""
    num_videos, world, batch_size = 100_003, 64, 64 * 48
    draws = EpochDraws(num_videos, seed=3, epoch=1, left_out=left_out)
    found = []
    for step in range(-(-len(draws) // batch_size)):
        parts = [
            draws[batch_slice(step, batch_size=batch_size, num_draws=len(draws), rank=rank, world=world)]
            for rank in range(world)
        ]
        assert np.array_equal(np.concatenate(parts), draws[step * batch_size : (step + 1) * batch_size])
        found += [rows[:, 0] for rows in parts]
    assert np.array_equal(np.sort(np.concatenate(found)), np.setdiff1d(np.arange(num_videos), list(left_out)))
