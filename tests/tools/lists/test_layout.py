"""Which folders are classes and which are parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actrec.tools.lists.layout import layout_of

SRC = Path("videos")


@pytest.mark.parametrize(
    ("names", "classes", "parts"),
    [
        (["run/1.mp4", "walk/2.mp4"], ["run", "walk"], None),
        (["run/a/1.mp4", "walk/b/2.mp4"], ["run", "walk"], None),  # folders below the class mean nothing
        (["run/1.mp4", "run/a/2.mp4", "walk/a/3.mp4"], ["run", "run", "walk"], None),
        (["1.mp4", "run/2.mp4"], ["", "run"], None),
        (["run/1.mp4", "run/2.mp4"], ["run", "run"], None),
        (["train/run/1.mp4", "test/walk/2.mp4"], ["run", "walk"], ["train", "test"]),
        (["Train/run/1.mp4", "Valid/walk/2.mp4"], ["run", "walk"], ["train", "val"]),
        (["training/run/1.mp4", "validation/run/2.mp4", "TESTING/run/3.mp4"], ["run"] * 3, ["train", "val", "test"]),
        (["run/train/1.mp4", "walk/val/2.mp4", "run/val/3.mp4"], ["run", "walk", "run"], ["train", "val", "val"]),
        (["UCF-101/run/1.avi", "UCF-101/walk/2.avi"], ["run", "walk"], None),
        (["data/train/run/1.mp4", "data/val/run/2.mp4"], ["run", "run"], ["train", "val"]),
        (["train/run/1.mp4", "train/walk/2.mp4"], ["run", "walk"], None),  # nothing but training videos
        (["train/1.mp4", "plane/2.mp4", "test/3.mp4"], ["train", "plane", "test"], None),  # nothing is below them
        (["train/a/1.mp4", "plane/a/2.mp4", "bus/b/3.mp4"], ["train", "plane", "bus"], None),  # vehicles
        (["train/run/a/1.mp4", "val/run/a/2.mp4"], ["run", "run"], ["train", "val"]),
    ],
)
def test_layouts(names, classes, parts):
    found = layout_of(SRC, names)
    assert list(found.classes) == classes
    assert found.parts == parts


TWO_WAYS = [
    (["s1/run/1.mp4", "s1/walk/2.mp4", "s2/run/3.mp4", "s2/walk/4.mp4"], "<class>/<video>", "<folder>/<class>/<video>"),
    (["train/val/1.mp4", "val/train/2.mp4"], "<part>/<class>/<video>", "<class>/<part>/<video>"),
    (["train/run/1.mp4", "val/run/2.mp4", "bus/run/3.mp4"], "<class>/<video>", "<part>/<class>/<video>"),
]


@pytest.mark.parametrize(("names", "one", "other"), TWO_WAYS)
def test_two_readings_are_refused_with_both_shown(names, one, other):
    with pytest.raises(ValueError, match="pass one of these options") as error:
        layout_of(SRC, names)
    assert f"can be read as {one} (--class-level" in str(error.value)
    assert f" or {other} (--class-level" in str(error.value)
    assert layout_of(SRC, names, strict=False)


def test_the_class_level_decides():
    names = TWO_WAYS[0][0]
    assert layout_of(SRC, names, 1).classes == ["s1", "s1", "s2", "s2"]
    assert layout_of(SRC, names, 2).classes == ["run", "walk", "run", "walk"]
    names = TWO_WAYS[1][0]
    assert layout_of(SRC, names, 2).parts == ["train", "val"]
    assert layout_of(SRC, names, 1).parts == ["val", "train"]
    assert layout_of(SRC, ["a/b/c/1.mp4", "a/b/d/2.mp4"], 3).classes == ["c", "d"]


def test_unclear_parts():
    with pytest.raises(ValueError, match="the folders 'val', 'valid' all mean the part val"):
        layout_of(SRC, ["train/run/1.mp4", "val/run/2.mp4", "valid/run/3.mp4"])
    with pytest.raises(ValueError, match="the folder 'bus' is next to folders of parts"):
        layout_of(SRC, TWO_WAYS[2][0], 2)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train/run/1.mp4", "val/2.mp4"], "videos/val/2.mp4 is in a folder of a part, but in no class folder"),
        (["train/1.mp4", "val/2.mp4"], "videos/train/1.mp4 is in a folder of a part, but in no class folder"),
        (["data/train/a/1.mp4", "data/val/2.mp4"], "videos/data/val/2.mp4 is in a folder of a part"),
        (["train/run/1.mp4", "run/2.mp4"], "videos: 'run' is a folder next to 'train' and in it: expected all classes"),
    ],
)
def test_parts_do_not_become_classes_because_some_videos_lie_elsewhere(names, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        layout_of(SRC, names)
    level = 1 + ("data/" in names[0])
    assert f"--class-level {level} if" in str(caught.value)
    folders = [name.split("/")[level - 1] for name in names]
    assert list(layout_of(SRC, names, level).classes) == folders
