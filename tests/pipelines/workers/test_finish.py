from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from actrec.config import Input
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.pipelines.dali.routes import PIXELS
from actrec.pipelines.workers.decode import Sample
from actrec.pipelines.workers.finish import Finisher

INPUT = Input(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), frames=4, size=8)
RNG = np.random.default_rng(0)


def finished(samples, **options):
    finisher = Finisher(INPUT, **{"dtype": "float32", "channels_last": True, "keep": 2, **options})
    views = len(samples[0].plan.crops) * len(samples[0].gather)
    clips = finisher.batch(len(samples), views, samples[0].gather.shape[1])
    for sample, out in zip(samples, clips):
        write = finisher.writer(sample.plan, sample.gather, out)
        for i, picture in enumerate(sample.data):
            write(i, picture)
    return clips


def normalized(pictures):
    return (torch.from_numpy(pictures.astype(np.float64) / 255) - torch.tensor(INPUT.mean)) / torch.tensor(INPUT.std)


def training(frames, flip, seed):
    wanted, gather = np.unique(frames, return_inverse=True)
    data = np.random.default_rng(seed).integers(0, 256, (len(wanted), 8, 8, 3), np.uint8)
    return Sample(0, PIXELS, None, TrainPlan(np.array(frames), (0, 0, 8, 8), flip), data, wanted, gather[None])


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_training_clips(dtype, channels_last):
    samples = [training([3, 4, 5, 9], False, 1), training([3, 4, 5, 9], True, 2), training([7, 8, 8, 2], True, 3)]
    clips = finished(samples, dtype=dtype, channels_last=channels_last)
    assert clips.shape == (3, 1, 4, 8, 8, 3)
    assert clips.dtype == getattr(torch, dtype)
    assert clips.permute(0, 1, 5, 2, 3, 4).is_contiguous() != channels_last
    assert clips.is_contiguous() == channels_last
    for sample, clip in zip(samples, clips):
        expected = normalized(sample.data[sample.gather[0]])
        expected = expected.flip(2) if sample.plan.flip else expected
        assert torch.allclose(clip[0].double(), expected, atol=1e-6 if dtype == "float32" else 2e-3)


def test_views_of_evaluation_are_crop_by_crop_and_share_frames():
    gather = np.array([[0, 1, 2, 2], [1, 2, 3, 4]])
    data = RNG.integers(0, 256, (5, 10, 14, 3), np.uint8)
    plan = EvalPlan(gather, (14, 10), np.array([[0, 0], [6, 2], [6, 2]]), np.array([False, False, True]), (8, 8))
    clips = finished([Sample(0, PIXELS, None, plan, data, np.arange(5), gather)])
    assert clips.shape == (1, 6, 4, 8, 8, 3)
    for crop, (x, y, flip) in enumerate([(0, 0, False), (6, 2, False), (6, 2, True)]):
        for clip in range(2):
            expected = normalized(data[gather[clip], y : y + 8, x : x + 8])
            expected = expected.flip(2) if flip else expected
            assert torch.allclose(clips[0, 2 * crop + clip].double(), expected, atol=1e-6)


def test_what_it_does_is_what_dali_does():
    from actrec.pipelines.dali import graph

    sample = training([0, 1, 2, 3], True, 5)
    settings = graph.GraphSettings("cpu", None, threads=1, batch_size=1, dtype="float32")
    pipe = graph.train_graph(PIXELS, INPUT, augmentations=(), settings=settings).pipe
    pipe.build()
    pipe.feed_input("pictures", [sample.data])
    pipe.feed_input("flip", [np.int32(1)])
    pipe.schedule_run()
    theirs = torch.from_dlpack(pipe.share_outputs()[0].as_tensor()).clone()
    pipe.release_outputs()
    assert torch.allclose(finished([sample])[0, 0], theirs[0], atol=1e-5)


def test_copies_of_clips_use_the_memory_of_batches_again():
    finisher = Finisher(INPUT, dtype="float32", channels_last=False, keep=1)
    clips = torch.arange(2 * 3 * 4 * 5 * 3, dtype=torch.float32).reshape(2, 3, 4, 5, 3).permute(0, 4, 1, 2, 3)
    copy = finisher.contiguous(clips)
    assert copy.is_contiguous()
    assert torch.equal(copy, clips)
    assert finisher.contiguous(copy) is copy
    address = copy.data_ptr()
    del copy
    gc.collect()
    assert finisher.contiguous(clips).data_ptr() == address
