from __future__ import annotations

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.sampling.plan import plan_eval, plan_train
from actrec.data.video.probe import probe_video
from actrec.data.video.read import read_frames
from actrec.pipelines.workers import decode

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=8, size=96)
WHOLE = actrec.Augment(geometry="center", flip=False)
CPU_DECODERS = ["workers", "dali"]


def loaded(loader) -> dict:
    """Clip and label by video id."""
    found = {}
    for batch in loader:
        for i, id_ in enumerate(batch.videos):
            found[id_] = (batch.clips[i * batch.views : (i + 1) * batch.views], int(batch.labels[i]))
    return found


def planned_train(row, index, clip, *, epoch, seed=0):
    found = index[row]
    return plan_train(
        num_frames=found.frames, width=found.width, height=found.height, clip=clip, size=INPUT.size, augment=WHOLE,
        seed=seed, epoch=epoch, index=row,
    )  # fmt: skip


@pytest.mark.parametrize("decoder", CPU_DECODERS)
@pytest.mark.parametrize(
    "clip", [actrec.Clip(frames=8), actrec.Clip(frames=5, stride=3, sampling="dense")], ids=["uniform", "dense"]
)
def test_the_planned_frames_reach_the_net_in_training(media_rows, numbers, clip, decoder):
    check_training(media_rows, numbers, clip, decoder, "cpu")


@pytest.mark.gpu
def test_the_planned_frames_reach_the_net_in_training_on_a_gpu(media_rows, numbers):
    check_training(media_rows, numbers, actrec.Clip(frames=8), "auto", "cuda")


def check_training(videos, numbers, clip, decoder, device):
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
    read_image, read = decode.read_image, read_frames
    monkeypatch.setattr(decode, "read_image", lambda path: images.append(path) or read_image(path))
    monkeypatch.setattr(
        "actrec.pipelines.workers.decode.read_frames", lambda path, *a, **k: videos.append(path) or read(path, *a, **k)
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


def test_the_workers_change_nothing(media_rows):
    def run(**options):
        loader = actrec.train_loader(media_rows, actrec.Clip(frames=4), INPUT, batch_size=2, seed=3, **options)
        return [batch for _ in range(2) for batch in loader]

    for one, other in zip(run(workers=1, prefetch=1), run(workers=5, prefetch=4)):
        assert one.videos == other.videos
        assert torch.equal(one.clips, other.clips)


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


@pytest.mark.parametrize("decoder", CPU_DECODERS)
def test_a_bad_file_takes_nothing_with_it(tmp_path, numbers, make_rows, decoder):
    good = [numbers.folder(tmp_path / "a"), numbers.folder(tmp_path / "b"), numbers.video(tmp_path / "vp9.webm")]
    torn = numbers.folder(tmp_path / "torn")
    vanishing = numbers.video(tmp_path / "gone-vp9.webm")
    videos = make_rows(*good, torn, vanishing)
    index = build_index(videos)
    for image in torn.iterdir():  # after the index has seen them
        image.write_bytes(b"\xff\xd8\xff\xe0 not a JPEG any more")
    vanishing.unlink()
    loader = actrec.train_loader(
        videos, actrec.Clip(frames=4), INPUT, augment=WHOLE, batch_size=5, index=index, decoder=decoder
    )
    for epoch in range(2):
        clips = loaded(loader)
        assert set(clips) == {"a", "b", "vp9.webm"}
        for row in range(3):
            expected = planned_train(row, index, loader.clip, epoch=epoch).frames
            assert numbers.read(clips[videos[row].id][0])[0].tolist() == expected.tolist()
    assert set(loader.skipped) == {"torn", "gone-vp9.webm"}
    assert "not an image" in loader.skipped["torn"]
    assert "vp9.webm" in loader.skipped["gone-vp9.webm"]

    scored = loaded(actrec.eval_loader(videos, actrec.Clip(frames=4), INPUT, index=index, decoder=decoder))
    assert set(scored) == {"a", "b", "vp9.webm"}


@pytest.mark.parametrize("name", ["a-h264.mp4", "a-mpeg4.avi", "folder"])
def test_segments_of_one_file_in_a_batch_are_decoded_once(tmp_path, numbers, name, monkeypatch):
    path = numbers.folder(tmp_path / name) if name == "folder" else numbers.video(tmp_path / name)
    spans = [(0, 20), (10, 30), (35, 40), (0.2, 0.6), (38, 90)]
    if name == "folder":
        (path / "fps").write_text("25")
        spans.pop()
    videos = [Video(str(i), str(path), *span, (i,)) for i, span in enumerate(spans)]
    clip, index = actrec.Clip(frames=5), build_index(videos)
    reads = []
    for module, read in ((decode, "read_frames"), (decode, "read_image")):
        real = getattr(module, read)
        monkeypatch.setattr(module, read, lambda *a, real=real, **k: reads.append(a[0]) or real(*a, **k))
    together = actrec.eval_loader(videos, clip, INPUT, views=actrec.Views(clips=2, crops=3), batch_size=5, index=index)
    clips = loaded(together)
    positions = {index[row].start + i for row in range(len(videos)) for i in together.plan(0, row).frames.ravel()}
    assert len(reads) == (len(positions) if name == "folder" else 1)
    apart = actrec.eval_loader(videos, clip, INPUT, views=actrec.Views(clips=2, crops=3), batch_size=1, index=index)
    for id_, (found, label) in loaded(apart).items():
        assert torch.equal(found, clips[id_][0])
        assert label == clips[id_][1]
    if name != "folder":
        assert together.delivered == len(positions)
        assert together.clamped == apart.clamped

    train = actrec.train_loader(videos, clip, INPUT, batch_size=len(videos), index=index)
    alone = [actrec.train_loader(videos, clip, INPUT, batch_size=1, index=index) for _ in range(2)]
    for epoch, single in enumerate(alone):  # boxes of their own, and mirrored by themselves
        single.load_state_dict({"epoch": epoch, "step": 0})
        expected = loaded(single)
        for id_, (found, _) in loaded(train).items():
            assert torch.equal(found, expected[id_][0])


def test_a_segment_that_is_none_takes_no_other_with_it(tmp_path, numbers):
    path = numbers.video(tmp_path / "a-h264.mp4")
    videos = [Video("good", str(path), 0, 20, (0,)), Video("past", str(path), 50, 60, (0,))]
    index = build_index(videos)
    loader = actrec.eval_loader(videos, actrec.Clip(frames=4), INPUT, batch_size=2, index=index)
    assert set(loaded(loader)) == {"good"}
    assert loader.skipped == {"past": f"{path}: the list says frames 51 to 40, but there are 1 to 40"}


def test_an_image_that_one_segment_lacks_takes_no_other_with_it(tmp_path, numbers):
    path = numbers.folder(tmp_path / "folder")
    videos = [Video("whole", str(path), 0, 20, (0,)), Video("torn", str(path), 10, 30, (0,))]
    index = build_index(videos)
    (path / "00026.jpg").write_bytes(b"no image")
    loader = actrec.eval_loader(videos, actrec.Clip(frames=20), INPUT, batch_size=2, index=index)
    clips = loaded(loader)
    assert set(clips) == {"whole"}
    assert numbers.read(clips["whole"][0])[0].tolist() == list(range(20))
    assert loader.skipped["torn"].endswith("00026.jpg: not an image that OpenCV can decode")


def test_a_missing_frame_file_is_named(tmp_path, numbers, make_rows):
    videos = make_rows(numbers.folder(tmp_path / "a"), numbers.folder(tmp_path / "b"))
    index = build_index(videos)
    (tmp_path / "a" / "00007.jpg").unlink()
    loader = actrec.eval_loader(videos, actrec.Clip(frames=40), INPUT, index=index)
    assert set(loaded(loader)) == {"b"}
    assert loader.skipped["a"].endswith("a/00007.jpg: the image is missing")


def test_a_batch_of_bad_files_only_is_empty(tmp_path, numbers, make_rows):
    videos = make_rows(numbers.folder(tmp_path / "a"), numbers.folder(tmp_path / "b"))
    index = build_index(videos)
    for image in (tmp_path / "a").iterdir():
        image.unlink()
    loader = actrec.train_loader(videos, actrec.Clip(frames=2), INPUT, batch_size=1, index=index)
    assert sorted(len(batch) for batch in loader) == [0, 1]
    assert {tuple(batch.clips.shape[1:]) for batch in loader} == {(3, 2, 96, 96)}


def test_a_file_that_changes_in_the_middle_of_a_run(tmp_path, numbers, make_rows):
    import os

    path = numbers.video(tmp_path / "h264.mp4")
    loader = actrec.train_loader(make_rows(path), actrec.Clip(frames=4), INPUT, augment=WHOLE, batch_size=1)
    for change in (None, lambda: os.utime(path, ns=(1, 1)), lambda: numbers.video(path, first=100)):
        if change:
            change()
        for _ in range(2):
            epoch = loader.epoch
            shown = numbers.read(next(iter(loader)).clips)[0] % 100
            assert shown.tolist() == planned_train(0, loader.index, loader.clip, epoch=epoch).frames.tolist()
    assert not loader.skipped


def test_no_file_stays_open(tmp_path, numbers, make_rows):
    import os

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    rows = make_rows(*[numbers.video(tmp_path / f"{i}-h264.mp4", frames=6) for i in range(40)])
    loader = actrec.train_loader(rows, actrec.Clip(frames=2), INPUT, batch_size=4)
    next(iter(loader))
    before = descriptors()
    for _ in range(3):
        assert sum(len(batch) for batch in loader) == 40
    assert descriptors() == before


def test_frames_past_the_end_become_the_last_and_are_counted(tmp_path, numbers, make_rows, monkeypatch):
    probe = probe_video
    monkeypatch.setattr(
        "actrec.data.index.probe.probe_video",
        lambda path: type(p := probe(path))(**{**p.__dict__, "frames": p.frames + 3}),
    )
    videos = make_rows(numbers.video(tmp_path / "h264.mp4", frames=10))
    loader = actrec.eval_loader(videos, actrec.Clip(frames=13), INPUT, views=actrec.Views(crop_ratio=1))
    assert numbers.read(next(iter(loader)).clips)[0].tolist() == [*range(10), 9, 9, 9]
    assert loader.clamped == 3


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
