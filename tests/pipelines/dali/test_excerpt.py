"""DALI decodes from an excerpt what it decodes from the whole file: the codecs that it can decode on each device."""

import csv

import numpy as np
import pytest
import torch
from numbered_videos import GRID, KINDS, VP9, certificate_of, number_of, numbered, write, write_grid
from nvidia.dali import Pipeline, fn, types

import actrec
from actrec.config import Input
from actrec.data.index import build_index
from actrec.data.video.container import MediaError
from actrec.data.video.excerpt import read_excerpt
from actrec.data.video.probe import probe_video

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32)
NVDEC = ("hevc", "vp9", *(kind for kind in KINDS if kind.startswith("h264") and "10 bit" not in kind))
VP8 = {"deadline": "realtime", "cpu-used": "8"}


def decoder(device):
    """Decodes frames of an encoded video: (data, positions) -> (F, H, W, 3)."""
    pipe = Pipeline(batch_size=1, num_threads=1, device_id=0 if device == "mixed" else None, prefetch_queue_depth=1)
    with pipe:
        video = fn.external_source(name="video", dtype=types.UINT8, ndim=1)
        frames = fn.external_source(name="frames", dtype=types.INT32, ndim=1)
        pipe.set_outputs(fn.decoders.video(video, frames=frames, pad_mode="edge", device=device))
    pipe.build()

    def run(data, positions):
        pipe.feed_input("video", [np.array(data)])
        pipe.feed_input("frames", [np.asarray(positions, np.int32)])
        return np.array(pipe.run()[0].as_cpu().as_array()[0])

    return run


@pytest.fixture(scope="module")
def decode():
    return decoder("cpu")


@pytest.fixture(scope="module")
def decode_on_gpu():
    return decoder("mixed")


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


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "container", "shown"), [case for case in GRID if case[0] in NVDEC])
def test_excerpts_decode_as_the_whole_file_on_a_gpu(tmp_path, decode_on_gpu, kind, container, shown):
    """In three times the size, because NVDEC decodes no small HEVC and VP9."""
    path = write_grid(tmp_path / "a", kind, container, shown, 45, scale=3)
    for wanted, frames in check(path, decode_on_gpu, draws=4):
        assert [number_of(rgb[::3, ::3]) for rgb in frames] == wanted


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


def test_loaders_give_dali_excerpts_of_certified_files(tmp_path):
    """The clips are those of the whole files. Without a certificate, DALI gets the whole file."""
    options = {"codec": "libvpx-vp9", "gop": 8, "options": VP9}
    paths = [write(tmp_path / f"{i}.webm", [numbered(n) for n in range(60)], **options) for i in range(4)]
    videos = [actrec.Video(path.name, str(path), None, None, (0,)) for path in paths]
    videos.append(actrec.Video("part", str(paths[0]), 30, 70, (0,)))  # longer than the file

    def load(certified, epochs=2):
        index = build_index(videos)
        for row in certified:
            index.set_certificate(row, certificate_of(paths[row]))
        clip = actrec.Clip(frames=4, stride=2, sampling="dense")
        loader = actrec.train_loader(videos, clip, INPUT, batch_size=5, seed=1, decoder="dali", index=index)
        batches = [batch for _ in range(epochs) for batch in loader]
        assert not loader.skipped
        return batches, loader.encoded_bytes / epochs

    sizes = sum(path.stat().st_size for path in (*paths, paths[0]))
    whole, whole_bytes = load([])
    assert whole_bytes == sizes
    excerpts, excerpt_bytes = load(range(4))
    assert excerpt_bytes < 0.6 * sizes
    for batch, expected in zip(excerpts, whole, strict=True):
        assert batch.videos == expected.videos
        assert torch.equal(batch.clips, expected.clips)
