"""Boxes and crops, against the reference's numbers and by hand."""

import itertools
import json

import pytest

from actrec.config import Augment
from actrec.data.sampling.geometry import crop_offsets, eval_resize, multiscale_choices, multiscale_places


@pytest.fixture(scope="module")
def golden(shared_spec):
    return json.loads((shared_spec / "golden_vectors.json").read_text())


def test_resize_and_center_are_the_reference_s(golden):
    for case in golden["ibm_val_resize"]:
        ratio = 1.0 if case["disable_scaleup"] else 0.875
        resize = eval_resize(case["w"], case["h"], case["input"], ratio)
        assert list(resize) == case["resized"], case
        assert min(resize) == case["scale"]
        assert crop_offsets(*resize, case["input"], 1).tolist() == [case["center_xy"]], case
        assert crop_offsets(*resize, case["input"], 1, rule="ibm").tolist() == [case["center_xy"]], case


def test_resize_and_center_examples():
    assert eval_resize(427, 240, 224, 0.875) == (455, 256)
    assert eval_resize(340, 256, 256, 0.875) == (389, 293)
    assert crop_offsets(455, 256, 224, 1).tolist() == [[116, 16]]
    assert crop_offsets(455, 256, 256, 1).tolist() == [[100, 0]]  # 99.5 and half to even


def test_ibm_crops_are_the_reference_s(golden):
    cases = [case for case in golden["ibm_oversample"] if case["num_crops"] > 1]
    assert {case["num_crops"] for case in cases} == {3, 5, 10}
    for case in cases:
        crops = min(case["num_crops"], 5)
        ours = crop_offsets(case["w"], case["h"], case["crop"], crops, rule="ibm")
        assert ours.tolist() == case["offsets_xy"], case
        assert case["n_out"] == case["num_crops"]


def test_our_crops_touch_the_border_and_share_the_center():
    for (width, height), size in itertools.product([(455, 256), (256, 455), (341, 256), (259, 256)], [224, 221, 256]):
        one = crop_offsets(width, height, size, 1).tolist()[0]
        three = crop_offsets(width, height, size, 3).tolist()
        five = crop_offsets(width, height, size, 5).tolist()
        right, bottom = width - size, height - size
        assert three[2] == five[4] == one
        assert five[:4] == [[0, 0], [right, 0], [0, bottom], [right, bottom]]
        if width >= height:
            assert three[:2] == [[0, one[1]], [right, one[1]]]
        else:
            assert three[:2] == [[one[0], 0], [one[0], bottom]]


def test_multiscale_candidates_are_the_reference_s(golden):
    for case in golden["ibm_multiscale_v1"]:
        choices = multiscale_choices(case["w"], case["h"], case["input"], Augment().scales)
        assert len(choices) == 10
        ours = {}
        for w, h in choices:
            places = multiscale_places(case["w"], case["h"], w, h)
            assert len(places) == 13
            ours[f"{w}x{h}"] = [list(place) for place in sorted(set(places))]
        assert ours == case["pairs"], case


def test_multiscale_takes_the_net_s_size_where_it_is_near():
    assert multiscale_choices(340, 256, 226, (0.875,)) == [(226, 226)]
    assert multiscale_choices(340, 256, 227, (0.875,)) == [(224, 224)]
    assert multiscale_choices(300, 223, 224, (1.0,)) == [(223, 223)]  # never larger than the picture
    assert multiscale_choices(1, 9, 224, (1.0, 0.66)) == [(1, 1)] * 4
