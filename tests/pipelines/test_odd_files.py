"""Files as users have them, through the loaders: each becomes a clip or a reason, and none affects another."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import actrec
from actrec.config import Input
from actrec.data.index import build_index

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32)


def odd_rows(shared_videos):
    """(videos, ids of those that can be used)"""
    with open(shared_videos / "files.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("odd/") and "4k60" not in row["path"]]
    videos = [actrec.Video(row["path"], str(shared_videos / row["path"]), None, None, (0,)) for row in rows]
    unlike = ("audio_with_cover_art", "block_ends_beyond_cluster")  # no video, and the first 10 kB of 2 MB
    decodable = {
        row["path"]
        for row in rows
        if int(row["decoded_frames"]) > 0 and not any(name in row["path"] for name in unlike)
    }
    return videos, decodable


def test_every_odd_file_is_a_clip_or_a_reason(shared_videos):
    videos, decodable = odd_rows(shared_videos)
    index = build_index(videos)
    loader = actrec.eval_loader(videos, actrec.Clip(), INPUT, views=actrec.Views(clips=2, crops=3), index=index)
    scored = set()
    for batch in loader:
        assert batch.clips.isfinite().all()
        scored |= set(batch.videos)
    assert scored == decodable
    assert set(loader.skipped) == {video.id for video in videos} - decodable
    assert all("\n" not in reason and reason.startswith(str(shared_videos)) for reason in loader.skipped.values())

    train = actrec.train_loader(videos, actrec.Clip(), INPUT, batch_size=10, keep_last=True, index=index)
    assert {id_ for batch in train for id_ in batch.videos} == decodable

    # The training has earned the certificates: DALI gets excerpts of what it decodes on a CPU.
    loader = actrec.eval_loader(videos, actrec.Clip(), INPUT, index=index, decoder="dali")
    assert {id_ for batch in loader for id_ in batch.videos} == decodable
    assert loader.encoded_bytes > 0


@pytest.mark.parametrize("name", ["one_frame.mp4", "two_frames.mp4", "odd_101x77.mp4", "gray.mp4", "tiny_16x16.mp4"])
def test_short_and_odd_videos_fill_a_clip(shared_videos, name):
    videos = [actrec.Video(name, str(shared_videos / "odd/derived" / name), None, None, (0,))]
    for clip in (actrec.Clip(frames=16), actrec.Clip(frames=16, stride=4, sampling="dense")):
        batch = next(iter(actrec.train_loader(videos, clip, INPUT, batch_size=1)))
        assert batch.clips.shape == (1, 3, 16, 32, 32)
        assert batch.clips.std() > 0


def test_a_list_of_frame_folders_from_elsewhere(shared_videos):
    videos = actrec.read_list(shared_videos / "frames/raivokoot_demo_dataset/annotations.txt")
    batches = list(actrec.eval_loader(videos, actrec.Clip(frames=15), INPUT))
    assert np.concatenate([batch.labels for batch in batches]).tolist() == [0, 0, 1, 1]


@pytest.mark.gpu
@pytest.mark.parametrize("certified", [False, True], ids=["whole files", "excerpts"])
def test_real_files_look_the_same_on_a_gpu(shared_videos, certified):
    """The same frames and boxes on both devices; the means differ by the rounding of two resizers and decoders."""
    with open(shared_videos / "files.csv", encoding="utf-8", newline="") as file:
        paths = [shared_videos / row["path"] for row in csv.DictReader(file) if "4k60" not in row["path"]]
    videos = [actrec.Video(str(path), str(path), None, None, (0,)) for path in paths if path.exists()]
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=112)

    def load(device, index):
        loader = actrec.train_loader(
            videos, actrec.Clip(), net_input, batch_size=8, keep_last=True, index=index, device=device, seed=1
        )
        for _ in range(2):
            clips = {id_: clip.cpu() for batch in loader for id_, clip in zip(batch.videos, batch.clips)}
        return clips, loader

    earned = build_index(videos)
    expected, _ = load("cpu", earned)
    found, loader = load("cuda", earned if certified else build_index(videos))
    assert found.keys() == expected.keys(), loader.skipped
    apart = {id_: float((clip - expected[id_]).abs().mean() * 127.5) for id_, clip in found.items()}
    assert len(apart) > 50
    assert loader.encoded_bytes > 0
    assert not {id_: mean for id_, mean in apart.items() if mean >= 1.5}
