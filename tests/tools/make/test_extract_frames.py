import contextlib
import csv
import errno
import io
import itertools
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from actrec.cli.main import main
from actrec.config import ExtractOptions, SplitOptions
from actrec.data.video.container import MediaError
from actrec.data.video.encode import VideoWriter
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, iter_pictures
from actrec.tools.make import extract_frames as tool
from actrec.tools.make import frame_folder as one
from actrec.tools.make.extract_frames import extract_frames, extract_video
from actrec.tools.make.frame_rate import resampled
from actrec.tools.make.jobs import Workers
from actrec.tools.make.record import FRAMES

SMALL = ExtractOptions(short_side=32)


def make_video(path, *, width=64, height=48, frames=5, rgb=None, **options):
    """A video whose frame i is gray 20 + 10 i, or one color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, width=width, height=height, rate=10, **options) as video:
        for i in range(frames):
            video.write(np.full((height, width, 3), rgb or 20 + 10 * i, np.uint8))
    return path


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("one") / "video.mp4")


def names(*patterns):
    """Brace expansion: `run/{a,b}.mp4` stands for two names."""
    found = []
    for pattern in patterns:
        parts = pattern.replace("}", "{").split("{")
        choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
        found += ["".join(choice) for choice in itertools.product(*choices)]
    return found


def cli(*args):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), pytest.raises(SystemExit) as stop:
        main(["extract-frames", *map(str, args)])
    return SimpleNamespace(exit_code=stop.value.code or 0, output=output.getvalue())


def rows(path):
    return path.read_text(encoding="utf-8").splitlines()


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ---- frames ----


def size_of(folder):
    return cv2.imread(str(folder / "00001.jpg")).shape[1::-1]


@pytest.mark.parametrize(
    ("options", "size", "wanted"),
    [
        (ExtractOptions(), (1920, 1080), (455, 256)),
        (ExtractOptions(), (1080, 1920), (256, 455)),
        (ExtractOptions(), (340, 256), (340, 256)),
        (ExtractOptions(), (100, 60), (100, 60)),
        (ExtractOptions(upscale=True), (100, 60), (427, 256)),
        (ExtractOptions(short_side=3), (10, 6), (5, 3)),
        (ExtractOptions(short_side=1), (6, 4), (2, 1)),  # 1.5 is rounded up
        (ExtractOptions(resize=(7, 9)), (100, 60), (7, 9)),
    ],
)
def test_size(options, size, wanted):
    assert options.size(*size) == wanted


@pytest.mark.parametrize("options", [SMALL, ExtractOptions(resize=(31, 57)), ExtractOptions(64, upscale=True)])
def test_frames_have_that_size(one_video, tmp_path, options):
    assert extract_video(one_video, tmp_path / "out", options) == 5
    assert tree(tmp_path / "out") == [f"{i:05d}.jpg" for i in range(1, 6)]
    assert size_of(tmp_path / "out") == options.size(64, 48)
    grays = [cv2.imread(str(file)).mean() for file in sorted((tmp_path / "out").iterdir())]
    np.testing.assert_allclose(grays, [20, 30, 40, 50, 60], atol=2)


def test_quality_and_template(one_video, tmp_path):
    extract_video(one_video, tmp_path / "out", ExtractOptions(template="image_{:d}.png"))
    assert tree(tmp_path / "out") == [f"image_{i}.png" for i in range(1, 6)]
    noisy = tmp_path / "noise.mp4"
    with VideoWriter(noisy, width=64, height=64, rate=5) as video:
        video.write(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    sizes = []
    for quality in (50, 90):
        extract_video(noisy, tmp_path / f"q{quality}", ExtractOptions(quality=quality))
        sizes.append((tmp_path / f"q{quality}" / "00001.jpg").stat().st_size)
    assert sizes[0] < sizes[1] * 0.7


@pytest.mark.parametrize(
    "template", ["frame.jpg", "{:05d}", "{:05d}.gif", "{}_{}.jpg", "a/{:d}.jpg", "{x}.jpg", "{:q}.jpg"]
)
def test_bad_template(template):
    with pytest.raises(ValueError, match="expected a file name with one number"):
        ExtractOptions(template=template)


@pytest.mark.parametrize("color", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("options", [ExtractOptions(short_side=20), ExtractOptions()])
def test_colors(tmp_path, color, full_range, options):
    rgb = (200, 60, 30)
    path = make_video(tmp_path / "a.mp4", rgb=rgb, color=color, full_range=full_range, options={"crf": "4"})
    extract_video(path, tmp_path / "out", options)
    bgr = cv2.imread(str(tmp_path / "out" / "00003.jpg"))
    np.testing.assert_allclose(bgr.mean((0, 1))[::-1], rgb, atol=4)


def test_rotation(tmp_path):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32] = (255, 0, 0)  # the left half is red
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    upright = next(iter(iter_frames(path)))[0]
    assert upright.shape == (64, 48, 3)
    extract_video(path, tmp_path / "out", SMALL)
    small = cv2.imread(str(tmp_path / "out" / "00001.jpg"))[:, :, ::-1].astype(float)
    assert small.shape == (43, 32, 3)
    assert np.abs(small - cv2.resize(upright, (32, 43), interpolation=cv2.INTER_AREA)).mean() < 6
    assert abs(small[:20].mean() - small[-20:].mean()) > 40  # the red half is above or below now


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("size", [(455, 256), (120, 67), (40, 200), (640, 360), (800, 100)])
def test_shrinking_is_close_to_the_general_way(tmp_path, pix_fmt, size):
    """Planes resized before the conversion, against RGB resized by INTER_AREA."""
    coarse, grain = np.random.default_rng(0), np.random.default_rng(1).integers(-20, 20, (360, 640, 1))
    image = cv2.resize(coarse.integers(60, 200, (18, 32, 3), dtype=np.uint8), (640, 360), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "a.mp4"
    with VideoWriter(path, width=640, height=360, rate=5, pix_fmt=pix_fmt, options={"crf": "10"}) as video:
        video.write((image + cv2.blur(grain.astype(np.float32), (3, 3))[..., None]).astype(np.uint8))
    rgb = next(iter_frames(path))[0]
    bgr = next(iter_pictures(path)).bgr(*size)
    if size == (800, 100):
        rgb = cv2.resize(rgb, (640, 100), interpolation=cv2.INTER_AREA)
    wanted = cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR if size == (800, 100) else cv2.INTER_AREA)
    assert np.abs(stored(bgr) - stored(wanted[:, :, ::-1])).mean() < 1


def stored(bgr):
    """As a JPEG has it: color at half the resolution."""
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(float)


def shown(folder):
    return [round((cv2.imread(str(file)).mean() - 20) / 10) for file in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("fps", "wanted"),
    [(10, [0, 1, 2, 3, 4]), (5, [0, 2, 4]), (20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), (4, [0, 2]), (0.1, [0])],
)
def test_fps(one_video, tmp_path, fps, wanted):
    assert extract_video(one_video, tmp_path / "out", ExtractOptions(fps=fps)) == len(wanted)
    assert shown(tmp_path / "out") == wanted


class FakePicture:
    def __init__(self, time, seconds=0.1):
        self.time, self.seconds = time, seconds


@pytest.mark.parametrize(
    ("times", "fps", "wanted"),
    [
        ([0, 0.1, 0.5, 0.6], 10, [1, 4, 1, 1]),  # the second picture stays for 0.4 s
        ([7, 7.1, 7.5, 7.6], 5, [1, 2, 0, 1]),  # time begins with the first picture
        ([None, None, None], 10, [1, 1, 1]),  # average rate
        ([0, None, 0.1, 0.3], 10, [1, 0, 2, 1]),
        ([0.3, 0.1, 0.2, 0.4], 10, [0, 0, 1, 1]),  # time never runs backwards
    ],
)
def test_fps_goes_by_timestamps(times, fps, wanted):
    pictures = [FakePicture(time) for time in times]
    copies = dict.fromkeys(pictures, 0) | dict(resampled(pictures, path=Path("a.mp4"), fps=fps))
    assert list(copies.values()) == wanted


def test_fps_refuses_wild_timestamps():
    with pytest.raises(MediaError, match="jumps by 9000 s"):
        list(resampled([FakePicture(0.0), FakePicture(9000.0)], path=Path("a.mp4"), fps=10))
    with pytest.raises(MediaError, match="neither timestamps nor a frame rate"):
        list(resampled([FakePicture(None, 0.0)], path=Path("a.mp4"), fps=10))


# ---- layouts and splits ----


def test_class_folders_are_split(videos, tmp_path):
    src = videos(*names("{walk,run}/{1,2,3,4,5}.mp4"))
    made = extract_frames(src, tmp_path, SMALL)
    assert rows(tmp_path / "labels.txt") == ["run", "walk"]
    assert made.lists == {"train.txt": 8, "val.txt": 2}
    lines = rows(tmp_path / "train.txt") + rows(tmp_path / "val.txt")
    assert sorted(lines) == [
        f"frames/{name}/{i} 1 5 {label}" for label, name in enumerate(("run", "walk")) for i in range(1, 6)
    ]
    assert {line[-1] for line in rows(tmp_path / "val.txt")} == {"0", "1"}
    assert (made.done, made.skipped, made.frames, made.failed) == (10, 0, 50, ())
    assert len(tree(tmp_path / "frames")) == 50


def test_lists_do_not_depend_on_workers(videos, tmp_path):
    src = videos(*names("{walk,run}/{1,2,3,4,5}.mp4"))
    for workers in (1, 4):
        extract_frames(src, tmp_path / str(workers), SMALL, workers=Workers(workers))
    for name in ("train.txt", "val.txt", "labels.txt"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()


def test_groups_stay_together(videos, tmp_path):
    src = videos(*names("{a,b}/g{1,2,3,4}_c{1,2}.mp4"))
    split = SplitOptions(group_regex=r"(\w/g\d)_", val_fraction=0.25)
    extract_frames(src, tmp_path, SMALL, split=split)
    assert len(rows(tmp_path / "val.txt")) == 4
    train, val = ({line.split("_")[0] for line in rows(tmp_path / f"{part}.txt")} for part in ("train", "val"))
    assert not train & val
    with pytest.raises(ValueError, match="matches no path"):
        extract_frames(src, tmp_path / "x", SMALL, split=SplitOptions(group_regex="zzz"))


def test_train_and_val_folders(videos, tmp_path):
    src = videos("train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/a/1 1 5 0", "frames/b/1 1 5 1"]
    assert rows(tmp_path / "out" / "val.txt") == ["frames/a/1.mp4 1 5 0"]
    assert made.messages[-1].startswith("split: the folders train, val of")


@pytest.mark.parametrize("name", ["{}.txt", "videos_{}.txt"])
@pytest.mark.parametrize("place", [".", "videos"])
def test_split_lists(videos, tmp_path, name, place):
    src = videos("a/1.mp4", "b/1.mp4", "b/2.mp4", "b/3.mp4")
    prefix = "" if place == "videos" else "videos/"
    (tmp_path / place / name.format("train")).write_text(f"{prefix}b/2.mp4 1\n{prefix}a/1.mp4 0\n")
    (tmp_path / place / name.format("val")).write_text(f"{prefix}b/1.mp4 1\n")
    (tmp_path / place / "classes.txt").write_text("first\nsecond\n")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/b/2 1 5 1", "frames/a/1 1 5 0"]
    assert rows(tmp_path / "out" / "val.txt") == ["frames/b/1 1 5 1"]
    assert rows(tmp_path / "out" / "labels.txt") == ["first", "second"]
    assert "1 of 4 videos are in no list of the split: they are extracted, but not listed" in made.messages
    assert (tmp_path / "out" / "frames" / "b" / "3").is_dir()


def test_lists_with_ranges_and_flat_videos(videos, tmp_path):
    src = videos("1.mp4", "two words.mp4")
    (src / "train.txt").write_text("1.mp4;2;3;0\ntwo words.mp4;3;99;1\n1.mp4;7;9;0\n")
    made = extract_frames(src, tmp_path, SMALL)
    assert rows(tmp_path / "train.txt") == ["frames/1 2 3 0", "frames/two words 3 5 1"]
    assert rows(tmp_path / "labels.txt") == ["0", "1"]
    assert made.failed == ((str(src / "1.mp4"), "train list: frames 7 to 9: the video has 5 frames"),)
    with pytest.raises(ValueError, match="--fps renumbers the frames"):
        extract_frames(src, tmp_path / "fps", ExtractOptions(fps=2))


def test_a_list_that_counts_seconds(videos, one_video, tmp_path):
    rate = probe_video(one_video).rate
    src = videos("1.mp4", "2.mp4")
    lines = [f"1.mp4 {1 / rate:.6f}s {3 / rate:.6f}s 0", "2.mp4 0s 99s 1", f"1.mp4 {5 / rate:.6f}s 99s 0"]
    (src / "train.txt").write_text("\n".join(lines))
    made = extract_frames(src, tmp_path, SMALL)
    assert rows(tmp_path / "train.txt") == ["frames/1 2 3 0", "frames/2 1 5 1"]
    reason = f"train list: seconds {5 / rate:g} to 99: the video has {5 / rate:.3g} seconds"
    assert made.failed == ((str(src / "1.mp4"), reason),)
    made = extract_frames(src, tmp_path / "fps", ExtractOptions(short_side=16, fps=2 * rate))
    assert rows(tmp_path / "fps" / "train.txt") == ["frames/1 3 6 0", "frames/2 1 10 1"]


def test_class_names_in_a_list(videos, tmp_path):
    src = videos("walk/1.mp4", "run/1.mp4")
    (tmp_path / "train.txt").write_text("videos/walk/1.mp4 walk\nvideos/run/1.mp4 run\n")
    extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/walk/1 1 5 1", "frames/run/1 1 5 0"]
    assert not (tmp_path / "out" / "val.txt").exists()


def test_lists_in_dst_go_before_those_of_src(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4")
    (tmp_path / "out").mkdir()
    for folder, number in ((tmp_path / "out", 1), (src, 2), (tmp_path, 2)):
        (folder / "videos_train.txt").write_text(f"{src}/a/{number}.mp4 0\n")
    extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/a/1 1 5 0"]


def test_a_list_of_somebody_else_is_kept(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4")
    text = "videos/a/2.mp4 0\n"
    (tmp_path / "train.txt").write_text(text)
    made = extract_frames(src, tmp_path, SMALL)
    assert f"{tmp_path}/train.txt was not written by extract-frames: renamed to videos_train.txt" in made.messages
    assert (tmp_path / "videos_train.txt").read_text() == text
    assert rows(tmp_path / "train.txt") == ["frames/a/2 1 5 0"]
    again = extract_frames(src, tmp_path, SMALL)  # our own list is written anew
    assert not any("renamed" in message for message in again.messages)
    assert rows(tmp_path / "train.txt") == ["frames/a/2 1 5 0"]
    (tmp_path / "train.txt").write_text("videos/a/1.mp4 0\n")
    with pytest.raises(ValueError, match="videos_train.txt exists and differs"):
        extract_frames(src, tmp_path, SMALL)
    assert (tmp_path / "videos_train.txt").read_text() == text
    assert rows(tmp_path / "train.txt") == ["videos/a/1.mp4 0"]


def test_our_own_lists_are_no_split(videos, tmp_path):
    src = videos(*names("{a,b}/{1,2,3}.mp4"))
    first = extract_frames(src, tmp_path, SMALL)
    again = extract_frames(src, tmp_path, SMALL)
    assert first.messages[0] == again.messages[0] == "split: drawn by class, 0.2 of the videos for validation, seed 0"
    other = extract_frames(src, tmp_path / "other", SMALL)  # whose parent of SRC holds our lists
    assert other.lists == first.lists
    videos("c/1.mp4", "c/2.mp4")
    assert sum(extract_frames(src, tmp_path, SMALL).lists.values()) == 8
    assert rows(tmp_path / "labels.txt") == ["a", "b", "c"]


def test_frames_folder_removed_starts_over(videos, tmp_path):
    src = videos(*names("a/{1,2}.mp4"))
    extract_frames(src, tmp_path, SMALL)
    shutil.rmtree(tmp_path / "frames")
    made = extract_frames(src, tmp_path, ExtractOptions(short_side=16))
    assert (made.done, made.failed) == (2, ())
    assert not (tmp_path / "videos_train.txt").exists()


def test_labels_of_somebody_else(videos, tmp_path):
    src = videos("a/1.mp4", "b/1.mp4")
    (tmp_path / "labels.txt").write_text("b\na\n")
    extract_frames(src, tmp_path, SMALL)
    assert sorted(rows(tmp_path / "train.txt")) == ["frames/a/1 1 5 1", "frames/b/1 1 5 0"]
    (tmp_path / "labels.txt").write_text("b\nx\n")
    with pytest.raises(ValueError, match="labels.txt does not contain the class 'a'"):
        extract_frames(src, tmp_path, SMALL)


def test_flips_are_copied(videos, tmp_path):
    src = videos("a/1.mp4", "b/1.mp4")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "flips.txt").write_text("a b\n")
    extract_frames(src, tmp_path / "out", SMALL)
    assert (tmp_path / "out" / "flips.txt").read_text() == "a b\n"


def test_missing_rows_and_files_elsewhere(videos, tmp_path, one_video):
    src = videos("a/1.mp4")
    (tmp_path / "train.txt").write_text(f"videos/a/1.mp4 0\nvideos/a/gone.mp4 0\n{one_video} 0\n")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert made.failed == (("videos/a/gone.mp4", "missing: train.txt lists it, but the file does not exist"),)
    assert "1 rows of the split's lists name files outside SRC: they are left out" in made.messages
    (tmp_path / "train.txt").write_text("frames/a/1 0\n")
    with pytest.raises(ValueError, match="none of the listed videos"):
        extract_frames(src, tmp_path / "x", SMALL)


def test_one_stem_twice(videos, tmp_path):
    src = videos("a/1.mp4", "a/1.MP4", "a/deep/1.mp4", "a/x;y.mp4")
    extract_frames(src, tmp_path, SMALL)
    assert sorted(p.name for p in (tmp_path / "frames" / "a").iterdir()) == ["1", "1.mp4", "a_deep_1.mp4", "x_y"]
    videos("a/0/1.mp4")  # sorted before the others, which keep their folders
    made = extract_frames(src, tmp_path, SMALL)
    assert (made.done, made.skipped) == (1, 4)
    assert (tmp_path / "frames" / "a" / "a_0_1.mp4").is_dir()


def test_other_files_are_left_alone(videos, tmp_path):
    src = videos("a/1.mp4")
    for name in (".DS_Store", "a/notes.txt", "a/.hidden.mp4", "a/poster.jpg"):
        (src / name).write_text("x")
    (src / "a" / "circle").symlink_to(src)
    made = extract_frames(src, tmp_path, SMALL)
    assert (made.done, made.failed, made.messages[0]) == (1, (), "ignored files that are not videos: 1 .jpg, 1 .txt")


def test_src_and_dst_may_be_one_folder(videos):
    src = videos("a/1.mp4", "b/1.mp4")
    for _ in range(2):
        made = extract_frames(src, src, SMALL)
        assert (made.done + made.skipped, made.failed) == (2, ())


# ---- continuing, failing ----


def test_continues_after_an_interrupt(videos, tmp_path, monkeypatch):
    src = videos(*names("a/{1,2,3,4,5,6}.mp4"))
    real, calls = extract_video, itertools.count(1)

    def interrupted(path, folder, options, *, stop):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(path, folder, options, stop=stop)

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
        (["videos", "file"], 1, "cannot be written"),
        (["videos", "--template", "x.jpg"], 2, "expected a file name with one number"),
        (["videos", "--resize", "3by4"], 2, "expected width and height"),
        (["videos", "--val-fraction", "1"], 2, "above 0 and below 1"),
        (["videos", "--group-regex", "("], 2, "expected a regular expression"),
        (["videos", "--fps", "0"], 2, "--fps 0.0: expected a positive number"),
        (["videos", "--short-side", "0"], 2, "expected at least 1"),
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
    assert result.output.splitlines()[-1] == "6 videos -> frames/ (30 frames, 0 failed); train.txt 4, val.txt 2"


# ---- real files ----


def test_ut_interaction(shared_videos, tmp_path):
    src = tmp_path / "videos"
    for folder in sorted((shared_videos / "ut_interaction" / "videos").iterdir())[:2]:
        for file in sorted(folder.iterdir())[:3]:
            (src / folder.name).mkdir(parents=True, exist_ok=True)
            (src / folder.name / file.name).symlink_to(file)
    for name in ("train.txt", "val.txt", "classes.txt"):
        (tmp_path / name).write_bytes((shared_videos / "ut_interaction" / name).read_bytes())
    made = extract_frames(src, tmp_path / "out", SMALL)
    with open(shared_videos / "ut_interaction" / "index.csv", newline="") as file:
        counts = {row["path"]: row for row in csv.DictReader(file)}
    lines = rows(tmp_path / "out" / "train.txt")
    assert len(lines) == made.lists["train.txt"]
    for line in lines:
        folder, start, stop, label = line.split()
        row = counts[folder.replace("frames/", "videos/") + ".avi"]
        assert (start, stop, label) == ("1", row["frames_decoded"], row["label"])
    assert len(rows(tmp_path / "out" / "labels.txt")) == 6


def test_odd_files(shared_videos, tmp_path):
    made = extract_frames(shared_videos / "odd", tmp_path, ExtractOptions(short_side=64))
    with open(shared_videos / "files.csv", newline="", encoding="utf-8") as file:
        known = {row["path"]: row for row in csv.DictReader(file) if row["path"].startswith("odd/")}
    bad = {path for path, row in known.items() if not int(row["decoded_frames"] or 0) or "cover_art" in path}
    with open(tmp_path / "failed.csv", newline="", encoding="utf-8") as file:
        failed = {os.path.relpath(row["path"], shared_videos) for row in csv.DictReader(file)}
    assert failed == bad
    assert made.done == len(known) - len(bad)
    assert made.frames == sum(int(row["decoded_frames"]) for path, row in known.items() if path not in bad)
    assert sum(made.lists.values()) == made.done
