"""Which folders are classes and which are parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actrec.tools.lists.layout import class_of, layout_of

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
        (["train/a/1.mp4", "plane/a/2.mp4", "bus/b/3.mp4"], ["train", "plane", "bus"], None),  # vehicles
        (["test/run/1.mp4", "test/walk/2.mp4"], ["run", "walk"], ["test", "test"]),  # never for training
        (["val/run/1.mp4", "test/walk/2.mp4"], ["run", "walk"], ["val", "test"]),
        (
            ["train/v/run/1.mp4", "train/v/walk/2.mp4", "test/v/run/3.mp4"],
            ["run", "walk", "run"],
            ["train"] * 2 + ["test"],
        ),
        (["run/s1/train/1.mp4", "walk/s1/val/2.mp4"], ["run", "walk"], ["train", "val"]),
        (["d/train/v/run/1.mp4", "d/val/v/walk/2.mp4"], ["run", "walk"], ["train", "val"]),
        (["x/y/run/1.mp4", "x/y/walk/2.mp4"], ["run", "walk"], None),
        (["1.mp4", "x/run/2.mp4", "x/walk/3.mp4"], ["", "run", "walk"], None),
        (["train/run/a/1.mp4", "val/run/a/2.mp4"], ["run", "run"], ["train", "val"]),
    ],
)
def test_layouts(names, classes, parts):
    found = layout_of(SRC, names)
    assert list(found.classes) == classes
    assert found.parts == parts


TWO_WAYS = [
    (["s1/run/1.mp4", "s1/walk/2.mp4", "s2/run/3.mp4", "s2/walk/4.mp4"], "<class>/<video>", "<folder>/<class>/<video>"),
    (["train/val/1.mp4", "val/train/2.mp4"], "<class>/<part>/<video>", "<part>/<class>/<video>"),
    (["train/run/1.mp4", "val/run/2.mp4", "bus/run/3.mp4"], "<class>/<video>", "<part>/<class>/<video>"),
    # a loose file and classes that not every folder has make no difference
    (
        [f"{s}/{c}/1.mp4" for s in ("s1", "s2") for c in ("run", "walk")] + ["s1/3.mp4", "s2/jump/4.mp4"],
        "<class>/<video>",
        "<folder>/<class>/<video>",
    ),
    (
        [f"{s}/x/{c}/1.mp4" for s in ("s1", "s2") for c in ("run", "walk")],
        "<class>/<video>",
        "<folder>/<folder>/<class>/<video>",
    ),
    (
        [f"{p}/{s}/{c}/1.mp4" for p in ("train", "test") for s in ("s1", "s2") for c in ("run", "walk")],
        "<part>/<class>/<video>",
        "<part>/<folder>/<class>/<video>",
    ),
    (
        ["s1/train/run/1.mp4", "s1/val/walk/2.mp4", "s2/train/jump/3.mp4"],
        "<class>/<part>/<video>",
        "<folder>/<part>/<class>/<video>",
    ),
    (
        [f"{c}/{s}/{p}/1.mp4" for c in ("run", "walk") for s in ("s1", "s2") for p in ("train", "val")],
        "<class>/<folder>/<part>/<video>",
        "<folder>/<class>/<part>/<video>",
    ),
    (["x/1.mp4", "x/run/2.mp4", "x/walk/3.mp4"], "<class>/<video>", "<folder>/<class>/<video>"),
    (
        ["run/train/1.mp4", "walk/val/2.mp4", "walk/extra/3.mp4"],
        "<class>/<part>/<video>",
        "<folder>/<class>/<video>",
    ),
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
    assert layout_of(SRC, ["run/x/train/1.mp4", "run/y/val/2.mp4"], 2).parts == ["train", "val"]
    assert layout_of(SRC, ["run/x/train/1.mp4", "run/y/val/2.mp4"], 2).classes == ["x", "y"]
    assert layout_of(SRC, ["a/b/c/1.mp4", "a/b/d/2.mp4"], 3).classes == ["c", "d"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train/run/1.mp4", "val/2.mp4"], "videos/val/2.mp4 is in a folder of a part, but in no class folder"),
        (
            ["Train/1.mp4", "val/2.mp4"],
            "2 of 2 videos, such as videos/Train/1.mp4, are in a folder of a part, but in no",
        ),
        (["data/train/a/1.mp4", "data/val/2.mp4"], "videos/data/val/2.mp4 is in a folder of a part"),
        (["train/run/1.mp4", "run/2.mp4"], "videos: 'run' is a folder next to 'train' and in it: expected all classes"),
        (["train/1.mp4", "test/2.mp4", "extra/3.mp4"], "2 of 3 videos, such as videos/train/1.mp4, are in a folder"),
    ],
)
def test_parts_do_not_become_classes_because_some_videos_lie_elsewhere(names, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        layout_of(SRC, names)
    level = 1 + ("data/" in names[0])
    assert f"--class-level {level} if" in str(caught.value)
    folders = [name.split("/")[level - 1] for name in names]
    assert list(layout_of(SRC, names, level).classes) == folders


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["1.mp4", "train/run/2.mp4", "test/run/3.mp4"], "<part>/<class>/<video>"),
        (["1.mp4", "train/2.mp4", "test/3.mp4"], "<part>/<class>/<video>"),
        (["run/1.mp4", "run/train/2.mp4", "run/val/3.mp4", "walk/train/4.mp4"], "<class>/<part>/<video>"),
    ],
)
def test_videos_in_no_part(names, layout):
    with pytest.raises(ValueError, match=f"videos/{names[0]} is in no folder of a part: expected videos/{layout}"):
        layout_of(SRC, names)


def test_videos_in_no_class():
    names = ["1.mp4", "2.mp4", "x/run/3.mp4", "x/walk/4.mp4"]
    with pytest.raises(ValueError, match="2 of 4 videos, such as videos/1.mp4, are in no class folder: expected videos/"
                       "<folder>/<class>/<video>"):  # fmt: skip
        class_of(layout_of(SRC, names), SRC, names)


def test_unclear_parts():
    with pytest.raises(ValueError, match="the folders 'val', 'valid' all mean the part val"):
        layout_of(SRC, ["train/run/1.mp4", "val/run/2.mp4", "valid/run/3.mp4"])
    with pytest.raises(ValueError, match="the folder 'bus' is next to folders of parts"):
        layout_of(SRC, TWO_WAYS[2][0], 2)
