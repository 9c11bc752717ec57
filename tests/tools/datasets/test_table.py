from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import pytest

from actrec.data.lists.labels import read_labels
from actrec.tools import datasets
from actrec.tools.datasets.table import DATASETS, register
from actrec.tools.lists.published import make_lists


def test_the_reference_numbers():
    wanted = {
        "kinetics400": (400, 30), "mini-kinetics": (200, 30), "ssv2": (174, 3), "mini-ssv2": (87, 3),
        "moments": (339, 0), "mini-moments": (200, 0),
    }  # fmt: skip
    assert {name: (DATASETS.get(name).num_classes, DATASETS.get(name).min_frames) for name in wanted} == wanted
    counts = {"ucf101": 101, "hmdb51": 51, "activitynet": 200, "jester": 27, "diving48": 48, "kinetics700": 700}
    assert {name: DATASETS.get(name).num_classes for name in counts} == counts


@pytest.mark.parametrize("dataset", [DATASETS.get(name) for name in DATASETS], ids=lambda dataset: dataset.name)
def test_class_lists_are_sorted_and_complete(dataset):
    if dataset.class_file is None:
        return
    names = read_labels(dataset.class_file)
    assert names == sorted(names)
    assert len(names) == dataset.num_classes
    assert dataset.class_file.read_text().splitlines() == names


def test_flips():
    names = sorted(["Sliding Two Fingers Left", "Sliding Two Fingers Right", "Thumb Up", "Turning Hand Clockwise"])
    assert DATASETS.get("jester").flips(names) == [
        ("Sliding Two Fingers Left", "Sliding Two Fingers Right"), ("Turning Hand Clockwise", "-"),
    ]  # fmt: skip
    names = ["Pulling something from left to right", "Pulling something from right to left", "Putting it upright"]
    assert DATASETS.get("ssv2").flips(names) == [tuple(names[:2])]
    assert DATASETS.get("kinetics400").flips(["turning left", "turning right"]) == []
    assert {name for name in DATASETS if DATASETS.get(name).mirror} == {"ssv1", "ssv2", "mini-ssv2", "jester"}


# ---- one more dataset ----

MODULE = """
from actrec.tools.datasets.annotations import Published, choose, table
from actrec.tools.datasets.table import Dataset, register


def read(paths, dataset, split):
    notes = Published()
    for part, files in choose(paths, {"train": "train.csv", "val": "val.csv"}, dataset).items():
        for file in files:
            for line, (name, label) in table(file, notes):
                notes.add(part, name, label, file, line)
    return notes


register(Dataset("kitchen", "Our kitchen", 2, read=read, annotations="train.csv and val.csv", videos="<name>.mp4"))
"""


@pytest.fixture
def own_registry(monkeypatch):
    """What is registered in the test is forgotten after it."""
    DATASETS.names()
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    return monkeypatch


def test_a_dataset_is_one_module(own_registry, tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "kitchen.py").write_text(MODULE)
    own_registry.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path / "modules")])
    own_registry.setattr(DATASETS, "_loaded", False)
    own_registry.delitem(sys.modules, "actrec.tools.datasets.kitchen", raising=False)
    importlib.invalidate_caches()
    assert "kitchen" in DATASETS
    (tmp_path / "notes").mkdir()
    for part, name in (("train", "a"), ("val", "b")):
        (tmp_path / "notes" / f"{part}.csv").write_text(f"{name},stir\n{name}2,cut\n")
        for video in (name, f"{name}2"):
            (tmp_path / f"{video}.mp4").touch()
    made = make_lists(DATASETS.get("kitchen"), [tmp_path / "notes"], tmp_path, tmp_path / "out")
    assert made.lists == {"train.txt": 2, "val.txt": 2}
    assert read_labels(tmp_path / "out" / "labels.txt") == ["cut", "stir"]
    sys.modules.pop("actrec.tools.datasets.kitchen")


def test_a_dataset_from_outside(own_registry):
    register(replace(DATASETS.get("jester"), name="gestures"))
    assert DATASETS.get("gestures").num_classes == 27
    with pytest.raises(ValueError, match="dataset 'gestures' is registered twice"):
        register(DATASETS.get("gestures"))
