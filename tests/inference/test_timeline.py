"""Timelines of long videos: Model.timeline, `actrec predict --timeline`, the rendered video and the plot."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numbered_videos import plain_decode, write

import actrec
from actrec.config import Segments
from actrec.data.video.container import MediaError
from actrec.data.video.encode import VideoWriter
from actrec.inference import plot
from actrec.inference.render import PALETTE, Overlay, render
from actrec.pipelines import sweep as sweep_module

DARK, BRIGHT = np.full((48, 64, 3), 40, np.uint8), np.full((48, 64, 3), 215, np.uint8)


@pytest.fixture(scope="module")
def model(trained) -> actrec.Model:
    return actrec.load(trained, device="cpu")


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    """Four seconds dark, four seconds bright, four seconds dark."""
    return write(tmp_path_factory.mktemp("long") / "long.mp4", [DARK] * 100 + [BRIGHT] * 100 + [DARK] * 100)


def write_list(path, rows):
    path.write_text("".join(f"{name} {start + 1} {stop} 0\n" for name, start, stop in rows))
    return path


def test_the_scores_are_those_of_evaluate_on_a_list_of_the_windows(model, long_video):
    timeline = model.timeline(long_video, every=0.5, window=1.0)
    assert len(timeline) == 23
    rows = [(long_video, *span) for span in timeline.ranges.tolist()]
    result = model.evaluate(write_list(long_video.parent / "rows.txt", rows))
    assert np.array_equal(timeline.scores, result.scores)
    assert np.allclose(timeline.times, timeline.ranges / 25)
    assert timeline.decoded <= timeline.media.frames == 300
    assert timeline.classes == ["dark", "bright"]


def test_segments_of_what_is_dark_and_bright(model, long_video):
    timeline = model.timeline(long_video, every=0.5, window=1.0)
    bright = [s for s in timeline.segments(Segments(threshold=0.0)) if s.label == 1]
    assert len(bright) == 1
    assert abs(bright[0].start - 4) <= 0.5
    assert abs(bright[0].end - 8) <= 0.5


def test_progress_counts_windows(model, long_video):
    seen = []
    model.timeline(long_video, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (11, 11)
    assert seen == sorted(seen)


def test_a_video_that_cannot_be_used(model, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(MediaError, match="bad.mp4: not a video"):
        model.timeline(tmp_path / "bad.mp4")


def test_an_interrupt_does_not_wait_for_the_decoding(model, tmp_path, monkeypatch):
    sweeps, make_sweep, decode = [], actrec.Model.make_sweep, sweep_module.iter_wanted
    monkeypatch.setattr(actrec.Model, "make_sweep", lambda *args: sweeps.append(make_sweep(*args)) or sweeps[-1])

    def slow(*args, **options):
        for found in decode(*args, **options):
            time.sleep(0.01)
            yield found

    def stop(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_module, "iter_wanted", slow)
    path = write(tmp_path / "long.mp4", [DARK] * 600)
    with pytest.raises(KeyboardInterrupt) as held:  # which keeps the frames of the iteration alive
        model.timeline(path, every=0.2, progress=stop)
    sweeps[0]._pool.shutdown(wait=True)
    assert held
    assert sweeps[0]._at < 350  # the batch that was being decoded ends at frame 358


# ---- rendering ----


@pytest.fixture(scope="module")
def timeline(model, long_video):
    return model.timeline(long_video, every=0.5, window=1.0)


def test_a_rendered_video_has_all_frames_in_their_size(timeline, tmp_path, long_video):
    path = tmp_path / "out.mp4"
    assert render(timeline, timeline.segments(), path) == "none"
    frames = plain_decode(path)
    assert len(frames) == 300
    assert frames[0].shape == (48, 64, 3)
    with av.open(str(path)) as container:
        times = [picture.time for picture in container.decode(video=0)]
    assert np.allclose(times, np.arange(300) / 25, atol=1e-4)
    assert abs(float(frames[150][5:20, 40:].mean()) - float(frames[10][5:20, 40:].mean())) > 100  # the video below


def with_sound(path, codec, rate, frames):
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        sound.layout = "mono"
        for i, rgb in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb)))
            samples = rate // 25
            wave = np.sin(np.arange(i * samples, (i + 1) * samples) * 2 * np.pi * 440 / rate)
            heard = av.AudioFrame.from_ndarray((wave * 20000).astype(np.int16)[None], format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = rate, i * samples, Fraction(1, rate)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def sound_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    with av.open(str(path)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    return stream.codec_context.codec.canonical_name, packets, seconds


def test_sound_is_copied(model, tmp_path):
    source = with_sound(tmp_path / "source.mp4", "aac", 16000, [DARK] * 75)
    timeline = model.timeline(source)
    for name in ("out.mp4", "out.mkv", "out.mov"):
        assert render(timeline, [], tmp_path / name) == "copied"
        with av.open(str(tmp_path / name)) as container:
            times = [picture.time for picture in container.decode(video=0)]
        assert len(times) == 75
        assert times[-1] - times[0] == pytest.approx(74 / 25, abs=2e-3)
        assert times[0] < 0.1
        assert sound_of(tmp_path / name)[:2] == sound_of(source)[:2]


def test_the_sound_of_a_part_of_a_video(model, tmp_path):
    source = with_sound(tmp_path / "source.mp4", "aac", 16000, [DARK] * 75)
    timeline = model.timeline(actrec.Video("part", str(source), 25, 50, ()))
    assert render(timeline, [], tmp_path / "out.mp4") == "copied"
    assert abs(sound_of(tmp_path / "out.mp4")[2] - 1) < 0.1


def test_sound_that_a_container_cannot_hold_is_transcoded(tmp_path):
    source = with_sound(tmp_path / "source.mkv", "libopus", 48000, [DARK] * 75)
    with VideoWriter(tmp_path / "out.avi", width=64, height=48, rate=25, sound_of=source) as video:
        for _ in range(75):
            video.write(DARK)
    assert video.sound == "transcoded"
    codec, _, seconds = sound_of(tmp_path / "out.avi")
    assert codec == "aac"
    assert abs(seconds - 3) < 0.1


def test_an_interrupted_rendering_leaves_nothing(timeline, tmp_path):
    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(timeline, [], tmp_path / "out.mp4", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_folder_and_odd_sizes_are_rendered(model, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(20):
        cv2.imwrite(str(folder / f"{i + 1:05d}.png"), np.full((51, 67, 3), 5 * i, np.uint8))
    (folder / "fps").write_text("10")
    timeline = model.timeline(folder)
    assert render(timeline, [], tmp_path / "out.mp4") == "none"
    frames = plain_decode(tmp_path / "out.mp4")
    assert (len(frames), frames[0].shape) == (20, (52, 68, 3))


def test_a_part_of_a_video(model, long_video, tmp_path):
    row = actrec.Video("part", str(long_video), 100, 150, ())
    render(model.timeline(row), [], tmp_path / "out.mp4", topk=1)
    frames = plain_decode(tmp_path / "out.mp4")
    assert len(frames) == 50
    assert frames[0][2:10].mean() > 190


@pytest.mark.parametrize("size", [(2, 2), (16, 16), (64, 400), (1920, 1080)])
def test_the_drawing_fits_every_size(timeline, size):
    width, height = size
    frame = np.full((height, width, 3), 128, np.uint8)
    overlay = Overlay(timeline, timeline.segments(), width, height, 5)
    for seconds in (0.0, 6.0, 11.99, 50.0):
        overlay.draw(frame, seconds)
    assert frame.shape == (height, width, 3)
    assert (frame != 128).any()


def test_names_are_drawn_in_their_own_letters(timeline):
    def drawn(name: str) -> np.ndarray:
        frame = np.zeros((400, 600, 3), np.uint8)
        Overlay(replace(timeline, classes=[name] * 400), timeline.segments(), 600, 400, 5).draw(frame, 0.0)
        return frame

    assert (drawn("прыжок") != drawn("??????")).any()
    assert (drawn("déjà vu") != drawn("deja vu")).any()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_plot(timeline, tmp_path, suffix):
    path = tmp_path / f"plot.{suffix}"
    plot.save(timeline, timeline.segments(), path, truth=timeline.segments())
    assert path.stat().st_size > 5000
    if suffix == "png":
        assert cv2.imread(str(path)).shape[1] > 1000
    if suffix == "svg":
        assert "<svg" in path.read_text()


def test_a_plot_shows_the_ten_classes_that_matter_and_any_name(timeline):
    scores = np.random.default_rng(0).normal(size=(len(timeline), 400)).astype(np.float32)
    scores[:, 7] += 20
    names = ["$x$ 投げる" * 9] * 400
    many = replace(timeline, scores=scores, classes=names)
    figure = plot.draw(many, many.segments())
    assert len(figure.axes[0].lines) == 10
    figure.canvas.draw()


def test_a_plot_and_a_rendered_video_have_the_same_colors(timeline):
    swapped = replace(timeline, classes=["a", "b", "c"], scores=np.insert(timeline.scores, 0, -9, axis=1))
    figure = plot.draw(swapped, swapped.segments())
    texts = figure.axes[1].get_yticklabels()
    names = {"a": 0, "b": 1, "c": 2}
    assert {text.get_text() for text in texts} == set(names)
    for text in texts:
        assert tuple(round(255 * c) for c in to_rgb(text.get_color())) == PALETTE[names[text.get_text()]]


def test_a_plot_says_what_it_shows(timeline):
    figure = plot.draw(timeline, timeline.segments(), timeline.segments(), threshold=0.4)
    above = figure.axes[0]
    assert above.get_title(loc="left") == "long.mp4"
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["threshold 0.4", "predicted", "truth"]
    assert list(above.lines[-1].get_ydata()) == [0.4, 0.4]


def test_the_panel_is_small_and_has_the_colors_of_the_plot(timeline):
    sure = replace(timeline, scores=np.tile(np.float32([9, -9]), (len(timeline), 1)))
    frame = np.full((240, 320, 3), 128, np.uint8)
    Overlay(sure, [], 320, 240, 5).draw(frame, 6.0)
    changed = np.argwhere((frame[: 240 - 12] != 128).any(2))
    assert changed[:, 0].min() >= 2 * 240 // 3
    assert changed[:, 1].max() <= 320 // 2
    assert (frame == PALETTE[0]).all(2).sum() > 200


def test_the_clock():
    assert [plot.clock(at) for at in (0, 9.96, 61.5, 3600)] == ["0:00", "0:10", "1:01.5", "1:00:00"]


def test_rotated_videos_are_rendered_upright(model, shared_videos, tmp_path):
    for name in ("decord_video_270.mov", "torchcodec_nasa_13013_rotated.mp4"):
        source = shared_videos / "odd/rotation" / name
        render(model.timeline(source), [], tmp_path / "out.mp4", topk=1)
        expected, found = plain_decode(source), plain_decode(tmp_path / "out.mp4")
        assert len(found) == len(expected)
        assert found[0].shape == expected[0].shape
        rows = slice(found[0].shape[0] // 4, found[0].shape[0] // 2)  # nothing is drawn there
        assert np.abs(found[-1][rows].astype(int) - expected[-1][rows]).mean() < 6
