import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from actrec.config import Augment, Clip, Views
from actrec.data.sampling.order import epoch_order
from actrec.data.sampling.plan import check_sampling, plan_eval, plan_train

SIZES = [(1, 1), (2, 1), (7, 300), (340, 256), (256, 340), (224, 224), (225, 224), (4000, 17), (1920, 1080), (3, 5)]
GEOMETRIES = ("multiscale", "corner", "jitter", "random-resized", "center")
TRAIN = {
    "num_frames": 300,
    "width": 340,
    "height": 256,
    "clip": Clip(frames=8),
    "size": 224,
    "augment": Augment(),
    "seed": 1,
    "epoch": 2,
    "row": 3,
}


@pytest.fixture(scope="module")
def golden(shared_spec):
    return json.loads((shared_spec / "golden_vectors.json").read_text())


def train(**changes):
    return plan_train(**{**TRAIN, **changes})


def plain(plan):
    return plan.frames.tolist(), plan.box, plan.flip


# evaluation
def test_crops_lie_inside_the_picture():
    for (width, height), size, crops, rule in itertools.product(
        SIZES, (16, 112, 224), (1, 3, 5, 10), ("actrec", "ibm")
    ):
        for ratio in (0.875, 1.0, 0.3):
            views = Views(crops=crops, crop_ratio=ratio, rule=rule)
            plan = plan_eval(num_frames=9, width=width, height=height, clip=Clip(frames=4), size=size, views=views)
            assert plan.offsets.shape == (crops, 2)
            assert plan.offsets.dtype == np.int64
            assert plan.offsets.min() >= 0
            assert (plan.offsets + size <= plan.resize).all(), (width, height, size, views)
            assert plan.crop == (size, size)


def test_ten_crops_are_five_and_their_mirrors():
    five, ten = (
        plan_eval(num_frames=9, width=427, height=240, clip=Clip(frames=4), size=224, views=Views(crops=crops))
        for crops in (5, 10)
    )
    assert ten.offsets[::2].tolist() == ten.offsets[1::2].tolist() == five.offsets.tolist()
    assert ten.flips.tolist() == [False, True] * 5
    assert five.flips.tolist() == [False] * 5


def test_evaluation_clips():
    options = {"num_frames": 300, "width": 9, "height": 9, "size": 8}
    uniform = plan_eval(clip=Clip(frames=8), views=Views(clips=2), **options)
    assert uniform.frames.tolist()[0] == [9, 46, 84, 121, 159, 196, 234, 271]
    assert uniform.frames.shape == (2, 8)
    dense = plan_eval(clip=Clip(frames=3, stride=2, sampling="dense"), views=Views(clips=2), **options)
    assert dense.frames.tolist() == [[0, 2, 4], [295, 297, 299]]
    ibm = plan_eval(clip=Clip(frames=3, stride=2, sampling="dense", rule="ibm"), views=Views(clips=2), **options)
    assert ibm.frames.tolist() == [[0, 2, 4], [294, 296, 298]]


# training


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_boxes_lie_inside_the_picture(geometry):
    other = {"jitter": {"short_sides": (32, 40)}, "random-resized": {"aspect": (0.1, 0.3)}, "center": {}}
    augments = [Augment(geometry=geometry), Augment(geometry=geometry, **other.get(geometry, {"scales": (0.1,)}))]
    for (width, height), size, augment in itertools.product(SIZES, (8, 224), augments):
        for index in range(40):
            x, y, w, h = train(width=width, height=height, size=size, augment=augment, row=index).box
            where = (width, height, size, augment, index)
            assert w >= 1, where
            assert h >= 1, where
            assert 0 <= x <= width - w, where
            assert 0 <= y <= height - h, where
            assert all(type(value) is int for value in (x, y, w, h)), where


def test_multiscale_draws_all_candidates_alike(golden):
    case = golden["ibm_multiscale_v1"][0]
    boxes = [train(width=case["w"], height=case["h"], row=i).box for i in range(6000)]
    legal = {(x, y, *map(int, size.split("x"))) for size, places in case["pairs"].items() for x, y in places}
    assert set(boxes) == legal
    sizes, counts = np.unique([f"{w}x{h}" for *_, w, h in boxes], return_counts=True)
    assert len(sizes) == 10
    assert counts.min() > 500  # 600 expected, 23 standard deviation


def test_jitter_is_a_random_short_side_and_place():
    augment = Augment(geometry="jitter")
    boxes = np.array([train(augment=augment, row=i).box for i in range(3000)])
    x, y, w, h = boxes.T
    assert (w == h).all()
    assert set(w.tolist()) == {round(224 * 256 / short) for short in range(256, 321)}
    np.testing.assert_allclose(w.mean(), np.mean([224 * 256 / s for s in range(256, 321)]), atol=1)
    np.testing.assert_allclose((x / (340 - w)).mean(), 0.5, atol=0.02)
    np.testing.assert_allclose((y / (256 - h)).mean(), 0.5, atol=0.02)
    assert ((x == 340 - w).any(), (y == 256 - h).any(), (x == 0).any(), (y == 0).any()) == (True,) * 4
    # a net larger than the short side takes the largest square
    assert train(augment=Augment(geometry="jitter", short_sides=(100, 100))).box[2:] == (256, 256)


def test_random_resized_area_and_aspect():
    augment = Augment(geometry="random-resized", area=(0.1, 0.4))
    boxes = np.array([train(width=400, height=400, augment=augment, row=i).box for i in range(3000)])
    x, y, w, h = boxes.T
    area, aspect = w * h / 400**2, np.log(w / h)
    assert area.min() == pytest.approx(0.1, abs=0.005)
    assert area.max() == pytest.approx(0.4, abs=0.005)
    assert area.mean() == pytest.approx(0.25, abs=0.01)
    assert aspect.min() == pytest.approx(np.log(0.75), abs=0.02)
    assert aspect.max() == pytest.approx(np.log(4 / 3), abs=0.02)
    assert aspect.mean() == pytest.approx(0, abs=0.02)
    assert (x / (400 - w)).mean() == pytest.approx(0.5, abs=0.02)
    assert (y / (400 - h)).mean() == pytest.approx(0.5, abs=0.02)


def test_random_resized_that_cannot_fit_takes_the_largest_centerd_box():
    augment = Augment(geometry="random-resized", area=(1.0, 1.0))
    assert train(width=4000, height=17, augment=augment).box == ((4000 - 23) // 2, 0, 23, 17)
    assert train(width=7, height=300, augment=augment).box == (0, (300 - 9) // 2, 7, 9)
    assert train(width=90, height=90, augment=Augment(geometry="random-resized", area=(1, 1), aspect=(1, 1))).box == (
        (0, 0, 90, 90)
    )


def test_center_is_the_largest_square():
    assert train(augment=Augment(geometry="center")).box == (42, 0, 256, 256)
    assert train(width=5, height=8, augment=Augment(geometry="center")).box == (0, 1, 5, 5)


def test_corner_is_a_square_at_one_of_five_places():
    """Hara's: 240 pixels at 2^(-1/4) make 201, and the center is rounded."""
    augment = Augment(geometry="corner", scales=(1.0, 0.8409, 0.7071, 0.5946, 0.5))
    boxes = [train(width=321, height=240, augment=augment, row=i).box for i in range(5000)]
    legal = set()
    for side in (240, 201, 169, 142, 120):
        right, bottom = 321 - side, 240 - side
        places = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
        legal |= {(x, y, side, side) for x, y in places}
    assert set(boxes) == legal
    sides, counts = np.unique([w for *_, w, _ in boxes], return_counts=True)
    assert counts.min() > 880  # 1000 expected, 28 standard deviation
    corners = sum(box in {(0, 0, 120, 120), (201, 120, 120, 120)} for box in boxes)
    assert corners == pytest.approx(5000 * 2 / 25, abs=80)


def test_the_stride_is_drawn_from_its_range():
    clip = Clip(frames=4, sampling="dense")
    plans = [train(clip=clip, augment=Augment(stride_range=(2, 5)), row=i, num_frames=1000) for i in range(2000)]
    steps = np.array([np.diff(plan.frames) for plan in plans])
    assert (steps == steps[:, :1]).all()
    strides, counts = np.unique(steps, return_counts=True)
    assert strides.tolist() == [2, 3, 4, 5]
    assert counts.min() > 3 * 430  # 500 expected, 19 standard deviation
    fixed = train(clip=replace(clip, stride=3))
    drawn = train(clip=clip, augment=Augment(stride_range=(3, 3)))
    assert plain(drawn) == plain(fixed)


def test_the_center_clip_is_the_one_of_evaluation():
    center = Augment(clip_position="center")
    for clip in (Clip(frames=8), Clip(frames=8, rule="comb"), Clip(frames=8, stride=5, sampling="dense")):
        views = plan_eval(num_frames=300, width=9, height=9, clip=clip, size=8, views=Views())
        for index in range(5):
            plan = train(clip=clip, augment=center, row=index)
            assert plan.frames.tolist() == views.frames[0].tolist()
            assert (plan.box, plan.flip) == plain(train(clip=clip, row=index))[1:]
    clip, both = Clip(frames=3, sampling="dense"), replace(center, stride_range=(1, 2))
    frames = {tuple(train(clip=clip, augment=both, row=i, num_frames=9).frames.tolist()) for i in range(20)}
    assert frames == {(3, 4, 5), (2, 4, 6)}


@pytest.mark.parametrize(
    ("clip", "augment", "message"),
    [
        (Clip(), {"stride_range": (1, 4)}, "stride_range 1 4 with sampling uniform: expected sampling dense"),
        (Clip(sampling="dense", stride=2), {"stride_range": (1, 4)}, "stride_range 1 4 with stride 2: expected one of"),
        (Clip(sampling="dense", rule="ibm"), {"clip_position": "center"}, "center with sampling rule ibm: its only d"),
    ],
)
def test_augmentations_that_a_clip_cannot_have(clip, augment, message):
    with pytest.raises(ValueError, match=message):
        check_sampling(clip, Augment(**augment))
    check_sampling(Clip(sampling="dense"), Augment(**augment))


@pytest.mark.parametrize(
    ("geometry", "box"),
    [
        ("multiscale", (129, 16, 168, 192)),
        ("jitter", (120, 65, 189, 189)),
        ("random-resized", (16, 14, 286, 242)),
        ("center", (42, 0, 256, 256)),
    ],
)
def test_plans_stay_what_they_were(geometry, box):
    """From one version to the next: a run that is continued is the same run."""
    for clip, frames in (
        (Clip(frames=4), [44, 145, 215, 292]),
        (Clip(frames=4, stride=3, sampling="dense"), [170, 173, 176, 179]),
    ):
        assert plain(train(clip=clip, augment=Augment(geometry=geometry), repeat=1)) == (frames, box, False)


def test_a_plan_hangs_on_its_key_alone():
    reference = plain(train())
    np.random.seed(5)
    np.random.rand(3)
    for index in range(5):
        train(row=index)
    assert plain(train()) == reference
    for change in ({"seed": 9}, {"epoch": 9}, {"row": 9}, {"repeat": 1}):
        assert train(**change).frames.tolist() != reference[0], change


def test_keys_do_not_meet():
    """No two of them, trailing zeros included, give the same plan."""
    keys = itertools.product((0, 1, 2), repeat=4)
    frames = [tuple(train(seed=s, epoch=e, row=i, repeat=r, num_frames=10**6).frames.tolist()) for s, e, i, r in keys]
    assert len(set(frames)) == 3**4
    large = [train(seed=seed).frames.tolist() for seed in (2**32 + 1, 2**63, 1)]
    assert large[0] != large[1] != large[2] != large[0]


CHILD = """
from actrec.config import Augment, Clip
from actrec.data.sampling.order import epoch_order
from actrec.data.sampling.plan import plan_train
for index in (5, 3):
    plan = plan_train(num_frames=300, width=340, height=256, clip=Clip(frames=8), size=224, augment=Augment(),
                      seed=1, epoch=2, row=index, repeat=1)
print((plan.frames.tolist(), plan.box, plan.flip), epoch_order(20, seed=1, epoch=2).tolist())
"""


def test_another_process_makes_the_same_plan():
    expected = f"{plain(train(repeat=1))} {epoch_order(20, seed=1, epoch=2).tolist()}\n"
    for hash_seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        child = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True)
        assert child.stdout == expected, child.stderr


def test_every_plan_draws_the_same_number_of_variates():
    """What one part needs does not move the draws of the others."""
    for index in range(30):
        plans = [train(row=index, augment=Augment(geometry=geometry)) for geometry in GEOMETRIES]
        plans.append(train(row=index, width=7, height=300, augment=Augment(geometry="random-resized")))
        plans.append(train(row=index, augment=Augment(scales=(1.0,))))
        strides = Augment(stride_range=(1, 9))
        drawn = train(row=index, clip=Clip(frames=8, sampling="dense"), augment=strides)
        assert (drawn.box, drawn.flip) == (plans[0].box, plans[0].flip)
        assert len({plan.flip for plan in plans}) == 1
        assert len({tuple(plan.frames.tolist()) for plan in plans}) == 1
        unmirrored = [train(row=index, may_flip=False), train(row=index, augment=Augment(flip=False))]
        clips = [train(row=index, clip=Clip(frames=f, sampling="dense", stride=2)) for f in (1, 16)]
        assert len({plan.box for plan in (plans[0], *unmirrored, *clips)}) == 1
        assert {plan.flip for plan in clips} == {plans[0].flip}
        assert {tuple(p.frames.tolist()) for p in unmirrored} == {tuple(plans[0].frames.tolist())}


def test_half_are_mirrored_where_the_class_allows_it():
    flips = [train(row=index).flip for index in range(2000)]
    assert np.mean(flips) == pytest.approx(0.5, abs=0.04)
    assert {type(flip) for flip in flips} == {bool}
    assert not any(train(row=index, may_flip=False).flip for index in range(50))
    assert not any(train(row=index, augment=Augment(flip=False)).flip for index in range(50))


def test_the_clip_names_its_sampler():
    dense = Clip(frames=4, stride=3, sampling="dense")
    assert np.diff(train(clip=dense).frames).tolist() == [3, 3, 3]
    comb = train(clip=Clip(frames=8, rule="comb"), num_frames=320).frames
    assert np.diff(comb).tolist() == [40] * 7
    wraps = train(clip=replace(dense, rule="ibm"), num_frames=8).frames
    assert wraps.tolist() == [0, 3, 6, 1]
    assert train(num_frames=8).frames.tolist() == [*range(8)]
    assert train().frames.dtype == np.int64
