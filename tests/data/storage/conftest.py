from __future__ import annotations

import random

import pytest

from actrec.data import storage
from actrec.data.storage import remote


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and short pauses between attempts."""
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(remote, "_LONGEST_PAUSE", 0.01)
    storage.configure(tmp_path / "cache", 1 << 30)
    yield tmp_path / "cache"
    storage.configure(None, 1 << 30)


@pytest.fixture(scope="session")
def data() -> bytes:
    return random.Random(0).randbytes(3_000_000)
