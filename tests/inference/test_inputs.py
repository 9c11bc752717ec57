"""What the inputs of a command stand for."""

from __future__ import annotations

import tarfile

import pytest

from actrec.inference.inputs import classes_of, find_inputs


def test_the_same_id_in_two_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.txt").write_text("a.mp4 1 10 0\na.mp4 11 20 1\nb.mp4 1 5 3\n")
    found = find_inputs([tmp_path / "one/list.txt", tmp_path / "two/list.txt", tmp_path / "one/list.txt"])
    assert [video.id for video in found] == [
        "a.mp4 1-10", "a.mp4 11-20", "b.mp4",
        f"{tmp_path}/two/a.mp4", f"{tmp_path}/two/a.mp4#2", f"{tmp_path}/two/b.mp4",
    ]  # fmt: skip
    assert [(video.start, video.stop) for video in found] == [(0, 10), (10, 20), (0, 5)] * 2
    assert {video.labels for video in found} == {()}


def test_the_names_of_labels_are_next_to_the_lists(tmp_path):
    for name, names in (("one", "run\njump\n"), ("two", "jump\nrun\n"), ("three", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.txt").write_text("a.mp4 0\n")
        if names:
            (tmp_path / name / "labels.txt").write_text(names)
    one, two, three = (tmp_path / name / "list.txt" for name in ("one", "two", "three"))
    assert classes_of([one, tmp_path / "two/a.mp4"]) == ["run", "jump"]
    assert [classes_of(paths) for paths in ([one, two], [one, three], [tmp_path / "one/a.mp4"])] == [None] * 3


def test_a_folder_of_images_is_a_video_and_a_folder_of_such_folders_is_not(tmp_path):
    for name in ("a", "b/c"):
        (tmp_path / "v" / name).mkdir(parents=True)
        (tmp_path / "v" / name / "00001.jpg").touch()
    (tmp_path / "v/x.mp4").touch()
    (tmp_path / "v/notes.txt").touch()
    assert [v.id for v in find_inputs([tmp_path / "v"])] == [f"{tmp_path}/v/{name}" for name in ("a", "b/c", "x.mp4")]
    assert [v.id for v in find_inputs([tmp_path / "v/a"])] == [f"{tmp_path}/v/a"]
    (tmp_path / "e").mkdir()
    with pytest.raises(ValueError, match="contains no video"):
        find_inputs([tmp_path / "e"])


def test_a_tar_archive_and_its_members(tmp_path):
    for name in ("a.mp4", "b.txt", "c.webm"):
        (tmp_path / name).write_bytes(b"x")
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name in ("c.webm", "a.mp4", "b.txt"):
            archive.add(tmp_path / name, f"./{name}")
    with tarfile.open(tmp_path / "1.tar", "w") as archive:
        archive.add(tmp_path / "b.txt", "b.txt")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    with tarfile.open(tmp_path / "3.tar", "w") as archive:
        for name in ("a.mp4", "link.mp4"):
            archive.add(tmp_path / name, f"walk/{name}")
        archive.add(tmp_path / "a.mp4", "walk/._a.mp4")  # a note of macOS, as in folders
    names = ("walk/a.mp4", "walk/link.mp4")  # the link fails when it is opened
    assert [v.path for v in find_inputs([tmp_path / "3.tar"])] == [f"{tmp_path}/3.tar::{name}" for name in names]
    tar = f"{tmp_path}/0.tar"
    assert [v.path for v in find_inputs([tmp_path / "0.tar", f"{tar}::a.mp4"])] == [f"{tar}::a.mp4", f"{tar}::c.webm"]
    with pytest.raises(ValueError, match=r"1\.tar: contains no video"):
        find_inputs([tmp_path / "1.tar"])
    (tmp_path / "2.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ValueError, match=r"2\.tar: "):
        find_inputs([tmp_path / "2.tar"])
    assert [v.path for v in find_inputs([tmp_path / "gone.tar"])] == [f"{tmp_path}/gone.tar"]
