from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from actrec.config import SplitOptions
from actrec.data.lists import read_labels, read_list
from actrec.tools.lists.from_folders import make_folder_lists


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def lists_in(tmp_path):
    """{part: [(path in VIDEOS, label)]}"""
    paths = {part: tmp_path / f"out/{part}.txt" for part in ("train", "val", "test")}
    return {
        part: [(os.path.relpath(video.path, tmp_path / "videos"), video.label) for video in read_list(path)]
        for part, path in paths.items()
        if path.exists()
    }


def test_folders(tmp_path):
    names = [f"{c}/{i}.mp4" for c in ("walk", "run", "long jump") for i in range(10)] + ["walk/frames/00001.jpg"]
    said = []
    made = make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out", log=said.append)
    assert made.lists == {"train.txt": 25, "val.txt": 6}
    assert read_labels(tmp_path / "out/labels.txt") == ["long jump", "run", "walk"]
    rows = lists_in(tmp_path)
    assert {path.split("/")[0]: label for path, label in rows["val"]} == {"long jump": 0, "run": 1, "walk": 2}
    assert ("walk/frames", 2) in rows["train"] + rows["val"]
    assert said == ["split: drawn by class, 0.2 of the videos for validation, seed 0"]
    before = (tmp_path / "out/val.txt").read_text()
    make_folder_lists(tmp_path / "videos", tmp_path / "out", force=True)
    assert (tmp_path / "out/val.txt").read_text() == before
    make_folder_lists(tmp_path / "videos", tmp_path / "out", SplitOptions(0.5, seed=3), force=True)
    assert len(lists_in(tmp_path)["val"]) in (15, 16)


def test_folders_train_and_val(tmp_path):
    names = ["train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "test/b/4.mp4"]
    make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out")
    assert lists_in(tmp_path) == {
        "train": [("train/a/1.mp4", 0), ("train/b/2.mp4", 1)],
        "val": [("val/a/3.mp4", 0)],
        "test": [("test/b/4.mp4", 1)],
    }


def test_folders_with_names_that_a_list_cannot_contain(tmp_path):
    names = ["line\nbreak/1.mp4", " blank /1.mp4", "a/1.mp4", "a/2.mp4", "a/3\n.mp4", "b/1.mp4", "b/2.mp4"]
    made = make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out")
    assert read_labels(tmp_path / "out/labels.txt") == ["a", "b"]
    assert (made.num_classes, sum(made.lists.values()), sum(made.missing.values())) == (2, 4, 3)
    with open(tmp_path / "out/missing.csv", newline="") as file:
        rows = sorted(tuple(row[1:]) for row in csv.reader(file))
    assert rows == [
        (" blank /1.mp4", " blank ", "its class begins or ends with a blank"),
        ("a/3\n.mp4", "a", "its path contains a line break"),
        ("line\nbreak/1.mp4", "line\nbreak", "its path contains a line break"),
        ("video", "class", "reason"),
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.mp4", "b/1.mp4"], "val.txt: no video belongs to it, so this list is not written"),
        (["train/a/1.mp4", "val/a/2.mp4", "val/b/1.mp4"], "1 classes have no video in train.txt, such as 'b'"),
    ],
)
def test_empty_parts_and_classes_are_reported(tmp_path, names, message):
    said = []
    make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out", log=said.append)
    assert said[-1] == message


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no video: expected .*/<class>/<video>"),
        (["a.txt"], "holds no video"),
        (["a/1.mp4", "2.mp4"], "videos/2.mp4 is in no class folder"),
    ],
)
def test_folders_without_classes(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out")
    assert not (tmp_path / "out").exists()
