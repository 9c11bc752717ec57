"""Conversion between frames, times and whole videos."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from list_conversion import convert, put
from timed_videos import VARIABLE, write_timed

from actrec.data.lists.formats import FORMATS, Options
from actrec.data.lists.labels import write_labels
from actrec.data.video.encode import VideoWriter


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """`walk/clip.mp4` of 12 frames at 10 a second, and `run/folder` of 9 images, numbered from 1."""
    root = tmp_path_factory.mktemp("media")
    (root / "walk").mkdir()
    with VideoWriter(root / "walk/clip.mp4", width=64, height=48, rate=10) as video:
        for i in range(12):
            video.write(np.full((48, 64, 3), 10 * i, np.uint8))
    (root / "run/folder").mkdir(parents=True)
    for i in range(9):
        cv2.imwrite(str(root / f"run/folder/image_{i + 1:05d}.jpg"), np.full((24, 32, 3), 20 * i, np.uint8))
    write_labels(root / "labels.txt", ["run", "walk"])
    return root


def test_frames_come_from_the_videos(tmp_path, media):
    put(tmp_path / "train.txt", "walk/clip.mp4 1\nrun/folder 0\n")
    shutil.copy(media / "labels.txt", tmp_path)
    made = convert(tmp_path / "train.txt", tmp_path / "out/train.txt", target="ibm", root=media)
    assert (tmp_path / "out/train.txt").read_text() == "walk/clip.mp4 1 12 1\nrun/folder 1 9 0\n"
    assert made.notes == (f"2 rows: the whole video became frame numbers, such as '{media}/walk/clip.mp4'",)
    convert(tmp_path / "train.txt", tmp_path / "out/frames.txt", target="mmaction2-frames", root=media)
    assert (tmp_path / "out/frames.txt").read_text() == "walk/clip.mp4 12 1\nrun/folder 9 0\n"
    convert(tmp_path / "train.txt", tmp_path / "out/all.json", root=media)
    data = json.loads((tmp_path / "out/all.json").read_text())
    assert data["labels"] == ["run", "walk"]
    assert data["database"] == {
        "clip": {"subset": "training", "annotations": {"label": "walk", "segment": [1, 13]}},
        "folder": {"subset": "training", "annotations": {"label": "run", "segment": [1, 10]}},
    }


def test_seconds_become_frames_and_frames_seconds(tmp_path, media):
    put(tmp_path / "train.csv", "path,start,end,label\nwalk/clip.mp4,3,8,walk\n")
    convert(tmp_path / "train.csv", tmp_path / "a.json", target="activitynet", root=media)
    value = json.loads((tmp_path / "a.json").read_text())["database"]["clip"]
    assert value["annotations"] == [{"segment": [0.2, 0.8], "label": "walk"}]
    assert value["video_path"] == f"{media}/walk/clip.mp4"
    text = (
        "path,start,end,label,fps\nwalk/clip.mp4,0.2s,0.8s,walk,10\nwalk/clip.mp4,1s,9s,walk,\ngone,1s,1.001s,walk,25\n"
    )
    put(tmp_path / "b/train.csv", text)
    made = convert(tmp_path / "b/train.csv", tmp_path / "b/train.txt", target="ibm", root=media, target_root=media)
    assert (tmp_path / "b/train.txt").read_text() == "walk/clip.mp4 3 8 0\nwalk/clip.mp4 11 12 0\ngone 26 26 0\n"
    assert [note.split(",")[0] for note in made.notes] == [
        "3 rows: the times became frame numbers", "2 rows: the frame rate is left out"
    ]  # fmt: skip
    put(tmp_path / "b/train.csv", "path,start,end\nwalk/clip.mp4,1.2s,9s\n")
    with pytest.raises(ValueError, match="the list says 1.2 to 9 seconds, but the last frame ends at 1.2"):
        convert(tmp_path / "b/train.csv", tmp_path / "b/again.txt", target="ibm", root=media)


def test_times_stay_times_if_the_target_supports_them(tmp_path):
    put(tmp_path / "train.txt", "a.mp4 0.5s 1.25s 0\nb.mp4 1s 2s 1\n")
    put(tmp_path / "labels.txt", "walk\nrun\n")
    for name in ("csv", "activitynet"):
        made = convert(tmp_path / "train.txt", tmp_path / f"{name}/train.x", target=name, root=tmp_path)
        assert not any("became" in note for note in made.notes)
        labels = tmp_path / "labels.txt"
        there = {"root": tmp_path, "target_root": tmp_path}
        convert(tmp_path / f"{name}/train.x", tmp_path / f"{name}/train.txt", source=name, labels=labels, **there)
        assert (tmp_path / f"{name}/train.txt").read_text() == (tmp_path / "train.txt").read_text()
    segment = {"segment": [30.025882995319815, 205.2318595943838], "label": "walk"}
    put(tmp_path / "x/a.json", json.dumps({"database": {"a": {"subset": "training", "annotations": [segment]}}}))
    convert(tmp_path / "x/a.json", tmp_path / "x/b.csv")  # every digit
    convert(tmp_path / "x/b.csv", tmp_path / "x/c.json", target="activitynet")
    assert json.loads((tmp_path / "x/c.json").read_text())["database"]["a"]["annotations"] == [segment]


def test_kinetics_has_whole_seconds(tmp_path, media):
    put(tmp_path / "train.txt", "walk/clip.mp4 1\n")
    shutil.copy(media / "labels.txt", tmp_path)
    made = convert(tmp_path / "train.txt", tmp_path / "k/train.csv", target="kinetics", root=media)
    assert (tmp_path / "k/train.csv").read_text().splitlines()[1] == "walk,clip,0,2,train"
    assert any("whole seconds" in note for note in made.notes)
    (entry,) = FORMATS.get("kinetics").read(tmp_path / "k/train.csv", Options(str(media))).parts["train"]
    assert entry[:3] == (f"{media}/walk/clip.mp4", 0.0, 2.0)


def test_a_folder_without_frame_rate_has_no_times(tmp_path, media):
    put(tmp_path / "train.csv", "path,label\nrun/folder,run\n")
    with pytest.raises(ValueError, match="run/folder: the frame rate is unknown"):
        convert(tmp_path / "train.csv", tmp_path / "a.json", target="activitynet", root=media)


def test_rows_without_a_range_among_others_get_one(tmp_path, media):
    put(tmp_path / "train.csv", "path,start,end,label\nwalk/clip.mp4,,,1\nrun/folder,2,4,0\n")
    convert(tmp_path / "train.csv", tmp_path / "train.txt", root=media, target_root=media)
    assert (tmp_path / "train.txt").read_text() == "walk/clip.mp4 1 12 1\nrun/folder 2 4 0\n"


def test_missing_videos(tmp_path, media):
    put(tmp_path / "train.txt", "walk/clip.mp4 1\ngone.mp4 0\nwalk 0\n")
    with pytest.raises(ValueError) as caught:
        convert(tmp_path / "train.txt", tmp_path / "b.txt", target="ibm", root=media)
    assert str(caught.value).startswith("2 of 3 videos cannot be used, and ibm needs their frames; the first: ")
    assert not (tmp_path / "b.txt").exists()
    convert(tmp_path / "train.txt", tmp_path / "b.csv", root=media)  # nobody asks for them


def test_a_variable_rate_is_read_from_the_video(tmp_path):
    """Also if the list states a rate: it is an average."""
    media = tmp_path / "media"
    media.mkdir()
    write_timed(media / "v.mp4", VARIABLE)
    put(tmp_path / "s.csv", "path,start,end,label,fps\nv.mp4,0s,2s,walk,17.5\nv.mp4,2s,4s,run,\n")
    convert(tmp_path / "s.csv", tmp_path / "f.txt", target="ibm", root=media, target_root=media)
    assert [line.split()[:3] for line in (tmp_path / "f.txt").read_text().splitlines()] == [
        ["v.mp4", "1", "10"], ["v.mp4", "11", "70"]
    ]  # fmt: skip
    put(tmp_path / "f.csv", "path,start,end,label\nv.mp4,1,10,walk\nv.mp4,11,70,run\n")
    convert(tmp_path / "f.csv", tmp_path / "s.json", target="activitynet", root=media, part="train")
    annotations = json.loads((tmp_path / "s.json").read_text())["database"]["v"]["annotations"]
    assert [annotation["segment"] for annotation in annotations] == [[0, 2], [2, 3.999]]
