"""Interrupted and failed extraction, refused settings, and errors of the command."""

from __future__ import annotations

import csv
import errno
import itertools
import os
import threading

import cv2
import pytest
from frame_extraction import SMALL, cli, make_video, names, tree

from actrec.config import ExtractOptions
from actrec.system import lock_folder
from actrec.tools.make import extract_frames as tool
from actrec.tools.make import frame_folder as one
from actrec.tools.make.extract_frames import extract_frames, extract_video
from actrec.tools.make.record import FRAMES


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("one") / "video.mp4")


def test_continues_after_an_interrupt(videos, tmp_path, monkeypatch):
    src = videos(*names("a/{1,2,3,4,5,6}.mp4"))
    real, calls = extract_video, itertools.count(1)

    def interrupted(path, folder, options, **more):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(path, folder, options, **more)

    monkeypatch.setattr(tool, "extract_video", interrupted)
    result = cli(src, tmp_path, "--short-side", 32, "--workers", 1)
    assert result.exit_code == 130
    assert result.output.splitlines()[-1] == "interrupted: run the same command again to continue"
    left = [p for p in (tmp_path / "frames" / "a").iterdir()]
    assert 2 <= len(left) < 6
    assert all(len(list(folder.iterdir())) == 5 for folder in left)
    assert not (tmp_path / "train.txt").exists()
    monkeypatch.setattr(tool, "extract_video", real)
    (tmp_path / "frames" / "a" / f".part-999999999-{'0' * 32}").mkdir()  # of a run that was killed
    made = extract_frames(src, tmp_path, SMALL)
    assert (made.done, made.skipped, made.frames) == (6 - len(left), len(left), 30)
    assert sorted(p.name for p in (tmp_path / "frames" / "a").iterdir()) == list("123456")


def test_a_long_video_stops_at_once(one_video, tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(one.Stopped):
        extract_video(one_video, tmp_path / "out", SMALL, stop=stop.is_set)
    assert tree(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused(videos, tmp_path):
    src = videos("a/1.mp4")
    extract_frames(src, tmp_path, SMALL)
    with pytest.raises(ValueError, match=r"other settings \(short_side was 32, now 16; quality was 90, now 80\)"):
        extract_frames(src, tmp_path, ExtractOptions(short_side=16, quality=80))
    (tmp_path / FRAMES.record).unlink()
    with pytest.raises(ValueError, match="frames with unknown settings"):
        extract_frames(src, tmp_path, SMALL)


def test_failures(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4")
    (src / "a" / "bad, very.mp4").write_text("no video")
    (src / "a" / "empty.mp4").touch()
    (tmp_path / "videos_train.txt").write_text("videos/a/1.mp4;0\nvideos/a/2.mp4;0\nvideos/a/empty.mp4;0\n")
    (tmp_path / "videos_val.txt").write_text("videos/a/bad, very.mp4;0\n")
    result = cli(src, tmp_path, "--short-side", 32)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        f"2 videos -> {tmp_path}/frames/ (10 frames, 2 failed; why: {tmp_path}/failed.csv); train.txt 2, val.txt 0"
    )
    assert "val.txt: none of its videos could be extracted, so this list is not written" in result.output
    assert f"failed, for example: {src}/a/bad, very.mp4: not a video, but a text file" in result.output
    with open(tmp_path / "failed.csv", newline="") as file:
        found = list(csv.reader(file))
    assert [row[0] for row in found] == ["path", str(src / "a" / "bad, very.mp4"), str(src / "a" / "empty.mp4")]
    assert found[2][1] == "the file is empty (0 bytes)"
    for name in ("bad, very.mp4", "empty.mp4"):
        (src / "a" / name).write_bytes((src / "a" / "1.mp4").read_bytes())
    result = cli(src, tmp_path, "--short-side", 32)
    assert result.exit_code == 0
    assert not (tmp_path / "failed.csv").exists()


def test_a_full_disk_stops_the_run(videos, tmp_path, monkeypatch):
    src = videos(*names("a/{1,2,3}.mp4"))
    real, opened = open, itertools.count(1)

    def full(path, *args, **kwargs):
        if str(path).endswith(".jpg") and next(opened) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(one, "open", full, raising=False)
    result = cli(src, tmp_path, "--workers", 1)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].endswith("cannot be written (No space left on device)")
    assert "Traceback" not in result.output
    folders = list((tmp_path / "frames" / "a").iterdir())
    assert [len(list(folder.iterdir())) for folder in folders] == [5]
    assert not (tmp_path / "failed.csv").exists()


def test_nothing_global_is_left_changed(videos, tmp_path):
    threads = cv2.getNumThreads()
    extract_frames(videos("a/1.mp4"), tmp_path, SMALL)
    assert cv2.getNumThreads() == threads


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["none"], 1, "none: no such folder"),
        (["empty"], 1, "empty holds no video"),
        (["flat"], 1, "is in no class folder"),
        (["videos", "file"], 2, "file is a file: expected the name of a folder"),
        (["videos", "file/x"], 1, "cannot be written"),
        (["videos", "--template", "x.jpg"], 2, "expected a file name with one number"),
        (["videos", "--resize", "3by4"], 2, "expected width and height"),
        (["videos", "--val-fraction", "1"], 2, "above 0 and below 1"),
        (["videos", "--group-regex", "("], 2, "expected a regular expression"),
        (["videos", "--fps", "0"], 2, "--fps 0.0: expected a positive number"),
        (["videos", "--short-side", "0"], 2, "expected from 1 to 16384"),
        (["videos", "--quality", "101"], 2, "expected from 1 to 100"),
        (["videos", "--workers", "0"], 2, "workers"),
    ],
)
def test_errors_of_the_command(videos, tmp_path, monkeypatch, args, code, words):
    monkeypatch.chdir(tmp_path)
    videos("a/1.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "1.mp4").write_text("x")
    (tmp_path / "file").write_text("x")
    result = cli(*args)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output


def test_the_command_without_arguments(videos, tmp_path, monkeypatch):
    videos(*names("{a,b}/{1,2,3}.mp4"))
    monkeypatch.chdir(tmp_path)
    result = cli()
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == "split: drawn by class, 0.2 of the videos for validation, seed 0"
    assert result.output.splitlines()[1:3] == [
        "videos  6 videos of 2 classes",
        "frames  frames/<class>/<video>/00001.jpg, short side 256 pixels at most, every frame, JPEG quality 90",
    ]
    assert result.output.splitlines()[-3:] == [
        "6 videos -> frames/ (30 frames, 0 failed); train.txt 4, val.txt 2",
        "next: actrec view",
        "      actrec train",
    ]
    result = cli("--short-side", "256", "--fps", "5", "--template", "{:03d}.png", "videos", "other")
    assert result.exit_code == 0
    assert (
        "frames  other/frames/<class>/<video>/001.png, short side 256 pixels at most, 5 frames per second"
        in result.output
    )
    assert "videos  6 videos of 2 classes, 6 of them extracted before" in cli().output


def test_a_second_process_is_refused_and_loses_nothing(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4")
    (tmp_path / "frames").mkdir()
    with lock_folder(tmp_path / "frames"), pytest.raises(ValueError, match="frames is in use: another `actrec extract"):
        extract_frames(src, tmp_path, SMALL)
    assert extract_frames(src, tmp_path, SMALL).done == 4
    assert extract_frames(src, tmp_path, SMALL).skipped == 4
