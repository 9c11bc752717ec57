"""From timestamps to times of frames: the known times, and those of a plain decode."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from numbered_videos import HEIGHT, WIDTH, number_of, numbered, write
from timed_videos import VARIABLE, copy_packets, write_timed

from actrec.data.video import read as read_module
from actrec.data.video import timestamps
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, iter_pictures
from actrec.data.video.timestamps import frame_times, read_timing

B_FRAMES = [{"bf": "0"}, {"g": "12", "bf": "2"}, {"g": "60", "bf": "3", "b-pyramid": "normal"}]
EVEN = [round(1000 * i / 25) for i in range(40)]


def times_of(path):
    """(start of each frame, end of the last) in seconds, as the probe and as the file itself give them."""
    timing, probe = read_timing(path), probe_video(path)
    assert (timing.times.begins, timing.times.rate) == (probe.begins, probe.rate)
    assert (timing.times.borders is not None, timing.stamped) == (probe.variable, probe.stamped)
    assert timing.times.num_frames == probe.frames
    return timing.times.at(np.arange(probe.frames + 1))


def decoded(path):
    """The times of a plain decode, from that of the start of the container on."""
    with av.open(str(path)) as file:
        start = file.start_time / av.time_base
        return [frame.time - start for frame in file.decode(video=0)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("options", B_FRAMES)
@pytest.mark.parametrize("name", ["even", "variable", "late", "jitter", "doubled"])
def test_times(tmp_path, name, options, suffix):
    jitter = np.random.default_rng(0).integers(-9, 9, 40)
    times = {
        "even": EVEN,
        "variable": VARIABLE,
        "late": [time + 5000 for time in VARIABLE],
        "jitter": (np.array(EVEN) + jitter - jitter[0]).tolist(),
        "doubled": [time + 400 * (i > 20) for i, time in enumerate(EVEN)],  # one frame is shown for 11
    }[name]
    path = write_timed(tmp_path / f"a{suffix}", times, options=options)
    found = times_of(path)
    assert found[:-1] == pytest.approx((np.array(times) - times[0]) / 1000, abs=1e-3)
    assert found[:-1] == pytest.approx(decoded(path), abs=1e-3)
    assert 0 < found[-1] - found[-2] < 0.3
    assert (read_timing(path).times.borders is None) == (name == "even")
    for pictures in ([time for _, time in iter_frames(path)], [picture.time for picture in iter_pictures(path)]):
        assert np.array(pictures) - pictures[0] == pytest.approx(found[:-1], abs=1e-3)


def test_sound_that_starts_before_the_video(tmp_path):
    for suffix in (".mkv", ".ts"):
        late = write_timed(tmp_path / f"late{suffix}", [time + 500 for time in EVEN], sound=(0, 2.5))
        assert times_of(late)[:-1] == pytest.approx(decoded(late), abs=1e-3)
        assert times_of(late)[0] == pytest.approx(0.5, abs=0.03)
        early = write_timed(tmp_path / f"early{suffix}", EVEN, sound=(0.5, 2.5))
        assert times_of(early)[0] == pytest.approx(0, abs=1e-3)


def test_the_rate_in_the_header_of_a_copy_is_wrong(tmp_path):
    """Some programs write twice the rate to AVI, with an empty chunk after each picture."""
    source = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], options={"bf": "3", "g": "13"}, bframes=3)
    path = copy_packets(source, tmp_path / "a.avi", base=Fraction(1, 50))
    with av.open(str(path)) as file:
        assert file.streams.video[0].average_rate == 50
    assert times_of(path) == pytest.approx(np.arange(41) / 25)
    found = probe_video(path)
    assert (found.rate, found.variable, found.stamped) == (25, False, False)
    assert [number_of(rgb) for rgb, _ in iter_frames(path)] == [*range(40)]
    for pictures in ([time for _, time in iter_frames(path)], [picture.time for picture in iter_pictures(path)]):
        assert pictures == pytest.approx(np.arange(40) / 25)
    assert [picture.seconds for picture in iter_pictures(path)] == pytest.approx([1 / 25] * 40)


def test_empty_chunks_of_an_avi_repeat_a_picture(tmp_path):
    path = write_timed(tmp_path / "a.avi", VARIABLE, codec="mpeg4", options={"bf": "0"}, base=Fraction(1, 30))
    expected = np.round(np.array(VARIABLE) * 30 / 1000) / 30
    assert times_of(path)[:-1] == pytest.approx(expected)
    assert [time for _, time in iter_frames(path)] == pytest.approx(expected)
    assert not probe_video(path).stamped


def test_a_raw_stream_has_no_timestamps(tmp_path):
    source = write(tmp_path / "a.mp4", [numbered(n) for n in range(20)], bframes=2)
    path = copy_packets(source, tmp_path / "a.h264", to="h264")
    assert times_of(path) == pytest.approx(np.arange(21) / 25)
    assert not probe_video(path).stamped


def test_pictures_that_an_edit_list_drops(tmp_path):
    """A copy from the middle of a group of pictures: the decoder needs its keyframe, and players do not show it."""
    source = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], gop=20, bframes=2)
    path = tmp_path / "cut.mp4"
    with av.open(str(source)) as file, av.open(str(path), "w") as copy:
        stream = file.streams.video[0]
        made = copy.add_stream_from_template(stream)
        for packet in file.demux(stream):
            if packet.size:
                shift = round(13 / 25 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, made
                copy.mux(packet)
    assert [number_of(rgb) for rgb, _ in iter_frames(path)] == [*range(13, 40)]
    assert times_of(path) == pytest.approx(np.arange(28) / 25, abs=1e-3)


def test_joined_recordings_whose_clock_restarts(tmp_path):
    first = write_timed(tmp_path / "first.ts", EVEN)
    second = write_timed(tmp_path / "second.ts", VARIABLE)
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + second.read_bytes())
    expected = [*np.array(EVEN) / 1000, *(1.6 + np.array(VARIABLE) / 1000)]
    assert times_of(tmp_path / "joined.ts")[:-1] == pytest.approx(expected, abs=2e-3)
    assert [number_of(rgb) for rgb, _ in iter_frames(tmp_path / "joined.ts")] == [*range(40), *range(70)]


def test_pictures_before_the_first_keyframe_do_not_decode(tmp_path):
    source = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], gop=15, bframes=2)
    path = copy_packets(source, tmp_path / "a.ts", start=5)
    numbers = [number_of(rgb) for rgb, _ in iter_frames(path)]
    assert numbers == [*range(15, 40)]
    assert read_timing(path).times.at(np.arange(25)) == pytest.approx(decoded(path), abs=1e-3)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_pictures_that_are_never_shown(tmp_path, codec):
    options = {"deadline": "good", "cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1", "g": "60"}
    path = write_timed(tmp_path / "a.webm", VARIABLE, codec=codec, options=options)
    assert times_of(path)[:-1] == pytest.approx(np.array(VARIABLE) / 1000, abs=1e-3)
    assert [time for _, time in iter_frames(path)] == pytest.approx(np.array(VARIABLE) / 1000, abs=1e-3)


def test_times_are_kept_until_the_file_changes(tmp_path):
    path = write_timed(tmp_path / "a.mkv", VARIABLE)
    assert frame_times(path) is frame_times(path)
    write_timed(path, VARIABLE[:30])
    assert frame_times(path).num_frames == 30


@pytest.mark.parametrize(("limit", "expected"), [(WIDTH * HEIGHT, 6), (WIDTH * HEIGHT - 1, 2)])
def test_few_large_pictures_wait_for_others(tmp_path, monkeypatch, limit, expected):
    """Pictures wait until their times can be sorted, but a file of 1 kB can have pictures of 400 MB."""
    path = write(tmp_path / "a.mkv", [numbered(n) for n in range(9)])
    monkeypatch.setattr(timestamps, "_MAX_WAITING", limit)
    num_decoded, decode = 0, read_module.iter_decoded

    def counting(*args):
        nonlocal num_decoded
        for picture in decode(*args):
            num_decoded += 1
            yield picture

    monkeypatch.setattr(read_module, "iter_decoded", counting)
    assert number_of(next(iter_frames(path))[0]) == 0
    assert num_decoded == expected


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_time_lapse_with_b_frames_is_no_clock_that_restarts(tmp_path, suffix):
    """The timestamps of B-frames go back by minutes, from packet to packet."""
    times = [600_000 * i for i in range(30)]
    path = write_timed(tmp_path / f"a{suffix}", times, options={"g": "12", "bf": "3", "b-adapt": "0"})
    assert times_of(path)[:-1] == pytest.approx(np.array(times) / 1000, abs=1e-3)
    assert [number_of(rgb) for rgb, _ in iter_frames(path)] == [*range(30)]
