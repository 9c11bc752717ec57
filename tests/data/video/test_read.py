import csv
import io
import pickle
import struct
import zlib
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from actrec.data.video.certificate import droppable, load_certificate
from actrec.data.video.color import Region, _to_rgb
from actrec.data.video.container import ChangedError, MediaError
from actrec.data.video.encode import VideoWriter
from actrec.data.video.probe import Probe, probe_video
from actrec.data.video.read import Decoded, decode_frames, iter_frames, iter_pictures, read_frames

BITS, BLOCK = 8, 16
WIDTH, HEIGHT = BITS * BLOCK, 64
NOISE = np.random.default_rng(0).integers(0, 256, (4, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def numbered(number):
    """Its number in binary, as black and white blocks, above noise that moves."""
    bits = np.repeat([(number >> bit) & 1 for bit in range(BITS)], BLOCK).astype(np.uint8) * 255
    strip = np.broadcast_to(bits[None, :, None], (HEIGHT // 2, WIDTH, 3))
    return np.concatenate([strip, np.roll(NOISE, 3 * number, axis=1)])


def number_of(rgb):
    return sum(1 << bit for bit, value in enumerate(rgb[16, BLOCK // 2 :: BLOCK, 1]) if value > 127)


def write(path, frames, **options):
    height, width, _ = frames[0].shape
    with VideoWriter(path, width=width, height=height, **{"rate": 25, **options}) as video:
        for rgb in frames:
            video.write(rgb)
    return path


def read(path, wanted, certificate=None):
    frames = {}
    went = read_frames(path, wanted, lambda i, rgb: frames.update({i: rgb.copy()}), certificate)
    assert list(frames) == [*range(len(wanted))]  # in order, each once
    return [*frames.values()], went


def certificate_of(path):
    went = read_frames(path, [0], lambda i, rgb: None, certify=True)
    return went.certificate


def plain_decode(path):
    """Every picture from the start, by nothing but av. The conversion to RGB is ours: it is looked at further below."""
    rgb = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_count = 1
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                continue
            for picture in pictures:
                turns = (
                    picture.rotation // 90 if picture.rotation in (-180, -90, 90, 180) else 0
                )  # else no quarter turn
                rgb.append(np.rot90(_to_rgb(picture), turns))
    return rgb


def checksums(frames):
    return [(rgb.shape, zlib.crc32(np.ascontiguousarray(rgb))) for rgb in frames]


def check_draws(path, expected, certificate, *, draws=5, frames=6):
    rng = np.random.default_rng(len(expected))
    for _ in range(draws):
        wanted = np.sort(rng.choice(len(expected), min(frames, len(expected)), replace=False))
        for proof in {id(c): c for c in (None, certificate)}.values():
            drawn, went = read(path, wanted, proof)
            assert checksums(drawn) == [expected[i] for i in wanted], (path.name, wanted, proof is not None)
            assert went.clamped == 0


X265 = {"x265-params": "log-level=error"}
CLOSED_X265 = {"x265-params": "log-level=error:open-gop=0"}
OPEN_X265 = {"x265-params": "log-level=error:open-gop=1:scenecut=0"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
HIDDEN_VP9 = {**VP9, "lag-in-frames": "10", "auto-alt-ref": "1"}  # with pictures that are never shown
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


def test_a_size_change_with_sound_timestamps_earns_no_certificate(tmp_path):
    sources = [
        write(tmp_path / name, frames, codec="libvpx-vp9", options=VP9)
        for name, frames in (
            ("large.webm", [numbered(n) for n in range(20)]),
            ("small.webm", [numbered(n)[:, : WIDTH // 2] for n in range(20)]),
        )
    ]
    path, offset, ends = tmp_path / "both.webm", 0, 0
    with av.open(str(path), "w") as out, av.open(str(sources[0])) as template:
        video = out.add_stream_from_template(template.streams.video[0])
        for source in sources:
            with av.open(str(source)) as container:
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + offset
                        ends, packet.stream = packet.pts, video
                        out.mux(packet)
            offset = ends + 40
    assert [rgb.shape for rgb in plain_decode(path)[19:21]] == [(64, 128, 3), (64, 64, 3)]
    certificate = certificate_of(path)
    assert certificate is None
    assert [rgb.shape for rgb in read(path, [25], certificate)[0]] == [(64, 128, 3)]


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


def test_a_certificate_of_another_file_is_noticed(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(30)], gop=10)
    certificate = certificate_of(path)
    wrong = replace(certificate, pts=certificate.pts + 1, stream=None)
    with pytest.raises(ChangedError, match=r"a\.mp4: frame 15 is no longer where it was"):
        read(path, [15], wrong)
    other = write(tmp_path / "b.mp4", [numbered(n) for n in range(40)], gop=10)
    other.replace(path)
    with pytest.raises(ChangedError, match=r"a\.mp4: the file has changed since it was indexed"):
        read(path, [15], certificate)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.mp4: no such file"):
        read(path, [15], certificate)


# what a probe tells


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
        color="bt709",
    )


def test_one_frame(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(5)])
    assert probe_video(path).frames == 1
    drawn, went = read(path, [0, 1, 2])
    assert ([number_of(rgb) for rgb in drawn], went.clamped) == ([5] * 3, 2)


def test_times(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(5)], bframes=2)
    assert [time for _, time in iter_frames(path)] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


COLORS = np.array([(200, 30, 60), (20, 180, 90), (40, 60, 210), (128, 128, 128), (250, 250, 250), (5, 5, 5)], np.uint8)


def patches(height=32, width=32):
    return np.repeat(COLORS[None], height, axis=0).repeat(width, axis=1)


@pytest.mark.parametrize(
    ("name", "options", "color"),
    [
        ("a.mp4", {}, "bt601"),
        ("a.mp4", {"color": "bt709"}, "bt709"),
        ("a.mp4", {"full_range": True}, "bt601-full"),
        ("a.mp4", {"color": "bt709", "full_range": True}, "bt709-full"),
        ("a.mp4", {"color": "bt709", "pix_fmt": "yuv444p"}, "bt709"),
        ("a.mp4", {"pix_fmt": "yuv420p10le"}, "bt601"),
        ("a.mp4", {"pix_fmt": "yuv420p10le", "color": "bt709"}, "bt709"),
        ("a.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": X265}, "bt601"),
        ("a.mov", {"codec": "mjpeg", "full_range": True}, "bt601-full"),
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "bgr0"}, "rgb"),
    ],
)
def test_colors(tmp_path, name, options, color):
    quality = {} if "codec" in options else {"options": {"crf": "5"}}
    path = write(tmp_path / name, [patches()] * 3, **quality, **options)
    probe = probe_video(path)
    assert probe.color == color
    assert probe.pix_fmt in (options.get("pix_fmt"), "yuv420p", "yuvj420p")
    for rgb in read(path, [0, 2])[0]:
        assert rgb.dtype == np.uint8
        np.testing.assert_allclose(rgb[16, 16::32].astype(int), COLORS, atol=6 if "codec" in options else 3)


@pytest.mark.parametrize(("width", "height"), [(33, 21), (101, 2), (2, 101), (1, 1), (130, 77)])
@pytest.mark.parametrize("full_range", [False, True])
def test_odd_sizes(tmp_path, width, height, full_range):
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:] = 200, 30, 60
    path = write(tmp_path / "a.mp4", [frame] * 3, pix_fmt="yuv444p", full_range=full_range, options={"crf": "5"})
    probe = probe_video(path)
    assert (probe.width, probe.height) == (width, height)
    drawn, _ = read(path, [1])
    np.testing.assert_allclose(drawn[0].astype(int), frame.astype(int), atol=4)


# 16.16 fixed point a, b, c, d of ISO 14496-12: a stored (x, y) is shown at (a * x + c * y, b * x + d * y)
MATRICES = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def turned(path, matrix):
    """Writes the matrix into the track header of an mp4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    assert struct.unpack_from(">9i", data, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("rotation", MATRICES)
def test_rotation_is_as_a_player_shows_it(tmp_path, rotation):
    frame = np.zeros((32, 64, 3), np.uint8)
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)  # red is top left
    frame = corners.repeat(16, 0).repeat(32, 1)
    path = write(tmp_path / "a.mp4", [frame] * 3, pix_fmt="yuv444p", options={"crf": "5"})
    turned(path, MATRICES[rotation])
    a, b, c, d = MATRICES[rotation]
    probe = probe_video(path)
    assert probe.rotation == rotation
    assert (probe.width, probe.height) == ((64, 32) if rotation % 180 == 0 else (32, 64))
    shown = np.zeros_like(corners)
    for y, x in np.ndindex(2, 2):  # around the middle, where the corners are at -1 and 1
        u, v = 2 * x - 1, 2 * y - 1
        shown[(b * u + d * v + 1) // 2, (a * u + c * v + 1) // 2] = corners[y, x]
    for certificate in (None, certificate_of(path)):
        rgb = read(path, [1], certificate)[0][0]
        assert rgb.shape == (probe.height, probe.width, 3)
        assert rgb.flags.c_contiguous
        quarter = rgb[probe.height // 4 :: probe.height // 2, probe.width // 4 :: probe.width // 2]
        np.testing.assert_allclose(quarter.astype(int), shown.astype(int), atol=6)
        assert checksums([rgb]) == checksums([next(iter_frames(path))[0]])


def test_av_s_own_rotation_agrees(tmp_path):
    for degrees, rotation in ((-90, 270), (90, 90), (180, 180)):
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            video = container.add_stream("libx264", rate=25)
            video.width, video.height = 64, 32
            video.set_display_rotation(degrees)
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")))
            container.mux(video.encode(None))
        assert probe_video(tmp_path / "a.mp4").rotation == rotation


# files that are no use


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
        ("text.mp4", "not a video that FFmpeg can open (Invalid data found when processing input)"),
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


# real videos

UNLIKE_FFMPEG = {  # decoded frames where we take another stream than files.csv
    "peer/torchcodec_nasa_13013.mp4": 390,
    "odd/derived/audio_with_cover_art.mp4": 0,
}


def check_real(path, num_frames, *, draws):
    expected = checksums(plain_decode(path))
    assert len(expected) == num_frames, path.name
    probe = probe_video(path)
    assert expected[0][0] == (probe.height, probe.width, 3)
    assert probe.frames >= num_frames
    certificate = certificate_of(path)
    drawn, went = read(path, [num_frames + 3])
    assert (checksums(drawn), went.clamped) == (expected[-1:], 1)
    check_draws(path, expected, certificate, draws=draws)
    return certificate is not None


def test_real_files(shared_videos):
    with open(shared_videos / "files.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 70
    earned = set()
    for row in rows:
        path, num_frames = shared_videos / row["path"], UNLIKE_FFMPEG.get(row["path"], int(row["decoded_frames"]))
        if num_frames:
            if check_real(path, num_frames, draws=3 if path.stat().st_size > 900_000 else 5):
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


# every codec in every container, and when its pictures are shown

OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0"}
KINDS = {  # encoder and its options, containers
    "h264": ("libx264", {"g": "15", "bf": "0"}, ("mp4", "matroska", "avi")),
    "h264 with B-frames": ("libx264", {"g": "15", "bf": "3", "b-pyramid": "normal"}, ("mp4", "matroska")),
    "h264 with open GOPs": ("libx264", {"g": "12", "bf": "2", **OPEN_GOP}, ("mp4", "matroska")),
    "h264 of keyframes": ("libx264", {"g": "1"}, ("mp4", "matroska", "avi")),
    "h264 in one GOP": ("libx264", {"g": "1000", "bf": "2", "sc_threshold": "0"}, ("mp4", "matroska")),
    "h264 in 10 bit": ("libx264", {"g": "15", "bf": "2"}, ("mp4", "matroska")),
    "hevc": ("libx265", {"g": "15", "bf": "2", **CLOSED_X265}, ("mp4", "matroska")),
    "vp9": ("libvpx-vp9", {"g": "15", **VP9}, ("mp4", "matroska", "webm")),
    "av1": ("libsvtav1", {"g": "15", "preset": "12", "svtav1-params": "lp=1"}, ("mp4", "matroska", "webm")),
    "mpeg4": ("mpeg4", {"g": "15", "bf": "2"}, ("mp4", "matroska", "avi")),
    "mjpeg": ("mjpeg", {}, ("mp4", "matroska", "avi")),
}
SHOWN = {
    "evenly": lambda n: n,
    "unevenly": lambda n: 2 * n + n % 3 // 2 + n // 7,
    "from late on": lambda n: n + 90,
}
GRID = [
    (kind, container, shown)
    for kind, (_, _, containers) in KINDS.items()
    for container in containers
    for shown in SHOWN
    if container != "avi" or shown == "evenly"  # which has no timestamps
]


@pytest.mark.parametrize(("kind", "container", "shown"), GRID)
def test_planned_frames_are_delivered_frames(tmp_path, kind, container, shown):
    encoder, options, _ = KINDS[kind]
    path, num_frames = tmp_path / "a", 45
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = {"mjpeg": "yuvj420p", "h264 in 10 bit": "yuv420p10le"}.get(kind, "yuv420p")
        for n in range(num_frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(numbered(n)), format="rgb24")
            picture.pts, picture.time_base = SHOWN[shown](n), Fraction(1, 25)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    expected = plain_decode(path)
    assert [number_of(rgb) for rgb in expected] == [*range(num_frames)]
    certificate = certificate_of(path)
    assert (certificate is not None) == (kind != "mpeg4")
    check_draws(path, checksums(expected), certificate)
    if certificate is not None:
        again = load_certificate(path)
        assert [x.tolist() for x in (again.pts, again.key_pts, again.key_dts)] == [
            x.tolist() for x in (certificate.pts, certificate.key_pts, certificate.key_dts)
        ]
        assert (certificate.stream is not None) == kind.startswith(("h264", "hevc"))
        if certificate.stream is not None:
            assert np.array_equal(again.packets, certificate.packets)
            assert again.stream == certificate.stream
            assert certificate.packets["droppable"].any() == (
                "B-frames" in kind or "one GOP" in kind or "open" in kind or kind in ("h264 in 10 bit", "hevc")
            )


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


def test_frames_that_a_higher_temporal_layer_refers_to_are_needed():
    """HEVC: such a frame is called a non-reference of its own layer."""
    for layers, expected in [
        ([(False, 0), (True, 0)], [False, True]),
        ([(False, 1), (False, 2), (True, 3)], [False, False, True]),
        ([(False, 1), (True, 1), (False, 2), (True, 2)], [False, False, False, True]),
    ]:
        assert droppable(layers) == expected


LAYERS = {"x265-params": "log-level=error:open-gop=0:temporal-layers=3:b-pyramid=1"}


def test_hevc_with_temporal_layers(tmp_path):
    path = write(
        tmp_path / "a.mp4", [numbered(n) for n in range(60)], codec="libx265", gop=30, bframes=4, options=LAYERS
    )
    certificate = certificate_of(path)
    assert 15 < certificate.packets["droppable"].sum() < 45
    check_draws(path, checksums(plain_decode(path)), certificate, draws=8)


# a region instead of the whole


@pytest.mark.parametrize(
    ("options", "rotation"),
    [
        ({}, 0),
        ({}, 90),
        ({}, 180),
        ({"color": "bt709"}, 0),
        ({"full_range": True}, 0),
        ({"pix_fmt": "yuv444p"}, 0),
        ({"pix_fmt": "yuv420p10le"}, 270),
    ],
)
def test_a_region_is_a_part_of_the_whole(tmp_path, options, rotation):
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (48, 90, 3), np.uint8).repeat(1, 0) for _ in range(6)]
    path = write(tmp_path / "a.mp4", frames, **options)
    turned(path, MATRICES[rotation])
    whole, _ = read(path, [1, 4])
    height, width, _ = whole[0].shape
    for proof in (None, certificate_of(path)):
        for _ in range(20):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
            cut = np.zeros((2, h, w, 3), np.uint8)
            region = Region(width, height, x, y, w, h)
            read_frames(path, [1, 4], cut.__setitem__, proof, region=region)
            for rgb, expected in zip(cut, whole, strict=True):
                assert np.array_equal(rgb, expected[y : y + h, x : x + w]), (x, y, w, h)


def test_a_region_of_a_picture_of_another_size(tmp_path):
    """A file that was replaced after the index had seen it: resized as a whole first."""
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, 64:] = 250
    path = write(tmp_path / "a.mp4", [frame] * 2)
    cut = []
    read_frames(path, [0], lambda i, rgb: cut.append(rgb), region=Region(64, 32, 24, 8, 16, 4))
    assert cut[0].shape == (4, 16, 3)
    assert cut[0][:, :6].max() < 20
    assert cut[0][:, 10:].min() > 230


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


def picture_parameters(extradata):
    """The first PPS of an avcC."""
    at = 8 + int.from_bytes(extradata[6:8], "big") + 1
    return extradata[at + 2 : at + 2 + int.from_bytes(extradata[at : at + 2], "big")]


@pytest.mark.parametrize(
    ("carriers", "earned"),
    [("a B-frame", False), ("a P-frame", False), ("the second keyframe", False), ("every keyframe", True)],
)
def test_parameter_sets_between_the_pictures(tmp_path, carriers, earned):
    """Whoever enters at a keyframe, or leaves pictures out, would miss what a plain decode has learned on its way."""
    paths = []
    for qp in (20, 30):
        params = {
            "x264-params": f"cabac=0:b-adapt=0:qp={qp}:b-pyramid=none:scenecut=0:weightp=0",
            "preset": "ultrafast",
        }
        paths.append(write(tmp_path / f"{qp}.mp4", [numbered(n) for n in range(20)], gop=10, bframes=1, options=params))
    path = tmp_path / "a.mkv"
    with av.open(str(paths[0])) as own, av.open(str(paths[1])) as other, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(other.streams.video[0])  # whose PPS does not fit
        pps = picture_parameters(own.streams.video[0].codec_context.extradata)
        assert pps != picture_parameters(stream.codec_context.extradata)
        keys = inserted = 0
        for packet in own.demux(video=0):
            if not packet.size:
                continue
            data = bytes(packet)
            reference, keys = data[4] >> 5 & 3, keys + packet.is_keyframe
            wanted = {
                "a B-frame": not reference and not inserted,
                "a P-frame": reference and not packet.is_keyframe and not inserted,
                "the second keyframe": packet.is_keyframe and keys == 2,
                "every keyframe": packet.is_keyframe,
            }
            if wanted[carriers]:
                inserted += 1
                longer = av.Packet(len(pps).to_bytes(4, "big") + pps + data)
                longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
                longer.is_keyframe = packet.is_keyframe
                packet = longer
            packet.stream = stream
            out.mux(packet)
    assert (inserted, keys) == (2 if earned else 1, 2)
    certificate = certificate_of(path)
    assert (certificate is not None) == earned
    check_draws(path, checksums(plain_decode(path)), certificate)


def test_planes_for_an_encoder(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(3)])
    with av.open(str(path)) as container:
        wanted = [frame.to_ndarray() for frame in container.decode(video=0)]
    for picture, planes in zip(iter_pictures(path), wanted, strict=True):
        np.testing.assert_array_equal(picture.yuv420(WIDTH, HEIGHT), planes)
        assert picture.yuv420(64, 48).shape == (72, 64)


@pytest.mark.parametrize("color", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le"])
def test_planes_are_of_bt601(tmp_path, color, full_range, pix_fmt):
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :32], rgb[:, 32:] = (200, 60, 30), (30, 90, 160)
    options = {"color": color, "full_range": full_range, "pix_fmt": pix_fmt, "options": {"crf": "2"}}
    path = write(tmp_path / "a.mp4", [rgb], **options)
    for width, height in ((64, 48), (32, 24), (96, 72)):
        planes = next(iter_pictures(path)).yuv420(width, height)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        found = frame.to_ndarray(format="rgb24").astype(int)
        for x in (width // 4, 3 * width // 4):
            np.testing.assert_allclose(found[height // 2, x], rgb[24, 64 * x // width], atol=4)
