"""The random numbers of the augmentations, and the options that switch them on."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import actrec
from actrec import config
from actrec.data.index import Media
from actrec.data.lists import Video
from actrec.pipelines import augment
from actrec.pipelines.augment.auto_augment import MAGNITUDES, OPERATIONS
from actrec.pipelines.task import TrainTask

EVERYTHING = actrec.Augment(
    color_jitter=(0.4, 0.3, 1.0, 0.1), grayscale=0.25, blur=0.5, erasing=0.75, auto_augment="randaugment", rand_ops=3
)
SIZE = 112


def draw(index=0, options=EVERYTHING, size=SIZE) -> dict[str, np.ndarray]:
    return augment.draw(augment.active(options), size=size, key=(1, 2, index, 0))


@pytest.fixture(scope="module")
def draws() -> dict[str, np.ndarray]:
    """4000 draws of each augmentation."""
    found = [draw(index) for index in range(4000)]
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def test_nothing_is_drawn_unless_it_is_asked_for():
    assert draw(0, actrec.Augment()) == {}
    assert augment.active(config.Augment()) == ()
    for name, setting in (
        ("blur", {"blur": 0.1}), ("color_jitter", {"color_jitter": (0.0, 0.0, 0.0, 0.0)}),
        ("auto_augment", {"auto_augment": "trivialaugment"}),
    ):  # fmt: skip
        assert [augmentation.name for augmentation in augment.active(actrec.Augment(**setting))] == [name]
    names = [augmentation.name for augmentation in augment.active(EVERYTHING)]
    assert names == ["auto_augment", "grayscale", "color_jitter", "blur", "erasing"]


def test_factors_and_hue_cover_their_range_evenly(draws):
    for i, (middle, spread) in enumerate(((1, 0.4), (1, 0.3), (1, 1.0), (0, 36))):
        values = draws["color_jitter"][:, i]
        quarters, _ = np.histogram(values, 4, (middle - spread, middle + spread))
        assert quarters.sum() == 4000
        assert quarters.min() > 900, i  # 1000 expected, 27 standard deviation


def test_fractions_of_the_clips_are_gray_blurred_and_erased(draws):
    assert draws["grayscale"].mean() == pytest.approx(0.25, abs=0.03)
    sigmas = draws["blur"][draws["blur"] > 0]
    assert len(sigmas) / 4000 == pytest.approx(0.5, abs=0.03)
    assert 0.1 <= sigmas.min() < 0.15
    assert 1.95 < sigmas.max() <= 2
    assert (draws["erasing"][:, 2] > 0).mean() == pytest.approx(0.75, abs=0.03)
    for part in (0.001, 1.0):
        found = [draw(i, replace(EVERYTHING, grayscale=part, blur=part, erasing=part)) for i in range(100)]
        for name in ("grayscale", "blur", "erasing"):
            assert np.mean([np.any(one[name]) for one in found]) == pytest.approx(part, abs=0.03)


def test_erased_rectangles_are_inside_the_picture(draws):
    y, x, h, w = draws["erasing"][draws["erasing"][:, 2] > 0].T
    assert (np.minimum(x, y) >= 0).all()
    assert ((x + w <= SIZE) & (y + h <= SIZE)).all()
    area = w * h / SIZE**2
    assert 0.018 < area.min() < 0.025
    assert 0.3 < area.max() < 0.34
    assert np.log(w / h).mean() == pytest.approx(0, abs=0.05)
    assert (w / h).max() > 2.5
    assert ((x == 0).any(), (x + w == SIZE).any(), (y == 0).any(), (y + h == SIZE).any()) == (True,) * 4
    tiny = {tuple(draw(i, size=1)["erasing"].tolist()) for i in range(30)}
    assert tiny == {(0, 0, 1, 1), (0, 0, 0, 0)}


def test_operations_of_randaugment(draws):
    chosen = draws["auto_augment"]
    assert chosen.shape == (4000, 3, 3)
    counts = np.bincount(chosen[..., 0].ravel(), minlength=len(OPERATIONS))
    assert counts.min() > 700  # 857 expected, 28 standard deviation
    assert set(chosen[..., 1].ravel()) == {9}
    assert chosen[..., 2].mean() == pytest.approx(0.5, abs=0.02)
    strong = draw(options=replace(EVERYTHING, rand_magnitude=30, rand_ops=1))["auto_augment"]
    assert strong[0].tolist() == [draw()["auto_augment"][0, 0], 30, draw()["auto_augment"][0, 2]]


def test_trivialaugment_is_one_operation_of_any_magnitude():
    options = actrec.Augment(auto_augment="trivialaugment")
    chosen = np.stack([draw(i, options)["auto_augment"] for i in range(4000)])
    assert chosen.shape == (4000, 1, 3)
    assert np.bincount(chosen[:, 0, 0], minlength=14).min() > 220
    assert np.bincount(chosen[:, 0, 1], minlength=MAGNITUDES).min() > 85  # 129 expected


def test_no_augmentation_changes_the_draws_of_another():
    for index in range(30):
        every = draw(index)
        for name, setting in (
            ("color_jitter", {"color_jitter": EVERYTHING.color_jitter}), ("grayscale", {"grayscale": 0.25}),
            ("blur", {"blur": 0.5}), ("erasing", {"erasing": 0.75}),
            ("auto_augment", {"auto_augment": "randaugment", "rand_ops": 3}),
        ):  # fmt: skip
            alone = draw(index, actrec.Augment(**setting))
            assert list(alone) == [name]
            assert np.array_equal(alone[name], every[name])


def test_frames_boxes_and_flips_stay_what_they_were():
    media = Media("a", 0, 300, 340, 256)

    def plan(options, repeat=0):
        net_input = config.Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=SIZE)
        task = TrainTask(
            [Video("a", "a", None, None, (0,))] * 4, actrec.Clip(), net_input, augment=options, batch_size=1, seed=1
        )
        return task.plan(2, 3, repeat, media)

    plain, changed, again = plan(actrec.Augment()), plan(EVERYTHING), plan(EVERYTHING)
    assert (plain.frames == changed.frames).all()
    assert (plain.box, plain.flip, plain.drawn) == (changed.box, changed.flip, {})
    expected = draw(3)
    assert changed.drawn.keys() == again.drawn.keys() == expected.keys()
    for name, numbers in expected.items():
        assert np.array_equal(changed.drawn[name], numbers)
        assert np.array_equal(again.drawn[name], numbers)
    assert not np.array_equal(plan(EVERYTHING, repeat=1).drawn["color_jitter"], changed.drawn["color_jitter"])


def test_options_are_flat_fields_of_a_frozen_dataclass():
    names = [f.name for f in fields(actrec.Augment)]
    assert {f.name for f in fields(config.Augment)} < set(names)
    assert {"color_jitter", "grayscale", "blur", "erasing", "auto_augment", "rand_ops", "rand_magnitude"} < set(names)
    assert isinstance(actrec.Augment(blur=0.5), config.Augment)
    assert actrec.Augment(blur=0.5) == replace(actrec.Augment(), blur=0.5) != actrec.Augment()
    with pytest.raises(AttributeError):
        actrec.Augment().blur = 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blur": 1.5}, "blur 1.5: expected from 0 to 1"),
        ({"auto_augment": "randaug"}, "auto_augment 'randaug': expected one of none, randaugment, trivialaugment"),
        ({"rand_ops": 3}, "rand_ops 3 with auto_augment none"),
        ({"auto_augment": "randaugment", "rand_magnitude": 31}, "rand_magnitude 31: expected from 0 to 30"),
        ({"color_jitter": (0.4, 0.4, 0.4, 0.6)}, "color_jitter 0.4,0.4,0.4,0.6: expected three numbers from 0 to 1"),
    ],
)
def test_illegal_options(options, message):
    with pytest.raises(ValueError, match=message):
        actrec.Augment(**options)


def test_a_name_or_an_option_that_is_taken():
    with pytest.raises(ValueError, match="augmentation 'other': actrec.Augment already has an option 'blur'"):
        augment.register("other")(augment.blur.Blur)
