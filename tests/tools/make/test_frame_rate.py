"""Conversion to a constant frame rate."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from frame_extraction import make_video

from actrec.config import ExtractOptions
from actrec.data.video.container import MediaError
from actrec.tools.make.extract_frames import extract_video
from actrec.tools.make.frame_rate import resampled


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("one") / "video.mp4")


def shown(folder):
    return [round((cv2.imread(str(file)).mean() - 20) / 10) for file in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("fps", "wanted"),
    [(10, [0, 1, 2, 3, 4]), (5, [0, 2, 4]), (20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), (4, [0, 2]), (0.1, [0])],
)
def test_fps(one_video, tmp_path, fps, wanted):
    assert extract_video(one_video, tmp_path / "out", ExtractOptions(fps=fps)) == len(wanted)
    assert shown(tmp_path / "out") == wanted


class FakePicture:
    def __init__(self, time, seconds=0.1):
        self.time, self.seconds = time, seconds


@pytest.mark.parametrize(
    ("times", "fps", "wanted"),
    [
        ([0, 0.1, 0.5, 0.6], 10, [1, 4, 1, 1]),  # the second picture stays for 0.4 s
        ([7, 7.1, 7.5, 7.6], 5, [1, 2, 0, 1]),  # time begins with the first picture
        ([None, None, None], 10, [1, 1, 1]),  # average rate
        ([0, None, 0.1, 0.3], 10, [1, 0, 2, 1]),
        ([0.3, 0.1, 0.2, 0.4], 10, [0, 0, 1, 1]),  # time never runs backwards
    ],
)
def test_fps_follows_timestamps(times, fps, wanted):
    pictures = [FakePicture(time) for time in times]
    copies = dict.fromkeys(pictures, 0) | dict(resampled(pictures, path=Path("a.mp4"), fps=fps))
    assert list(copies.values()) == wanted


def test_fps_refuses_wild_timestamps():
    with pytest.raises(MediaError, match="jumps by 9000 s"):
        list(resampled([FakePicture(0.0), FakePicture(9000.0)], path=Path("a.mp4"), fps=10))
    with pytest.raises(MediaError, match="neither timestamps nor a frame rate"):
        list(resampled([FakePicture(None, 0.0)], path=Path("a.mp4"), fps=10))
