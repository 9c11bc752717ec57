from __future__ import annotations

import os

import pytest


@pytest.fixture
def videos(tmp_path, one_video):
    """Puts links to the test file's `one_video` under these names in a data set's `videos`, and returns that folder."""

    def fill(*names):
        for name in names:
            path = tmp_path / "videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(one_video, path)
        return tmp_path / "videos"

    return fill
