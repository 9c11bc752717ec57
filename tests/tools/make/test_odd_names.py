"""Names that a list cannot contain: they are found before the work, named on one line, and the rest is done."""

from __future__ import annotations

import csv
import os
import shutil

import pytest
from frame_extraction import SMALL, cli, make_video

from actrec.config import PrepareOptions
from actrec.data.index import build_index
from actrec.data.lists import read_labels, read_list
from actrec.tools.lists.from_folders import make_folder_lists
from actrec.tools.make.extract_frames import extract_frames
from actrec.tools.make.prepare import prepare
from actrec.tools.make.record import allot

BAD_CLASSES = {
    b"new\nline": "contains a line break",
    b"bytes\xff\xfe": "is not UTF-8",
    b" blank": "begins or ends with a blank",
    b"blank\xe2\x80\xa8": "begins or ends with a blank",
    b" ..": "begins or ends with a blank",
}
GOOD_CLASSES = [b"walk", b"Walk", b"tab\tin", b'quo"te', b"semi;colon", b"com,ma", b"# hash", b"0", b"w" * 255]
FILES = [
    b"new\nline.mp4", b"bytes\xff.mp4", b" blank.mp4", b"blank .mp4", b" ..mp4", b'"quo"te.mp4', b"a,b c;d\te.mp4",
    b"# 0.mp4", b"0 1 2.mp4", b"cr\rx.mp4", b"\xe2\x80\xa8.mp4", b"\xc2\x85y\xc2\x85.mp4", b"\xef\xbb\xbfz.mp4",
    b"x" * 250 + b"1.mp4", b"x" * 250 + b"2.mp4", b"same.mp4", b"same.avi", b"same.MP4", b"SAME.mp4", b"-n.mp4",
    b"{}.mp4", b"%d.mp4", b"$HOME.mp4", b"\\n.mp4",
]  # fmt: skip


@pytest.fixture
def src(tmp_path):
    one = make_video(tmp_path / "one.mp4", frames=3)
    for name in [*BAD_CLASSES, *GOOD_CLASSES]:
        folder = os.fsencode(tmp_path / "videos") + b"/" + name
        os.makedirs(folder)
        for file in FILES if name == b"walk" else (b"1.mp4", b"2.mp4"):
            shutil.copy(one, folder + b"/" + file)
    return tmp_path / "videos"


def failures(path):
    with open(path, newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("tool", ["extract-frames", "prepare"])
def test_odd_names_of_classes_and_videos(src, tmp_path, tool):
    dst = tmp_path / "dst"
    if tool == "prepare":
        made = prepare(src, dst, PrepareOptions(short_side=32, encoder="cpu", preset="ultrafast"), sample=2)
    else:
        made = extract_frames(src, dst, SMALL)
    good = len(FILES) + 2 * (len(GOOD_CLASSES) - 1)
    assert made.done == sum(made.lists.values()) == good
    found = failures(dst / "failed.csv")
    assert len(found) == len(made.failed) == 2 * len(BAD_CLASSES)
    assert all("\n" not in path for path in found)
    for name, reason in BAD_CLASSES.items():
        shown = {
            b"new\nline": "new\\nline",
            b"bytes\xff\xfe": "bytes\\udcff\\udcfe",
            b"blank\xe2\x80\xa8": "blank\\u2028",
        }
        path = f"{src}/{shown.get(name, os.fsdecode(name))}/1.mp4"
        assert found[path].startswith(f"the name of its class {reason}")
    assert read_labels(dst / "labels.txt") == sorted(map(os.fsdecode, GOOD_CLASSES))
    videos = [*read_list(dst / "train.txt"), *read_list(dst / "val.txt")]
    assert len({video.path for video in videos}) == good
    index = build_index(videos)
    assert not index.broken
    assert {index[i].frames for i in range(good)} == {3}
    assert sorted(os.listdir(dst)) == sorted(
        [".extract_frames.json", "frames", "failed.csv", "labels.txt", "train.txt", "val.txt"]
        if tool == "extract-frames"
        else [".prepare.json", "prepared", "failed.csv", "labels.txt", "train.txt", "val.txt"]
        + [f"{name}.txt.index.{part}" for name in ("train", "val") for part in ("npy", "packets")]
    )  # nothing is written outside
    assert not any(
        name.startswith(".") for _, folders, files in os.walk(dst / made_folder(tool)) for name in folders + files
    )


def made_folder(tool):
    return {"extract-frames": "frames", "prepare": "prepared"}[tool]


def test_the_command_ends_with_1(src, tmp_path):
    result = cli(src, tmp_path / "dst", "--short-side", 32)
    assert result.exit_code == 1
    assert f"{2 * len(BAD_CLASSES)} failed; why: {tmp_path}/dst/failed.csv" in result.output


def test_only_unusable_names(tmp_path):
    make_video(tmp_path / "videos" / "a\nb" / "1.mp4")
    with pytest.raises(ValueError, match=r"name of the class 'a\\nb' contains a line break or a zero byte: expected"):
        extract_frames(tmp_path / "videos", tmp_path / "dst", SMALL)
    assert not (tmp_path / "dst").exists()


def test_unusable_names_do_not_matter_if_a_list_decides(src, tmp_path):
    (src / "train.txt").write_text("walk/same.mp4 0\n0/1.mp4 1\n")
    made = extract_frames(src, tmp_path / "dst", SMALL)
    assert made.failed == ()
    videos = read_list(tmp_path / "dst" / "train.txt")
    assert [video.labels for video in videos] == [(0,), (1,)]
    assert not build_index(videos).broken


def test_lists_of_folders(src, tmp_path):
    os.symlink("nowhere", src / "walk" / "gone.mp4")
    made = make_folder_lists(src, tmp_path / "out")
    unlisted = 2 * len(BAD_CLASSES) + 2  # and two files of the class "walk"
    assert sum(made.missing.values()) == unlisted + 1
    assert made.missing[""] == 1
    with open(tmp_path / "out" / "missing.csv", newline="") as file:
        found = list(csv.reader(file))[1:]
    assert len(found) == unlisted + 1
    assert all("\n" not in cell for row in found for cell in row)
    assert ["", "walk/gone.mp4", "", "a link that leads to no file"] in found
    videos = [*read_list(tmp_path / "out" / "train.txt"), *read_list(tmp_path / "out" / "val.txt")]
    assert len(videos) == sum(made.lists.values()) == len(FILES) - 2 + 2 * (len(GOOD_CLASSES) - 1)
    assert not build_index(videos).broken


def test_long_names_stay_different():
    long = "x" * 250
    names = [f"a/{long}{i}.mp4" for i in range(30)]
    found = allot(names, ["a"] * 30, {}, ".mp4")
    assert len(set(found.values())) == 30
    assert all(len(os.path.basename(name)) <= 255 for name in found.values())
    again = allot([*names, "a/b.mp4"], ["a"] * 31, found, ".mp4")
    assert {name: again[name] for name in names} == found


def test_names_of_urls_are_those_of_local_files():
    names = [
        "https://h/%C3%BC/a%20b.mp4",
        "https://h/x.tar::p%20c.mp4",
        "https://h/..%2F%00/%2E%2E",
        "s3://b/q%20d.mp4",
    ]
    found = allot(names, ["ü", "x", "..", "b"], {}, ".mp4")
    assert list(found.values()) == ["ü/a b.mp4", "x/p%20c.mp4", "_./_..mp4", "b/q%20d.mp4"]


@pytest.mark.parametrize("name", ["..", " ..", ". .", "...", " . "])
def test_results_stay_in_their_folder_and_are_not_hidden(name):
    (found,) = allot([f"{name}/{name}.mp4"], [name], {}).values()
    assert not any(part.startswith(".") or not part.strip() for part in found.split("/"))
