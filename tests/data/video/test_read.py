"""Exactly the wanted frames, from the start of a file and from its keyframes."""

import csv
import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from numbered_videos import (
    CLOSED_X265,
    GRID,
    HIDDEN_VP9,
    OPEN_X265,
    VP9,
    WIDTH,
    certificate_of,
    check_draws,
    check_first_pass,
    checksums,
    number_of,
    numbered,
    plain_decode,
    read,
    write,
    write_grid,
)

from actrec.data.video.certificate import find_certificate
from actrec.data.video.container import MediaError
from actrec.data.video.probe import probe_video
from actrec.data.video.read import Decoded, decode_frames, iter_frames

NUM_FRAMES = 60


@pytest.mark.parametrize(
    ("name", "options", "num_keys"),
    [
        ("a.mp4", {}, 2),  # a key frame every 50 frames
        ("a.mp4", {"gop": 10, "options": {"sc_threshold": "0"}}, 6),
        ("a.mp4", {"gop": 15, "bframes": 3, "options": {"sc_threshold": "0"}}, 4),
        ("a.mkv", {"gop": 15, "bframes": 3, "options": {"sc_threshold": "0", "b-pyramid": "normal"}}, 4),
        ("a.avi", {"gop": 15}, 4),
        ("a.mp4", {"gop": 15, "rate": Fraction(30000, 1001), "bframes": 1, "options": {"sc_threshold": "0"}}, 4),
        ("a.mp4", {"codec": "libx265", "gop": 15, "bframes": 2, "options": CLOSED_X265}, 4),
        ("a.mkv", {"codec": "libx265", "gop": 15, "options": CLOSED_X265}, 4),
        ("a.webm", {"codec": "libvpx-vp9", "gop": 15, "options": VP9}, 4),
        ("a.mp4", {"codec": "libvpx-vp9", "gop": 15, "options": HIDDEN_VP9}, 4),
        ("a.mov", {"codec": "mjpeg", "full_range": True}, NUM_FRAMES),
        ("a.avi", {"codec": "mjpeg", "full_range": True}, NUM_FRAMES),
        ("a.mp4", {"codec": "mpeg4", "gop": 15, "bframes": 2}, None),
        ("a.avi", {"codec": "mpeg4", "gop": 15}, None),
        # a key frame does not reset these: pictures after it may show what came before
        ("a.mp4", {"gop": 12, "bframes": 2, "options": {"x264-params": "open-gop=1:scenecut=0"}}, 1),
        ("a.mkv", {"gop": 12, "bframes": 2, "options": {"x264-params": "open-gop=1:scenecut=0"}}, 1),
        ("a.mp4", {"gop": 12, "options": {"x264-params": "intra-refresh=1"}}, 1),
        ("a.mp4", {"codec": "libx265", "gop": 12, "bframes": 2, "options": OPEN_X265}, 1),
    ],
)  # fmt: skip
def test_exact_frames(tmp_path, name, options, num_keys):
    path = write(tmp_path / name, [numbered(n) for n in range(NUM_FRAMES)], **options)
    frames = plain_decode(path)
    assert [number_of(rgb) for rgb in frames] == [*range(NUM_FRAMES)]
    certificate = certificate_of(path)
    assert (certificate and len(certificate.key_pts)) == num_keys
    check_draws(path, checksums(frames), certificate, draws=8)
    for proof in (None, certificate):
        for wanted in ([*range(NUM_FRAMES)], [NUM_FRAMES - 1], [0, NUM_FRAMES - 1]):
            drawn, _ = read(path, wanted, proof)
            assert [number_of(rgb) for rgb in drawn] == wanted
    assert checksums(rgb for rgb, _ in iter_frames(path)) == checksums(frames)
    assert probe_video(path).frames == NUM_FRAMES


@pytest.mark.parametrize(("kind", "container", "shown"), GRID)
def test_planned_frames_are_delivered_frames(tmp_path, kind, container, shown):
    num_frames = 45
    path = write_grid(tmp_path / "a", kind, container, shown, num_frames)
    expected = plain_decode(path)
    assert [number_of(rgb) for rgb in expected] == [*range(num_frames)]
    certificate = certificate_of(path)
    assert (certificate is not None) == (kind != "mpeg4")
    check_draws(path, checksums(expected), certificate)
    assert check_first_pass(path, checksums(expected)) == kind.startswith(("h264", "hevc"))
    if certificate is not None:
        again = find_certificate(path).certificate
        assert [x.tolist() for x in (again.pts, again.key_pts, again.key_dts)] == [
            x.tolist() for x in (certificate.pts, certificate.key_pts, certificate.key_dts)
        ]
        assert (certificate.stream is not None) == (kind != "mjpeg")
        if certificate.stream is not None:
            assert np.array_equal(again.packets, certificate.packets)
            assert again.stream == certificate.stream
            assert certificate.packets["droppable"].any() == (
                "B-frames" in kind or "one GOP" in kind or "open" in kind or kind in ("h264 in 10 bit", "hevc")
            )


def stream(frames, format):
    """H.264 in a container that VideoWriter does not write."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        video = container.add_stream("libx264", rate=25, options={"g": "10"})
        video.height, video.width, _ = frames[0].shape
        for number, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return file.getvalue()


def test_a_stream_that_appears_after_the_file_was_opened(tmp_path):
    """MPEG-TS: a packet with another identifier, as by damage, begins a stream of its own."""
    path, data = tmp_path / "a.ts", bytearray(stream([numbered(n) for n in range(40)], "mpegts"))
    begins = [i for i in range(0, len(data), 188) if data[i + 1 : i + 3] == b"\x41\0"]  # of pictures
    data[begins[29] + 2] ^= 1  # picture 28, a B-frame
    path.write_bytes(data)
    with pytest.raises(IndexError):
        plain_decode(path)
    assert [number_of(rgb) for rgb, _ in iter_frames(path)] == [*range(28), *range(29, 40)]
    assert probe_video(path).frames == 39
    assert number_of(read(path, [38], certificate_of(path))[0][0]) == 39


@pytest.mark.parametrize(("format", "earned"), [("mpegts", True), ("h264", False)])
def test_start_codes_and_missing_timestamps(tmp_path, format, earned):
    path = tmp_path / "a"
    path.write_bytes(stream([numbered(n) for n in range(40)], format))
    frames = plain_decode(path)
    assert [number_of(rgb) for rgb in frames] == [*range(40)]
    certificate = certificate_of(path)
    assert (certificate is not None) == earned
    check_draws(path, checksums(frames), certificate)


def test_a_stream_that_changes_its_size_keeps_the_first(tmp_path):
    """Whichever of its pictures are wanted."""
    path = tmp_path / "a.ts"
    small = [numbered(n)[:, : WIDTH // 2] for n in range(20)]
    path.write_bytes(stream([numbered(n) for n in range(20)], "mpegts") + stream(small, "mpegts"))
    assert {rgb.shape for rgb in plain_decode(path)} == {(64, 128, 3), (64, 64, 3)}
    certificate = certificate_of(path)
    for wanted in ([0, 25], [25], [25, 39]):
        drawn, _ = read(path, wanted, certificate)
        assert {rgb.shape for rgb in drawn} == {(64, 128, 3)}


def test_frames_past_the_end_become_the_last_one(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(20)], gop=8, bframes=2)
    for certificate in (None, certificate_of(path)):
        drawn, went = read(path, [3, 19, 20, 500], certificate)
        assert [number_of(rgb) for rgb in drawn] == [3, 19, 19, 19]
        assert went.clamped == 2
        drawn, went = read(path, [70, 71], certificate)
        assert [number_of(rgb) for rgb in drawn] == [19, 19]
        assert went.clamped == 2


def test_reading_stops_at_the_last_wanted_frame_unless_asked(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(20)])
    assert read(path, [3])[1] == Decoded(clamped=0, decoded=4)
    assert certificate_of(path).pts.shape == (20,)


def test_only_what_is_needed_is_decoded(tmp_path):
    frames = [numbered(n) for n in range(60)]
    path = write(tmp_path / "a.mp4", frames, gop=15, bframes=2, options={"sc_threshold": "0", "b-pyramid": "none"})
    certificate = certificate_of(path)
    assert read(path, [20], None)[1].decoded == 21
    went = read(path, [20], certificate)[1]
    assert 2 <= went.decoded <= 6 + 1  # frame 15, its P-frames 18 and 21, and itself
    assert read(path, [15, 45], certificate)[1].decoded == 2
    for wanted, proof in (([20], None), ([20], certificate), ([3, 59], certificate), ([59, 70], None)):
        assert decode_frames(path, wanted, proof) == read(path, wanted, proof)[1]


def test_one_frame(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(5)])
    assert probe_video(path).frames == 1
    drawn, went = read(path, [0, 1, 2])
    assert ([number_of(rgb) for rgb in drawn], went.clamped) == ([5] * 3, 2)


def test_times(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(5)], bframes=2)
    assert [time for _, time in iter_frames(path)] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_damage_in_the_middle_is_passed_over(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], gop=10)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][15]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    frames = plain_decode(path)
    assert 30 <= len(frames) < 40
    assert certificate_of(path) is None
    check_draws(path, checksums(frames), None)


def test_a_size_that_only_the_container_knows(tmp_path):
    """The codec says 64 x 64, the container 64 x 56: the decoder crops."""
    ramp = np.linspace(20, 230, 64).astype(np.uint8)[:, None, None].repeat(64, 1).repeat(3, 2)
    path = write(tmp_path / "a.mp4", [ramp] * 8, gop=2, options={"crf": "5"})
    data = bytearray(path.read_bytes())
    at = data.index(b"avc1", data.index(b"stsd")) + 28
    assert struct.unpack_from(">HH", data, at) == (64, 64)
    struct.pack_into(">HH", data, at, 64, 56)
    path.write_bytes(data)
    frames = plain_decode(path)
    assert frames[0].shape == (56, 64, 3)
    certificate = certificate_of(path)
    assert certificate.stream is not None
    check_draws(path, checksums(frames), certificate)


UNLIKE_FFMPEG = {  # decoded frames where we take another stream than files.csv, or none
    "peer/torchcodec_nasa_13013.mp4": 390,
    "odd/derived/audio_with_cover_art.mp4": 0,
    "odd/corrupt/libwebm_block_ends_beyond_cluster.mkv": 0,  # the first 10 kB of 2 MB
}


def check_real(path, num_frames, *, draws):
    expected = checksums(plain_decode(path))
    assert len(expected) == num_frames, path.name
    probe = probe_video(path)
    assert expected[0][0] == (probe.height, probe.width, 3)
    assert probe.frames >= num_frames
    certificate = certificate_of(path)
    drawn, went = read(path, [num_frames + 3], certificate)
    assert (checksums(drawn), went.clamped) == (expected[-1:], 1)
    check_draws(path, expected, certificate, draws=draws)
    assert certificate is not None or not check_first_pass(path, expected)
    return certificate is not None


def test_real_files(shared_videos):
    with open(shared_videos / "files.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 70
    earned = set()
    for row in rows:
        path, num_frames = shared_videos / row["path"], UNLIKE_FFMPEG.get(row["path"], int(row["decoded_frames"]))
        if num_frames:
            if check_real(path, num_frames, draws=1 if path.stat().st_size > 500_000 else 3):
                earned.add(row["codec"])
        else:
            with pytest.raises(MediaError) as caught:
                probe_video(path)
            assert str(caught.value) == f"{path}: {caught.value.reason}"
            assert "\n" not in caught.value.reason
    assert earned == {"h264", "hevc", "vp8", "vp9", "av1", "mjpeg"}


def test_real_packed_mpeg4(shared_videos):
    with open(shared_videos / "ut_interaction" / "index.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::10]
    assert len(rows) == 12
    for row in rows:
        path = shared_videos / "ut_interaction" / row["path"]
        assert not check_real(path, int(row["frames_decoded"]), draws=5)
        assert 1 <= probe_video(path).frames - int(row["frames_decoded"]) <= 3


def test_times_ascend_in_avi_with_b_frames(tmp_path):
    path = write(tmp_path / "a.avi", [numbered(i) for i in range(20)], bframes=3)
    with av.open(str(path)) as container:
        stated = [picture.time for picture in container.decode(video=0)]
    assert stated != sorted(stated)  # FFmpeg knows only when packets are decoded
    found = list(iter_frames(path))
    assert [number_of(rgb) for rgb, _ in found] == list(range(20))
    assert np.allclose(np.diff([seconds for _, seconds in found]), 1 / 25)
