"""The extracted frames: size, quality, colors, rotation; and real files."""

from __future__ import annotations

import csv
import os

import av
import cv2
import numpy as np
import pytest
from frame_extraction import SMALL, make_video, rows, tree

from actrec.config import ExtractOptions
from actrec.data.video.encode import VideoWriter
from actrec.data.video.read import iter_frames, iter_pictures
from actrec.tools.make.extract_frames import extract_frames, extract_video


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("one") / "video.mp4")


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
    "template",
    [
        "frame.jpg",
        "{:05d}",
        "{:05d}.gif",
        "{}_{}.jpg",
        "a/{:d}.jpg",
        "{x}.jpg",
        "{:q}.jpg",
        "a\0{:d}.jpg",
        "a\n{:d}.jpg",
        "{:c}.jpg",
        "{:1000000000d}.jpg",
        "." * 2 + "{:d}.jpg",
    ],
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
def test_resized_planes_are_close_to_resized_rgb(tmp_path, pix_fmt, size):
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
    unlike = ("cover_art", "block_ends_beyond_cluster")  # no video, and the first 10 kB of 2 MB
    bad = {
        path
        for path, row in known.items()
        if not int(row["decoded_frames"] or 0) or any(name in path for name in unlike)
    }
    with open(tmp_path / "failed.csv", newline="", encoding="utf-8") as file:
        failed = {os.path.relpath(row["path"], shared_videos) for row in csv.DictReader(file)}
    assert failed == {path for path in bad if not path.endswith(".wav")}  # sound is counted as no video
    assert "ignored files that are not videos: 1 .wav" in made.messages
    assert made.done == len(known) - len(bad)
    assert made.frames == sum(int(row["decoded_frames"]) for path, row in known.items() if path not in bad)
    assert sum(made.lists.values()) == made.done
