from __future__ import annotations

from pathlib import Path

import pytest

from actrec.tools.datasets.annotations import Annotation
from actrec.tools.lists.match import VideosByName


def row(name, label=None, part="train", *more):
    return Annotation(part, name, (name, *more), label, Path("a.csv"), 1)


@pytest.mark.parametrize(
    ("paths", "wanted", "found"),
    [
        (["a.mp4"], row("a"), "a.mp4"),
        (["a.mp4"], row("b"), None),
        (["a.mp4"], row("b", None, "train", "a"), "a.mp4"),
        (["x/a"], row("a"), "x/a"),
        (["a.b.mp4"], row("a.b"), "a.b.mp4"),
        (["A.mp4"], row("a"), None),  # YouTube ids differ by case
        (["run/a.mp4", "walk/a.mp4"], row("a", "walk"), "walk/a.mp4"),
        (["run/a.mp4"], row("a", "walk"), None),
        (["misc/a.mp4"], row("a", "walk"), "misc/a.mp4"),
        (["long_jump/a.mp4"], row("a", "long jump"), "long_jump/a.mp4"),
        (["LongJump/a.mp4"], row("a", "long jump"), "LongJump/a.mp4"),
        (["run/b/a.mp4"], row("a", "walk"), "run/b/a.mp4"),
        (["test/a.mp4", "validation/a.mp4"], row("a", None, "val"), "validation/a.mp4"),
        (["train/walk/a.mp4", "val/walk/a.mp4"], row("a", "walk", "val"), "val/walk/a.mp4"),
        (["train/a.mp4"], row("a", "walk", "val"), "train/a.mp4"),  # told as leakage if it is in both lists
        (["train/a.mp4"], row("a", "walk", "train"), "train/a.mp4"),  # `train` is a class here, too
    ],
)
def test_the_chosen_file(paths, wanted, found):
    assert VideosByName(paths, ["walk", "run", "long jump", "train"]).find(wanted) == found


def test_ambiguous_choices_are_recorded():
    media = VideosByName(["a", "a.mp4", "b.mp4"], [])
    assert media.find(row("a")) == "a"
    assert media.find(row("b_000001_000011", None, "train", "b")) == "b.mp4"
    assert media.several == {"a": ["a", "a.mp4"]}
    assert media.renamed == {"b_000001_000011": "b.mp4"}
