from __future__ import annotations

import os
from pathlib import Path

import pytest

from actrec.data.lists.find import find_videos


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_files_and_frame_folders(tmp_path):
    touch(tmp_path, "a/1.mp4", "a/2.MKV", "a/notes.txt", "a/.hidden.mp4", ".cache/3.mp4", "noextension")
    touch(tmp_path, *(f"b/frames 1/{i:05d}.jpg" for i in range(1, 40)))
    touch(tmp_path, "b/hara/image_00001.jpg", "b/hara/image_00002.jpg", "b/hara/n_frames")
    touch(tmp_path, "c/cover.jpg", "c/4.mp4", "c/5.mp4", "c/6.mp4", "thumbnail.png")
    found = find_videos(tmp_path, frame_folders=True)
    files = ["a/1.mp4", "a/2.MKV", "c/4.mp4", "c/5.mp4", "c/6.mp4", "noextension"]
    assert found.names == sorted([*files, "b/frames 1", "b/hara"])
    assert found.others == {".txt": 1, ".jpg": 1, ".png": 1}
    assert found.unreadable == found.dangling == []
    found = find_videos(tmp_path, frame_folders=False, skip=[tmp_path / "c"])
    assert found.names == ["a/1.mp4", "a/2.MKV", "b/hara/n_frames", "noextension"]
    assert found.others == {".txt": 1, ".jpg": 41, ".png": 1}


def test_links(tmp_path):
    touch(tmp_path / "elsewhere", "x/1.mp4")
    touch(tmp_path / "root", "a/2.mp4")
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/circle").symlink_to(tmp_path / "root")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/a/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "root/a/there.mp4").symlink_to(tmp_path / "elsewhere/x/1.mp4")
    (tmp_path / "root/z_link").symlink_to(tmp_path / "elsewhere")
    found = find_videos(tmp_path / "root", frame_folders=True)
    assert found.names == ["a/2.mp4", "a/there.mp4", "link/x/1.mp4"]
    assert found.dangling == ["a/gone.mp4"]


def test_a_pipe_is_counted_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    found = find_videos(tmp_path, frame_folders=False)
    assert found.names == found.dangling == []
    assert found.described_others == "1 (pipe, socket or device)"


def test_folders_that_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.mp4", "locked/2.mp4")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    found, said = find_videos(tmp_path, frame_folders=True), []
    assert (found.names, found.unreadable) == (["a/1.mp4"], ["locked"])
    found.warn_unreadable(said.append)
    assert said == ["not readable: 1 folder, such as 'locked'"]
    with pytest.raises(PermissionError):
        find_videos(tmp_path / "locked", frame_folders=True)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        find_videos(tmp_path / "nowhere", frame_folders=True)
    with pytest.raises(NotADirectoryError):
        find_videos(touch(tmp_path, "file") / "file", frame_folders=False)


def test_progress(tmp_path, monkeypatch):
    monkeypatch.setattr("actrec.data.lists.find._STEP", 2)
    told = []
    find_videos(touch(tmp_path, *(f"{i}.mp4" for i in range(5))), frame_folders=True, progress=told.append)
    assert told == [2, 4]


def test_links_that_lead_nowhere_do_not_hide_other_videos(tmp_path):
    for name in ("a/1.mp4", "a/9.mp4", "b/2.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/5.mp4").symlink_to("5.mp4")  # leads to itself
    (tmp_path / "a/6.mp4").symlink_to("gone.mp4")
    (tmp_path / "a/7").symlink_to("../a")
    found = find_videos(tmp_path, frame_folders=True)
    assert found.names == ["a/1.mp4", "a/9.mp4", "b/2.mp4"]
    assert found.dangling == ["a/5.mp4", "a/6.mp4"]
    assert found.unreadable == []
