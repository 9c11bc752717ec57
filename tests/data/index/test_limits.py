"""Limits of the index: what is too large is left out, and is used as soon as the limit allows it."""

import cv2
import numpy as np
import pytest
from index_files import clip, video

from actrec.config import Limits
from actrec.data.index import build_index
from actrec.data.index.index import run_in_threads
from actrec.data.limits import limited, limits

BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + bytes(4)


def test_a_cached_record_obeys_the_limits_of_each_command(tmp_path):
    rows, cache = [video(clip(tmp_path / "a.mp4")), video(clip(tmp_path / "b.mp4"))], tmp_path / "list.index.npy"
    index = build_index(rows, cache=cache)
    size, frames = index[0].width * index[0].height, index[0].frames
    for lower, reason in (
        (Limits(max_pixels=size - 1), "pixels: expected at most"),
        (Limits(max_frames=frames - 1), "it has"),
    ):
        with limited(lower), pytest.raises(ValueError, match=f"none of the 2 videos can be used.*{reason}"):
            build_index(rows, cache=cache)
        assert limits() == Limits()
        assert not build_index(rows, cache=cache).broken


@pytest.mark.parametrize("place", [1, 3])
def test_a_bomb_among_good_images(tmp_path, place):
    """The limit is not the fault of the file: a command with a higher limit looks again."""
    (tmp_path / "video").mkdir()
    for n in range(1, 5):
        cv2.imwrite(str(tmp_path / "video" / f"{n}.png"), np.zeros((32, 48, 3), np.uint8))
    good = clip(tmp_path / "a.mp4")
    (tmp_path / "video" / f"{place}.png").write_bytes(BOMB)
    rows, cache = [video(tmp_path / "video"), video(good)], tmp_path / "list.index.npy"
    index = build_index(rows, cache=cache)
    assert (0 in index.broken) == (place == 1)
    index.verify_all(run_in_threads)
    index = build_index(rows, cache=cache) if place == 1 else index
    index.broken.clear()
    index.find_broken()
    assert list(index.broken) == [0]
    assert "30000x30000 are 900,000,000 pixels: expected at most 100,000,000; --max-pixels" in index.broken[0]
    assert build_index(rows, cache=cache).broken.keys() == ({0} if place == 1 else set())
