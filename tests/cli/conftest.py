from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import actrec


def write_folder(path: Path, frames: int, rng: np.random.Generator, bright: bool) -> Path:
    """A frame folder of noise, bright or dark: two classes that any net learns."""
    path.mkdir(parents=True)
    for i in range(frames):
        picture = rng.integers(150, 255, (24, 32, 3)) if bright else rng.integers(0, 100, (24, 32, 3))
        cv2.imwrite(str(path / f"{i + 1:05d}.jpg"), picture.astype(np.uint8))
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """A dataset folder with train.txt (12 videos), val.txt (4) and labels.txt."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    for split, number in (("train", 12), ("val", 4)):
        lines = []
        for i in range(number):
            folder = write_folder(root / f"frames/{split}{i}", 9, rng, bright=i % 2 == 1)
            lines.append(f"{folder.relative_to(root)} 1 9 {i % 2}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    (root / "labels.txt").write_text("dark\nbright\n")
    return root


@pytest.fixture
def videos(dataset) -> list[actrec.Video]:
    return actrec.read_list(dataset / "train.txt")
