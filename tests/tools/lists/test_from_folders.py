from __future__ import annotations

import csv
import functools
import os
import tempfile
from pathlib import Path

import pytest

from actrec.config import SplitOptions
from actrec.data.lists import read_labels, read_list
from actrec.tools.lists.from_folders import make_folder_lists
from tests.frame_extraction import make_video


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tiny_video() if name.endswith(".mp4") else b"")
    return folder


@functools.cache
def tiny_video() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make_video(Path(folder) / "1.mp4", frames=2).read_bytes()


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
    assert made.table == (
        "class       train     val",
        "long jump       8       2",
        "run             8       2",
        "walk            9       2",
    )
    make_folder_lists(tmp_path / "videos", tmp_path / "out", SplitOptions(0.5, seed=3, reshuffle=True), force=True)
    assert len(lists_in(tmp_path)["val"]) in (15, 16)


def test_videos_stay_in_their_list(tmp_path):
    names = [f"{c}/{i}.mp4" for c in ("walk", "run") for i in range(10)]
    make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out")
    before = {part: {path for path, _ in rows} for part, rows in lists_in(tmp_path).items()}
    touch(tmp_path / "videos", [f"{c}/new{i}.mp4" for c in ("walk", "aim") for i in range(10)])
    said = []
    make_folder_lists(tmp_path / "videos", tmp_path / "out", SplitOptions(seed=7), force=True, log=said.append)
    after = {part: {path for path, _ in rows} for part, rows in lists_in(tmp_path).items()}
    assert before["train"] <= after["train"]
    assert before["val"] <= after["val"]
    assert said == [
        "split: 20 videos as in the existing lists (--reshuffle divides all anew); 20 new videos drawn by class, "
        "0.2 of the videos for validation, seed 7"
    ]
    assert sum(path.startswith("walk") for path in after["val"]) == 4  # 0.2 of 20
    assert sum(path.startswith("aim") for path in after["val"]) == 2
    (tmp_path / "out/val.txt").write_text("what is this")
    make_folder_lists(tmp_path / "videos", tmp_path / "out", force=True)  # the list that can be read counts
    assert before["train"] <= {path for path, _ in lists_in(tmp_path)["train"]}


NOT_VIDEOS = [
    "a.mp4:Zone.Identifier",
    "b.NFO",
    "c.m4a",
    "d.docx",
    "e.crdownload",
    "._f.mp4",
    "g.heic",
    "h.unknown",
    "i",
]


def test_files_that_are_not_videos_take_no_place(tmp_path):
    names = [f"{c}/{i}.mp4" for c in ("walk", "run") for i in range(5)]
    src = touch(tmp_path / "videos", [*names, *(f"{c}/{name}" for c in ("walk", "run") for name in NOT_VIDEOS)])
    (src / "run/h.unknown").write_bytes(b"text" * 100)
    said = []
    made = make_folder_lists(src, tmp_path / "out", log=said.append)
    assert made.lists == {"train.txt": 8, "val.txt": 2}
    assert said[0] == (
        "ignored files that are not videos: 2 (no extension), 2 .crdownload, 2 .docx, 2 .heic, 2 .identifier, 2 .m4a, "
        "2 .nfo, 2 .unknown"
    )


def test_files_that_only_look_like_videos_take_no_place(tmp_path):
    src = touch(tmp_path / "videos", [f"{c}/{i}.mp4" for c in ("walk", "run") for i in range(5)])
    broken = {"page.mp4": b"<html></html>", "empty.mp4": b"", "code.ts": b"let a = 1;\n", "cut.mp4": tiny_video()[:300]}
    for name, content in broken.items():
        (src / name).write_bytes(content)  # not even in a class folder: they say nothing about the layout
        (src / "run" / name).write_bytes(content)
    said = []
    made = make_folder_lists(src, tmp_path / "out", log=said.append)
    assert made.lists == {"train.txt": 8, "val.txt": 2}
    assert made.missing == {"": 8}
    with open(tmp_path / "out/missing.csv", newline="") as file:
        reasons = {row["video"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {*broken, *(f"run/{name}" for name in broken)}
    assert reasons["run/page.mp4"] == "not a video, but a web page"
    assert reasons["code.ts"] == "not a video, but a text file"


def test_no_file_can_be_used(tmp_path):
    (tmp_path / "videos/a").mkdir(parents=True)
    (tmp_path / "videos/a/1.mp4").write_text("hello")
    with pytest.raises(ValueError, match="the only video of .* cannot be used: 'a/1.mp4': not a video"):
        make_folder_lists(tmp_path / "videos", tmp_path / "out")


def test_folders_train_and_val(tmp_path):
    names = ["train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "test/b/4.mp4"]
    make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out")
    assert lists_in(tmp_path) == {
        "train": [("train/a/1.mp4", 0), ("train/b/2.mp4", 1)],
        "val": [("val/a/3.mp4", 0)],
        "test": [("test/b/4.mp4", 1)],
    }


def test_reshuffle_is_refused_if_folders_decide(tmp_path):
    src = touch(tmp_path / "videos", ["train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4"])
    with pytest.raises(ValueError, match="reshuffle: the split comes from the folders train, val of .*: omit"):
        make_folder_lists(src, tmp_path / "out", SplitOptions(reshuffle=True))
    assert not (tmp_path / "out").exists()


def test_folders_with_names_that_a_list_cannot_contain(tmp_path):
    names = ["line\nbreak/1.mp4", " blank /1.mp4", "a/1.mp4", "a/2.mp4", "a/3\n.mp4", "b/1.mp4", "b/2.mp4"]
    said = []
    made = make_folder_lists(touch(tmp_path / "videos", names), tmp_path / "out", log=said.append)
    why = "because the name begins or ends with a blank: rename the folder"
    assert f"WARNING: class folder ' blank ': 1 video left out, {why}" in said
    assert made.first_missing in [(" blank /1.mp4", "the name of its class begins or ends with a blank"),
                                  ("a/3\n.mp4", "its path contains a line break"),
                                  ("line\nbreak/1.mp4", "its path contains a line break")]  # fmt: skip
    assert read_labels(tmp_path / "out/labels.txt") == ["a", "b"]
    assert (made.num_classes, sum(made.lists.values()), sum(made.missing.values())) == (2, 4, 3)
    with open(tmp_path / "out/missing.csv", newline="") as file:
        rows = sorted(tuple(row[1:]) for row in csv.reader(file))
    assert rows == [
        (" blank /1.mp4", " blank ", "the name of its class begins or ends with a blank"),
        ("a/3\\n.mp4", "a", "its path contains a line break"),
        ("line\\nbreak/1.mp4", "line\\nbreak", "its path contains a line break"),
        ("video", "class", "reason"),
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.mp4", "b/1.mp4"], "val.txt: no video belongs to it, so this list is not written"),
        (["train/a/1.mp4", "val/a/2.mp4", "val/b/1.mp4"], "1 class without a video in train.txt, such as 'b'"),
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


def test_classes_that_differ_only_in_case_or_blanks_are_named(tmp_path):
    names = ["Run/1.mp4", "run/2.mp4", "walk_fast/3.mp4", "walk fast/4.mp4", "1.0/5.mp4", "10/6.mp4"]
    touch(tmp_path / "videos", names)
    said: list[str] = []
    make_folder_lists(tmp_path / "videos", tmp_path / "lists", log=said.append)
    assert [line.partition(" have")[0] for line in said if "WARNING" in line] == [
        "WARNING: the classes 'Run' and 'run'",
        "WARNING: the classes 'walk fast' and 'walk_fast'",
    ]


def test_a_list_that_cannot_be_read_is_named_before_it_is_replaced(tmp_path):
    touch(tmp_path, ["run/1.mp4", "run/2.mp4"])
    (tmp_path / "val.txt").write_bytes(b"run/1.mp4 0\n\xff\n")
    said: list[str] = []
    make_folder_lists(tmp_path, tmp_path, force=True, log=said.append)
    assert (
        f"WARNING: an existing list cannot be read, so its videos are divided anew: {tmp_path}/val.txt:2: byte 0xff at "
        "position 1 is not UTF-8: save the file as UTF-8"
    ) in said
