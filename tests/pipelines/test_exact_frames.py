"""The planned frames, boxes and crops reach the net, exactly, on every path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numbered_videos import write_as_old_x264

import actrec
from actrec.config import Input
from actrec.data.index import build_index
from actrec.data.index.index import run_in_threads
from actrec.data.index.probe import Certified
from actrec.data.sampling.plan import plan_eval, plan_train
from actrec.data.video.read import read_frames
from actrec.pipelines.workers import decode

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=8, size=96)
WHOLE = actrec.Augment(geometry="center", flip=False)
CPU_DECODERS = ["workers", "dali"]


def planned_train(row, index, clip, *, epoch, seed=0):
    found = index[row]
    return plan_train(
        num_frames=found.frames, width=found.width, height=found.height, clip=clip, size=INPUT.size, augment=WHOLE,
        seed=seed, epoch=epoch, row=row,
    )  # fmt: skip


@pytest.mark.parametrize("decoder", CPU_DECODERS)
@pytest.mark.parametrize(
    "clip", [actrec.Clip(frames=8), actrec.Clip(frames=5, stride=3, sampling="dense")], ids=["uniform", "dense"]
)
def test_the_planned_frames_reach_the_net_in_training(media_rows, numbers, loaded, clip, decoder):
    check_training(media_rows, numbers, loaded, clip, decoder, "cpu")


@pytest.mark.gpu
def test_the_planned_frames_reach_the_net_in_training_on_a_gpu(media_rows, numbers, loaded):
    check_training(media_rows, numbers, loaded, actrec.Clip(frames=8), "auto", "cuda")


def check_training(videos, numbers, loaded, clip, decoder, device):
    index = build_index(videos)
    loader = actrec.train_loader(
        videos, clip, INPUT, augment=WHOLE, batch_size=len(videos), index=index, decoder=decoder, device=device
    )
    for epoch in range(3):  # from the second on, files that earned it are entered at keyframes
        clips = loaded(loader)
        for row, video in enumerate(videos):
            plan = planned_train(row, index, clip, epoch=epoch)
            shown = numbers.read(clips[video.id][0])[0]
            assert shown.tolist() == plan.frames.tolist(), video.id
            assert clips[video.id][1] == row
    assert not loader.skipped
    assert loader.clamped == 0
    if device == "cpu" and decoder == "workers":
        earned = {path.rsplit("/", 1)[1] for path, c in index.certificates.items() if c is not None}
        assert earned == {"h264.mp4", "h264_b.mp4", "vp9.webm", "mjpeg.avi"}


@pytest.mark.parametrize("decoder", CPU_DECODERS)
def test_all_views_reach_the_net_in_evaluation(media_rows, numbers, decoder):
    check_evaluation(media_rows, numbers, decoder, "cpu")


@pytest.mark.gpu
def test_all_views_reach_the_net_in_evaluation_on_a_gpu(media_rows, numbers):
    check_evaluation(media_rows, numbers, "auto", "cuda")


def check_evaluation(videos, numbers, decoder, device):
    clip, views = actrec.Clip(frames=4), actrec.Views(clips=3, crops=3, crop_ratio=1)
    loader = actrec.eval_loader(videos, clip, INPUT, views=views, batch_size=4, decoder=decoder, device=device)
    for _ in range(2):
        order = []
        for batch in loader:
            assert batch.clips.shape == (len(batch) * 9, 3, 4, 96, 96)
            order += batch.videos
            for i in range(len(batch)):
                shown = numbers.read(batch.clips[9 * i : 9 * i + 9])
                expected = actrec.samplers.uniform(num_frames=numbers.frames, frames=4, clips=3)
                assert shown.tolist() == np.tile(expected, (3, 1)).tolist(), batch.videos[i]  # crop by crop
        assert order == [video.id for video in videos]


def test_ten_crops_are_five_and_their_mirror_images(media_rows):
    loader = actrec.eval_loader(
        media_rows[-1:], actrec.Clip(frames=2), INPUT, views=actrec.Views(crops=10, crop_ratio=0.5)
    )
    crops = next(iter(loader)).clips
    assert torch.equal(crops[1::2], crops[::2].flip(-1))
    assert not torch.equal(crops[0], crops[2])


def test_crops_are_where_the_plan_says(tmp_path):
    import cv2

    folder = tmp_path / "wide"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    cv2.imwrite(str(folder / "1.png"), picture[:, :, ::-1])
    net_input = Input(mean=(0.0,) * 3, std=(1.0,) * 3, frames=1, size=48)
    views = actrec.Views(crops=3, crop_ratio=1)
    videos = [actrec.Video("wide", str(folder), None, None, ())]
    batch = next(iter(actrec.eval_loader(videos, actrec.Clip(frames=1), net_input, views=views)))
    plan = plan_eval(num_frames=1, width=80, height=48, clip=actrec.Clip(frames=1), size=48, views=views)
    assert plan.offsets.tolist() == [[0, 0], [32, 0], [16, 0]]
    for crop, (x, y) in zip(batch.clips, plan.offsets):
        pixels = (crop[:, 0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(pixels, picture[y : y + 48, x : x + 48])
    assert batch.labels.tolist() == [-1]


def test_each_needed_frame_is_decoded_once(media_rows, monkeypatch):
    images, videos = [], []
    read_images, read = decode.read_images, read_frames
    monkeypatch.setattr(decode, "read_images", lambda paths, **k: images.extend(paths) or read_images(paths, **k))
    monkeypatch.setattr(
        "actrec.data.index.index.read_frames", lambda path, *a, **k: videos.append(path) or read(path, *a, **k)
    )
    views = actrec.Views(clips=10, crops=3)
    list(actrec.eval_loader(media_rows, actrec.Clip(frames=8), INPUT, views=views))
    assert len(images) == len(set(images)) == 40
    assert len(videos) == len(set(videos)) == len(media_rows) - 1


def test_the_two_decoders_agree(media_rows):
    check_agreement(media_rows, [("workers", "cpu"), ("dali", "cpu")])


@pytest.mark.gpu
def test_the_two_devices_agree(media_rows):
    check_agreement(media_rows, [("workers", "cpu"), ("auto", "cuda"), ("workers", "cuda")])


def check_agreement(videos, ways):
    net_input = Input(mean=HALF, std=HALF, frames=8, size=64)
    batches = []
    for decoder, device in ways:
        loader = actrec.train_loader(
            videos, actrec.Clip(), net_input, batch_size=len(videos), decoder=decoder, device=device
        )
        batches.append(next(iter(loader)))
    for other in batches[1:]:
        assert batches[0].videos == other.videos
        assert torch.equal(batches[0].labels, other.labels.cpu())
        apart = (batches[0].clips - other.clips.cpu()).abs() * 127.5
        assert apart.mean() < 1
        assert apart.flatten()[::7].quantile(0.999) <= 12


@pytest.mark.gpu
def test_a_wider_file_does_not_spoil_a_narrower_one_on_a_gpu(tmp_path, make_rows):
    """Both are stored 464 wide: a decoder that is used again must not take over the other's displayed width."""
    from actrec.data.video.encode import VideoWriter

    picture = np.random.default_rng(0).integers(60, 190, (16, 29, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    paths = []
    for width in (464, 456):
        paths.append(tmp_path / f"{width}.mp4")
        with VideoWriter(paths[-1], width=width, height=256, rate=25, gop=8) as video:
            for n in range(24):
                video.write(np.ascontiguousarray(np.roll(picture, 16 * n, axis=1)[:, :width]))
    check_agreement(make_rows(*paths), [("workers", "cpu"), ("auto", "cuda")])


def test_a_file_of_an_old_encoder_is_entered_as_it_is_decoded_from_the_start(tmp_path):
    """x264 before build 151 wrote 4:4:4 in a way that a decoder must know; its first packet says it."""
    videos = [actrec.Video("a", str(write_as_old_x264(tmp_path / "a.mp4")), None, None, (0,))]
    loaders, clips = [], []
    for way in ("from the start", "verified"):
        index = build_index(videos)
        if way == "from the start":
            index._records.change(0, certified=Certified.NO)
        else:
            index.verify_all(run_in_threads)
        views = actrec.Views(clips=3, crops=1)
        loaders.append(actrec.eval_loader(videos, actrec.Clip(frames=2), INPUT, views=views, index=index))
        clips += [batch.clips for batch in loaders[-1]]
    assert torch.equal(*clips)
    assert loaders[1].decoded < loaders[0].decoded  # it was entered at keyframes

    augment = actrec.Augment(geometry="center", flip=False)
    loader = actrec.train_loader(videos, actrec.Clip(frames=2), INPUT, augment=augment, batch_size=1)
    again = actrec.train_loader(videos, actrec.Clip(frames=2), INPUT, augment=augment, batch_size=1)
    first = [[batch.clips for batch in loader] for _ in range(4)]
    for epoch, expected in enumerate(first):
        again.load_state_dict({"epoch": epoch, "step": 0})
        again.index.certificates.clear()
        again.index._records.change(0, certified=Certified.NO)  # it is decoded from the start
        assert torch.equal(next(iter(again)).clips, expected[0])
