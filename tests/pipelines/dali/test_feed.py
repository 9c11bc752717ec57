"""DALI decodes no more at once than fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
from actrec.data.index import Media
from actrec.data.video.encode import VideoWriter
from actrec.pipelines.dali.feed import in_runs
from actrec.pipelines.dali.routes import VIDEO
from actrec.pipelines.loader import Loader
from actrec.pipelines.task import EvalTask, TrainTask
from actrec.pipelines.workers.decode import Sample

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=96)


def sample(row, frames, width=10, height=10):
    media = Media("a", 0, 100, width, height)
    return Sample(row, VIDEO, media, None, [np.zeros(1, np.uint8)], np.arange(frames), None)


@pytest.mark.parametrize(
    ("frames", "budget", "expected"),
    [
        ([4, 4], 10_000, [[(0, 0, 4), (1, 0, 4)]]),
        ([4, 4], 2400, [[(0, 0, 4), (1, 0, 4)]]),
        ([4, 4], 2399, [[(0, 0, 4), (1, 0, 3)], [(1, 3, 4)]]),
        ([4, 4], 1200, [[(0, 0, 4)], [(1, 0, 4)]]),
        ([5], 600, [[(0, 0, 2)], [(0, 2, 4)], [(0, 4, 5)]]),
        ([2, 1], 10, [[(0, 0, 1)], [(0, 1, 2)], [(1, 0, 1)]]),  # one frame alone is too large: it has to be
    ],
)
def test_runs(frames, budget, expected):
    runs = in_runs([sample(row, n) for row, n in enumerate(frames)], budget)
    assert [[(p.sample.row, p.first, p.stop) for p in run] for run in runs] == expected


@pytest.mark.parametrize("budget", [1, 3 * 96 * 96 * 5, 3 * 96 * 96 * 13])
def test_the_clips_are_the_same_in_parts(media_rows, budget):
    def batches(task, budget=None):
        loader = Loader(task, decoder="dali", budget=budget)
        return [batch for _ in range(2) for batch in loader]

    clip, views = actrec.Clip(frames=8), actrec.Views(clips=3, crops=3, crop_ratio=0.9)
    for task in (
        TrainTask(media_rows, clip, INPUT, augment=actrec.Augment(), batch_size=3, seed=2),
        EvalTask(media_rows, clip, INPUT, views=views, batch_size=3),
    ):
        for one, other in zip(batches(task), batches(task, budget), strict=True):
            assert one.videos == other.videos
            assert torch.equal(one.clips, other.clips)


@pytest.mark.parametrize("color", ["bt709", "bt601"])
def test_colors_are_the_same_on_both_ways(tmp_path, make_rows, color):
    """DALI itself takes every file for BT.601; what it clips is lost, so the colors here are not the most vivid."""
    check_colors(tmp_path, make_rows, "dali", "cpu", codec="libvpx-vp9", color=color)


@pytest.mark.gpu
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
@pytest.mark.parametrize("color", ["bt709", "bt601"])
def test_colors_are_the_same_on_a_gpu(tmp_path, make_rows, codec, color):
    check_colors(tmp_path, make_rows, "auto", "cuda", codec=codec, color=color)


def check_colors(tmp_path, make_rows, decoder, device, **options):
    path = tmp_path / "a.mkv"
    colors = np.random.default_rng(3).integers(70, 180, (3, 3, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    with VideoWriter(path, width=96, height=96, rate=25, **options) as video:
        for _ in range(10):
            video.write(colors)
    clips = []
    for way, place in (("workers", "cpu"), (decoder, device)):
        loader = actrec.train_loader(
            make_rows(path), actrec.Clip(), INPUT, augment=actrec.Augment(geometry="center", flip=False), batch_size=1,
            decoder=way, device=place,
        )  # fmt: skip
        clips.append(next(iter(loader)).clips.cpu() * 127.5 + 127.5)
        loader = actrec.eval_loader(
            make_rows(path), actrec.Clip(), INPUT, views=actrec.Views(crop_ratio=1), decoder=way, device=place
        )
        assert (next(iter(loader)).clips.cpu() * 127.5 + 127.5 - clips[-1]).abs().mean() < 1
    apart = (clips[0] - clips[1]).abs()[0, :, 0]
    inner = apart.unflatten(-1, (3, 32)).unflatten(-3, (3, 32))[..., 8:24, :, 8:24]  # edges: chroma
    assert inner.mean() < 1.5
    assert inner.max() <= 4


def test_color_change():
    from actrec.data.video.color import color_change

    matrix, offset = color_change("bt601")
    assert np.allclose(matrix, np.eye(3), atol=1e-6)
    assert np.allclose(offset, 0, atol=1e-4)
    matrix, offset = color_change("bt709")
    assert np.allclose(matrix.sum(1), 1, atol=1e-6)  # gray stays gray
    assert np.abs(matrix - np.eye(3)).max() > 0.1
    matrix, offset = color_change("bt601-full")
    assert np.allclose(matrix @ [0, 0, 0] + offset, 16, atol=0.01)  # black of limited range
    assert np.allclose(matrix @ np.full(3, 255) + offset, 235, atol=0.01)
