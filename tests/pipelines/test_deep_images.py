"""Depth and infrared: samples of more than 8 bits, from image files to clips."""

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.config import ExtractOptions, Input, OptionError
from actrec.data.index import build_index
from actrec.data.video.color import to_8_bits
from actrec.data.video.read import iter_pictures
from actrec.engine.datafolder import load_list
from actrec.pipelines.loader import Loader
from actrec.tools.make.frame_folder import extract_video
from actrec.tools.make.record import describe_differences, plain_settings

INPUT = Input(mean=(0.0,) * 3, std=(1.0,) * 3, frames=4, size=32)
FRAMES, SIDE = 12, 32
LOW, HIGH = 500, 4000


def depth(number):
    """A plane at 500 to 4000 millimeters that moves away."""
    ramp = np.linspace(LOW, HIGH, SIDE, dtype=np.float64) * (1 - number / 50)
    return np.ascontiguousarray(np.broadcast_to(np.round(ramp), (SIDE, SIDE)).astype(np.uint16))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The same pictures as PNG files and as a lossless video."""
    root = tmp_path_factory.mktemp("deep")
    (root / "images").mkdir()
    for i in range(FRAMES):
        assert cv2.imwrite(str(root / "images" / f"{i + 1:05d}.png"), depth(i))
    with av.open(str(root / "a.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "gray16le"
        for i in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(depth(i), format="gray16le")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return [actrec.Video(name, str(root / name), None, None, (0,)) for name in ("images", "a.mkv")]


def clips(rows, image_range, **options):
    clip = actrec.Clip(frames=4, image_range=image_range)
    loader = actrec.eval_loader(rows, clip, INPUT, views=actrec.Views(clips=1, crops=1, crop_ratio=1.0), **options)
    plans = [loader.plan(0, row).frames.ravel() for row in range(len(rows))]
    return torch.cat([batch.clips for batch in loader]), plans


@pytest.mark.parametrize("decoder", ["auto", "dali"])
@pytest.mark.parametrize("image_range", [None, (LOW, HIGH), (0.0, 8000.5)])
def test_clips_of_depth(rows, image_range, decoder):
    found, plans = clips(rows, image_range, decoder=decoder)
    for got, plan, tolerance in zip(found, plans, (0, 0 if image_range else 1)):  # FFmpeg rounds some values down
        expected = np.stack([to_8_bits(depth(i), image_range or (0, 65535)) for i in plan])
        pixels = (got * 255).round().to(torch.uint8).numpy()
        assert pixels.shape == (3, 4, SIDE, SIDE)
        assert np.abs(pixels.astype(int) - expected[None]).max() <= tolerance
    assert found[0].max() > (0.9 if image_range == (LOW, HIGH) else 0.05)
    assert (found[0].max() < 0.07) == (image_range is None)


@pytest.mark.parametrize("image_range", [None, (LOW, HIGH)])
def test_extracted_and_prepared_frames_have_the_same_pixels(rows, tmp_path, image_range):
    path = Path(rows[1].path)
    expected = [to_8_bits(depth(i), image_range or (0, 65535)).astype(int) for i in range(FRAMES)]
    tolerance = 0 if image_range else 1  # FFmpeg rounds some values down
    options = ExtractOptions(template="{:05d}.png", image_range=image_range)
    assert extract_video(path, tmp_path / "frames", options) == FRAMES
    for i, gray in enumerate(expected):
        found = cv2.imread(str(tmp_path / "frames" / options.template.format(i + 1))).astype(int)
        assert np.abs(found - gray[..., None]).max() <= tolerance
    for picture, gray in zip(iter_pictures(path, image_range), expected, strict=True):
        luma = picture.yuv420(SIDE, SIDE)[:SIDE]
        assert np.abs(luma - (16 + gray * 219 / 255)).max() < 2
    assert [picture.time for picture in iter_pictures(path, image_range)] == [i / 25 for i in range(FRAMES)]


def test_settings_of_older_versions_can_be_continued():
    assert "image_range" not in plain_settings(ExtractOptions())
    known, wanted = plain_settings(ExtractOptions()), plain_settings(ExtractOptions(image_range=(1, 2)))
    assert describe_differences(known, wanted) == "image_range was None, now [1.0, 2.0]"
    assert describe_differences(wanted, known) == "image_range was [1.0, 2.0], now None"


def test_samples_outside_of_the_range_are_clipped():
    samples = np.array([[0, 499, 500, 2250, 4000, 65535]], np.uint16)
    assert to_8_bits(samples, (500, 4000)).tolist() == [[0, 0, 0, 128, 255, 255]]


def test_the_range_is_checked(rows):
    with pytest.raises(OptionError, match=r"image_range 4000,500: expected a smaller number before a larger one"):
        actrec.Clip(image_range=(4000, 500))
    index = build_index(rows)
    actrec.eval_loader(rows, actrec.Clip(image_range=(500, 4000)), INPUT, index=index)
    with pytest.raises(ValueError, match="with an index that is read with"):
        actrec.eval_loader(rows, actrec.Clip(), INPUT, index=index)
    assert isinstance(actrec.eval_loader(rows, actrec.Clip(), INPUT), Loader)


def test_files_of_8_bits_do_not_change(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(4):
        cv2.imwrite(str(tmp_path / "a" / f"{i + 1}.png"), np.full((SIDE, SIDE), 77, np.uint8))
    row = [actrec.Video("a", str(tmp_path / "a"), None, None, (0,))]
    assert torch.equal(clips(row, (500, 4000))[0], clips(row, None)[0])


def test_the_index_counts_them(rows):
    index = build_index(rows)
    assert [index[i].bits for i in range(2)] == [16, 16]
    assert index.num_deep == 2


@pytest.mark.parametrize(
    ("image_range", "said"),
    [
        (None, "2 videos with more than 8 bits per value: the full range"),
        ((5.0, 9.5), "2 videos with more than 8 bits per value: 5 to 9.5 is scaled"),
    ],
)
def test_a_list_of_them_is_named_once(rows, tmp_path, image_range, said):
    path, messages = tmp_path / "list.txt", []
    path.write_text("".join(f"{row.path} 0\n" for row in rows))
    settings = {"workers": 1, "modality": "rgb", "watch": contextlib.nullcontext, "log": messages.append}
    load_list(path, **settings, image_range=image_range)
    assert len(messages) == 1
    assert messages[0].startswith(f"{path}: {said}")


def test_a_range_without_effect_is_named(dataset):
    messages = []
    settings = {"workers": 1, "modality": "rgb", "watch": contextlib.nullcontext, "log": messages.append}
    load_list(dataset / "train.txt", **settings)
    assert messages == []
    load_list(dataset / "train.txt", **settings, image_range=(1, 2))
    assert messages == [
        f"{dataset / 'train.txt'}: --image-range has no effect: no image and no gray video has more than 8 bits"
    ]
