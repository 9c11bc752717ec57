"""Files that are no videos, or name other files, are refused before anything but themselves is opened."""

import contextlib
import os
import socket
import struct
import zipfile

import av
import cv2
import numpy as np
import pytest
from numbered_videos import number_of, numbered, read, write
from peak_memory import peak_memory

from actrec.config import Limits
from actrec.data.limits import limited
from actrec.data.video import container as container_module
from actrec.data.video.container import MediaError, open_audio
from actrec.data.video.probe import check_video, probe_video
from actrec.data.video.read import iter_frames, iter_pictures, verify_video

PLAYLIST = "a playlist, which only names other files: pass the videos themselves"
CONCAT = "a list of files for FFmpeg's concat, which only names other files: pass the videos themselves"
SDP = "the description of a network stream (SDP)"

# {name: content, reason}. {} is the path of a pipe: opening it waits for ever.
NAMING = {
    "hls.m3u8": ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", PLAYLIST),
    "hls.mp4": ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", PLAYLIST),
    "live.ts": ("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n", PLAYLIST),
    "key.mp4": ('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n', PLAYLIST),
    "concat.mp4": ("ffconcat version 1.0\nfile '{}'\n", CONCAT),
    "concat.txt": ("ffconcat version 1.0\nfile {}\nduration 9\n", CONCAT),
    "dash.mp4": (
        '<?xml version="1.0"?><MPD type="static" mediaPresentationDuration="PT9S"><Period><AdaptationSet '
        'contentType="video"><Representation id="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period>'
        "</MPD>",
        PLAYLIST,
    ),
    "a.pls": ("[playlist]\nFile1={}\nNumberOfEntries=1\n", PLAYLIST),
    "a.asx": ('<asx version="3"><entry><ref href="{}"/></entry></asx>', PLAYLIST),
    "a.ram": ("rtsp://127.0.0.1:9/a.rm\n", PLAYLIST),
    "a.cue": ('FILE "{}" BINARY\n  TRACK 01 MODE1/2352\n', "a text file"),
    "a.avs": ('AVISource("{}")\n', "a text file"),
    "sdp.mp4": ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n", SDP),
    "a.idx": ("# VobSub index file, v7 (do not modify this line!)\ntimestamp: 00:00:01:000, filepos: 0\n", "subtitles"),
    "srt.mp4": ("1\n00:00:01,000 --> 00:00:02,000\n{}\n", "subtitles"),
    "vtt.mp4": ("WEBVTT\n\n00:01.000 --> 00:02.000\n{}\n", "subtitles"),
    "ass.mkv": ("[Script Info]\nTitle: {}\n", "subtitles"),
    "meta.mp4": (";FFMETADATA1\ntitle={}\n", "metadata for FFmpeg"),
    "notes.txt": ("the videos are in {}\n", "a text file"),
    "art.ans": ("\x1b[31mhello\x1b[0m {}\n", None),
    "page.mp4": ("<!DOCTYPE html><html>{}</html>", "a web page"),
    "bom.mp4": ("\ufeff#EXTM3U\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n", PLAYLIST),
}  # fmt: skip
USES = (
    probe_video,
    verify_video,
    lambda p: list(iter_frames(p)),
    lambda p: list(iter_pictures(p)),
    lambda p: read(p, [0]),
)


@pytest.fixture
def pipe(tmp_path):
    """A pipe without a writer. Opening it to read would wait for ever; a test checks that nobody did."""
    os.mkfifo(tmp_path / "pipe.ts")
    return tmp_path / "pipe.ts"


def nobody_reads(pipe):
    """To open a pipe for writing without waiting fails if nobody has opened it for reading."""
    with pytest.raises(OSError, match="No such device or address"):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    return True


@pytest.mark.parametrize("name", NAMING)
def test_a_file_that_names_others_is_refused_without_opening_them(tmp_path, pipe, name):
    text, what = NAMING[name]
    path = tmp_path / name
    for target in (str(pipe), f"file:{pipe}", pipe.name):
        path.write_text(text.replace("{}", target), encoding="utf-8")
        for use in USES:
            with pytest.raises(MediaError) as caught:
                use(path)
            assert caught.value.reason == (f"not a video, but {what}" if what else caught.value.reason)
            assert caught.value.reason.startswith("not a video")
        assert check_video(path).reason == caught.value.reason
        assert open_audio(path) is None
    assert nobody_reads(pipe)


@pytest.mark.parametrize("kind", ["dref", "alis"])
def test_media_outside_of_a_mov_are_not_opened(tmp_path, pipe, kind):
    """The data reference of a MOV may name another file."""
    path = write(tmp_path / "a.mov", [numbered(n) for n in range(5)])
    data = path.read_bytes()
    place = data.index(b"url \0\0\0\1") - 4
    name = os.fsencode(f"file://{pipe}") + b"\0"
    if kind == "dref":
        entry = struct.pack(">I4sI", 12 + len(name), b"url ", 0) + name
    else:
        alias = bytes(8) + struct.pack(">H", 150) + bytes(42) + bytes([7]) + b"pipe.ts".ljust(63, b"\0") + bytes(20)
        entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    grown = len(entry) - 12
    data = data[:place] + entry + data[place + 12 :]
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = data.index(box) - 4
        data = (
            data[:start]
            + struct.pack(">I", struct.unpack(">I", data[start : start + 4])[0] + grown)
            + data[start + 4 :]
        )
    path.write_bytes(data)
    for use in (*USES, check_video):
        with contextlib.suppress(MediaError):
            use(path)
    assert nobody_reads(pipe)


def test_a_damaged_file_is_not_said_to_lack_permission(tmp_path):
    """FFmpeg's reader of NSV returns -1, which is also the number of "no permission"."""
    path = tmp_path / "a.nsv"
    path.write_bytes(b"NSVf" + struct.pack("<I", 0x7FFFFFFF) + bytes(60))
    with pytest.raises(MediaError, match="not a video that FFmpeg can open"):
        probe_video(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(0)])
    path.chmod(0)
    with pytest.raises(MediaError, match="no permission to read it"):
        probe_video(path)


def test_an_image_is_no_video(tmp_path):
    for suffix in (".png", ".jpg", ".bmp", ".webp", ".tiff"):
        path = tmp_path / f"a{suffix}.mp4"
        path.write_bytes(cv2.imencode(suffix, np.zeros((32, 48, 3), np.uint8))[1].tobytes())
        with pytest.raises(MediaError, match="not a video, but an image"):
            probe_video(path)


def test_an_archive_of_a_playlist_is_no_video(tmp_path, pipe):
    with zipfile.ZipFile(tmp_path / "a.mp4", "w") as file:
        file.writestr("a.m3u8", NAMING["hls.m3u8"][0].replace("{}", str(pipe)))
    with pytest.raises(MediaError, match="not a video, but an archive"):
        probe_video(tmp_path / "a.mp4")
    assert nobody_reads(pipe)


WRITTEN = {  # suffix: codec, pixel format
    ".mp4": ("libx264", "yuv420p"),
    ".mov": ("mpeg4", "yuv420p"),
    ".3gp": ("mpeg4", "yuv420p"),
    ".m4v": ("mpeg4", "yuv420p"),
    ".mkv": ("libx264", "yuv420p"),
    ".webm": ("libvpx", "yuv420p"),
    ".ivf": ("libvpx", "yuv420p"),
    ".avi": ("mpeg4", "yuv420p"),
    ".flv": ("flv", "yuv420p"),
    ".swf": ("flv", "yuv420p"),
    ".wmv": ("wmv2", "yuv420p"),
    ".rm": ("rv10", "yuv420p"),
    ".mpg": ("mpeg2video", "yuv420p"),
    ".vob": ("mpeg2video", "yuv420p"),
    ".ts": ("libx264", "yuv420p"),
    ".mxf": ("mpeg2video", "yuv420p"),
    ".nut": ("mpeg4", "yuv420p"),
    ".y4m": ("wrapped_avframe", "yuv420p"),
    ".mjpeg": ("mjpeg", "yuvj420p"),
    ".h264": ("libx264", "yuv420p"),
    ".hevc": ("libx265", "yuv420p"),
    ".gif": ("gif", "rgb8"),
    ".apng": ("apng", "rgb24"),
}


def encode(path, codec="libx264", pix_fmt="yuv420p", size=(128, 64), frames=5):
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        (stream.width, stream.height), stream.pix_fmt = size, pix_fmt
        stream.codec_context.thread_count = 1  # waiting threads of libvpx use all the CPU that they get
        for n in range(frames):
            frame = av.VideoFrame.from_ndarray(cv2.resize(numbered(n), size), format="rgb24")
            output.mux(stream.encode(frame.reformat(format=pix_fmt)))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", WRITTEN)
def test_the_containers_of_people_s_videos_are_read(tmp_path, suffix):
    assert probe_video(encode(tmp_path / f"a{suffix}", *WRITTEN[suffix])).frames == 5


@pytest.mark.parametrize("what", ["pipe", "folder", "device", "socket"])
def test_only_a_regular_file_is_opened(tmp_path, what):
    path = tmp_path / "a.mp4"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    for use in USES:
        with pytest.raises(MediaError, match=f"a {what}, not a file"):
            use(path)
    assert open_audio(path) is None


def test_a_link_to_a_video_is_a_video(tmp_path):
    write(tmp_path / "a.mp4", [numbered(n) for n in range(5)])
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    assert probe_video(tmp_path / "b.mp4").frames == 5


# ---- limits ----


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".flv", ".h264", ".gif", ".y4m"])
def test_a_video_of_too_many_pixels_is_named(tmp_path, suffix):
    path = encode(tmp_path / f"a{suffix}", *WRITTEN[suffix])
    with limited(Limits(max_pixels=128 * 64)):
        assert probe_video(path).frames == 5
    with limited(Limits(max_pixels=128 * 64 - 1)):
        for use in USES:
            with pytest.raises(MediaError) as caught:
                use(path)
            assert caught.value.reason == (
                "its frames are too large: 128x64 are 8,192 pixels: expected at most 8,191; --max-pixels allows more"
            )


def test_frames_that_become_too_large_later_are_not_decoded(tmp_path):
    parts = [encode(tmp_path / f"{n}.h264", size=(128 * n, 64 * n)).read_bytes() for n in (1, 8)]
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join(parts))
    assert [rgb.shape[1] for rgb, _ in iter_frames(path)] == [128] * 10  # scaled to the first
    with limited(Limits(max_pixels=128 * 64)):
        assert [number_of(rgb) for rgb, _ in iter_frames(path)] == [0, 1, 2, 3, 4]


def test_a_video_of_too_many_frames_is_named(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(9)])
    with limited(Limits(max_frames=9)):
        assert probe_video(path).frames == 9
    with limited(Limits(max_frames=8)), pytest.raises(MediaError) as caught:
        probe_video(path)
    assert caught.value.reason == "it has more than 8 frames: --max-frames allows more"


@pytest.mark.parametrize("claim", ["2**31 - 1 frames", "a canvas of 65535x65535", "frames of 16000x16000"])
def test_what_a_header_claims_costs_no_memory(tmp_path, claim):
    path = encode(tmp_path / "a.mp4")
    data = bytearray(path.read_bytes())
    if "canvas" in claim:
        path = encode(tmp_path / "a.gif", *WRITTEN[".gif"])
        data = bytearray(path.read_bytes())
        struct.pack_into("<HH", data, 6, 65535, 65535)
    elif "16000" in claim:  # of the sample entry; the codec says something else
        struct.pack_into(">HH", data, data.index(b"avc1", data.index(b"stsd")) + 28, 16000, 16000)
    else:
        struct.pack_into(">II", data, data.index(b"stsz") + 8, 1, 2**31 - 1)
        struct.pack_into(">III", data, data.index(b"stts") + 8, 1, 2**31 - 1, 512)
        struct.pack_into(">IIII", data, data.index(b"stsc") + 8, 1, 1, 2**31 - 1, 1)
    path.write_bytes(data)
    assert peak_memory(probe_video, path)[1] < 50_000  # KiB


# ---- time limits ----


def test_the_time_limit_is_named_and_is_not_taken_for_damage(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mpg", *WRITTEN[".mpg"])
    monkeypatch.setattr(container_module, "TIMEOUT", 0.0)
    for use in USES:
        with pytest.raises(MediaError, match="no data could be read for 0 seconds"):
            use(path)


@pytest.mark.parametrize("name", ["a.mjpeg", "b.MJPG"])
def test_raw_mjpeg_is_a_video_where_ffmpeg_sees_images(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (9, 240, 320, 3), np.uint8)
    path.write_bytes(b"".join(cv2.imencode(".jpg", picture)[1].tobytes() for picture in noise))
    with av.open(str(path)) as container:
        assert container.format.name == "jpeg_pipe"
    probe = probe_video(path)
    assert (probe.frames, probe.codec, probe.torn, probe.stamped) == (9, "mjpeg", False, False)
    shown, _ = read(path, [0, 5, 8])
    assert [np.abs(noise[..., ::-1] - rgb.astype(float)).mean((1, 2, 3)).argmin() for rgb in shown] == [0, 5, 8]
    path.write_bytes(path.read_bytes()[:-1000])
    assert probe_video(path).torn


@pytest.mark.parametrize(("name", "content"), [("a.mp4", b"\xff\xd8\xff\xe0"), ("a.mjpeg", b"\x89PNG\r\n\x1a\n")])
def test_other_images_stay_images(tmp_path, name, content):
    path = tmp_path / name
    suffix = ".jpg" if content.startswith(b"\xff\xd8") else ".png"
    path.write_bytes(cv2.imencode(suffix, numbered(1))[1].tobytes())
    assert path.read_bytes().startswith(content)
    assert check_video(path).reason == "not a video, but an image"
