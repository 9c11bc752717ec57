"""`actrec predict --timeline`"""

from __future__ import annotations

import csv
import json

import av
import numpy as np
import pytest
from numbered_videos import numbered, plain_decode, write
from timed_videos import VARIABLE, write_timed

DARK, BRIGHT = np.full((48, 64, 3), 40, np.uint8), np.full((48, 64, 3), 215, np.uint8)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """Four seconds dark, four seconds bright, four seconds dark."""
    return write(tmp_path_factory.mktemp("long") / "long.mp4", [DARK] * 100 + [BRIGHT] * 100 + [DARK] * 100)


@pytest.fixture
def predict(run, trained):
    return lambda *args: run("predict", *args, "--run", trained, "--device", "cpu")


def test_the_command_writes_rows_segments_pictures_and_map(predict, long_video, tmp_path):
    truth = tmp_path / "truth.csv"
    truth.write_text("start,end,class\n0,4,dark\n4,8,bright\n8,12,dark\n")
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "json", "mp4", "png")}
    code, out, err = predict(
        long_video, "--timeline", "--every", 0.5, "--window", 1, "--threshold", 0, "--truth", truth,
        "--csv", files["csv"], "--json", files["json"], "--render", files["mp4"], "--plot", files["png"],
    )  # fmt: skip
    assert code == 0, err
    assert "(no sound)" in "\n".join(out + err)
    assert out[1] == "    start s      end s  class   score"
    place = out.index("tIoU     0.3    0.4    0.5    0.6    0.7  mean 0.3-0.7  mean 0.5-0.95")
    assert [len(out[place + 1]), out[place + 1][:5]] == [len(out[place]), "mAP %"]
    with files["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 23
    assert list(rows[0]) == ["video", "start", "end", "class", "probability", "dark", "bright"]
    assert (rows[1]["start"], rows[1]["end"]) == ("0.480", "1.480")  # frames 13 to 37
    assert all(float(row["probability"]) == max(float(row["dark"]), float(row["bright"])) for row in rows)
    result = json.loads(files["json"].read_text())
    (video,) = result["videos"]
    assert (video["frames"], video["rate"], len(video["windows"])) == (300, 25.0, 23)
    assert {segment["class"] for segment in video["segments"]} <= {"dark", "bright"}
    assert set(result["map"]) >= {"0.3", "0.5", "0.95", "mean_0.3_0.7", "mean_0.5_0.95"}
    assert len(plain_decode(files["mp4"])) == 300
    assert files["png"].stat().st_size > 5000


def test_several_videos_and_one_that_is_broken(predict, long_video, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    code, out, err = predict(broken, long_video, "--timeline", "--json", tmp_path / "out.json")
    assert code == 1
    assert "not predicted: " in "\n".join(out + err)
    assert str(broken) in "\n".join(out + err)
    assert "1 video of 2 cannot be used" in "\n".join(out + err)
    assert [video["video"] for video in json.loads((tmp_path / "out.json").read_text())["videos"]] == [str(long_video)]


def test_wrong_usage(predict, long_video, tmp_path):
    def says(*args):
        code, out, err = predict(*args)
        assert code != 0
        return "\n".join(out + err)

    assert "--threshold without --timeline" in says(long_video, "--threshold", 0.4)
    assert "--every without --timeline" in says(long_video, "--every", 3)
    assert "--plot without --timeline" in says(long_video, "--plot", tmp_path / "a.png")
    other = write(tmp_path / "other.mp4", [numbered(i) for i in range(5)])
    assert "--render with 2 videos: expected one" in says(
        long_video, other, "--timeline", "--render", tmp_path / "a.mp4"
    )
    assert "is the same file" in says(other, "--timeline", "--render", other)
    assert "expected a name that ends in .mp4, .mkv, .mov" in says(other, "--timeline", "--render", tmp_path / "a.avi")
    assert "there is no folder" in says(other, "--timeline", "--plot", tmp_path / "no" / "a.png")


def test_a_window_that_is_longer_than_the_video(predict, long_video):
    code, _, err = predict(long_video, "--timeline", "--window", 1000)
    assert code == 0
    (line,) = (line for line in err if "--window" in line)
    assert line.startswith(f"{long_video}: --window 1000 is longer than the video (")
    assert not any("--window" in line for line in predict(long_video, "--timeline", "--window", 0.3)[2])


def test_a_folder_without_a_rate_is_one_line(predict, dataset):
    code, out, err = predict(dataset / "frames" / "train0", "--timeline")
    assert code == 1
    assert "the folder has no file `fps` that contains it" in "\n".join(out + err)


def test_times_of_a_variable_rate(predict, tmp_path):
    """In the table, in the segments and in the rendered copy."""
    path = write_timed(tmp_path / "v.mp4", VARIABLE)
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "json", "mp4", "png")}
    code, _, err = predict(
        path, "--timeline", "--every", 1, "--window", 1, "--threshold", 0, "--csv", files["csv"],
        "--json", files["json"], "--render", files["mp4"], "--plot", files["png"],
    )  # fmt: skip
    assert code == 0, err
    with files["csv"].open(newline="") as file:
        found = [(float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]
    assert np.array(found) == pytest.approx(np.array([[0, 1], [1, 2], [2, 3], [3, 4]]), abs=2e-3)
    (video,) = json.loads(files["json"].read_text())["videos"]
    assert video["timestamps"] is True
    assert {round(segment["start"], 1) % 1 for segment in video["segments"]} == {0}
    assert not any("timestamps" in line for line in err)
    with av.open(str(files["mp4"])) as file:
        shown = [frame.time for frame in file.decode(video=0)]
    assert shown == pytest.approx(np.array(VARIABLE) / 1000, abs=2e-3)


def test_a_video_without_timestamps_is_named(predict, tmp_path):
    path = write(tmp_path / "v.avi", [DARK] * 50, codec="mpeg4")
    code, _, err = predict(path, "--timeline", "--json", tmp_path / "out.json")
    assert code == 0
    assert sum("v.avi: without timestamps: times are computed from the frame rate" in line for line in err) == 1
    assert json.loads((tmp_path / "out.json").read_text())["videos"][0]["timestamps"] is False
