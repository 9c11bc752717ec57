"""Loaders take frames, crops and pixels as the protocols say."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from timed_videos import VARIABLE, write_timed

import actrec
import actrec.config
from actrec.config import Input
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.data.video.encode import VideoWriter

INPUT = Input(mean=(0.1,) * 3, std=(0.3,) * 3, frames=7, size=40)
RATE, FRAMES, SIZE = 30, 70, (320, 180)
LEFT_OUT = "torchvision_s3d"  # a clip of 128 frames at 15 frames per second


@pytest.fixture(scope="module")
def video(tmp_path_factory, make_rows):
    """One row: a video of smooth noise that moves."""
    path = tmp_path_factory.mktemp("protocols") / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (45, 80, 3), np.uint8)
    noise = cv2.resize(noise, SIZE, interpolation=cv2.INTER_LINEAR)
    with VideoWriter(path, width=SIZE[0], height=SIZE[1], rate=RATE, gop=12) as file:
        for i in range(FRAMES):
            file.write(np.roll(noise, 3 * i, axis=1))
    return make_rows(path)


def only_batch(rows, protocol, **options):
    loader = actrec.eval_loader(rows, actrec.Clip(), INPUT, protocol=protocol, **options)
    (batch,) = loader
    return batch, loader


def picture(path, number: int) -> np.ndarray:
    with av.open(str(path)) as file:
        return next(p for i, p in enumerate(file.decode(video=0)) if i == number).to_ndarray(format="rgb24")


def resized(image: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    if kernel == "pillow":
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    if kernel == "opencv":
        return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    floats = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    return torch.nn.functional.interpolate(floats, size[::-1], mode="bilinear")[0].permute(1, 2, 0).numpy()


def test_frames_and_crops_are_those_of_the_protocol(video):
    index = actrec.build_index(video)
    for name, protocol in PROTOCOLS.items():
        if name == LEFT_OUT:
            continue
        loader = actrec.eval_loader(video, actrec.Clip(), INPUT, protocol=protocol, index=index)
        plan = loader.plan(0, 0)
        geometry = protocol.geometry(*SIZE)
        assert np.array_equal(plan.frames, protocol.frames(FRAMES, RATE)), name
        assert (plan.resize, plan.crop, plan.crops) == geometry, name
        assert (loader.input.mean, loader.input.std) == (protocol.mean, protocol.std), name
        assert plan.antialias == (protocol.kernel == "pillow"), name


# Each kernel, ways to compute the long side, mirrored crops, whole pictures, a fixed size, reversed channels
PIXELS = [
    "hara_k_nocrop", "torchvision_r3d_18", "torchvision_mvit", "tsm_k400_8_uniform_10crop",
    "mmaction2_tsm_k400_8_three",
    "pyslowfast_ssv2_mvit_16", "pyslowfast_ssv2_mvitv2_l_40", "videoswin_ssv2", "videomae_ssv2",
]  # fmt: skip


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_are_those_of_the_protocol(video, name):
    protocol, path = PROTOCOLS[name], video[0].path
    batch, loader = only_batch(video, protocol)
    frames, geometry = protocol.frames(FRAMES, RATE), protocol.geometry(*SIZE)
    (plan,) = batch.plans
    assert np.array_equal(plan.frames, frames)
    assert batch.views == len(frames) * len(geometry.crops)
    assert batch.clips.shape == (batch.views, 3, protocol.clip_frames, *geometry.crop[::-1])
    views = batch.clips.unflatten(0, (len(geometry.crops), -1))
    clip = len(frames) - 1
    whole = resized(picture(path, frames[clip, 2]), geometry.resized, protocol.kernel).astype(float)
    for j, (x, y, mirrored) in enumerate(geometry.crops):
        cut = whole[y : y + geometry.crop[1], x : x + geometry.crop[0]]
        cut = cut[:, ::-1] if mirrored else cut
        values = views[j, clip, :, 2].permute(1, 2, 0).numpy() * protocol.std + protocol.mean
        apart = 255 * values - cut
        assert np.abs(apart).max() < 1.01, (j, x, y, mirrored)
        assert abs(apart.mean()) < 0.02, (j, x, y, mirrored)
    assert loader.unusable == loader.left_out == {}


def test_a_video_that_the_protocol_leaves_out_is_not_one_that_cannot_be_used(video):
    batch, loader = only_batch(video, PROTOCOLS[LEFT_OUT])
    assert len(batch) == 0
    assert loader.unusable == {}
    (reason,) = loader.left_out.values()
    assert reason.endswith("a.mp4: 70 frames at 30 frames per second: too short for a clip of torchvision_s3d")


@pytest.mark.parametrize("name", ["hara_k_nocrop", "torchvision_r3d_18", "mmaction2_tsm_k400_8"])
def test_dali_makes_the_same_clips_of_images(tmp_path, make_rows, numbers, name):
    rows = make_rows(numbers.folder(tmp_path / "frames", 50))
    one, other = (
        only_batch(rows, PROTOCOLS[name], fps=25, decoder=decoder)[0].clips for decoder in ("workers", "dali")
    )
    assert one.shape == other.shape
    assert (one - other).abs().mean() < 0.02


def test_videos_of_several_lengths_with_a_number_of_clips_of_their_own(tmp_path, make_rows, numbers):
    rows = make_rows(*(numbers.video(tmp_path / f"{n}-h264.mp4", n) for n in (40, 17, 16)))
    batches = list(actrec.eval_loader(rows, actrec.Clip(), INPUT, protocol=PROTOCOLS["hara_k_center"], batch_size=3))
    assert [batch.views for batch in batches] == [3, 2, 1]
    assert [batch.videos for batch in batches] == [[row.id] for row in rows]
    whole = replace(PROTOCOLS["hara_k_center"], mean=(0.5,) * 3, std=(0.5,) * 3)
    shown = [numbers.read(batch.clips) for batch in actrec.eval_loader(rows, actrec.Clip(), INPUT, protocol=whole)]
    assert shown[1].tolist() == [[*range(16)], [16] * 16]


def test_a_picture_that_becomes_too_large_is_refused(tmp_path, make_rows):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(1, 9):
        Image.new("RGB", (5000, 1)).save(folder / f"{i:05d}.jpg")
    rows = make_rows(folder)
    large = "after resizing the frames of 5000x1, 1280000x256 are 327,680,000 pixels: expected at most 100,000,000; "
    for options in ({"protocol": PROTOCOLS["ibm_k400"]}, {"views": actrec.Views(crop_ratio=40 / 256)}):
        loader = actrec.eval_loader(rows, actrec.Clip(), INPUT, **options)
        (batch,) = loader
        assert len(batch) == 0
        (reason,) = loader.unusable.values()
        assert reason.endswith(f"frames: {large}--max-pixels allows more")


def test_folders_need_a_rate_where_the_protocol_does(tmp_path, make_rows, numbers):
    rows = make_rows(numbers.folder(tmp_path / "frames", 40))
    batch, loader = only_batch(rows, PROTOCOLS["torchvision_r3d_18"])
    assert len(batch) == 0
    (reason,) = loader.unusable.values()
    assert (
        "protocol torchvision_r3d_18 needs the number of frames per second, and the folder has no file `fps`" in reason
    )
    batch, _ = only_batch(rows, PROTOCOLS["torchvision_r3d_18"], fps=25)
    assert np.array_equal(batch.plans[0].frames, PROTOCOLS["torchvision_r3d_18"].frames(40, 25))
    (tmp_path / "frames/fps").write_text("30\n")
    batch, _ = only_batch(rows, PROTOCOLS["torchvision_r3d_18"], fps=25)
    assert np.array_equal(batch.plans[0].frames, PROTOCOLS["torchvision_r3d_18"].frames(40, 30))
    batch, _ = only_batch(rows, PROTOCOLS["tsm_k400_8_uniform_1crop"])
    assert len(batch) == 1


# Times of the frames in milliseconds, the time base, the protocol, and the first and last frame of each clip according
# to `decoder.py` of PySlowFast, with PyAV in place of torchvision's decoder
STAMPED = {
    # The start of a clip is truncated to ticks of 1/600 s.
    "coarse.mp4": (
        [135 * i + 2.5 * (i % 3) for i in range(84)], Fraction(1, 600), "pyslowfast_mvit_16x4",
        [(0, 14), (16, 30), (32, 46), (48, 62), (64, 78)],
    ),
    # The end, too: 12800 ticks are not a multiple of the rate that FFmpeg guesses in single precision.
    "fine.mp4": (
        [40 * i for i in range(120)], Fraction(1, 12800), "pyslowfast_k400_8x8",
        [(0, 52), (7, 58), (14, 65), (20, 72), (27, 78), (34, 85), (40, 92), (47, 98), (54, 105), (60, 112)],
    ),
    # Time 0 is that of the file, not of the first frame.
    "late.mp4": (
        [500 + 100 / 3 * i for i in range(100)], Fraction(1, 15360), "pyslowfast_mvit_16x4",
        [(0, 48), (0, 57), (3, 66), (12, 75), (21, 84)],
    ),
    "variable.mp4": (
        VARIABLE, Fraction(1, 600), "pyslowfast_mvit_16x4", [(0, 13), (3, 27), (5, 41), (7, 55), (10, 69)],
    ),
    # Matroska does not state the duration of a stream, so PySlowFast decodes everything and counts frames.
    "variable.mkv": (
        VARIABLE, Fraction(1, 1000), "pyslowfast_mvit_16x4", [(0, 63), (1, 64), (2, 65), (3, 66), (4, 67)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("file", STAMPED)
def test_pyslowfast_chooses_frames_by_their_timestamps(tmp_path, make_rows, file):
    times, base, name, expected = STAMPED[file]
    rows = make_rows(write_timed(tmp_path / file, times, base=base))
    plan = actrec.eval_loader(rows, actrec.Clip(), INPUT, protocol=PROTOCOLS[name]).plan(0, 0)
    assert list(map(tuple, plan.frames[:, [0, -1]].tolist())) == expected


def test_pyslowfast_sees_a_part_of_a_file_as_a_file(tmp_path, make_rows):
    path = write_timed(tmp_path / "a.mp4", [500 + 100 / 3 * i for i in range(100)], base=Fraction(1, 15360))
    part = make_rows(path)[0]._replace(start=10, stop=90)
    protocol = PROTOCOLS["pyslowfast_mvit_16x4"]
    plan = actrec.eval_loader([part], actrec.Clip(), INPUT, protocol=protocol).plan(0, 0)
    assert np.array_equal(plan.frames, protocol.frames(80, 30))


def test_torchvision_uses_the_average_rate_that_a_file_states(tmp_path, make_rows):
    """A frame was dropped after 60: MP4 files do not count its time."""
    times = [i * 100 / 3 for i in range(61)] + [70 * 100 / 3]
    path = write_timed(tmp_path / "a.mp4", times, base=Fraction(1, 15360))
    protocol = PROTOCOLS["torchvision_r3d_18"]
    loader = actrec.eval_loader(make_rows(path), actrec.Clip(), INPUT, protocol=protocol)
    assert loader.index[0].variable
    assert loader.index[0].rate < 27
    assert np.array_equal(loader.plan(0, 0).frames, protocol.frames(62, 30))
    assert not np.array_equal(protocol.frames(62, 30), protocol.frames(62, loader.index[0].rate))


def test_a_protocol_and_views_contradict_each_other(video):
    with pytest.raises(actrec.config.OptionError, match="views with protocol ibm_k400"):
        actrec.eval_loader(video, actrec.Clip(), INPUT, views=actrec.Views(), protocol=PROTOCOLS["ibm_k400"])
    with pytest.raises(actrec.config.OptionError, match="modality flow with protocol ibm_k400: expected rgb"):
        actrec.eval_loader(video, actrec.Clip(modality="flow"), INPUT.with_channels(10), protocol=PROTOCOLS["ibm_k400"])


def unpacked(text: str, grid: list[int]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(3, *grid) / 1e4


def levels(found: np.ndarray, expected: np.ndarray, std: list[float]) -> np.ndarray:
    return np.abs(found - expected) * np.array(std)[:, None, None] * 255


@pytest.mark.slow
def test_pixels_of_real_videos_equal_the_goldens(shared_spec, shared_videos):
    goldens = json.loads((shared_spec / "golden_protocols.json").read_text())
    indices: dict = {}
    for name, golden in goldens["protocols"].items():
        for video, pixels in golden.get("pixels", {}).items():
            rows = [actrec.Video.of(shared_videos / "peer" / video)]
            index = indices.setdefault(video, actrec.build_index(rows))
            batch, loader = only_batch(rows, PROTOCOLS[name], index=index)
            if pixels.get("skipped"):
                assert loader.left_out
                continue
            (plan,) = batch.plans
            if "video_clips" in golden:
                assert plan.frames.tolist() == golden["video_clips"][video], (name, video)
            clips, middle = batch.clips.numpy(), plan.frames.shape[1] // 2
            for place, view in (("first", 0), ("last", -1)):
                expected = pixels[place]
                grid, found = expected["grid"], clips[view][:, middle]
                points = found[:, 8::16, 8::16][:, : grid[0], : grid[1]]
                apart = levels(points, unpacked(expected["points"], grid), golden["std"])
                assert apart.max() < 1.01, (name, video, place)
                assert apart.mean() < 0.5, (name, video, place)
