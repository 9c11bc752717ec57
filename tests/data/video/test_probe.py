"""What a file is, and the reasons why one is of no use."""

import pickle
from fractions import Fraction

import av
import numpy as np
import pytest
from numbered_videos import (
    HEIGHT,
    WIDTH,
    certificate_of,
    number_of,
    numbered,
    read,
    write,
)

from actrec.data.video.container import MediaError
from actrec.data.video.probe import Probe, probe_video
from actrec.data.video.read import iter_frames, iter_pictures


def test_probe(tmp_path):
    options = {"sc_threshold": "0"}
    frames = [numbered(n) for n in range(30)]
    path = write(tmp_path / "a.mp4", frames, rate=Fraction(30000, 1001), color="bt709", gop=30, options=options)
    assert probe_video(path) == Probe(
        frames=30,
        width=WIDTH,
        height=HEIGHT,
        rate=pytest.approx(29.97, abs=0.001),
        gop=30.0,
        codec="h264",
        pix_fmt="yuv420p",
        rotation=0,
        mirrored=False,
        bits=8,
        color="bt709",
    )


def test_av_s_own_rotation_agrees(tmp_path):
    for degrees, rotation in ((-90, 270), (90, 90), (180, 180)):
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height = 64, 32
            video.set_display_rotation(degrees)
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")))
            container.mux(video.encode(None))
        assert probe_video(tmp_path / "a.mp4").rotation == rotation


def audio(path):
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def broken(folder, name):
    path = folder / name
    if name == "empty.mp4":
        path.touch()
    elif name == "text.mp4":
        path.write_text("not a video\n" * 20)
    elif name.startswith("audio"):
        audio(path)
    elif name == "torn.mp4":  # its table of contents comes last
        write(path, [numbered(n) for n in range(10)])
        path.write_bytes(path.read_bytes()[:-2000])
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.mp4", "the file is empty (0 bytes)"),
        ("text.mp4", "not a video, but a text file"),
        ("torn.mp4", "not a video that FFmpeg can open (Invalid data found when processing input)"),
        ("audio.wav", "no video stream, only audio"),
        ("audio.mp4", "no video stream, only audio"),
    ],
)
def test_a_useless_file_is_named_with_its_reason(tmp_path, name, words):
    path = broken(tmp_path, name)
    for use in (
        lambda: probe_video(path),
        lambda: read(path, [0]),
        lambda: list(iter_frames(path)),
        lambda: list(iter_pictures(path)),
        lambda: certificate_of(path),
    ):
        with pytest.raises(MediaError) as caught:
            use()
        assert str(caught.value) == f"{path}: {words}"
        assert caught.value.reason == words


def test_a_missing_file_is_named(tmp_path):
    for use in (probe_video, lambda path: read(path, [0]), lambda path: list(iter_frames(path))):
        with pytest.raises(FileNotFoundError) as caught:
            use(tmp_path / "nowhere.mp4")
        assert str(caught.value) == f"{tmp_path / 'nowhere.mp4'}: no such file"


def test_a_playlist_opens_no_address(tmp_path):
    path = tmp_path / "a.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError, match=r"a\.m3u8: "):
        probe_video(path)


def test_a_name_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http:.mp4", "-i.mp4", "a%03d.mp4", "näme 动作.mp4"):
        write(tmp_path / "a.mp4", [numbered(7)]).rename(tmp_path / name)
        assert number_of(read(name, [0])[0][0]) == 7


def test_metadata_that_is_not_utf_8_does_not_matter(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "Cafe Muenchen"
        video = out.add_stream("libx264", rate=25)
        video.width, video.height = WIDTH, HEIGHT
        out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(numbered(7)), format="rgb24")))
        out.mux(video.encode(None))
    data = path.read_bytes()
    assert b"Cafe Muenchen" in data
    path.write_bytes(data.replace(b"Cafe Muenchen", b"Caf\xe9 M\xfcnchen "))  # Latin-1
    assert probe_video(path).frames == 1
    assert number_of(read(path, [0])[0][0]) == 7


def test_the_error_survives_a_process_border():
    error = pickle.loads(pickle.dumps(MediaError("a: b.mp4", "bad: very")))
    assert (str(error), error.reason) == ("a: b.mp4: bad: very", "bad: very")
