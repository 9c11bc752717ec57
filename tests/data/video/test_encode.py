from fractions import Fraction

import av
import numpy as np
import pytest

from actrec.data.video.encode import EncoderError, VideoWriter, can_encode

BITS = 8
BLOCK = 16


def numbered(number: int) -> np.ndarray:
    """A frame that shows its number in binary, as white and black blocks."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, dtype=np.uint8) * 255, BLOCK)
    return np.broadcast_to(row[None, :, None], (32, BITS * BLOCK, 3))


def number_of(rgb: np.ndarray) -> int:
    middles = rgb[16, BLOCK // 2 :: BLOCK, 1]
    return sum(1 << bit for bit, value in enumerate(middles) if value > 127)


def write(path, frames, **options):
    height, width, _ = frames[0].shape
    with VideoWriter(path, width=width, height=height, **{"rate": 25, **options}) as video:
        write_all(video, frames)


def write_all(video, frames):
    for rgb in frames:
        video.write(rgb)


def read(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


QUIET_X265 = {"x265-params": "log-level=error"}
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", {}),
        ("b.mp4", {"bframes": 2}),
        ("b.mkv", {"bframes": 3, "gop": 10}),
        ("hevc.mp4", {"codec": "libx265", "bframes": 2, "options": QUIET_X265}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": FAST_VP9}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("mpeg4_b.mp4", {"codec": "mpeg4", "bframes": 2}),
        ("mjpeg.mov", {"codec": "mjpeg", "full_range": True}),
        ("444.mp4", {"pix_fmt": "yuv444p"}),
    ],
)
def test_every_frame_comes_back_in_order(tmp_path, name, options):
    path = tmp_path / name
    write(path, [numbered(n) for n in range(40)], **options)
    frames = read(path)
    assert [number_of(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(40))
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_rate_gop_and_b_frames(tmp_path):
    path = tmp_path / "a.mp4"
    rate = Fraction(30000, 1001)
    # the encoder's own choices of key frames and B-frames off
    options = {"sc_threshold": "0", "b_strategy": "0"}
    write(path, [numbered(n) for n in range(40)], rate=rate, gop=10, bframes=2, options=options)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == rate
    frames = read(path)
    assert [number for number, frame in enumerate(frames) if frame.key_frame] == [0, 10, 20, 30]
    assert any(frame.pict_type == av.video.frame.PictureType.B for frame in frames)
    assert [frame.pts * frame.time_base for frame in frames] == [number / rate for number in range(40)]


@pytest.mark.parametrize("color", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_color_is_tagged_and_converted(tmp_path, color, full_range):
    red = {  # Y, U, V of (255, 0, 0), from the two recommendations
        ("bt601", False): (81, 90, 240),
        ("bt601", True): (76, 85, 255),
        ("bt709", False): (63, 102, 240),
        ("bt709", True): (54, 99, 255),
    }[color, full_range]
    path = tmp_path / "a.mp4"
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    frame[:] = 255, 0, 0
    write(path, [frame] * 4, color=color, full_range=full_range)
    decoded = read(path)[2]
    planes = [np.frombuffer(plane, dtype=np.uint8)[0] for plane in decoded.planes]
    np.testing.assert_allclose(planes, red, atol=2)
    number = {"bt601": 6, "bt709": 1}[color]
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (number, number, number)
        assert context.color_range == (2 if full_range else 1)


def test_colors_survive(tmp_path):
    colors = np.array([(200, 30, 60), (20, 180, 90), (40, 60, 210), (128, 128, 128)], dtype=np.uint8)
    frame = np.repeat(np.repeat(colors[None], 32, axis=0), 32, axis=1)
    path = tmp_path / "a.mp4"
    write(path, [frame] * 4, options={"crf": "10"}, bframes=2)
    back = read(path)[1].to_ndarray(format="rgb24").astype(int)
    np.testing.assert_allclose(back[16, 16::32], colors, atol=4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"bframes": 2}),
        ("a.mp4", {"codec": "libx265", "bframes": 2, "options": QUIET_X265}),
        ("a.mp4", {"codec": "libvpx-vp9", "options": FAST_VP9}),
        ("a.mp4", {"codec": "mpeg4", "bframes": 2}),
    ],
)
def test_same_frames_same_bytes(tmp_path, name, options):
    """Of noise that moves, which the encoders' look-ahead has to think about."""
    noise = np.random.default_rng(0).integers(0, 256, (15, 28, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    files = set()
    for _ in range(4):
        write(tmp_path / name, [np.roll(noise, 3 * n, axis=1) for n in range(30)], **options)
        files.add((tmp_path / name).read_bytes())
    assert len(files) == 1


def test_planes_are_written_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    planes = [rng.integers(60, 180, (48, 64), dtype=np.uint8).repeat(2, 0).repeat(2, 1) for _ in range(5)]
    options = {"crf": "1", "preset": "ultrafast"}
    with VideoWriter(tmp_path / "a.mp4", width=128, height=64, rate=25, color="bt709", options=options) as video:
        for picture in planes:
            video.write_yuv420(picture)
        with pytest.raises(ValueError, match=r"planes of uint8 \(64, 128\): expected uint8 \(96, 128\) for yuv420p"):
            video.write_yuv420(planes[0][:64])
    for frame, wanted in zip(read(tmp_path / "a.mp4"), planes, strict=True):
        assert frame.colorspace == 1
        assert np.abs(frame.to_ndarray().astype(int) - wanted).max() <= 4


def test_own_timestamps(tmp_path):
    times = [0, 17, 50, 51, 400]
    with VideoWriter(tmp_path / "a:b ü.mp4", width=128, height=32, rate=25, time_base=Fraction(1, 1000)) as video:
        for i, time in enumerate(times):
            video.write(numbered(i), time)
    assert [frame.time for frame in read(tmp_path / "a:b ü.mp4")] == pytest.approx([time / 1000 for time in times])


def test_an_encoder_that_does_not_open(tmp_path):
    assert can_encode("libx264")
    assert not can_encode("nonesuch")
    with (
        pytest.raises(EncoderError, match="encoder libx264 does not open for 128x32 in yuv420p"),
        VideoWriter(tmp_path / "a.mp4", width=128, height=32, rate=25, options={"preset": "nonesuch"}),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_file(tmp_path):
    def stops():
        yield numbered(0)
        assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
        raise RuntimeError("stop")

    with (
        pytest.raises(RuntimeError, match="stop"),
        VideoWriter(tmp_path / "a.mp4", width=128, height=32, rate=25, codec="mpeg4") as video,
    ):
        write_all(video, stops())
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_older_file(tmp_path):
    path = tmp_path / "a.mp4"
    write(path, [numbered(0)])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"frame of uint8 \(2, 2, 3\): expected uint8 \(32, 128, 3\)"):
        write(path, [numbered(0), np.zeros((2, 2, 3), dtype=np.uint8)])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_is_a_failure(tmp_path):
    with (
        pytest.raises(ValueError, match="no frame was written"),
        VideoWriter(tmp_path / "a.mp4", width=128, height=32, rate=25),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.xyz", {}, "extension '.xyz', expected one of .mp4"),
        ("a.mp4", {"color": "bt2020"}, "color 'bt2020': expected one of bt601, bt709"),
        ("a.webm", {"codec": "libvpx-vp9", "bframes": 2}, "bframes 2 with libvpx-vp9: only libx264"),
        ("a.mp4", {"codec": "mjpeg"}, "mjpeg with full_range False: expected True"),
        ("a.mp4", {"width": 33}, "33x32 in yuv420p: expected an even width and height"),
        ("a.mp4", {"codec": "nonesuch"}, "nonesuch"),
    ],
)
def test_wrong_values_are_named(tmp_path, name, options, words):
    with (
        pytest.raises(ValueError, match=words),
        VideoWriter(tmp_path / name, **{"width": 32, "height": 32, "rate": 25, **options}),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="missing/a.mp4"),
        VideoWriter(tmp_path / "missing" / "a.mp4", width=32, height=32, rate=25),
    ):
        pass
