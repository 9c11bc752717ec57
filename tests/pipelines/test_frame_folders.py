"""Every image carries its place in its folder: these places reach the net, whatever the images are called."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

import actrec
from actrec.config import Input, Windows
from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.pipelines.sweep import Sweep

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=6, size=96)
WHOLE = actrec.Augment(geometry="center", flip=False)
SUFFIXES = itertools.cycle((".jpg", ".JPG", ".jpeg"))
LAYOUTS = {
    "natural": [f"frame{n}.jpg" for n in range(12)],
    "every fifth": [f"{n:06d}.jpg" for n in range(0, 60, 5)],
    "gaps": [f"img_{n:05d}.jpg" for n in (1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 14, 15)],
    "no padding, with gaps": [f"{n}.jpg" for n in (8, 9, 10, 11, 98, 99, 100, 101, 998, 999, 1000, 1001)],
    "nanoseconds": [f"{1403636579763555584 + 49_999_872 * i + i % 3 * 511}.jpg" for i in range(12)],
    "seconds": [f"{i * 0.3:g}.jpg" for i in range(12)],
    "suffixes": [f"{n:05d}{suffix}" for n, suffix in zip(range(1, 13), SUFFIXES)],
    "png among jpg": [f"{n:05d}.{'png' if n % 3 else 'jpg'}" for n in range(1, 13)],
    "dates": [f"2023-12-31 23.59.{55 + n}.jpg" for n in range(5)] + [f"2024-01-01 00.00.0{n}.jpg" for n in range(7)],
}
CLUTTER = ["cover.jpg", "Thumbs.db", "._00001.jpg", "u_00001.jpg", "v_00001.jpg", "00001_x.jpg", "00001_y.jpg"]


def write(path: Path, names: list[str], numbers) -> Video:
    path.mkdir()
    for place, name in reversed(list(enumerate(names))):
        cv2.imwrite(str(path / name), numbers.picture(place))
    for name in CLUTTER:
        (path / name).write_bytes(b"no image")
    return Video(path.name, str(path), None, None, (0,))


@pytest.fixture(scope="module")
def videos(tmp_path_factory, numbers):
    root = tmp_path_factory.mktemp("layouts")
    return [write(root / name, names, numbers) for name, names in LAYOUTS.items()]


@pytest.mark.parametrize("decoder", ["workers", "dali"])
def test_training_gets_the_planned_images(videos, numbers, loaded, decoder):
    check_training(videos, numbers, loaded, decoder, "cpu")


@pytest.mark.gpu
def test_training_on_a_gpu_gets_the_planned_images(videos, numbers, loaded):
    check_training(videos, numbers, loaded, "auto", "cuda")


def check_training(videos, numbers, loaded, decoder, device):
    # Whole folders, and every second half of one: rows name images by numbers where these are small enough
    halves = []
    for video, media in zip(videos, build_index(videos)):
        start, stop = media.bounds(6, 12)
        halves.append(video._replace(id=f"{video.id}, half", start=start, stop=stop))
    rows = [*videos, *halves]
    loader = actrec.train_loader(
        rows, actrec.Clip(frames=6), INPUT, augment=WHOLE, batch_size=len(rows), decoder=decoder, device=device
    )
    for epoch in range(2):
        clips = loaded(loader)
        assert not loader.skipped
        for row, video in enumerate(rows):
            plan, first = loader.plan(epoch, row), 0 if row < len(videos) else 6
            shown = numbers.read(clips[video.id][0])[0]
            assert shown.tolist() == (plan.frames + first).tolist(), video.id
            assert loader.index[row].frames == 12 - first


@pytest.mark.parametrize("decoder", ["workers", "dali"])
def test_evaluation_gets_all_images_in_order(videos, numbers, decoder):
    views = actrec.Views(clips=1, crops=1, crop_ratio=1)
    loader = actrec.eval_loader(videos, actrec.Clip(frames=12), INPUT, views=views, batch_size=3, decoder=decoder)
    for batch in loader:
        assert numbers.read(batch.clips).tolist() == [list(range(12))] * len(batch)
    assert not loader.skipped


@pytest.mark.parametrize("name", LAYOUTS)
def test_windows_get_the_images_of_their_times(videos, numbers, name):
    """A missing image takes its time: the windows around it have fewer frames."""
    (video,) = (video for video in videos if video.id == name)
    Path(video.path, "fps").write_text("10")
    sweep = Sweep(video, Windows(window=0.4, every=0.4), actrec.Clip(frames=4), INPUT)
    media, seen = build_index([video])[0], []
    steps = media.times.at(np.arange(13))
    for batch in sweep:
        for shown, (begin, end) in zip(numbers.read(batch.clips).tolist(), sweep.ranges[len(seen) :]):
            assert set(shown) <= set(range(begin, end))
            # The image before a gap is shown until the next one.
            assert end - begin == 1 or steps[end - 1] - steps[begin + 1] < 0.4 + 1e-6
            seen += [end]
    assert seen[-1] == media.frames
    assert not sweep.skipped
    gaps = {"gaps": 15, "no padding, with gaps": 994}
    assert steps[-1] == pytest.approx(gaps.get(name, 12) / 10)


def test_a_template_of_one_sequence(tmp_path, numbers):
    path = tmp_path / "a"
    path.mkdir()
    for i in range(8):
        cv2.imwrite(str(path / f"img_{2 * i + i // 4:03d}.jpg"), numbers.picture(i))
        cv2.imwrite(str(path / f"mask_{i:03d}.png"), numbers.picture(100 + i))
    video = Video("a", str(path), None, None, (0,))
    views = actrec.Views(clips=1, crops=1, crop_ratio=1)
    for template, first in (("img_{:03d}.jpg", 0), ("mask_{}.png", 100)):
        loader = actrec.eval_loader([video], actrec.Clip(frames=8, template=template), INPUT, views=views, batch_size=1)
        assert [numbers.read(batch.clips)[0].tolist() for batch in loader] == [list(range(first, first + 8))]
    with pytest.raises(ValueError, match="choose one, such as --template 'img_"):
        actrec.eval_loader([video], actrec.Clip(frames=8), INPUT, views=views, batch_size=1)
    index = build_index([video], template="mask_{}.png")
    with pytest.raises(ValueError, match="template None with an index that was built with 'mask_{}.png'"):
        actrec.eval_loader([video], actrec.Clip(frames=8), INPUT, views=views, batch_size=1, index=index)


def test_a_folder_that_loses_an_image_is_skipped_from_then_on(tmp_path, numbers, monkeypatch):
    from actrec.data.index import folders
    from actrec.data.recent import Recent

    video = write(tmp_path / "a", LAYOUTS["gaps"], numbers)
    other = write(tmp_path / "b", LAYOUTS["natural"], numbers)
    loader = actrec.train_loader([video, other], actrec.Clip(frames=6), INPUT, augment=WHOLE, batch_size=2)
    assert [len(batch) for batch in loader] == [2]
    (tmp_path / "a" / "img_00005.jpg").unlink()
    monkeypatch.setattr(folders, "_recent", Recent(1))
    (batch,) = loader
    assert batch.videos == ["b"]
    assert "images were added or removed" in loader.skipped["a"]
