"""Order, resuming, ranks, memory formats and errors of the loader."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=8, size=96)
WHOLE = actrec.Augment(geometry="center", flip=False)
CPU_DECODERS = ["workers", "dali"]


def test_the_workers_change_nothing(media_rows):
    def run(**options):
        loader = actrec.train_loader(media_rows, actrec.Clip(frames=4), INPUT, batch_size=2, seed=3, **options)
        return [batch for _ in range(2) for batch in loader]

    for one, other in zip(run(workers=1, prefetch=1), run(workers=5, prefetch=4)):
        assert one.videos == other.videos
        assert torch.equal(one.clips, other.clips)


def test_loaders_and_batches_say_what_they_are(media_rows):
    clip, net_input = actrec.Clip(frames=2), Input((0.5,) * 3, (0.5,) * 3, 8, 32)
    count = len(media_rows)
    loader = actrec.train_loader(media_rows, clip, net_input, batch_size=2)
    assert repr(loader) == (
        f"Loader({count} videos, batches of 2, clips of 2 frames, size 32, on cpu, epoch 0, step 0)"
    )
    batch = next(iter(loader))
    assert repr(batch) == "Batch(2 videos, clips (2, 3, 2, 32, 32) float32 on cpu, labels (2,))"
    views = actrec.Views(clips=2, crops=3)
    batch = next(iter(actrec.eval_loader(media_rows, clip, net_input, views=views, batch_size=1)))
    assert repr(batch) == "Batch(1 video, 6 views of each, clips (6, 3, 2, 32, 32) float32 on cpu, labels (1,))"


def test_ranks_share_the_global_batch(media_rows):
    def videos(**options):
        loader = actrec.train_loader(media_rows, actrec.Clip(frames=1), INPUT, seed=1, **options)
        return [[sorted(batch.videos) for batch in loader] for _ in range(2)]

    whole = videos(batch_size=3)
    parts = [videos(batch_size=3, rank=rank, world=2) for rank in range(2)]
    for epoch in range(2):
        for step in range(2):
            assert sorted(parts[0][epoch][step] + parts[1][epoch][step]) == whole[epoch][step]
    assert whole[0] != whole[1]


def test_evaluation_ranks_take_every_video_once(media_rows):
    ids = []
    for rank in range(4):
        loader = actrec.eval_loader(media_rows, actrec.Clip(frames=1), INPUT, rank=rank, world=4)
        ids += [id_ for batch in loader for id_ in batch.videos]
    assert sorted(ids) == sorted(video.id for video in media_rows)


def test_continues_in_the_middle_of_an_epoch(media_rows):
    def loader():
        return actrec.train_loader(media_rows, actrec.Clip(frames=3), INPUT, batch_size=2, seed=5)

    whole = loader()
    expected = [batch for _ in range(2) for batch in whole]
    assert whole.state_dict() == {"epoch": 2, "step": 0}
    for stop in range(1, 6):
        first, batches = loader(), []
        while len(batches) < stop:
            for batch in first:
                batches.append(batch)
                if len(batches) == stop:
                    state = first.state_dict()
                    break
        second = loader()
        second.load_state_dict(state)
        while second.epoch < 2:
            batches += list(second)
        assert [b.videos for b in batches] == [b.videos for b in expected]
        assert all(torch.equal(b.clips, e.clips) for b, e in zip(batches, expected))


def test_an_epoch_left_early_does_not_leak_into_the_next(media_rows):
    loader = actrec.train_loader(media_rows, actrec.Clip(frames=3), INPUT, batch_size=1, seed=5)
    for _ in loader:
        break
    assert loader.state_dict() == {"epoch": 1, "step": 0}
    fresh = actrec.train_loader(media_rows, actrec.Clip(frames=3), INPUT, batch_size=1, seed=5)
    list(fresh)
    for left, expected in zip(loader, fresh, strict=True):
        assert left.videos == expected.videos
        assert torch.equal(left.clips, expected.clips)


def test_the_incomplete_batch_is_dropped_or_kept(media_rows):
    options = {"batch_size": 4}
    dropped = actrec.train_loader(media_rows, actrec.Clip(frames=1), INPUT, **options)
    kept = actrec.train_loader(media_rows, actrec.Clip(frames=1), INPUT, keep_last=True, **options)
    assert [len(b) for b in dropped] == [4]
    assert [len(b) for b in kept] == [4, 2]
    assert (len(dropped), len(kept)) == (1, 2)


def test_labels_follow_the_flip_map(media_rows):
    videos = [video._replace(labels=(i % 3,)) for i, video in enumerate(media_rows)]
    augment = actrec.Augment(geometry="center")
    flipped = actrec.train_loader(
        videos, actrec.Clip(frames=8), INPUT, augment=augment, batch_size=6, flip_map=(1, 0, -1), workers=1
    )
    plain = actrec.train_loader(videos, actrec.Clip(frames=8), INPUT, augment=WHOLE, batch_size=6, workers=1)
    seen = set()
    for one, other in zip((b for _ in range(4) for b in flipped), (b for _ in range(4) for b in plain)):
        for i in range(6):
            same = torch.equal(one.clips[i], other.clips[i])
            mirrored = not same and torch.equal(one.clips[i], other.clips[i].flip(-1))
            assert same or mirrored
            label = int(other.labels[i])
            assert int(one.labels[i]) == ((1, 0)[label] if mirrored and label < 2 else label)
            assert not (mirrored and label == 2)
            seen.add((mirrored, label))
    assert len(seen) == 5


def test_memory_format_and_type(media_rows):
    batch = next(iter(actrec.train_loader(media_rows, actrec.Clip(frames=2), INPUT, batch_size=2)))
    assert batch.clips.is_contiguous()
    assert batch.clips.dtype == torch.float32
    last = next(
        iter(
            actrec.train_loader(
                media_rows, actrec.Clip(frames=2), INPUT, batch_size=2, channels_last=True, dtype="float16"
            )
        )
    )
    assert last.clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert last.clips.dtype == torch.float16
    assert torch.equal(last.clips, batch.clips.half())


def test_normalization(media_rows):
    raw = Input(mean=(0.0,) * 3, std=(1.0,) * 3, frames=2, size=96)
    other = Input(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), frames=2, size=96)
    clips = [next(iter(actrec.eval_loader(media_rows, actrec.Clip(), i))).clips for i in (raw, other)]
    shape = (1, 3, 1, 1, 1)
    expected = (clips[0] - torch.tensor(other.mean).view(shape)) / torch.tensor(other.std).view(shape)
    assert torch.allclose(clips[1], expected, atol=1e-5)


def test_bad_arguments(media_rows):
    with pytest.raises(ValueError, match="batch_size 7 with 6 videos: expected at most 6"):
        actrec.train_loader(media_rows, actrec.Clip(), INPUT, batch_size=7)
    with pytest.raises(ValueError, match="batch_size 0: expected at least 1"):
        actrec.eval_loader(media_rows, actrec.Clip(), INPUT, batch_size=0)
    with pytest.raises(ValueError, match="the list holds no video"):
        actrec.eval_loader([], actrec.Clip(), INPUT)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device cuda:0: torch finds no GPU"):
            actrec.eval_loader(media_rows, actrec.Clip(), INPUT, device="cuda:0")


def test_numbers_of_numpy(media_rows):
    def run(number, truth):
        options = {"batch_size": number(2), "seed": number(3), "workers": number(2), "prefetch": number(1)}
        options |= {"rank": number(1), "world": number(2), "keep_last": truth(True), "channels_last": truth(True)}
        loader = actrec.train_loader(media_rows, actrec.Clip(frames=4), INPUT, **options)
        return [(batch.videos, batch.clips.sum().item()) for batch in loader]

    assert run(np.int64, np.bool_) == run(int, bool)


BOTH, TRAINING, EVALUATION = ("train", "eval"), ("train",), ("eval",)


@pytest.mark.parametrize(
    ("loaders", "options", "message"),
    [
        (BOTH, {"batch_size": "4"}, "batch_size '4': expected a whole number"),
        (BOTH, {"batch_size": True}, "batch_size True: expected a whole number"),
        (BOTH, {"batch_size": 1.5}, "batch_size 1.5: expected a whole number"),
        (BOTH, {"workers": 0}, "workers 0: expected at least 1"),
        (BOTH, {"workers": 1.5}, "workers 1.5: expected a whole number"),
        (BOTH, {"workers": float("nan")}, "workers nan: expected a whole number"),
        (BOTH, {"prefetch": 0}, "prefetch 0: expected at least 1"),
        (BOTH, {"prefetch": -1}, "prefetch -1: expected at least 1"),
        (BOTH, {"channels_last": "no"}, "channels_last 'no': expected True or False"),
        (BOTH, {"multi_label": 0}, "multi_label 0: expected at least 1"),
        (BOTH, {"world": 0}, "world 0: expected at least 1"),
        (BOTH, {"world": -1}, "world -1: expected at least 1"),
        (BOTH, {"rank": -1}, "rank -1: expected at least 0"),
        (BOTH, {"rank": 5}, "rank 5 with world 1: expected less than world"),
        (BOTH, {"device": "gpu"}, "device 'gpu': expected cpu, cuda or cuda:N"),
        (BOTH, {"device": "meta"}, "device meta: expected cpu, cuda or cuda:N"),
        (BOTH, {"index": 5}, "index: expected actrec.data.index.Index or None, found int 5"),
        (BOTH, {"clip": 8}, "clip: expected actrec.Clip, found int 8"),
        (BOTH, {"net_input": None}, "net_input: expected actrec.Input, found None"),
        (BOTH, {"videos": 5}, "videos: expected a sequence of actrec.Video or a path, found int 5"),
        (BOTH, {"videos": ["a.mp4"]}, "videos[0]: expected actrec.Video, found str 'a.mp4'"),
        (BOTH, {"videos": ""}, "videos: expected a sequence of actrec.Video or a path, found an empty text"),
        (BOTH, {"videos": []}, "videos: the list holds no video"),
        (TRAINING, {"augment": "x"}, "augment: expected actrec.Augment or None, found str 'x'"),
        (TRAINING, {"balanced": "no"}, "balanced 'no': expected True or False"),
        (TRAINING, {"keep_last": 1}, "keep_last 1: expected True or False"),
        (TRAINING, {"seed": -1}, "seed -1: expected from 0 to 4294967295"),
        (TRAINING, {"seed": "x"}, "seed 'x': expected a whole number"),
        (TRAINING, {"seed": 1.5}, "seed 1.5: expected a whole number"),
        (TRAINING, {"seed": True}, "seed True: expected a whole number"),
        (TRAINING, {"flip_map": 5}, "flip_map: expected a sequence of whole numbers or None, found int 5"),
        (TRAINING, {"flip_map": (0, "x", [])}, "flip_map[1]: expected a whole number, found str 'x'"),
        (TRAINING, {"flip_map": (0.5,) * 8}, "flip_map[0]: expected a whole number, found float 0.5"),
        (TRAINING, {"flip_map": (0,)}, "flip_map of 1 classes with a list that has label 2: expected for each class"),
        (TRAINING, {"flip_map": [0, 99, 2]}, "flip_map 99 for class 1 of 3: expected for each class"),
        (TRAINING, {"flip_map": [0, 1, -2]}, "flip_map -2 for class 2 of 3: expected for each class"),
        (EVALUATION, {"views": 10}, "views: expected actrec.Views or None, found int 10"),
    ],
)
def test_arguments_are_checked(media_rows, loaders, options, message):
    videos = [video._replace(labels=(row % 3,)) for row, video in enumerate(media_rows)]
    given = {"videos": videos, "clip": actrec.Clip(), "net_input": INPUT, "batch_size": 2, **options}
    for name in loaders:
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            getattr(actrec, f"{name}_loader")(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "dlai"}, "decoder 'dlai': expected one of auto, workers, dali"),
        ({"dtype": "float64"}, "dtype 'float64': expected one of float32, float16"),
    ],
)
def test_illegal_choices_are_named(media_rows, options, message):
    for make in (actrec.train_loader, actrec.eval_loader):
        with pytest.raises(ValueError, match=message):
            make(media_rows, actrec.Clip(), INPUT, batch_size=2, **options)


WITHOUT_DALI = """
import sys
sys.modules["nvidia"] = None
import actrec
from actrec.config import Input
videos = [actrec.Video("a", sys.argv[1], None, None, (0,))]
net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32)
(batch,) = actrec.train_loader(videos, actrec.Clip(), net_input, batch_size=1)
assert batch.clips.shape == (1, 3, 4, 32, 32)
for options in ({"decoder": "dali"}, {"augment": actrec.Augment(blur=0.5)}):
    try:
        actrec.train_loader(videos, actrec.Clip(), net_input, batch_size=1, **options)
    except ValueError as error:
        print(error)
"""


def test_the_decode_workers_need_no_dali(media_rows):
    command = [sys.executable, "-c", WITHOUT_DALI, media_rows[-1].path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("NVIDIA DALI, which is not installed" in line for line in lines)
