from __future__ import annotations

import os
from pathlib import Path

import pytest

from actrec.tools.datasets.annotations import Annotation
from actrec.tools.lists.find import Found, find_media


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def row(name, label=None, part="train", *more):
    return Annotation(part, name, (name, *more), label, Path("a.csv"), 1)


def test_files_and_frame_folders(tmp_path):
    touch(tmp_path, "a/1.mp4", "a/2.MKV", "a/notes.txt", "a/.hidden.mp4", ".cache/3.mp4", "noextension")
    touch(tmp_path, *(f"b/frames 1/{i:05d}.jpg" for i in range(1, 40)))
    touch(tmp_path, "b/hara/image_00001.jpg", "b/hara/image_00002.jpg", "b/hara/n_frames")
    touch(tmp_path, "c/cover.jpg", "c/4.mp4", "c/5.mp4", "c/6.mp4", "thumbnail.png")
    paths, unreadable = find_media(tmp_path)
    assert paths == ["a/1.mp4", "a/2.MKV", "b/frames 1", "b/hara", "c/4.mp4", "c/5.mp4", "c/6.mp4", "noextension"]
    assert unreadable == []


def test_links(tmp_path):
    touch(tmp_path / "elsewhere", "x/1.mp4")
    touch(tmp_path / "root", "a/2.mp4")
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/circle").symlink_to(tmp_path / "root")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "root/a/there.mp4").symlink_to(tmp_path / "elsewhere/x/1.mp4")
    assert find_media(tmp_path / "root")[0] == ["a/2.mp4", "a/there.mp4", "link/x/1.mp4"]


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.mp4", "locked/2.mp4")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert find_media(tmp_path) == (["a/1.mp4"], ["locked"])
    with pytest.raises(PermissionError):
        find_media(tmp_path / "locked")


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_media(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError):
        find_media(touch(tmp_path, "file") / "file")


def test_progress(tmp_path, monkeypatch):
    monkeypatch.setattr("actrec.tools.lists.find._TOLD", 2)
    told = []
    find_media(touch(tmp_path, *(f"{i}.mp4" for i in range(5))), progress=told.append)
    assert told == [2, 4]


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
def test_match(paths, wanted, found):
    assert Found(paths, ["walk", "run", "long jump", "train"]).find(wanted) == found


def test_what_was_chosen_is_told():
    media = Found(["a", "a.mp4", "b.mp4"], [])
    assert media.find(row("a")) == "a"
    assert media.find(row("b_000001_000011", None, "train", "b")) == "b.mp4"
    assert media.several == {"a": ["a", "a.mp4"]}
    assert media.renamed == {"b_000001_000011": "b.mp4"}
