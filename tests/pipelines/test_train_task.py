"""Which clips a batch is made of: repeats, class balance, ranks, several labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
from actrec.data.index import build_index
from actrec.data.sampling.order import EpochDraws
from actrec.data.video.read import read_frames
from actrec.pipelines.loader import Loader
from actrec.pipelines.task import TrainTask

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=8, size=96)
CLIP = actrec.Clip(frames=4)
WHOLE = actrec.Augment(geometry="center", flip=False)


def batches(videos, *, epochs=1, **options):
    loader = actrec.train_loader(videos, CLIP, INPUT, augment=WHOLE, **options)
    return loader, [batch for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize(("decoder", "device"), [("workers", "cpu"), ("dali", "cpu")])
def test_repeats_are_clips_of_their_own(media_rows, numbers, decoder, device):
    check_repeats(media_rows, numbers, decoder=decoder, device=device)


@pytest.mark.gpu
@pytest.mark.parametrize("decoder", ["auto", "workers"])
def test_repeats_are_clips_of_their_own_on_a_gpu(media_rows, numbers, decoder):
    check_repeats(media_rows, numbers, decoder=decoder, device="cuda")


def check_repeats(videos, numbers, **where):
    loader, found = batches(videos, epochs=2, batch_size=6, repeats=3, **where)
    assert len(loader) == 3
    rows = {video.id: row for row, video in enumerate(videos)}
    different = 0
    for epoch, batch_of_epoch in enumerate((found[:3], found[3:])):
        ids = [id_ for batch in batch_of_epoch for id_ in batch.videos]
        assert ids[::3] == ids[1::3] == ids[2::3]
        assert sorted(ids[::3]) == sorted(rows)
        for batch in batch_of_epoch:
            shown = numbers.read(batch.clips)
            for i, id_ in enumerate(batch.videos):
                assert shown[i].tolist() == loader.plan(epoch, rows[id_], i % 3).frames.tolist()
            assert batch.labels.tolist() == [rows[id_] for id_ in batch.videos]
            different += len(np.unique(shown[:3], axis=0))
    assert different == 18
    assert not loader.skipped


def test_repeats_decode_a_file_once(media_rows, monkeypatch):
    reads = []
    read = read_frames
    monkeypatch.setattr(
        "actrec.data.index.index.read_frames", lambda path, *a, **k: reads.append(path) or read(path, *a, **k)
    )
    batches(media_rows[:3], batch_size=8, repeats=4, keep_last=True)
    assert sorted(reads) == sorted(video.path for video in media_rows[:3])


def test_what_one_repeat_lacks_takes_no_other_with_it(tmp_path, numbers, make_rows, monkeypatch):
    """An image that only some of a video's clips need is gone: the others are there, in their places."""
    videos = make_rows(numbers.folder(tmp_path / "torn"), numbers.folder(tmp_path / "whole"))
    index = build_index(videos)
    (tmp_path / "torn/00015.jpg").write_bytes(b"no image")
    loader = actrec.train_loader(
        videos, CLIP, INPUT, augment=WHOLE, batch_size=16, repeats=8, index=index, decoder="workers"
    )
    (batch,) = loader
    wanted = [loader.plan(0, 0, repeat).frames.tolist() for repeat in range(8)]
    good = [frames for frames in wanted if 14 not in frames]
    assert 0 < len(good) < 8
    shown = numbers.read(batch.clips)
    assert [s.tolist() for s, id_ in zip(shown, batch.videos) if id_ == "torn"] == good
    assert batch.videos.count("whole") == 8
    assert list(loader.skipped) == ["torn"]


@pytest.mark.parametrize("budget", [1, 3 * 96 * 96 * 5])
def test_repeats_are_the_same_in_parts(media_rows, budget):
    def run(limit):
        task = TrainTask(media_rows, CLIP, INPUT, augment=actrec.Augment(), batch_size=6, repeats=2)
        return list(Loader(task, decoder="dali", budget=limit))

    for whole, parts in zip(run(1 << 30), run(budget), strict=True):
        assert whole.videos == parts.videos
        assert torch.equal(whole.clips, parts.clips)


@pytest.mark.parametrize("options", [{"repeats": 2}, {"balanced": True}, {"repeats": 2, "balanced": True}, {}])
@pytest.mark.parametrize("world", [2, 3])
def test_the_ranks_tile_the_global_batch(media_rows, options, world):
    videos = [video._replace(labels=(int(i > 0),)) for i, video in enumerate(media_rows)]
    for keep_last in (False, True):
        common = {"epochs": 2, "batch_size": 8 if "repeats" in options else 4, "keep_last": keep_last, "seed": 4}
        loader, whole = batches(videos, **common, **options)
        ranks = [batches(videos, **common, **options, rank=rank, world=world) for rank in range(world)]
        assert len(whole) == 2 * len(loader) == 2 * (1 + keep_last)
        size = common["batch_size"]
        assert [len(batch) for batch in whole] == ([size, size // 2] if keep_last else [size]) * 2
        for step, batch in enumerate(whole):
            parts = [found[step] for _, found in ranks]
            assert [id_ for part in parts for id_ in part.videos] == batch.videos
            assert torch.equal(torch.cat([part.clips for part in parts]), batch.clips)
            assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)


def test_balanced_batches_are_what_was_drawn(media_rows, numbers):
    videos = [video._replace(labels=(int(i > 0),)) for i, video in enumerate(media_rows)]
    loader, found = batches(videos, epochs=3, batch_size=3, balanced=True, seed=7)
    for epoch in range(3):
        draws = EpochDraws(6, seed=7, epoch=epoch, labels=np.array([0, 1, 1, 1, 1, 1]))[:]
        of_epoch = found[2 * epoch : 2 * epoch + 2]
        assert [id_ for batch in of_epoch for id_ in batch.videos] == [videos[row].id for row, _ in draws]
        shown = np.concatenate([numbers.read(batch.clips) for batch in of_epoch])
        for clip, (row, repeat) in zip(shown, draws.tolist()):
            assert clip.tolist() == loader.plan(epoch, row, repeat).frames.tolist()
        assert sum(int(batch.labels.sum()) for batch in of_epoch) == 3
        assert draws[:, 1].max() == 2  # the only video of its class, three times


def test_continues_in_the_middle_of_an_epoch(media_rows):
    videos = [video._replace(labels=(int(i > 0),)) for i, video in enumerate(media_rows)]
    options = {"batch_size": 4, "repeats": 2, "balanced": True}
    _, expected = batches(videos, epochs=2, **options)
    loader = actrec.train_loader(videos, CLIP, INPUT, augment=WHOLE, **options)
    loader.load_state_dict({"epoch": 1, "step": 1})
    for batch, other in zip(loader, expected[4:], strict=True):
        assert batch.videos == other.videos
        assert torch.equal(batch.clips, other.clips)


def test_several_labels_are_rows_of_zeros_and_ones(media_rows):
    labels = [(0, 2), (), (1,), (2,), (0, 1, 2), ()]
    videos = [video._replace(labels=each) for video, each in zip(media_rows, labels)]
    expected = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]
    (batch,) = actrec.eval_loader(videos, CLIP, INPUT, batch_size=6, multi_label=3)
    assert batch.labels.dtype == torch.float32
    assert batch.labels.tolist() == expected

    rows = {video.id: row for row, video in enumerate(videos)}
    augment = actrec.Augment(geometry="center")
    loader = actrec.train_loader(videos, CLIP, INPUT, augment=augment, batch_size=6, multi_label=3, flip_map=(1, 0, 2))
    seen = set()
    for epoch in range(3):
        (batch,) = loader
        for id_, found in zip(batch.videos, batch.labels.tolist()):
            mirrored = loader.plan(epoch, rows[id_]).flip
            one, other, third = expected[rows[id_]]
            assert found == ([other, one, third] if mirrored else [one, other, third])
            seen.add((rows[id_], mirrored))
    assert len(seen) > 8
    never = actrec.train_loader(videos, CLIP, INPUT, batch_size=6, multi_label=3, flip_map=(0, 1, -1))
    flips = [[never.plan(epoch, row).flip for epoch in range(9)] for row in range(6)]
    assert [any(each) for each in flips] == [2 not in each for each in labels]


def test_a_batch_without_a_clip_has_labels_of_that_shape(tmp_path, numbers, make_rows):
    videos = make_rows(numbers.folder(tmp_path / "a"))
    index = build_index(videos)
    for image in (tmp_path / "a").iterdir():
        image.unlink()
    (batch,) = actrec.eval_loader(videos, CLIP, INPUT, index=index, multi_label=5)
    assert batch.labels.shape == (0, 5)
    assert batch.clips.shape == (0, 3, 4, 96, 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 4}, "repeats 4 with batch_size 6: expected a divisor of it"),
        ({"repeats": 0}, "repeats 0: expected at least 1"),
        ({"batch_size": 15, "repeats": 3}, None),
        ({"batch_size": 21, "repeats": 3}, "batch_size 21 with 6 videos, 3 clips of each: expected at most 18"),
        ({"multi_label": 5}, "folder has label 5: expected at most 4 for 5 classes"),
        ({"augment": actrec.Augment(stride_range=(1, 2))}, "stride_range 1 2 with sampling uniform"),
    ],
)
def test_bad_arguments(media_rows, options, message):
    if message is None:
        assert len(actrec.train_loader(media_rows, CLIP, INPUT, **options)) == 1
        return
    with pytest.raises(ValueError, match=message):
        actrec.train_loader(media_rows, CLIP, INPUT, **{"batch_size": 6, **options})


def test_balanced_wants_one_label_of_each(media_rows):
    videos = [*media_rows[:2], media_rows[2]._replace(labels=(0, 1))]
    with pytest.raises(ValueError, match="balanced with vp9.webm, which has 2 labels: expected one of each"):
        actrec.train_loader(videos, CLIP, INPUT, batch_size=2, balanced=True, multi_label=3)
