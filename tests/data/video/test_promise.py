"""Files that ended early, judged by what their headers promise."""

import csv

import av
import numpy as np
import pytest
from numbered_videos import HEIGHT, VP9, WIDTH, numbered

from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.container import MediaError
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, iter_pictures

FRAMES = 60
KINDS = {  # suffix, format, codec, encoder options, options of the container, what is promised
    "faststart mp4": ("mp4", "mp4", "libx264", {}, {"movflags": "faststart"}, "60 frames"),
    "faststart mov": ("mov", "mov", "libx264", {}, {"movflags": "faststart"}, "60 frames"),
    "3gp": ("3gp", "3gp", "mpeg4", {}, {"movflags": "faststart"}, "60 frames"),
    "fragmented mp4 with an index": ("mp4", "mp4", "libx264", {}, {"movflags": "dash+global_sidx"}, "bytes"),
    "mkv": ("mkv", "matroska", "libx264", {}, {}, "bytes"),
    "webm": ("webm", "webm", "libvpx-vp9", VP9, {}, "bytes"),
    "avi": ("avi", "avi", "mpeg4", {"b": "4000000", "qmin": "1"}, {}, "60 frames"),
    "mjpeg in avi": ("avi", "avi", "mjpeg", {}, {}, "60 frames"),
    "flv": ("flv", "flv", "flv", {}, {}, "bytes"),
    "wmv": ("wmv", "asf", "wmv2", {}, {}, "bytes"),
}


def make(path, kind):
    _, form, codec, options, container_options, _ = KINDS[kind]
    with av.open(str(path), "w", format=form, options=container_options) as file:
        stream = file.add_stream(codec, rate=25, options={"g": "12", **options})
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for n in range(FRAMES):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(numbered(n)), format="rgb24")))
        file.mux(stream.encode(None))
    return path


def cut(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_named_with_what_it_promises(tmp_path, kind):
    suffix, *_, promised = KINDS[kind]
    path = make(tmp_path / f"a.{suffix}", kind)
    assert probe_video(path).frames == FRAMES
    promised = r"[\d,]+ bytes" if promised == "bytes" else promised
    cut(path, 0.35)
    for read in (probe_video, lambda path: next(iter_frames(path)), lambda path: next(iter_pictures(path))):
        with pytest.raises(MediaError, match=rf"the file is cut off: its header promises {promised}, and [\d,]+ are"):
            read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_lacks_a_little_is_read(tmp_path, kind):
    suffix, *_ = KINDS[kind]
    path = cut(make(tmp_path / f"a.{suffix}", kind), 0.97)
    assert probe_video(path).frames >= 0.8 * FRAMES


def test_the_duration_counts_where_the_size_is_not_known(tmp_path):
    path = make(tmp_path / "a.webm", "webm")
    data = bytearray(path.read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4
    data[at : at + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(data)
    assert probe_video(path).frames == FRAMES
    with pytest.raises(MediaError, match=r"promises 2\.4 seconds, and 0\.\d+ are there"):
        probe_video(cut(path, 0.3))


def test_the_duration_of_an_flv_counts_where_its_size_is_not_known(tmp_path):
    path = make(tmp_path / "a.flv", "flv")
    path.write_bytes(path.read_bytes().replace(b"filesize", b"fileabcd"))
    assert probe_video(path).frames == FRAMES
    with pytest.raises(MediaError, match=r"promises 2\.4 seconds, and [01]\.\d+ are there"):
        probe_video(cut(path, 0.5))


def test_an_avi_with_a_wrong_size_is_whole_if_its_frames_are_there(tmp_path):
    path = make(tmp_path / "a.avi", "avi")
    data = bytearray(path.read_bytes())
    data[4:8] = (5 * len(data)).to_bytes(4, "little")
    path.write_bytes(data)
    assert probe_video(path).frames == FRAMES


def test_the_index_leaves_it_out_and_says_why(tmp_path):
    whole, torn = make(tmp_path / "a.mp4", "faststart mp4"), cut(make(tmp_path / "b.mp4", "faststart mp4"), 0.5)
    index = build_index([Video(path.name, str(path), None, None, (0,)) for path in (whole, torn)])
    assert list(index.broken) == [1]
    assert "promises 60 frames, and" in index.broken[1]


def test_no_real_file_is_judged_wrongly(shared_videos):
    with open(shared_videos / "files.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows += [{"path": str(path)} for path in sorted((shared_videos / "ut_interaction").rglob("*.avi"))]
    cut_off = set()
    for row in rows:
        try:
            probe_video(shared_videos / row["path"])
        except MediaError as error:
            if "cut off" in error.reason:
                cut_off.add(row["path"].rpartition("/")[2])
    assert len(rows) > 180
    # Excerpts of longer files, by their makers.
    assert cut_off == {
        "libwebm_block_ends_beyond_cluster.mkv",
        "libwebm_fixed_lacing_bad.mkv",
    }
