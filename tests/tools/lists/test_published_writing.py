"""Paths that are unusual or that no list can contain, and writing the lists."""

from __future__ import annotations

import csv
import errno
import os
import platform
from pathlib import Path

import pytest
from published_samples import (
    JESTER,
    SSV2,
    UCF101,
    lists_in,
    make,
    touch,
    write,
)

from actrec.data.lists import read_labels
from actrec.tools.datasets.table import DATASETS
from actrec.tools.lists.published import make_lists

STRANGE = ["two words", "semi;colon", 'it\'s "quoted"', "Füße 動画", "tab\there", "comma, here", "per%cent", "a" * 200]


def test_strange_names(tmp_path):
    names = [name for name in STRANGE if ";" not in name]  # which ends an id in this format
    files = {"jester-v1-train.csv": "".join(f"{name};No gesture\n" for name in names)}
    make(tmp_path, "jester", files, [f"my videos; all/{name}.mp4" for name in names])
    assert lists_in(tmp_path) == {"train": [(f"my videos; all/{name}.mp4", 0) for name in names]}


def test_strange_names_in_json(tmp_path):
    entries = [{"id": name, "template": "Opening [something]"} for name in STRANGE]
    make(tmp_path, "ssv2", {"train.json": entries}, [f"{name}.webm" for name in STRANGE])
    assert lists_in(tmp_path) == {"train": [(f"{name}.webm", 0) for name in STRANGE]}


def test_names_that_no_list_can_hold(tmp_path):
    files = {"trainlist01.txt": "A/one.avi 1\nA/two.avi 1\nA/three.avi 1\nA/# four.avi 1\nA/five.avi 1\nA/#six.avi 1\n"}
    videos = touch(tmp_path / "videos", ["line\nbreak/one.avi", "three.avi", "# four.avi", " /five.avi", "#six.avi"])
    folder = os.fsencode(videos) + b"/caf\xe9"
    os.mkdir(folder)
    Path(os.fsdecode(folder), "two.avi").touch()
    annotations = write(tmp_path / "annotations", files)
    make_lists(DATASETS.get("ucf101"), [annotations], videos, videos)
    assert (videos / "train.txt").read_text() == "three.avi 0\n#six.avi 0\n"
    rows = [tuple(row) for row in csv.reader((videos / "missing.csv").read_text().splitlines())]
    assert rows == [
        ("list", "video", "class", "reason"),
        ("train", "A/one.avi", "A", "its path contains a line break"),
        ("train", "A/two.avi", "A", "its path is not UTF-8"),
        ("train", "A/# four.avi", "A", "its path begins or ends with a blank, or begins with # and a blank"),
        ("train", "A/five.avi", "A", "its path begins or ends with a blank, or begins with # and a blank"),
    ]


def test_existing_lists_are_replaced_only_with_force(tmp_path):
    make(tmp_path, "ucf101", UCF101.files, UCF101.videos)
    (tmp_path / "out/notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(
        ValueError, match=r"out already contains labels.txt, train.txt, val.txt: expected another folder with --out"
    ):
        make(tmp_path, "jester", JESTER.files, JESTER.videos)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    make(tmp_path, "jester", JESTER.files, JESTER.videos, force=True)
    assert read_labels(tmp_path / "out/labels.txt") == JESTER.labels
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["labels.txt", "train.txt", "val.txt", "flips.txt", "missing.csv"])
def test_a_full_disk_keeps_the_existing_lists(tmp_path, monkeypatch, name):
    files = SSV2.files | {"something-something-v2-test.json": [{"id": "1420"}, {"id": "gone"}]}
    make(tmp_path, "ssv2", SSV2.files, SSV2.videos[:2])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    fsync, full = os.fsync, []

    def fail(descriptor):
        if len(full) == ["labels.txt", "train.txt", "val.txt", "test.txt", "flips.txt", "missing.csv"].index(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        full.append(1)
        fsync(descriptor)

    monkeypatch.setattr("actrec.files.sync_folder", lambda folder: None)
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left on device") as error:
        make(tmp_path, "ssv2", files, SSV2.videos, force=True)
    assert error.value.filename == str(tmp_path / "out")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="cannot be written"):
        make(tmp_path, "ucf101", UCF101.files, UCF101.videos)
    assert (tmp_path / "out").read_text() == "mine"


def test_paths_below_the_lists_are_relative(tmp_path, monkeypatch):
    write(tmp_path / "annotations", UCF101.files)
    touch(tmp_path / "videos", UCF101.videos)
    monkeypatch.chdir(tmp_path)
    make_lists(DATASETS.get("ucf101"), [Path("annotations")], Path("videos"), Path("."))
    assert Path("train.txt").read_text().splitlines()[0] == "videos/UCF-101/Archery/v_Archery_g08_c01.avi 0"
    make_lists(DATASETS.get("ucf101"), [Path("annotations")], Path("videos"), Path("lists"))
    assert Path("lists/train.txt").read_text().startswith(f"{tmp_path}/videos/UCF-101/")


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    left = tmp_path / f"out/.part-999999999-{'0' * 32}-{platform.node()}"
    left.mkdir(parents=True)
    make(tmp_path, "ucf101", UCF101.files, UCF101.videos)
    assert not left.exists()
