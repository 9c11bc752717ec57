from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch: as the command line does

from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import actrec  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """The real videos that lie beside the clone: skipped without them, except in CI, which promises them."""
    return _shared("videos")


@pytest.fixture(scope="session")
def shared_spec() -> Path:
    """The reference's golden data, beside the clone."""
    return _shared("spec")


def _shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        message = f"no ../shared/{name} beside the clone"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED / name


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if torch.cuda.is_available():
        return
    if os.environ.get("ACTREC_EXPECT_GPU") == "1":
        pytest.fail("ACTREC_EXPECT_GPU=1, but torch finds no GPU")
    pytest.skip("needs an NVIDIA GPU")


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
