from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from actrec.data.lists import Video
from actrec.data.video.encode import VideoWriter

SIDE, CELL = 96, 32  # pixels; nine bits in a 3 x 3 grid
FRAMES = 40


def numbered(number: int) -> np.ndarray:
    """A square RGB picture that shows a number below 512 as black and white cells."""
    bits = [(number >> bit & 1) * 255 for bit in range(9)]
    return np.kron(np.array(bits, np.uint8).reshape(3, 3), np.ones((CELL, CELL), np.uint8))[..., None].repeat(3, 2)


class Numbered:
    """Writes and reads numbered media."""

    formats = {
        "h264.mp4": {"gop": 12},
        "h264_b.mp4": {"gop": 12, "bframes": 3},
        "vp9.webm": {"codec": "libvpx-vp9", "gop": 12, "options": {"deadline": "realtime", "cpu-used": "8"}},
        "mpeg4.avi": {"codec": "mpeg4", "gop": 12, "bframes": 2},
        "mjpeg.avi": {"codec": "mjpeg", "full_range": True},
    }
    frames = FRAMES
    picture = staticmethod(numbered)

    @staticmethod
    def video(path: Path, frames: int = FRAMES, first: int = 0) -> Path:
        options = Numbered.formats.get(path.name.split("-")[-1], {"gop": 12})
        with VideoWriter(path, width=SIDE, height=SIDE, rate=25, **options) as writer:
            for i in range(frames):
                writer.write(numbered(first + i))
        return path

    @staticmethod
    def folder(path: Path, frames: int = FRAMES, first: int = 0, template: str = "{:05d}.jpg") -> Path:
        path.mkdir()
        for i in range(frames):
            cv2.imwrite(str(path / template.format(i + 1)), numbered(first + i))
        return path

    @staticmethod
    def read(clips_NCTHW) -> np.ndarray:
        """The numbers that clips show, (N, T); the clips are whole pictures, normalized to [-1, 1]."""
        values = clips_NCTHW.float().cpu().numpy()[:, 1]  # green, (N, T, H, W)
        step = values.shape[-1] // 3
        cells = values[:, :, step // 2 :: step, step // 2 :: step][:, :, :3, :3]
        return ((cells > 0).reshape(*cells.shape[:2], 9) << np.arange(9)).sum(-1)


def rows(*paths: Path, labels=None) -> list[Video]:
    labels = labels if labels is not None else range(len(paths))
    return [Video(path.name, str(path), None, None, (label,)) for path, label in zip(paths, labels)]


@pytest.fixture(scope="session")
def media_rows(tmp_path_factory) -> list[Video]:
    """One numbered video of each format and a frame folder."""
    root = tmp_path_factory.mktemp("numbered")
    paths = [Numbered.video(root / name) for name in Numbered.formats]
    return rows(*paths, Numbered.folder(root / "folder"))


@pytest.fixture(scope="session")
def numbers() -> type[Numbered]:
    return Numbered


@pytest.fixture(scope="session")
def make_rows():
    return rows


def clips_and_labels(loader) -> dict:
    """The clips and the label of each video of an epoch, by the video's id."""
    found = {}
    for batch in loader:
        for i, id_ in enumerate(batch.videos):
            found[id_] = (batch.clips[i * batch.views : (i + 1) * batch.views], int(batch.labels[i]))
    return found


@pytest.fixture(scope="session")
def loaded():
    return clips_and_labels
