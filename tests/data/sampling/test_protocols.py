"""Protocols choose the frames and crops of the programs that published the numbers.

`protocols.json` has facts about the goldens of these programs: for each protocol digests of the frames of 30 videos and
of the crops of 10 pictures; of three videos the number of clips and the outer frames of the first and last clip; and
one picture's geometry.
"""

from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import actrec
from actrec.data.sampling.protocols import PROTOCOLS, frames
from actrec.data.times import Stamps

FACTS = json.loads(Path(__file__).with_name("protocols.json").read_text(encoding="utf-8"))
# In the goldens these rates are written as decimals.
RATES = {"23.976": "24000/1001", "29.97": "30000/1001", "59.94": "60000/1001", "28.05": "2160/77"}
SHOWN = ([31, "30"], [250, "25"], [450, "59.94"])


def middles_of_segments(num_frames: int, count: int) -> list[list[int]]:
    """`SSv2._sample_clip_frames` of PyTorchVideo: segments from 0 to the last frame, with rounded borders."""
    borders = [int(np.round(float(num_frames - 1) / count * i)) for i in range(count + 1)]
    return [[(start + end) // 2 for start, end in zip(borders, borders[1:])]]


def dense(num_frames: int, segments: int, clip: int, step: int) -> list[list[int]]:
    """`DenseSampleFrames` of mmaction2: 10 starts, from each of them segments of 64 frames, and a clip per segment."""
    last = max(1, 1 + num_frames - 64) - 1
    offsets = [[(last * i // 9 + 64 // segments * j) % num_frames for j in range(segments)] for i in range(10)]
    return [[(offset + step * i) % num_frames for offset in row for i in range(clip)] for row in offsets]


def centers(num_frames: int, count: int) -> list[int]:
    """The frames of `TSNDataSet` of TSM."""
    tick = num_frames / float(count)
    return [int(tick / 2.0 + tick * i) for i in range(count)]


def starts(num_frames: int, count: int) -> list[int]:
    """The frames that `twice_sample` of TSM adds."""
    return [int(num_frames / float(count) * i) for i in range(count)]


def pytorchvideo_crops(width: int, height: int, size: int) -> tuple[tuple[int, int], list]:
    """`ShortSideScale` and `UniformCropVideo`."""
    w = size if width < height else math.floor(float(width) / height * size)
    h = size if width >= height else math.floor(float(height) / width * size)
    x, y = math.ceil((w - size) / 2), math.ceil((h - size) / 2)
    return (w, h), [(x, 0), (x, y), (x, h - size)] if h > w else [(0, y), (x, y), (w - size, y)]


def mmaction2_size(width: int, height: int) -> tuple[int, int]:
    """`mmcv.rescale_size` with the scale (-1, 256)."""
    scale = 256 / min(width, height)
    return int(width * scale + 0.5), int(height * scale + 0.5)


def mmaction2_center(width: int, height: int, size: int) -> tuple[tuple[int, int], list]:
    """`Resize` and `CenterCrop`."""
    w, h = mmaction2_size(width, height)
    return (w, h), [((w - size) // 2, (h - size) // 2)]


def mmaction2_three(width: int, height: int, size: int) -> tuple[tuple[int, int], list]:
    """`Resize` and `ThreeCrop`."""
    w, h = mmaction2_size(width, height)
    step = ((w if h == size else h) - size) // 2
    return (w, h), [(at, 0) if h == size else (0, at) for at in (0, 2 * step, step)]


def short_side(width: int, height: int, short: int) -> tuple[int, int]:
    """torchvision's `Resize`, and `get_resize_sizes` of V-JEPA."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def tsm_center(width: int, height: int, size: int) -> tuple[tuple[int, int], list]:
    """`GroupScale(256)` and `GroupCenterCrop`: torchvision's `CenterCrop`."""
    w, h = short_side(width, height, 256)
    return (w, h), [(int(round((w - size) / 2.0)), int(round((h - size) / 2.0)))]


def tsm_full(width: int, height: int, size: int) -> tuple[tuple[int, int], list]:
    """`GroupScale(256)` and `GroupFullResSample`."""
    w, h = short_side(width, height, 256)
    x, y = (w - size) // 4, (h - size) // 4
    return (w, h), [(0, 2 * y), (4 * x, 2 * y), (2 * x, 2 * y)]


def vjepa_clips(num_frames: int, clips: int) -> list[list[int]]:
    """`VideoDataset.loadvideo_decord` of V-JEPA with clips of 16 frames and a stride of 4, without random starts."""
    part, found = num_frames // clips, []
    for i in range(clips):
        if part > 64:
            clip = np.clip(np.linspace(0, 64, num=16), 0, 63).astype(np.int64) + i * part
        else:
            last = min(64, num_frames) - 1
            clip = np.concatenate((np.linspace(0, last, num=last // 4), np.ones(16 - last // 4) * last))
            step = (num_frames - 64) // (clips - 1) if num_frames > 64 else 0
            clip = np.clip(clip, 0, last - 1).astype(np.int64) + i * step
        found.append([index % num_frames for index in clip.tolist()])  # -1 if the video has one frame
    return found


def vjepa_crops(width: int, height: int, size: int) -> tuple[tuple[int, int], list]:
    """`EvalVideoTransform`."""
    w, h = short_side(width, height, size)
    step = (max(w, h) - size) // 2
    return (w, h), [(0, i * step) if h > w else (i * step, 0) for i in range(3)]


# name: frames of a video, and of a picture the size after the resize and the crops, computed from the sources; size of
# a crop; what is averaged
WITHOUT_GOLDENS = {
    "pyslowfast_ssv2_slow_8": (lambda m: middles_of_segments(m, 8), pytorchvideo_crops, 256, "sum of probabilities"),
    "pyslowfast_ssv2_slowfast_32": (
        lambda m: middles_of_segments(m, 32), pytorchvideo_crops, 256, "sum of probabilities",
    ),
    "mmaction2_tsn_k400_dense": (lambda m: dense(m, 25, 1, 1), mmaction2_center, 224, "logits"),
    "mmaction2_32x2x10_dense": (lambda m: dense(m, 1, 32, 2), mmaction2_three, 256, "probabilities"),
    "tsm_ssv1_8_uniform_1crop": (lambda m: [centers(m, 8)], tsm_center, 224, "logits"),
    "tsm_ssv1_16_uniform_1crop": (lambda m: [centers(m, 16)], tsm_center, 224, "logits"),
    "tsm_ssv1_8_2x3_256": (lambda m: [centers(m, 8), starts(m, 8)], tsm_full, 256, "logits"),
    "tsm_ssv1_16_2x3_256": (lambda m: [centers(m, 16), starts(m, 16)], tsm_full, 256, "logits"),
    "vjepa_224_k400": (lambda m: vjepa_clips(m, 8), vjepa_crops, 224, "probabilities"),
    "vjepa_224_ssv2": (lambda m: vjepa_clips(m, 2), vjepa_crops, 224, "probabilities"),
    "vjepa_384_k400": (lambda m: vjepa_clips(m, 8), vjepa_crops, 384, "probabilities"),
    "vjepa_384_ssv2": (lambda m: vjepa_clips(m, 2), vjepa_crops, 384, "probabilities"),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_GOLDENS)
def test_frames_and_crops_are_those_of_the_sources(name):
    frames_of, crops_of, size, reduction = WITHOUT_GOLDENS[name]
    row = PROTOCOLS[name]
    assert row.reduction == reduction
    for num_frames in (*range(1, 700), 1001, 1800, 4567, 100_003):
        expected = frames_of(num_frames)
        for fps in (None, 12, Fraction(30000, 1001)):  # the rate does not matter
            assert row.frames(num_frames, fps).tolist() == expected, num_frames
    for short in (99, 100, 176, 224, 240, 255, 256, 257, 320, 480, 720, 1080):
        for long in range(short, 2 * short + 1, 7):
            for width, height in ((short, long), (long, short)):
                resized, crops = crops_of(width, height, size)
                plain = [(x, y, False) for x, y in crops]
                assert row.geometry(width, height) == (resized, (size, size), plain), (width, height)


def rate(text: str) -> Fraction:
    return Fraction(RATES.get(text, text))


def clips_of(name: str, num_frames: int, fps: str) -> list[list[int]]:
    found = actrec.protocol(name).frames(num_frames, rate(fps))
    return [] if found is None else found.tolist()


def geometry_of(name: str, width: int, height: int) -> list:
    resized, crop, crops = actrec.protocol(name).geometry(width, height)
    return [list(resized), list(crop), [[x, y, int(flip)] for x, y, flip in crops]]


def digest(rows: list) -> str:
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def goldens(shared_spec: Path) -> dict:
    return json.loads((shared_spec / "golden_protocols.json").read_text())


def test_the_facts_are_of_all_protocols():
    # These differ from others only in the numbers of frames and their distance, or in the dataset.
    others = {"pyslowfast_k400_16x4", "pyslowfast_k400_64x2", "pyslowfast_k600_mvit_32x3", "videoswin_k600"}
    assert set(PROTOCOLS) == {*FACTS["protocols"], *others, *WITHOUT_GOLDENS}


@pytest.mark.parametrize("name", FACTS["protocols"])
def test_frames(name):
    fact = FACTS["protocols"][name]
    shown = [clips_of(name, *video) for video in SHOWN]
    ends = [
        [len(clips), *(([c[:2] + c[-2:] for c in (clips[0], clips[-1])]) if clips else ([], []))] for clips in shown
    ]
    assert ends == fact["clips"]
    assert digest([clips_of(name, *video) for video in FACTS["videos"]]) == fact["frames"]


@pytest.mark.parametrize("name", FACTS["protocols"])
def test_crops(name):
    fact = FACTS["protocols"][name]
    assert geometry_of(name, *FACTS["pictures"][2]) == fact["picture"]
    assert digest([geometry_of(name, *picture) for picture in FACTS["pictures"]]) == fact["crops"]


def test_frames_equal_the_goldens(goldens):
    wrong = [
        (name, num_frames, fps)
        for name, golden in goldens["protocols"].items()
        for num_frames, fps, clips, *_ in goldens["temporal"][golden["temporal"]]
        if clips_of(name, num_frames, fps) != clips
    ]
    assert not wrong


def test_crops_and_normalization_equal_the_goldens(goldens):
    wrong = [
        (name, width, height)
        for name, golden in goldens["protocols"].items()
        for width, height, *geometry in goldens["spatial"][golden["spatial"]]
        if geometry_of(name, width, height) != geometry[:3]
    ]
    assert not wrong
    for name, golden in goldens["protocols"].items():
        assert [list(PROTOCOLS[name].mean), list(PROTOCOLS[name].std)] == [golden["mean"], golden["std"]], name


@pytest.mark.parametrize(
    ("name", "reduced"),
    [
        ("ibm_k400", "mmaction2_score"),
        ("mmaction2_tsn_k400", "mmaction2_score"),
        ("mmaction2_32x2x10", "mmaction2_prob"),
        ("videomae_k400", "mmaction2_prob"),
        ("pyslowfast_k400_32x2", "pyslowfast_sum"),
    ],
)
def test_reductions(name, reduced):
    reductions = FACTS["reductions"]
    result = actrec.protocol(name).reduce(reductions["logits"])
    np.testing.assert_allclose(result, reductions[reduced], atol=1e-6)
    several = actrec.protocol(name).reduce(np.stack([reductions["logits"]] * 2))
    np.testing.assert_allclose(several, [result, result])


def test_reduction_of_large_logits_and_of_a_single_view():
    result = actrec.protocol("videomae_k400").reduce([[1000.0, 0.0]])
    assert result.tolist() == [1.0, 0.0]


def test_a_rate_may_be_any_number():
    r3d = actrec.protocol("torchvision_r3d_18")
    for fps in (30, 30.0, Fraction(30), np.float32(30), np.int64(30)):
        assert np.array_equal(r3d.frames(300, fps), r3d.frames(300, fps=30))
    assert r3d.frames(450, Fraction(60000, 1001)).shape == (5, 16)


def test_pyslowfast_compares_timestamps_in_the_order_of_the_frames():
    """Those that FFmpeg invents for the B-frames of an AVI of UCF101. The frames are those of its golden."""
    ticks = [1, *(3 * i + k for i in range(54) for k in (2, 4, 3)), 164]
    stamps = Stamps(np.array(ticks, np.float64), Fraction(1, 25), duration=164, rate=25)
    found = PROTOCOLS["pyslowfast_k400_8x8"].frames(164, 25, stamps)[:4]
    assert found.tolist() == [
        [0, 7, 14, 22, 29, 37, 44, 51],
        [10, 17, 24, 32, 39, 47, 54, 61],  # frame 62 has tick 64, which ends the clip before frame 63 with tick 63
        [20, 28, 35, 43, 50, 58, 65, 73],  # frame 20 has tick 22, and frame 21 has tick 21, which is too early
        [32, 39, 46, 54, 61, 69, 76, 84],
    ]


def test_timestamps_of_a_part():
    stamps = Stamps(np.array([5.0, 6.0, 8.0, 9.0]), Fraction(1, 25), duration=4, rate=25)
    assert stamps.part(0, 4) is stamps
    assert stamps.part(1, 3).ticks.tolist() == [0, 2]
    assert stamps.part(1, 3).duration == 3
    assert (stamps.part(6, 9).ticks.tolist(), stamps.part(6, 9).duration) == ([], 0)  # a file may end early


def test_dropped_videos():
    r3d = actrec.protocol("torchvision_r3d_18")
    assert r3d.frames(30, 30) is None  # 15 frames at 15 per second
    assert r3d.frames(31, 30).shape == (5, 16)
    assert actrec.protocol("ibm_k400").frames(1).tolist() == [[0] * 32] * 10


@pytest.mark.parametrize("fps", [None, 0, -1, float("nan"), float("inf")])
def test_an_unknown_rate(fps):
    with pytest.raises(ValueError, match=r"^fps .*: protocol pyslowfast_x3d_s needs the number of frames per second$"):
        actrec.protocol("pyslowfast_x3d_s").frames(100, fps)
    assert actrec.protocol("mmaction2_8x8x10").frames(100, fps).shape == (10, 8)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_frames_and_crops_are_inside_the_video(name):
    row = PROTOCOLS[name]
    for num_frames in (1, 2, 3, 15, 16, 17, 64, 65, 4567, 200_000):
        for fps in (Fraction(1, 2), 1, 12, Fraction(24000, 1001), 30, 1000):
            found = row.frames(num_frames, fps)
            if found is not None:
                assert found.dtype == np.int64
                assert found.shape[1] == row.clip_frames
                assert row.clips in (None, len(found))
                assert 0 <= found.min() <= found.max() < num_frames
    for width, height in ((1, 1), (1, 7), (7, 1), (99, 100), (100, 100), (224, 224), (3840, 2160), (5, 3000)):
        (resized_w, resized_h), (crop_w, crop_h), crops = row.geometry(width, height)
        assert len(crops) == row.crops
        for x, y, _ in crops:
            assert 0 <= x <= resized_w - crop_w
            assert 0 <= y <= resized_h - crop_h


def test_wrong_arguments():
    with pytest.raises(ValueError, match="^protocol ibm_k40 is not known: did you mean ibm_k400"):
        actrec.protocol("ibm_k40")
    with pytest.raises(ValueError, match="^name 3: expected a text"):
        actrec.protocol(3)
    with pytest.raises(ValueError, match="^num_frames 0: expected at least 1$"):
        actrec.protocol("ibm_k400").frames(0)
    with pytest.raises(ValueError, match="^size 0x100: expected at least 1x1$"):
        actrec.protocol("ibm_k400").geometry(0, 100)


def test_linspace_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for _ in range(200):
        start, steps = float(rng.random() * rng.choice([0, 1, 3000])), int(rng.integers(1, 65))
        end = start + float(rng.random() * 200)
        assert np.abs(frames._linspace32(start, end, steps) - torch.linspace(start, end, steps).numpy()).max() < 1e-3


def test_arguments_that_are_not_those_of_a_video():
    r3d = PROTOCOLS["torchvision_r3d_18"]
    frames = r3d.frames(300, 24)
    for rate in (24.0, np.float32(24), np.int64(24), Fraction(24)):
        assert np.array_equal(r3d.frames(np.int64(300), rate), frames)
    for number in (2.5, "3", True):
        with pytest.raises(ValueError, match="num_frames .*: expected a whole number"):
            r3d.frames(number, 30)
    with pytest.raises(ValueError, match="width 1.5: expected a whole number"):
        r3d.geometry(1.5, 3)


def test_logits_of_all_kinds_are_reduced():
    """Also tensors that numpy does not read."""
    rule = PROTOCOLS["torchvision_r3d_18"]
    logits = np.random.default_rng(0).integers(-3, 4, (2, 5, 7))
    expected = rule.reduce(logits)
    assert expected.shape == (2, 7)
    tensor = torch.from_numpy(logits).bfloat16().requires_grad_()
    for same in (logits.astype(np.float16), logits.tolist(), tensor):
        assert np.array_equal(rule.reduce(same), expected)
    for shape in ((7,), (), (0, 7)):
        with pytest.raises(ValueError, match=r"logits of shape .*: expected \(..., views, classes\)"):
            rule.reduce(np.zeros(shape))
