"""Heat maps in pictures and videos are where and when the maps are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numbered_videos import write

from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.read import iter_frames
from actrec.inference.drawing import heated
from actrec.inference.explain import Explanation
from actrec.inference.heatmap import _Track, sheet, write_film


@pytest.fixture(scope="module")
def explanation(tmp_path_factory) -> Explanation:
    """A dark video of 30 frames. The evidence is in the upper right quarter of the box, in frame 20."""
    path = write(tmp_path_factory.mktemp("dark") / "dark.mp4", [np.full((120, 200, 3), 16, np.uint8)] * 30)
    maps = np.zeros((1, 3, 32, 32), np.float32)
    maps[0, 1, :16, 16:] = 1
    return Explanation(
        video="a/long/name/of/a/dark.mp4",
        label=1,
        name="Grüße & <jump>",
        probability=0.5,
        layer="features",
        shape=(3, 2, 2),
        maps=maps,
        frames=np.array([[10, 20, 22]]),
        pixels=np.full((1, 3, 32, 32, 3), 16, np.uint8),
        box=(100.0, 0.0, 100.0, 100.0),
        media=build_index([Video("dark", str(path), None, None, ())])[0],
    )


def test_nothing_changes_without_evidence():
    rgb = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    heat = np.zeros((8, 8), np.float32)
    assert np.array_equal(heated(rgb, heat), rgb)
    heat[2, 3] = 1
    assert np.argwhere((heated(rgb, heat) != rgb).any(2)).tolist() == [[2, 3]]


def test_the_heat_of_a_sheet_is_under_its_frame(explanation):
    page = np.asarray(sheet(explanation)).astype(int)[84:]  # below the scale of colors
    assert 640 <= page.shape[1] <= 2000
    red = (page[..., 0] - page[..., 2] > 60) & (page[..., 0] > 100)
    columns = np.flatnonzero(red.any(0))
    second = 8 + 248  # the left border of the second frame
    assert second <= columns.min()
    assert columns.max() < second + 240
    heat = np.flatnonzero(red[:, second : second + 100].any(1))  # only the bar is as wide as the frame
    assert len(heat) == 48
    many = replace(explanation, frames=np.arange(300).reshape(3, 100), maps=np.zeros((3, 100, 32, 32), np.float32),
                   pixels=np.zeros((3, 100, 32, 32, 3), np.uint8))  # fmt: skip
    assert sheet(many).width <= 2000


def test_a_film_shows_the_whole_video(explanation, tmp_path):
    done = []
    write_film(tmp_path / "f.mp4", explanation, progress=done.append)
    frames = np.stack([rgb for rgb, _ in iter_frames(tmp_path / "f.mp4")]).astype(int)
    assert (len(frames), sum(done)) == (30, 30)
    # 667x400 pixels, 8 from the left and 84 from the top; the box is its right half
    inside = frames[:, 84 + 60 : 84 + 130, 8 + 540 : 8 + 640].mean((1, 2))
    warm = inside.mean(1) - inside[0].mean()  # the colors become brighter with the evidence
    assert warm[20] > 60
    assert warm[20] == warm.max()
    assert warm[20] > warm[18] > 10 > abs(warm[:11]).max()
    assert abs(warm[22:]).max() < 10
    outside = frames[:, 84 + 60 : 84 + 130, 8 + 20 : 8 + 300].mean((1, 2))
    assert np.ptp(outside) < 10


def test_bars_are_left_out_for_one_time_step(explanation):
    one = replace(explanation, shape=(1, 2, 2))
    assert sheet(explanation).height - sheet(one).height == 48 + 20 + 8
    assert not _shows_bars(one)


def _shows_bars(explanation: Explanation) -> bool:
    """Whether the color of the bars is on the sheet."""
    return bool((np.asarray(sheet(explanation)) == (214, 76, 34)).all(2).any())


def test_a_film_without_evidence_is_refused(explanation, tmp_path):
    with pytest.raises(ValueError, match="no evidence for Grüße & <jump>"):
        write_film(tmp_path / "f.mp4", replace(explanation, maps=np.zeros_like(explanation.maps)))
    assert not any(tmp_path.iterdir())


def test_frames_between_those_of_a_clip(explanation):
    track = _Track(explanation)
    assert [round(track.evidence(frame), 3) for frame in (0, 10, 15, 20, 21, 22, 29)] == [0, 0, 0.5, 1, 0.5, 0, 0]
    two = replace(
        explanation,
        frames=np.array([[0, 10], [5, 20]]),
        maps=np.array([[0.0, 1], [1, 1]], np.float32)[..., None, None] * np.ones((32, 32), np.float32),
    )
    track = _Track(two)
    assert [track.evidence(frame) for frame in (0, 2, 10, 15, 25)] == pytest.approx([0, 0.2, 1, 1, 1])
    assert track.evidence(5) == pytest.approx(0.75)
    assert track.heat(5).shape == (32, 32)


def test_a_folder_that_cannot_be_written(explanation):
    with pytest.raises(OSError, match="nowhere"):
        write_film(Path("nowhere/f.mp4"), explanation)
