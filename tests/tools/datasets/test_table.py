from __future__ import annotations

import pytest

from actrec.data.lists.labels import read_labels
from actrec.tools.datasets.table import DATASETS


def test_the_reference_numbers():
    wanted = {
        "kinetics400": (400, 30), "mini-kinetics": (200, 30), "ssv2": (174, 3), "mini-ssv2": (87, 3),
        "moments": (339, 0), "mini-moments": (200, 0),
    }  # fmt: skip
    assert {name: (DATASETS[name].num_classes, DATASETS[name].min_frames) for name in wanted} == wanted
    counts = {"ucf101": 101, "hmdb51": 51, "activitynet": 200, "jester": 27, "diving48": 48, "kinetics700": 700}
    assert {name: DATASETS[name].num_classes for name in counts} == counts


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_class_lists_are_sorted_and_complete(dataset):
    if dataset.class_file is None:
        return
    names = read_labels(dataset.class_file)
    assert names == sorted(names)
    assert len(names) == dataset.num_classes
    assert dataset.class_file.read_text().splitlines() == names


def test_flips():
    names = sorted(["Sliding Two Fingers Left", "Sliding Two Fingers Right", "Thumb Up", "Turning Hand Clockwise"])
    assert DATASETS["jester"].flips(names) == [
        ("Sliding Two Fingers Left", "Sliding Two Fingers Right"), ("Turning Hand Clockwise", "-"),
    ]  # fmt: skip
    names = ["Pulling something from left to right", "Pulling something from right to left", "Putting it upright"]
    assert DATASETS["ssv2"].flips(names) == [tuple(names[:2])]
    assert DATASETS["kinetics400"].flips(["turning left", "turning right"]) == []
    assert {name for name, dataset in DATASETS.items() if dataset.mirror} == {"ssv1", "ssv2", "mini-ssv2", "jester"}
