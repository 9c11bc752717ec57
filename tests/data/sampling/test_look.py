from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from actrec.config import Augment, Clip
from actrec.data.sampling.look import MAGNITUDES, OPERATIONS, Look, plan_look
from actrec.data.sampling.plan import plan_train

EVERYTHING = Augment(
    color_jitter=(0.4, 0.3, 1.0, 0.1), grayscale=0.25, blur=0.5, erasing=0.75, auto_augment="randaugment", rand_ops=3
)
SIZE = 112


def look(index=0, augment=EVERYTHING, size=SIZE):
    return plan_look(augment=augment, size=size, key=(1, 2, index, 0))


@pytest.fixture(scope="module")
def looks():
    return [look(index) for index in range(4000)]


def test_nothing_is_changed_unless_it_is_asked_for():
    assert {look(index, Augment()) for index in range(50)} == {Look()}
    assert not Augment().changes_colors
    for setting in ({"blur": 0.1}, {"color_jitter": (0, 0, 0, 0)}, {"auto_augment": "trivialaugment"}):
        assert Augment(**setting).changes_colors


def test_factors_and_hue_cover_their_range_evenly(looks):
    for name, middle, spread in (
        ("brightness", 1, 0.4), ("contrast", 1, 0.3), ("saturation", 1, 1.0), ("hue", 0, 0.1)
    ):  # fmt: skip
        values = np.array([getattr(one, name) for one in looks])
        quarters, _ = np.histogram(values, 4, (middle - spread, middle + spread))
        assert quarters.sum() == len(looks)
        assert quarters.min() > 900, name  # 1000 expected, 27 standard deviation


def test_parts_of_the_clips_are_gray_blurred_and_erased(looks):
    assert np.mean([one.gray for one in looks]) == pytest.approx(0.25, abs=0.03)
    sigmas = np.array([one.blur for one in looks if one.blur])
    assert len(sigmas) / len(looks) == pytest.approx(0.5, abs=0.03)
    assert 0.1 <= sigmas.min() < 0.15
    assert 1.95 < sigmas.max() <= 2
    assert np.mean([one.erased[2] > 0 for one in looks]) == pytest.approx(0.75, abs=0.03)
    never = [look(i, replace(EVERYTHING, grayscale=0.0, blur=0.0, erasing=0.0)) for i in range(100)]
    always = [look(i, replace(EVERYTHING, grayscale=1.0, blur=1.0, erasing=1.0)) for i in range(100)]
    assert not any(one.gray or one.blur or any(one.erased) for one in never)
    assert all(one.gray and one.blur and all(one.erased[2:]) for one in always)


def test_erased_rectangles_lie_inside_the_picture(looks):
    x, y, w, h = np.array([one.erased for one in looks if one.erased[2]]).T
    assert (np.minimum(x, y) >= 0).all()
    assert ((x + w <= SIZE) & (y + h <= SIZE)).all()
    area = w * h / SIZE**2
    assert 0.018 < area.min() < 0.025
    assert 0.3 < area.max() < 0.34
    assert np.log(w / h).mean() == pytest.approx(0, abs=0.05)
    assert (w / h).max() > 2.5
    assert ((x == 0).any(), (x + w == SIZE).any(), (y == 0).any(), (y + h == SIZE).any()) == (True,) * 4
    tiny = [look(i, size=1).erased for i in range(30)]
    assert set(tiny) == {(0, 0, 1, 1), (0, 0, 0, 0)}


def test_operations_of_randaugment(looks):
    chosen = np.array([one.operations for one in looks])
    assert chosen.shape == (4000, 3, 3)
    counts = np.bincount(chosen[..., 0].ravel(), minlength=len(OPERATIONS))
    assert counts.min() > 700  # 857 expected, 28 standard deviation
    assert set(chosen[..., 1].ravel()) == {9}
    assert chosen[..., 2].mean() == pytest.approx(0.5, abs=0.02)
    strong = look(augment=replace(EVERYTHING, rand_magnitude=30, rand_ops=1)).operations
    assert strong[0][1] == 30
    assert strong[0] == (look().operations[0][0], 30, look().operations[0][2])


def test_trivialaugment_is_one_operation_of_any_magnitude():
    augment = Augment(auto_augment="trivialaugment")
    chosen = np.array([look(i, augment).operations for i in range(4000)])
    assert chosen.shape == (4000, 1, 3)
    assert np.bincount(chosen[:, 0, 0], minlength=14).min() > 220
    assert np.bincount(chosen[:, 0, 1], minlength=MAGNITUDES).min() > 85  # 129 expected


def test_no_setting_moves_the_draws_of_another():
    plain = Look()
    for index in range(30):
        every = look(index)
        for name, setting in (
            ("brightness", {"color_jitter": EVERYTHING.color_jitter}), ("gray", {"grayscale": 0.25}),
            ("blur", {"blur": 0.5}), ("erased", {"erasing": 0.75}),
            ("operations", {"auto_augment": "randaugment", "rand_ops": 3}),
        ):  # fmt: skip
            alone = look(index, Augment(**setting))
            assert getattr(alone, name) == getattr(every, name)
            for other in {"gray", "blur", "erased", "operations"} - {name}:
                assert getattr(alone, other) == getattr(plain, other)


def test_the_plan_has_a_look_and_is_otherwise_the_same():
    def plan(augment, repeat=0):
        return plan_train(
            num_frames=300, width=340, height=256, clip=Clip(frames=8), size=SIZE, augment=augment, seed=1, epoch=2,
            index=3, repeat=repeat,
        )  # fmt: skip

    plain, changed, again = plan(Augment()), plan(EVERYTHING), plan(EVERYTHING)
    assert (plain.frames == changed.frames).all()
    assert (plain.box, plain.flip, plain.look) == (changed.box, changed.flip, Look())
    assert changed.look == again.look == look(3)
    assert plan(EVERYTHING, repeat=1).look != changed.look
