"""Files that ended early, judged by what their headers promise."""

import contextlib
import csv
import re

import av
import numpy as np
import pytest
from numbered_videos import HEIGHT, VP9, WIDTH, numbered

from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.container import MediaError
from actrec.data.video.probe import probe_video
from actrec.data.video.promise import what_is_missing
from actrec.data.video.read import iter_frames, iter_pictures
from actrec.engine.datafolder import load_list
from actrec.tools.lists.index import damaged, summary

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
    "apng": ("apng", "apng", "apng", {}, {}, "60 frames"),
    "swf": ("swf", "swf", "flv", {}, {}, "bytes"),
}


def make(path, kind):
    _, form, codec, options, container_options, _ = KINDS_AND_ENDS[kind]
    with av.open(str(path), "w", format=form, options=container_options) as file:
        stream = file.add_stream(codec, rate=25, options={"g": "12", **options})
        if codec.startswith("libvpx"):
            stream.codec_context.thread_count = 1  # waiting threads of libvpx use all the CPU that they get
        stream.width, stream.height = (720, 576) if codec == "dvvideo" else (WIDTH, HEIGHT)
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8", "apng": "rgb24"}.get(codec, "yuv420p")
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
def test_a_file_that_lacks_a_little_is_read_and_named(tmp_path, kind):
    suffix, *_, promised = KINDS[kind]
    path = make(tmp_path / f"a.{suffix}", kind)
    assert (probe_video(path).torn, what_is_missing(path)) == (False, None)
    found = probe_video(cut(path, 0.92 if kind == "avi" else 0.97))  # its index is large
    assert 0.8 * FRAMES <= found.frames <= FRAMES
    assert found.torn
    assert promised in what_is_missing(path)


ENDS = {  # containers that state no size: as `KINDS`
    "ts": ("ts", "mpegts", "libx264", {}, {}),
    "m2ts": ("m2ts", "mpegts", "libx264", {}, {"mpegts_m2ts_mode": "1"}),
    "mpg": ("mpg", "mpeg", "mpeg1video", {}, {}),
    "vob": ("vob", "vob", "mpeg2video", {}, {}),
    "ogg": ("ogv", "ogg", "libvpx", VP9, {}),
    "gif": ("gif", "gif", "gif", {}, {}),
    "ivf": ("ivf", "ivf", "libvpx", VP9, {}),
    "dv": ("dv", "dv", "dvvideo", {}, {}),
    "y4m": ("y4m", "yuv4mpegpipe", "rawvideo", {}, {}),
    "raw mjpeg": ("mjpeg", "mjpeg", "mjpeg", {}, {}),
    "fragmented mp4": ("mp4", "mp4", "libx264", {}, {"movflags": "frag_keyframe+empty_moov"}),
    "live mkv": ("mkv", "matroska", "libx264", {}, {"live": "1"}),
    "live webm": ("webm", "webm", "libvpx-vp9", VP9, {"live": "1"}),
    "live flv": ("flv", "flv", "flv", {}, {"flvflags": "no_metadata"}),
}
KINDS_AND_ENDS = KINDS | {kind: (*made, "end") for kind, made in ENDS.items()}
KINDS_AND_ENDS["rm"] = ("rm", "rm", "rv20", {}, {}, "2.4 seconds")


@pytest.mark.parametrize("kind", ENDS)
def test_a_torn_end_is_named_where_no_size_is_stated(tmp_path, kind):
    path = make(tmp_path / f"a.{ENDS[kind][0]}", kind)
    assert probe_video(path).frames == FRAMES
    assert what_is_missing(path) is None
    data = path.read_bytes()
    for part in (0.97, 0.9, 0.5, 0.35):
        said = None
        for end in (int(part * len(data)), int(part * len(data)) + 7):  # the first may be between two packets
            path.write_bytes(data[:end])
            said = what_is_missing(path) or said
        assert said
        assert said.startswith("the file is cut off: it")
        found = probe_video(path)
        assert found.torn == (what_is_missing(path) is not None)
        assert part < 0.9 or found.frames >= 0.8 * FRAMES


def test_a_cut_realmedia_file(tmp_path):
    path = make(tmp_path / "a.rm", "rm")
    assert (probe_video(path).frames, what_is_missing(path)) == (FRAMES, None)
    with pytest.raises(MediaError, match=r"its header promises 2\.4 seconds, and 1\.\d+ are there"):
        probe_video(cut(path, 0.6))


def test_tables_at_the_end_are_not_missed(tmp_path):
    for kind, marker in {"mkv": b"\x1c\x53\xbb\x6b", "avi": b"idx1", "fragmented mp4": b"mfra"}.items():
        path = make(tmp_path / f"a.{KINDS_AND_ENDS[kind][0]}", kind)
        data = path.read_bytes()
        path.write_bytes(data[: data.rindex(marker) + 8])
        assert probe_video(path).frames == FRAMES
        assert what_is_missing(path) is None, kind


def test_the_duration_of_a_fragmented_file_counts_where_it_is_stated(tmp_path):
    path = make(tmp_path / "a.mp4", "fragmented mp4")
    data = path.read_bytes()
    at = data.index(b"mvhd") + 16  # the time scale
    scale = int.from_bytes(data[at : at + 4], "big")
    mehd = b"\0\0\0\x10mehd\0\0\0\0" + (scale * FRAMES // 25).to_bytes(4, "big")
    for box in (b"moov", b"mvex"):
        begin = data.index(box) - 4
        size = int.from_bytes(data[begin : begin + 4], "big") + len(mehd)
        data = data[:begin] + size.to_bytes(4, "big") + data[begin + 4 :]
    after = data.index(b"mvex") + 4
    fragments = data[: data.rindex(b"mfra") - 4]
    path.write_bytes(fragments[:after] + mehd + fragments[after:])
    assert what_is_missing(path) is None
    path.write_bytes(
        fragments[:after] + mehd + fragments[after : fragments.rindex(b"moof") - 4]
    )  # the last one is missing
    assert re.search(r"promises 2\.4 seconds, and [12](\.\d+)? are there", what_is_missing(path))
    with pytest.raises(MediaError, match=r"promises 2\.4 seconds, and [12](\.\d+)? are there"):
        probe_video(path)


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


def test_the_index_counts_files_that_lack_a_little(tmp_path):
    make(tmp_path / "a.mp4", "faststart mp4")
    torn = cut(make(tmp_path / "b.mp4", "faststart mp4"), 0.97)
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4 1\n")
    said = []
    for _ in range(2):  # the second time from the cache
        found = load_list(
            tmp_path / "train.txt", workers=1, modality="rgb", watch=contextlib.nullcontext, log=said.append
        )
        assert [media.torn for media in found.index] == [False, True]
    line = f"train.txt: 1 video cut off at the end, and used up to there; the first: {torn}: the file is"
    assert len(said) == 2
    assert all(line in text for text in said)
    assert damaged(found.index) == {str(torn): what_is_missing(torn)}
    assert summary(found.index).torn == 1


def test_no_real_file_is_judged_wrongly(shared_videos):
    with open(shared_videos / "files.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows += [{"path": str(path)} for path in sorted((shared_videos / "ut_interaction").rglob("*.avi"))]
    cut_off, torn = set(), set()
    for row in rows:
        try:
            if probe_video(shared_videos / row["path"]).torn:
                torn.add(row["path"])
        except MediaError as error:
            if "cut off" in error.reason:
                cut_off.add(row["path"].rpartition("/")[2])
    assert len(rows) > 180
    # Excerpts of longer files, by their makers.
    assert cut_off == {
        "libwebm_block_ends_beyond_cluster.mkv",
        "libwebm_fixed_lacing_bad.mkv",
        "mp4parse_invalid_userdata.mp4",
        "mp4parse_zero_empty_stsc.mp4",
    }
    assert torn == set()
