"""Files and folders that vanish or change during a run: each is one failure with a name, and the rest is done."""

from __future__ import annotations

import errno
import os
import shutil

import cv2
import numpy as np
import pytest
from frame_extraction import SMALL, make_video, rows

from actrec.cli.main import main
from actrec.config import FlowOptions, PrepareOptions
from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.files import OutputError
from actrec.tools.lists.index import probe_all, verify_all
from actrec.tools.make import extract_flow as flow_tool
from actrec.tools.make.extract_flow import extract_flow
from actrec.tools.make.extract_frames import extract_frames
from actrec.tools.make.jobs import Workers
from actrec.tools.make.prepare import prepare
from actrec.tools.make.savings import pick_sample

ONE = Workers(1)
PREPARED = PrepareOptions(short_side=32, encoder="cpu", preset="ultrafast")


def replaced_by_folder(path):
    path.unlink()
    path.mkdir()


def replaced_by_loop(path):
    path.unlink()
    os.symlink(path.name, path)


def replaced_by_text(path):
    path.unlink()
    path.write_text("no video")


def emptied(path):
    os.truncate(path, 0)


CHANGES = [os.unlink, replaced_by_folder, replaced_by_loop, replaced_by_text, emptied]


def run_frames(src, dst, progress, sample=0):
    made = extract_frames(src, dst, SMALL, workers=ONE, progress=progress)
    return made, [path for path, _ in made.failed]


def run_prepare(src, dst, progress, sample=0):
    made = prepare(src, dst, PREPARED, workers=ONE, progress=progress, sample=sample)
    return made, [path for path, _ in made.failed]


def whole_lists(dst):
    return sorted(line.split(" ")[0] for name in ("train.txt", "val.txt") for line in rows(dst / name))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("run", [run_frames, run_prepare])
def test_a_video_that_changes_during_the_run(tmp_path, run, change):
    src = tmp_path / "videos"
    for i in range(8):
        make_video(src / "ab"[i % 2] / f"{i}.mp4", frames=12 - i)  # the largest ones are done first

    def progress(done, total, failed):
        if done == 1:
            change(src / "b" / "7.mp4")

    made, failed = run(src, tmp_path, progress)
    assert failed == [str(src / "b" / "7.mp4")]
    assert made.done == 7
    suffix = "" if run is run_frames else ".mp4"
    folder = "frames" if run is run_frames else "prepared"
    assert whole_lists(tmp_path) == sorted(f"{folder}/{'ab'[i % 2]}/{i}{suffix}" for i in range(7))
    again, failed = run(src, tmp_path, None)
    assert (again.done, again.skipped) == (0, 7)


@pytest.mark.parametrize("run", [run_frames, run_prepare])
def test_a_class_folder_that_vanishes_during_the_run(tmp_path, run):
    src = tmp_path / "videos"
    for i in range(8):
        make_video(src / "ab"[i % 2] / f"{i}.mp4", frames=12 - i)

    def progress(done, total, failed):
        if done == 2:
            shutil.rmtree(src / "b")

    made, failed = run(src, tmp_path, progress)
    assert 1 <= len(failed) <= 3
    assert all(path.startswith(str(src / "b")) for path in failed)
    assert made.done == 8 - len(failed)
    assert len(whole_lists(tmp_path)) == 8 - len(failed)


@pytest.mark.parametrize("run", [run_frames, run_prepare])
def test_a_source_that_is_gone_when_its_result_exists(tmp_path, run):
    src = tmp_path / "videos"
    for i in range(4):
        make_video(src / "a" / f"{i}.mp4")
    run(src, tmp_path, None)
    (src / "a" / "2.mp4").unlink()
    os.symlink("nowhere", src / "a" / "2.mp4")
    made, failed = run(src, tmp_path, None)
    assert (made.done, made.skipped, failed) == (0, 4, [])


def test_dangling_links_and_the_sample(tmp_path):
    src = tmp_path / "videos"
    for i in range(4):
        make_video(src / "a" / f"{i}.mp4", frames=5 + i)
    os.symlink("nowhere", src / "a" / "dangling.mp4")
    os.symlink("loop.mp4", src / "a" / "loop.mp4")
    made, failed = run_prepare(src, tmp_path, None, sample=2)
    assert failed == [str(src / "a" / name) for name in ("dangling.mp4", "loop.mp4")]
    assert made.done == 4
    files = [src / "a" / name for name in ("3.mp4", "gone.mp4", "0.mp4")]
    assert pick_sample(files, 3) == [files[1], files[2], files[0]]


def test_a_list_with_seconds_whose_video_vanishes_after_its_frames_were_extracted(tmp_path):
    src = tmp_path / "videos"
    for i in range(4):
        make_video(src / "a" / f"{i}.mp4", frames=10)
    lines = "".join(f"a/{i}.mp4 0.2s 0.6s 0\n" for i in range(4))
    for part in ("train", "val"):
        (tmp_path / f"videos_{part}.txt").write_text(lines)

    def progress(done, total, failed):
        if done == 4:
            (src / "a" / "1.mp4").unlink()

    made = extract_frames(src, tmp_path, SMALL, workers=ONE, progress=progress)
    assert [path for path, _ in made.failed] == [str(src / "a" / "1.mp4")] * 2
    assert all("the file can no longer be opened" in reason for _, reason in made.failed)
    assert rows(tmp_path / "train.txt") == [f"frames/a/{i} 3 6 0" for i in (0, 2, 3)]


# ---- flow ----


def frame_folder(folder, count=4):
    folder.mkdir(parents=True)
    for i in range(count):
        image = np.random.default_rng(i).integers(0, 255, (48, 64, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i + 1:05d}.jpg"), image)


@pytest.mark.parametrize("gone", ["folder", "image", "class"])
def test_frames_that_vanish_while_their_flow_is_extracted(tmp_path, monkeypatch, gone):
    for name in ("a/1", "b/2", "b/3"):
        frame_folder(tmp_path / name)
    (tmp_path / "list.txt").write_text("a/1 0\nb/2 1\nb/3 1\n")
    real = flow_tool._write

    def write(path, component, options):
        if path.name == "00002_x.jpg" and path.parent.parent.name == "a":
            if gone == "image":
                (tmp_path / "a" / "1" / "00004.jpg").unlink()
            else:
                shutil.rmtree(tmp_path / "a" / "1" if gone == "folder" else tmp_path / "a")
        real(path, component, options)

    monkeypatch.setattr(flow_tool, "_write", write)
    made = extract_flow([tmp_path / "list.txt"], workers=ONE)
    assert (made.done, [path for path, _ in made.failed]) == (2, [str(tmp_path / "a" / "1")])
    assert "image is missing" in made.failed[0][1] or "was removed" in made.failed[0][1]
    assert (tmp_path / "a" / "1").exists() == (gone == "image")
    assert (tmp_path / "a").exists() == (gone != "class")
    assert list(tmp_path.rglob(".actrec-*")) == []


def test_a_video_that_vanishes_while_its_flow_is_extracted(tmp_path, monkeypatch):
    for i in range(3):
        make_video(tmp_path / "a" / f"{i}.mp4")
    (tmp_path / "list.txt").write_text("a/0.mp4 0\na/1.mp4 0\na/2.mp4 0\n")
    real = flow_tool._write

    def write(path, component, options):
        (tmp_path / "a" / "1.mp4").unlink(missing_ok=True)
        real(path, component, options)

    monkeypatch.setattr(flow_tool, "_write", write)
    made = extract_flow([tmp_path / "list.txt"], FlowOptions(), workers=ONE)
    assert (made.done, made.failed) == (2, ((str(tmp_path / "a" / "1.mp4"), made.failed[0][1]),))


# ---- the index ----


@pytest.mark.parametrize("change", [*CHANGES, None])
def test_an_index_whose_files_change_meanwhile(tmp_path, change):
    for i in range(4):
        make_video(tmp_path / f"{i}.mp4")
    frame_folder(tmp_path / "frames")
    (tmp_path / "list.txt").write_text("".join(f"{i}.mp4 0\n" for i in range(4)) + "frames 0\n")
    index = build_index(read_list(tmp_path / "list.txt"), cache=tmp_path / "list.txt.index.npy", lazy=True)
    probe_all(index, ONE)

    def progress(done, total, failed):
        if done == 0 and change is None:
            shutil.rmtree(tmp_path / "frames")
        elif done == 0:
            change(tmp_path / "3.mp4")

    verify_all(index, ONE, progress)
    index.find_broken()
    assert list(index.broken) == [4 if change is None else 3]


# ---- the destination ----


@pytest.mark.parametrize("run", [run_frames, run_prepare])
def test_a_destination_that_vanishes_ends_the_run_with_its_name(tmp_path, run):
    src, dst = tmp_path / "videos", tmp_path / "dst"
    for i in range(4):
        make_video(src / "a" / f"{i}.mp4", frames=12 - i)

    def progress(done, total, failed):
        if done == 2:
            dst.rename(tmp_path / "moved")

    with pytest.raises(OutputError, match="dst/.*: 'dst/|replaced during the run|No such file") as stop:
        run(src, dst, progress)
    assert str(dst) in str(stop.value)
    assert not list(dst.glob("*.txt"))  # lists would name results that are gone
    made, failed = run(src, dst, None)
    assert (made.done + made.skipped, failed) == (4, [])
    assert all((dst / name).exists() for name in whole_lists(dst))


def test_a_full_disk_names_the_result_and_the_run_continues(tmp_path, monkeypatch):
    src = tmp_path / "videos"
    for i in range(4):
        make_video(src / "a" / f"{i}.mp4", frames=12 - i)
    real, calls = os.rename, []

    def rename(one, other):
        calls.append(other)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), one, None, other)
        real(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(
            OutputError, match=r"frames/a/2: cannot be written \(No space left|No space left.*frames/a/2"
        ):
            run_frames(src, tmp_path, None)
    assert list(tmp_path.rglob(".actrec-*")) == []
    made, failed = run_frames(src, tmp_path, None)
    assert failed == []
    assert made.skipped >= 2
    assert made.done + made.skipped == 4


# ---- folders ----


@pytest.mark.parametrize("run", [run_frames, run_prepare])
def test_folders_that_cannot_be_read_and_links_in_circles(tmp_path, monkeypatch, run):
    src = tmp_path / "videos"
    for i in range(4):
        make_video(src / "ab"[i % 2] / f"{i}.mp4")
    make_video(tmp_path / "outside" / "5.mp4")
    make_video(src / "locked" / "6.mp4")
    make_video(src / "b" / "inside" / "7.mp4")
    os.symlink("..", src / "a" / "parent")
    os.symlink(tmp_path / "outside", src / "a" / "outside")
    os.symlink("loop", src / "loop")
    real = os.scandir

    def refuse(path="."):
        if str(path).endswith(("locked", "inside")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    made, failed = run(src, tmp_path / "dst", None)
    assert failed == [str(src / name) for name in ("b/inside", "locked", "loop")]
    assert all(made.failed[i][1] for i in range(3))
    assert made.done == sum(made.lists.values()) == 5
    assert rows(tmp_path / "dst" / "labels.txt") == ["a", "b"]


def test_a_list_that_cannot_be_stored_is_not_verified_for_hours(tmp_path, monkeypatch):
    make_video(tmp_path / "1.mp4")
    (tmp_path / "list.txt").write_text("1.mp4 0\n")
    (tmp_path / "list.txt.quarantine.csv").mkdir()
    monkeypatch.setattr("actrec.tools.lists.index.verify_all", lambda *_: pytest.fail("it began"))
    with pytest.raises(SystemExit) as stop:
        main(["index", str(tmp_path / "list.txt"), "--verify"])
    assert stop.value.code == 1
