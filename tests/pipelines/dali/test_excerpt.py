"""DALI decodes from an excerpt what it decodes from the whole file: the codecs that it can decode on a CPU."""

import csv

import numpy as np
import pytest
from numbered_videos import GRID, certificate_of, number_of, numbered, write, write_grid
from nvidia.dali import Pipeline, fn, types

from actrec.data.video.container import MediaError
from actrec.data.video.excerpt import read_excerpt
from actrec.data.video.probe import probe_video

VP8 = {"deadline": "realtime", "cpu-used": "8"}


@pytest.fixture(scope="module")
def decode():
    """Decodes frames of an encoded video: (data, positions) -> (F, H, W, 3)."""
    pipe = Pipeline(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    with pipe:
        video = fn.external_source(name="video", dtype=types.UINT8, ndim=1)
        frames = fn.external_source(name="frames", dtype=types.INT32, ndim=1)
        pipe.set_outputs(fn.decoders.video(video, frames=frames, pad_mode="edge", device="cpu"))
    pipe.build()

    def run(data, positions):
        pipe.feed_input("video", [np.array(data)])
        pipe.feed_input("frames", [np.asarray(positions, np.int32)])
        return np.array(pipe.run()[0].as_array()[0])

    return run


def check(path, decode, *, draws):
    certificate = certificate_of(path)
    whole, rng = np.fromfile(path, np.uint8), np.random.default_rng(0)
    for _ in range(draws):
        num_frames = len(certificate.pts)
        wanted = np.sort(rng.choice(num_frames, min(5, num_frames), replace=False))
        excerpt = read_excerpt(path, wanted, certificate)
        frames = decode(excerpt.data, excerpt.positions)
        assert np.array_equal(frames, decode(whole, wanted)), (path, wanted)
        yield wanted.tolist(), frames


@pytest.mark.parametrize(("kind", "container", "shown"), [case for case in GRID if case[0] in ("vp9", "mjpeg")])
def test_excerpts_decode_as_the_whole_file(tmp_path, decode, kind, container, shown):
    path = write_grid(tmp_path / "a", kind, container, shown, 45)
    for wanted, frames in check(path, decode, draws=4):
        assert [number_of(rgb) for rgb in frames] == wanted


def test_vp8(tmp_path, decode):
    path = write(tmp_path / "a.webm", [numbered(n) for n in range(45)], codec="libvpx", gop=15, options=VP8)
    for wanted, frames in check(path, decode, draws=4):
        assert [number_of(rgb) for rgb in frames] == wanted


def test_real_files(shared_videos, decode):
    with open(shared_videos / "files.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["codec"] in ("vp8", "vp9", "mjpeg")]
    checked = 0
    for row in rows:
        path = shared_videos / row["path"]
        try:
            known = probe_video(path)
        except MediaError:
            continue
        if known.pix_fmt == "yuv420p" and not known.rotation and certificate_of(path) is not None:
            checked += len(list(check(path, decode, draws=2)))
    assert checked >= 10
