import os

import numpy as np
import pytest
from index_files import clip, folder, video, write_image

from actrec.data.index import build_index, cache_path, quarantine_path
from actrec.data.index.index import run_in_threads
from actrec.data.video.encode import VideoWriter
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, verify_video


def noise(path):
    """A video of which a part is many bytes."""
    rng = np.random.default_rng(0)
    with VideoWriter(path, width=64, height=48, rate=25, gop=5) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    return path


def test_a_file_that_vanishes_changes_the_fingerprint(tmp_path):
    rows, cache = [video(clip(tmp_path / "a.mp4")), video(clip(tmp_path / "b.mp4"))], tmp_path / "cache.npy"
    before = build_index(rows, cache=cache).fingerprint()
    (tmp_path / "b.mp4").unlink()
    after = build_index(rows, cache=cache).fingerprint()
    assert after["contents"] != before["contents"]
    assert after == build_index(rows).fingerprint()


def test_another_rate_of_a_folder_is_noticed(tmp_path, probed):
    path, cache = folder(tmp_path / "video", *(f"{n}.jpg" for n in range(10))), tmp_path / "cache.npy"
    for rate in ("10", "20"):
        when = path.stat().st_mtime_ns
        (path / "fps").write_text(rate)
        os.utime(path, ns=(when, when))
        assert build_index([video(path)], cache=cache)[0].rate == float(rate)
    assert len(probed) == 2


def verified(rows, cache):
    """The index after all its files were decoded, in a new process as it were."""
    index = build_index(rows, cache=cache, lazy=True)
    index.probe_all(run_in_threads)
    index.verify_all(run_in_threads)
    return index


def test_what_does_not_decode_is_broken_until_it_changes(tmp_path):
    good, torn = clip(tmp_path / "a.mkv", 40, gop=5), noise(tmp_path / "torn.mp4")
    data = bytearray(torn.read_bytes())
    data[len(data) // 3 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 3)
    torn.write_bytes(data)
    images = folder(tmp_path / "images", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (images / "2.jpg").write_text("no image")
    write_image(images / "4.jpg", width=20)
    rows = [video(good), video(torn), video(images), video(good, 3, 9)]
    cache = cache_path(tmp_path / "list.txt")
    assert build_index(rows, cache=cache).broken == {}
    index = verified(rows, cache)
    index.find_broken()
    stated = probe_video(torn).frames
    assert index.broken[2] == "2 of 4 images are broken; the first: 2.jpg: not an image that OpenCV can decode"
    assert index.broken[1] == f"only {verify_video(torn).decoded} of {stated} frames decode"
    assert set(index.broken) == {1, 2}
    assert index.unverified_files() == []

    again = build_index(rows, cache=cache)  # a command that follows
    assert [r for r, _, _ in again.unverified_files()] == [1, 2]  # the broken ones get another chance
    assert again.broken == dict.fromkeys((1, 2), "`actrec index --verify` has found it broken")
    quarantine_path(tmp_path / "list.txt").write_text("path,reason\ntorn.mp4,torn\n")
    assert build_index(rows, cache=cache).broken[1] == "torn"

    noise(torn)
    assert set(build_index(rows, cache=cache).broken) == {2}


def test_a_verified_file_has_the_frames_that_decode(tmp_path, shared_videos):
    path = shared_videos / "ut_interaction" / "videos" / "hugging"
    path = next(iter(sorted(path.glob("*.avi"))))
    rows = [video(path)]
    stated = build_index(rows)[0].frames
    decoded = sum(1 for _ in iter_frames(path))
    assert stated > decoded
    assert verified(rows, cache_path(tmp_path / "list.txt"))[0].frames == decoded


OLD_FIELDS = (
    "name", "key", "kind", "certified", "verified", "size", "frames", "first", "width", "height", "rotation", "rate",
    "gop", "codec", "pix_fmt", "color", "template",
)  # fmt: skip
OLD_NAMES = {"certified": "proof", "verified": "verdict", "color": "colour"}  # until commit 23e24aa


@pytest.mark.parametrize("names", [{}, OLD_NAMES])
def test_a_cache_of_an_older_version(tmp_path, probed, names):
    """Quarantined files stay out. What the version did not know of the others is found out."""
    good, bad = clip(tmp_path / "a.mp4"), clip(tmp_path / "b.mp4")
    rows, cache = [video(good), video(bad)], cache_path(tmp_path / "list.txt")
    build_index(rows, cache=cache)
    records = np.load(cache)
    records["verified"][1] = 2  # broken
    records["certified"][0] = 1
    types = {"rate": "f4"}
    old = np.zeros(2, [(n, types.get(n, t), *rest) for n, t, *rest in records.dtype.descr if n in OLD_FIELDS])
    for name in old.dtype.names:
        old[name] = records[name]
    old.dtype.names = tuple(names.get(name, name) for name in old.dtype.names)
    np.save(cache, old)
    probed.clear()
    index = build_index(rows, cache=cache)
    assert probed == [str(good)]
    assert list(index.broken) == [1]
    assert index[0] == build_index([video(good)])[0]
    probed.clear()
    assert list(build_index(rows, cache=cache).broken) == [1]
    assert probed == []
