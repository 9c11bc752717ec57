from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from timed_videos import VARIABLE, write_timed

from actrec.config import FlowOptions
from actrec.data.flow import UNFINISHED, flow_videos
from actrec.data.index import build_index
from actrec.data.lists import Video, read_list
from actrec.data.video.encode import VideoWriter
from actrec.data.video.read import MediaError
from actrec.files import OutputError
from actrec.tools.make import extract_flow as tool
from actrec.tools.make.extract_flow import extract_flow, flow_of_video
from actrec.tools.make.jobs import Stopped, Workers

ONE = Workers(1)


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth RGB noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def moving(frames: int, x: int, y: int, *, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Pictures in which all moves by x to the right and y down from one to the next."""
    whole = texture(width + 160, height + 160)
    starts = [(80 - i * x, 80 - i * y) for i in range(frames)]
    return [whole[top : top + height, left : left + width] for left, top in starts]


def write_video(path: Path, pictures: list[np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width=width, height=height, rate=10, options={"crf": "10"}) as video:
        for picture in pictures:
            video.write(picture)
    return path


def write_frames(folder: Path, pictures: list[np.ndarray], template: str = "{:05d}.jpg", first: int = 1) -> Path:
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(folder / template.format(first + i)), picture)
    return folder


def read(folder: Path, name: str) -> np.ndarray:
    """A flow image in pixels of motion."""
    return (cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE).astype(float) - 127.5) * 20 / 127.5


def list_of(root: Path, *lines: str) -> Path:
    (root / "train.txt").write_text("".join(f"{line}\n" for line in lines))
    return root / "train.txt"


def flow_names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(("_x.jpg", "_y.jpg")))


def pairs(*numbers: int) -> list[str]:
    return [f"{n:05d}_{axis}.jpg" for n in numbers for axis in "xy"]


# ---- what the images hold ----


@pytest.mark.parametrize(("motion", "value"), [(0, 128), (3, 147), (-3, 108), (20, 255), (-20, 0), (99, 255), (-99, 0)])
def test_encode(motion, value):
    assert tool.encode(np.full((2, 3), motion, np.float32), 20).tolist() == [[value] * 3] * 2


def test_encode_with_another_bound():
    assert tool.encode(np.array([-4, -2, 2, 4, 8], np.float32), 4).tolist() == [0, 64, 191, 255, 255]


@pytest.mark.parametrize(("x", "y"), [(3, 0), (-3, 0), (0, 2), (2, -1)])
def test_the_motion_of_a_video(tmp_path, x, y):
    video = write_video(tmp_path / "v.mp4", moving(4, x, y))
    assert flow_of_video(video, tmp_path / "flow", FlowOptions(), tool.dis) == (3, True, 0)
    assert flow_names(tmp_path / "flow") == pairs(1, 2, 3)
    for n in (1, 2, 3):
        for axis, motion in (("x", x), ("y", y)):
            inner = read(tmp_path / "flow", f"{n:05d}_{axis}.jpg")[16:-16, 16:-16]
            assert inner.mean() == pytest.approx(motion, abs=0.3)


def test_a_video_and_its_extracted_frames_give_the_same_flow(tmp_path):
    pictures = moving(3, 3, 1)
    frames = write_frames(tmp_path / "a", pictures)
    video = write_video(tmp_path / "v.mp4", pictures)
    assert flow_of_video(frames, frames, FlowOptions(), tool.dis) == (2, True, 0)
    flow_of_video(video, tmp_path / "b", FlowOptions(), tool.dis)
    for name in pairs(1, 2):
        assert np.abs(read(frames, name) - read(tmp_path / "b", name)).mean() < 0.2


def test_videos_are_resized_as_frames_are(tmp_path):
    video = write_video(tmp_path / "v.mp4", moving(2, 4, 0, width=96, height=64))
    for options, size, motion in (
        (FlowOptions(short_side=32), (48, 32), 2),
        (FlowOptions(resize=(40, 64)), (40, 64), 1.7),
    ):
        flow_of_video(video, tmp_path / str(size), options, tool.dis)
        found = read(tmp_path / str(size), "00001_x.jpg")
        assert found.shape[::-1] == size
        assert np.median(found) == pytest.approx(motion, abs=0.4)


@pytest.mark.parametrize("size", [(1, 1), (40, 12), (80, 16), (12, 400), (640, 24), (96, 31)])
@pytest.mark.parametrize("preset", tool.PRESETS)
def test_small_pictures(size, preset):
    """OpenCV alone dies of some of them."""
    flat = np.full(size[::-1], 7, np.uint8)
    (flow,) = tool.dis(iter([flat, flat]), preset=preset)
    assert flow.shape == (*size[::-1], 2)
    assert np.abs(flow).max() < 0.01


def test_small_pictures_move(tmp_path):
    pictures = [picture[:24, :40, 0] for picture in moving(2, 2, 0)]
    (flow,) = tool.dis(iter(pictures))
    assert np.median(flow[..., 0]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("preset", tool.PRESETS)
def test_presets(preset):
    pictures = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in moving(2, 3, 1)]
    (flow,) = tool.dis(iter(pictures), preset=preset)
    assert np.median(flow, (0, 1)).tolist() == pytest.approx([3, 1], abs=0.3)


def test_an_unknown_preset():
    with pytest.raises(ValueError, match="preset 'slow': expected one of medium, fast, ultrafast"):
        FlowOptions(preset="slow")


def test_names_follow_the_frames(tmp_path):
    frames = write_frames(tmp_path / "a", moving(3, 1, 0), "img {:d}.png", first=0)
    flow_of_video(frames, frames, FlowOptions(), tool.dis)
    assert flow_names(frames) == [f"img {n}_{axis}.jpg" for n in (0, 1) for axis in "xy"]


def test_flow_of_frames_with_gaps(tmp_path):
    """Flow leads from each image to the next one that is there, and has the name of the first one."""
    frames, numbers = tmp_path / "a", (8, 9, 10, 100)
    frames.mkdir()
    for n, picture in zip(numbers, moving(4, 2, 0)):
        cv2.imwrite(str(frames / f"f{n}.jpg"), picture)
        cv2.imwrite(str(frames / f"mask{n}.png"), picture)
    with pytest.raises(MediaError, match="several sequences"):
        flow_of_video(frames, frames, FlowOptions(), tool.dis)
    options = FlowOptions(template="f{}.jpg")
    assert flow_of_video(frames, frames, options, tool.dis) == (3, True, 89)
    assert flow_names(frames) == sorted(f"f{n}_{axis}.jpg" for n in numbers[:3] for axis in "xy")
    for n in numbers[:3]:
        x = cv2.imread(str(frames / f"f{n}_x.jpg"), cv2.IMREAD_GRAYSCALE)
        assert (np.median(x) / 255 - 0.5) * 2 * options.bound == pytest.approx(2, abs=0.4)
    assert flow_of_video(frames, frames, options, tool.dis) == (3, False, 0)
    rows = [Video("", str(frames), None, None, ()), Video("", str(frames), 8, 10, ())]
    index = build_index(rows, flow=True)
    assert [index[i].frames for i in range(2)] == [3, 1]


# ---- lists ----


def test_lists_of_folders_and_files(tmp_path):
    write_frames(tmp_path / "frames/a b", moving(4, 1, 0))
    write_video(tmp_path / "videos/run/it's; ü.mp4", moving(3, 1, 0))
    path = list_of(tmp_path, "frames/a b\t1\t4\t0", "frames/a b\t2\t3\t0", "videos/run/it's; ü.mp4\t1\t2\t1")
    seen = []
    made = extract_flow([path], workers=Workers(2), progress=lambda *numbers: seen.append(numbers))
    assert (made.done, made.skipped, made.pairs, made.failed) == (2, 0, 5, ())
    assert seen == [(0, 2, 0), (1, 2, 0), (2, 2, 0)]
    assert flow_names(tmp_path / "frames/a b") == pairs(1, 2, 3)
    assert flow_names(tmp_path / "flow/videos/run/it's; ü.mp4") == pairs(1, 2)
    assert sorted(os.listdir(tmp_path)) == [".extract_flow.json", "flow", "frames", "train.txt", "videos"]
    again = extract_flow([path])
    assert (again.done, again.skipped, again.pairs) == (0, 2, 5)


def test_lists_with_times_in_seconds(tmp_path):
    write_video(tmp_path / "v.mp4", moving(10, 1, 0))  # ten a second
    path = list_of(tmp_path, "v.mp4 0.2s 0.7s 0", "v.mp4 0.5s 9s 0", "v.mp4 0.9s 1s 0")
    assert extract_flow([path]).pairs == 9
    index = build_index(flow_videos(read_list(path), tmp_path), flow=True)
    assert [(found.start, found.frames) for found in (index[0], index[1])] == [(2, 4), (5, 4)]
    assert index.broken == {2: "the list says frames 10 to 10: optical flow needs two"}


def test_failures_are_listed_and_do_not_stop_the_run(tmp_path):
    write_video(tmp_path / "one.mp4", moving(1, 0, 0))
    write_video(tmp_path / "good.mp4", moving(2, 0, 0))
    (tmp_path / "empty.mp4").touch()
    frames = write_frames(tmp_path / "sizes", moving(2, 0, 0))
    cv2.imwrite(str(frames / "00003.jpg"), np.zeros((8, 10, 3), np.uint8))
    (tmp_path / "nothing").mkdir()
    path = list_of(tmp_path, "one.mp4 0", "good.mp4 0", "empty.mp4 0", "sizes 0", "nothing 0", "gone.mp4 0")
    made = extract_flow([path], workers=ONE)
    assert (made.done, made.pairs) == (1, 1)
    with open(tmp_path / "failed_flow.csv", newline="", encoding="utf-8") as file:
        told = {os.path.basename(row["path"]): row["reason"] for row in csv.DictReader(file)}
    assert told == {
        "one.mp4": "it has one frame: flow needs at least two",
        "empty.mp4": "the file is empty (0 bytes)",
        "sizes": "00003.jpg is 10x8, the first frame 96x64: flow needs frames of one size",
        "nothing": "the folder contains no numbered images such as 00001.jpg",
        "gone.mp4": "no such file or folder",
    }
    assert flow_names(frames) == []
    assert sorted(os.listdir(tmp_path / "flow")) == ["good.mp4"]
    extract_flow([list_of(tmp_path, "good.mp4 0")])
    assert not (tmp_path / "failed_flow.csv").exists()


def test_lists_of_two_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the lists are in 2 folders"):
        extract_flow([tmp_path / "a/train.txt", tmp_path / "b/train.txt"])


def test_other_settings_are_refused(tmp_path):
    write_frames(tmp_path / "a", moving(2, 0, 0))
    path = list_of(tmp_path, "a 0")
    extract_flow([path])
    with pytest.raises(ValueError, match=r"other settings \(bound was 20.0, now 32.0\): expected the same"):
        extract_flow([path], FlowOptions(bound=32.0))
    with pytest.raises(ValueError, match=r"\(method was dis, now nvidia\)"):
        extract_flow([path], method="nvidia")
    (tmp_path / tool.RECORD).write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        extract_flow([path])


@pytest.mark.parametrize("bound", [0, -1, float("nan"), float("inf")])
def test_invalid_bounds(bound):
    with pytest.raises(ValueError, match="bound .*: expected"):
        FlowOptions(bound=bound)


# ---- whole or not at all ----


def test_an_interrupted_video_leaves_nothing(tmp_path):
    frames = write_frames(tmp_path / "a", moving(4, 0, 0))
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        flow_of_video(frames, frames, FlowOptions(), tool.dis, stop=lambda: next(asked))
    assert flow_names(frames) == []
    assert os.listdir(tmp_path) == ["a"]


def test_unfinished_flow_is_extracted_again(tmp_path, monkeypatch):
    frames = write_frames(tmp_path / "a", moving(4, 0, 0))
    replace, moved = os.replace, []

    def crash(source, target):
        if len(moved) == 3:
            raise KeyboardInterrupt
        moved.append(target)
        replace(source, target)

    monkeypatch.setattr(tool.os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        flow_of_video(frames, frames, FlowOptions(), tool.dis)
    monkeypatch.undo()
    assert len(flow_names(frames)) == 3
    assert (frames / UNFINISHED).exists()
    assert flow_of_video(frames, frames, FlowOptions(), tool.dis) == (3, True, 0)
    assert flow_names(frames) == pairs(1, 2, 3)
    assert not (frames / UNFINISHED).exists()


def test_a_damaged_image_is_extracted_again(tmp_path):
    frames = write_frames(tmp_path / "a", moving(2, 0, 0))
    flow_of_video(frames, frames, FlowOptions(), tool.dis)
    (frames / "00001_y.jpg").write_bytes(b"")
    assert flow_of_video(frames, frames, FlowOptions(), tool.dis) == (1, True, 0)
    assert flow_of_video(frames, frames, FlowOptions(), tool.dis) == (1, False, 0)


def test_a_full_disk_stops_the_run(tmp_path, monkeypatch):
    write_frames(tmp_path / "a", moving(2, 0, 0))
    path = list_of(tmp_path, "a 0")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tool.os, "replace", full)
    with pytest.raises(OutputError, match="cannot be written"):
        extract_flow([path], workers=ONE)


def test_a_missing_folder_is_a_media_error(tmp_path):
    with pytest.raises(MediaError, match="no such file or folder"):
        flow_of_video(tmp_path / "a.mp4", tmp_path / "flow", FlowOptions(), tool.dis)


def test_odd_files(shared_videos, tmp_path):
    """Every file that decodes to two frames or more."""
    with open(shared_videos / "files.csv", newline="", encoding="utf-8") as file:
        known = {row["path"]: row for row in csv.DictReader(file) if row["path"].startswith("odd/")}
    good = {path: int(row["decoded_frames"] or 0) for path, row in known.items()}
    names = sorted(path for path, frames in good.items() if frames < 60 and "\n" not in path)[:40]
    path = list_of(tmp_path, *(f"{shared_videos / name}\t0" for name in names))
    made = extract_flow([path], FlowOptions(short_side=32), workers=Workers(2))
    failed = {os.path.relpath(name, shared_videos) for name, _ in made.failed}
    bad = {name for name in names if good[name] < 2 or "cover_art" in name}
    assert failed == bad
    assert made.pairs == sum(good[name] - 1 for name in names if name not in bad)


def test_rows_in_seconds_need_a_constant_rate(tmp_path):
    """The flow of a variable rate has no `fps`: an average would give the flow of other frames."""
    write_timed(tmp_path / "v.mp4", VARIABLE)
    write_timed(tmp_path / "late.mkv", [time + 500 for time in range(0, 800, 40)], sound=(0, 1))
    path = list_of(tmp_path, "v.mp4 0s 2s 0", "late.mkv 0.7s 0.9s 0")
    extract_flow([path], FlowOptions(short_side=32), workers=ONE)
    assert not (tmp_path / "flow/v.mp4/fps").exists()
    index = build_index(flow_videos(read_list(path), tmp_path), flow=True)
    reason = (
        "the list has times in seconds, and the folder has no file `fps` with its frame rate: expected frame numbers"
    )
    assert index.broken == {0: reason}
    assert (index[1].start, index[1].frames) == (5, 4)  # between the frames 5 to 9
