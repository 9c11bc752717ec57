"""What is suspicious about the labels of lists."""

from __future__ import annotations

import os

import numpy as np
import pytest

from actrec.data.lists import Video
from actrec.data.lists.labeling import class_counts, contradict, refuse_contradictions, refuse_gaps, shared_videos


def row(path, label=0, start=None, stop=None):
    labels = (label,) if isinstance(label, int) else label
    return Video(f"{path} {start}", path, start, stop, labels)


def test_class_counts():
    lists = {"train": [row("a", 0), row("b", 1), row("c", (0, 1))], "val": [row("d", 1), row("e", ())], "test": []}
    assert class_counts(lists, ["run", "walking"]) == [
        "class     train     val",
        "run           2       0",
        "walking       2       1",
    ]
    many = {"train": [row(str(i), i % 30) for i in range(31)]}
    names = [f"c{i}" for i in range(30)]
    assert class_counts(many, names) == ["train: 30 classes with 1 to 2 videos; the fewest: 'c1'"]
    assert class_counts({"train": [row("a", i) for i in range(25)]}, names[:25]) == [
        "train: 25 classes with 1 video each"
    ]


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 20], [1, 2, 3], [0, *range(5, 25)], []])
def test_labels_that_are_not_suspicious(labels):
    refuse_gaps(np.array(labels, np.int64), "a.txt")


@pytest.mark.parametrize("labels", [[0, 1, 2, 900], [0, 99999], [22]])
def test_absurd_labels(labels):
    with pytest.raises(ValueError, match=f"a.txt: label {labels[-1]}, but only {len(labels)} different labels occur"):
        refuse_gaps(np.array(labels * 3, np.int64), "a.txt")


def test_contradictions():
    refuse_contradictions([row("a", 0), row("b", 1), row("a", 0), row("c", 0, 0, 5), row("c", 1, 5, 9)])
    with pytest.raises(
        ValueError, match="c 0: two rows with the same frames have the labels 0 and 1: expected one label"
    ):
        refuse_contradictions([row("a", 0), row("c", 0, 0, 5), row("c", 1, 0, 5)])
    with pytest.raises(ValueError, match="the labels 0 and -: expected one label"):
        refuse_contradictions([row("a", 0), row("a", ())])


def test_videos_in_two_lists():
    train = [row("a"), row("b", 0, 0, 50), row("c", 0, 1.0, 2.0)]
    val = [row("a"), row("a", 0, 3, 5), row("b", 0, 49, 60), row("b", 0, 50, 60), row("c", 0, 1, 60), row("d")]
    val += [row("c", 0, 1.5, 9.0)]
    assert [video.id for video, _ in shared_videos(train, val)] == ["a None", "a 3", "b 49", "c 1.5"]


def test_shared_videos_with_other_labels():
    train = [row("a", 0), row("a", 1, 3, 5), row("b", 1)]
    found = list(shared_videos(train, [row("a", 0, 3, 5), row("a", 0), row("b", 2), row("b", 2, 1, 9)]))
    assert [(video.labels, other.labels, contradict(video, other)) for video, other in found] == [
        ((0,), (1,), True),
        ((0,), (0,), False),
        ((2,), (1,), True),
        ((2,), (1,), False),  # only a part of the video
    ]


def test_a_file_under_several_names_is_one_video(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    (tmp_path / "x").mkdir()
    os.symlink("a", tmp_path / "link")
    os.link(tmp_path / "a", tmp_path / "hard")

    def at(name: str, label: int) -> Video:
        return Video(name, f"{tmp_path}/{name}", None, None, (label,))

    for name in ("./a", "x/../a", "link", "hard"):
        assert [video.id for video, _ in shared_videos([at("a", 0), at("b", 1)], [at(name, 0)])] == [name]
        refuse_contradictions([at("a", 0), at("b", 1), at(name, 0)])
        with pytest.raises(ValueError, match=f"a: two rows with the same frames \\(the other one is {name}\\) have"):
            refuse_contradictions([at("a", 0), at("b", 1), at(name, 1)])
    assert not list(shared_videos([at("a", 0)], [at("b", 0)]))


def test_no_table_without_videos():
    assert class_counts({"train": [], "val": []}, ["run", "walk"]) == []
