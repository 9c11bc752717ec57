import csv
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from actrec.config import PrepareOptions
from actrec.data.video.encode import EncoderError, VideoWriter
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, iter_pictures, read_frames
from actrec.tools.make import prepared_video as tool
from actrec.tools.make.jobs import Stopped
from actrec.tools.make.prepared_video import NotEqualError, encoder_flags, encoders_for, prepare_video

SMALL = PrepareOptions(short_side=48, preset="ultrafast", encoder="cpu")
WIDTH, HEIGHT = 128, 96


def moving(frames, seed=0):
    """A small square that wanders over a background with detail, and grain."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(60, 180, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    for i in range(frames):
        rgb = image.astype(int) + rng.integers(-4, 5, image.shape)
        x, y = (7 * i) % (WIDTH - 12), (3 * i) % (HEIGHT - 12)
        rgb[y : y + 12, x : x + 12] = 230
        yield rgb.clip(0, 255).astype(np.uint8)


def write(path, frames, times=None, **options):
    options = {"rate": 25, "options": {"preset": "ultrafast"}, **options}
    with VideoWriter(path, width=frames[0].shape[1], height=frames[0].shape[0], **options) as video:
        for i, rgb in enumerate(frames):
            video.write(rgb, None if times is None else times[i])
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """40 frames with B-frames."""
    return write(tmp_path_factory.mktemp("moving") / "a.mp4", list(moving(40)), bframes=2, options={"crf": "18"})


def run(path, tmp_path, options=SMALL, **more):
    target = tmp_path / "out" / "a.mp4"
    made = prepare_video(path, target, tmp_path / "bad" / "a.mp4", options, **more)
    assert [p.name for p in target.parent.iterdir()] == ["a.mp4"]
    assert not (tmp_path / "bad" / "a.mp4").exists()
    assert (made.before, made.after) == (path.stat().st_size, target.stat().st_size)
    return target, made.frames


# ---- size and options ----


@pytest.mark.parametrize(
    ("options", "size", "wanted"),
    [
        (PrepareOptions(), (1920, 1080), (456, 256)),
        (PrepareOptions(), (1080, 1920), (256, 456)),
        (PrepareOptions(), (340, 256), (340, 256)),
        (PrepareOptions(), (341, 256), (340, 256)),
        (PrepareOptions(), (426, 240), (426, 240)),
        (PrepareOptions(), (101, 77), (84, 64)),
        (PrepareOptions(), (7, 5), (22, 16)),
        (PrepareOptions(short_side=250), (640, 480), (342, 256)),
        (PrepareOptions(short_side=247), (640, 480), (320, 240)),
        (PrepareOptions(upscale=True), (100, 60), (426, 256)),
    ],
)
def test_size(options, size, wanted):
    assert options.size(*size) == wanted


def test_aspect_is_kept_within_a_pixel():
    for width in range(1, 900, 7):
        for height in range(1, 700, 11):
            for options in (PrepareOptions(), PrepareOptions(upscale=True)):
                short, long = sorted(options.size(width, height))
                assert short % 16 == 0
                assert long % 2 == 0
                assert abs(long - Fraction(short * max(width, height), min(width, height))) <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"short_side": 15}, "short_side 15: expected from 16 to 16384"),
        ({"gop": 0}, "gop 0: expected from 1 to 100000"),
        ({"crf": 0}, "crf 0: expected from 1 to 51"),
        ({"fps": 0.0}, r"fps 0.0: expected from 0.01 to 1000"),
        ({"codec": "vp9"}, "codec 'vp9': expected one of h264, hevc"),
        ({"preset": "p4"}, "preset 'p4': expected one of ultrafast"),
        ({"encoder": "gpu"}, "encoder 'gpu': expected one of auto, cpu, nvenc"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        PrepareOptions(**options)


# ---- what is written ----


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("gop", [1, 16])
def test_the_same_frames_in_short_gops(video, tmp_path, codec, gop):
    options = PrepareOptions(short_side=96, gop=gop, crf=18, codec=codec, preset="ultrafast", encoder="cpu")
    made, frames = run(video, tmp_path, options)
    assert frames == 40
    found = probe_video(made)
    assert (found.frames, found.codec, found.pix_fmt, found.color) == (40, codec, "yuv420p", "bt601")
    assert (found.width, found.height, found.rate) == (WIDTH, HEIGHT, pytest.approx(25))
    seen = []
    decoded = read_frames(made, range(40), lambda _, rgb: seen.append(rgb.astype(int)), certify=True)
    assert (decoded.clamped, decoded.decoded) == (0, 40)
    assert np.searchsorted(decoded.certificate.pts, decoded.certificate.key_pts).tolist() == list(range(0, 40, gop))
    for rgb, (wanted, _) in zip(seen, iter_frames(video)):
        assert np.abs(rgb - wanted).mean() < 5
    with av.open(str(made)) as container:
        assert not any(f.pict_type == av.video.frame.PictureType.B for f in container.decode(video=0))


def test_sound_is_dropped(video, tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(video)) as given, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        sound = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate, frame.pts = 44100, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    with av.open(str(path)) as container:
        assert len(container.streams) == 2
    made, frames = run(path, tmp_path)
    assert frames == 40
    with av.open(str(made)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def times_of(path):
    return [picture.time for picture in iter_pictures(path)]


def test_frames_keep_their_times(tmp_path):
    times = np.cumsum([90, 40, 20, 200, 3, 41, 40]).tolist()
    path = write(tmp_path / "a.mkv", list(moving(7)), times, time_base=Fraction(1, 1000))
    made, frames = run(path, tmp_path)
    assert frames == 7
    np.testing.assert_allclose(times_of(made), [(time - 90) / 1000 for time in times], atol=2e-5)


class FakePicture:
    def __init__(self, time, seconds=0.1):
        self.time, self.seconds = time, seconds


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ([7.0, 7.1, 7.5], [0, 0.1, 0.5]),
        ([0.1, None, 0.25, 0.35], [0, 0.1, 0.15, 0.25]),
        ([None, None, None], [0, 0.1, 0.2]),
        ([0.1, 0.3, 0.2, 0.5, 0.4, 0.7, 0.6], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),  # XviD in AVI
        ([0.0, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5], [0, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ([0.0, 0.1, 9000.0, 9000.1], [0, 0.1, 0.2, 0.3]),
        ([50 + i / 10 for i in range(9)] + [i / 10 for i in range(9)], [i / 10 for i in range(18)]),  # another clock
    ],
)
def test_times_always_ascend(times, wanted):
    pictures = [FakePicture(time) for time in times]
    timed = list(tool._timed([(picture, 1) for picture in pictures], None))
    assert [picture for picture, _, _ in timed] == pictures
    found = [pts for _, _, pts in timed]
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(np.array(found) / 90000, wanted, atol=1e-4)


def test_pictures_without_times():
    assert [pts for _, _, pts in tool._timed([(FakePicture(None, 0.0), 1)] * 3, None)] == [0, 3600, 7200]


@pytest.mark.parametrize(("fps", "wanted"), [(12.5, 20), (50, 80), (29.97, 48)])
def test_constant_rate(video, tmp_path, fps, wanted):
    options = PrepareOptions(short_side=48, preset="ultrafast", encoder="cpu", fps=fps)
    made, frames = run(video, tmp_path, options)
    assert frames == wanted
    np.testing.assert_allclose(times_of(made), np.arange(frames) / fps, atol=1e-4)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied(tmp_path, turn):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(turn)
        for rgb in moving(3):
            frame = av.VideoFrame.from_ndarray(cv2.resize(rgb, (64, 48)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    made, _ = run(path, tmp_path, PrepareOptions(short_side=48, crf=10, encoder="cpu"))
    assert probe_video(made).rotation == 0
    for (rgb, _), (wanted, _) in zip(iter_frames(made), iter_frames(path), strict=True):
        assert rgb.shape == wanted.shape
        assert np.abs(rgb.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize(
    "source",
    [
        {"color": "bt709"},
        {"full_range": True},
        {"color": "bt709", "full_range": True},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "gray"},
        {"codec": "mjpeg", "full_range": True, "pix_fmt": "yuvj422p", "options": {}},
    ],
)
def test_colors_stay(tmp_path, source):
    colors = np.array([[(200, 60, 30), (20, 120, 60), (40, 60, 210)], [(10, 10, 10), (240, 240, 240), (128, 90, 128)]])
    rgb = colors.repeat(32, 0).repeat(32, 1).astype(np.uint8)
    options = {"options": {"crf": "4"}} | source
    path = write(tmp_path / ("a.mov" if "codec" in source else "a.mp4"), [rgb] * 2, **options)
    wanted = next(iter_frames(path))[0]
    for side in (64, 32):
        size = (side * 3 // 2, side)
        made, _ = run(path, tmp_path, PrepareOptions(short_side=side, crf=4, preset="fast", encoder="cpu"))
        assert probe_video(made).color == "bt601"
        found = next(iter_frames(made))[0].astype(int)
        for block in np.ndindex(2, 3):
            y, x = ((2 * i + 1) * side // 4 for i in block)
            middle = cv2.resize(wanted, size, interpolation=cv2.INTER_AREA)[y, x].astype(int)
            assert np.abs(found[y - 2 : y + 2, x - 2 : x + 2].mean((0, 1)) - middle).max() < 5
        made.unlink()


def test_stops_between_frames(video, tmp_path):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Stopped):
        run(video, tmp_path, stop=stop)
    assert len(asked) == 6
    assert list((tmp_path / "out").iterdir()) == []


# ---- the proof ----


def thumbnails(frames, path):
    """Of frames as if they had been encoded for this file."""
    write(path, frames, options={"crf": "1", "preset": "ultrafast"})
    size = frames[0].shape[1::-1]
    return np.stack([tool._thumbnail(picture.yuv420(*size), size) for picture in iter_pictures(path)])


def fault(tmp_path, order, frames, gop=16, crf=23, **options):
    """Writes frames in another order than that of their thumbnails."""
    wanted = thumbnails(frames, tmp_path / "wanted.mp4")
    options = {"options": {"crf": str(crf), "preset": "ultrafast", "sc_threshold": "0"}, "gop": 16} | options
    made = write(tmp_path / "made.mp4", [frames[i] for i in order], **options)
    return tool.find_fault(made, wanted, PrepareOptions(gop=gop, crf=crf))


ORDERS = {
    "swapped": [*range(10), 11, 10, *range(12, 30)],
    "one dropped, one repeated": [*range(10), *range(11, 20), 19, *range(20, 30)],
    "one lost at once, the next shown twice": [*range(10), 11, *range(11, 30)],
    "all late": [0, *range(29)],
    "far away": [*range(10), 25, *range(11, 30)],
    "backwards": [*range(29, -1, -1)],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_frames_in_another_order_are_detected(tmp_path, order):
    frames = list(moving(30))
    assert fault(tmp_path, range(30), frames) is None
    first = next(i for i, place in enumerate(order) if place != i)
    assert fault(tmp_path, order, frames) == f"frame {first + 1} differs from frame {first + 1} of the original"


@pytest.mark.parametrize("crf", [18, 30, 45])
def test_a_still_video_passes(tmp_path, crf):
    rng = np.random.default_rng(1)
    image = next(moving(1)).astype(int)
    plain = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 20
    grain = [(image + rng.integers(-9, 10, image.shape)).clip(0, 255).astype(np.uint8) for _ in range(20)]
    fading = [(image * (0.5 + i / 80)).clip(0, 255).astype(np.uint8) for i in range(20)]
    blocks = list(plain)
    for i in range(20):
        blocks[i] = blocks[max(i - 1, 0)].copy()
        blocks[i][:8, :8] += 1  # one block changes little by little
    for frames in (plain, grain, fading, blocks):
        assert fault(tmp_path, range(20), frames, crf=crf) is None
        assert fault(tmp_path, range(20), [rgb[:16, :32] for rgb in frames], crf=crf) is None


def test_the_last_frame_may_resemble_the_one_before():
    errors = np.tile((0.35, 0.4, 0.0), (84, 1))
    errors[-1] = 0.9, 0.43, 0.93  # of a video of the toy dataset
    assert tool._first_wrong(errors, 224, 23) is None
    assert tool._first_wrong(errors[::-1], 224, 23) == 0
    errors[-1, 2] = 1.4
    assert tool._first_wrong(errors, 224, 23) == 83


def test_wrong_frame_counts_and_keyframes_are_detected(tmp_path):
    frames = list(moving(30))
    assert fault(tmp_path, range(29), frames) == "the file has 29 frames: expected 30"
    assert fault(tmp_path, [*range(30), 29], frames) == "the file has 31 frames: expected 30"
    assert fault(tmp_path, range(30), frames, gop=8) == "16 frames from one keyframe to the next, expected 8 at most"
    assert fault(tmp_path, range(30), frames, codec="mpeg4") == "decoding cannot start at the keyframes"
    (tmp_path / "made.mp4").write_bytes(b"no video")
    assert tool.find_fault(tmp_path / "made.mp4", np.zeros((1, 256), np.uint16), PrepareOptions()).startswith(
        "not a video"
    )


class Swapping(VideoWriter):
    """Loses its way at the tenth frame."""

    def write_yuv420(self, planes, pts=None):
        self.held = getattr(self, "held", []) + [planes]
        if len(self.held) == 10:
            return
        if len(self.held) == 11:
            super().write_yuv420(self.held[10], pts - 3600)
            planes = self.held[9]
        super().write_yuv420(planes, pts)


def test_a_video_with_wrong_frames_goes_to_quarantine(video, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tool, "VideoWriter", Swapping)
        with pytest.raises(NotEqualError, match="frame 10 differs from frame 10 of the original: the file was moved"):
            run(video, tmp_path)
    assert list((tmp_path / "out").iterdir()) == []
    assert probe_video(tmp_path / "bad" / "a.mp4").frames == 40
    run(video, tmp_path)  # which takes it out of quarantine


# ---- encoders ----


def test_nvenc_if_it_works(monkeypatch):
    for works in (True, False):
        monkeypatch.setattr(tool, "can_encode", lambda name, works=works: works and name.endswith("_nvenc"))
        assert encoders_for(PrepareOptions(encoder="cpu")) == ("libx264",)
        assert encoders_for(PrepareOptions()) == (("h264_nvenc", "libx264") if works else ("libx264",))
        hevc = PrepareOptions(codec="hevc", encoder="nvenc")
        if works:
            assert encoders_for(hevc) == ("hevc_nvenc",)
        else:
            with pytest.raises(ValueError, match="hevc_nvenc does not work on this machine: expected an NVIDIA GPU"):
                encoders_for(hevc)
    assert encoder_flags(PrepareOptions(preset="slow"), "h264_nvenc", (256, 256))["preset"] == "p6"


def test_a_video_that_nvenc_refuses_is_encoded_by_the_cpu(video, tmp_path, monkeypatch):
    tried = []

    class Refusing(VideoWriter):
        def __init__(self, path, *, codec, **options):
            tried.append(codec)
            super().__init__(path, codec=codec, **options)

        def _open_encoder(self):
            if self._codec.endswith("_nvenc"):
                raise EncoderError("too many at a time")
            super()._open_encoder()

    monkeypatch.setattr(tool, "VideoWriter", Refusing)
    monkeypatch.setattr(tool, "can_encode", lambda name: True)
    assert run(video, tmp_path, PrepareOptions(short_side=48, preset="ultrafast"))[1] == 40
    assert tried == ["h264_nvenc", "libx264"]
    with pytest.raises(EncoderError, match="too many"):
        run(video, tmp_path, PrepareOptions(short_side=48, encoder="nvenc"))


# ---- real files ----


def test_odd_files(shared_videos, tmp_path):
    with open(shared_videos / "files.csv", newline="", encoding="utf-8") as file:
        counts = {row["path"]: int(row["decoded_frames"] or 0) for row in csv.DictReader(file)}
    paths = [path for part in ("timing", "rotation", "short") for path in (shared_videos / "odd" / part).iterdir()]
    for path in [*paths, shared_videos / "odd/derived/tiny_16x16.mp4"]:
        frames = counts[str(path.relative_to(shared_videos))]
        if 0 < frames < 200:
            made = prepare_video(path, tmp_path / f"{path.name}.mp4", tmp_path / "bad.mp4", SMALL)
            assert made.frames == frames
