from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch: as the command line does

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

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
