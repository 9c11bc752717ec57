"""Files that are bad, incomplete, shared by several rows, or changed: what one lacks affects no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import actrec
from actrec.config import Input
from actrec.data.index import build_index, images
from actrec.data.index import index as index_module
from actrec.data.lists import Video
from actrec.data.video.probe import examine_video

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=8, size=96)
WHOLE = actrec.Augment(geometry="center", flip=False)
CPU_DECODERS = ["workers", "dali"]


@pytest.mark.parametrize(("decoder", "options"), [("workers", {}), ("dali", {}), ("dali", {"grayscale": 1.0})])
def test_a_bad_file_takes_nothing_with_it(tmp_path, numbers, make_rows, decoder, options, loaded):
    good = [numbers.folder(tmp_path / "a"), numbers.folder(tmp_path / "b"), numbers.video(tmp_path / "vp9.webm")]
    torn = numbers.folder(tmp_path / "torn")
    vanishing = numbers.video(tmp_path / "gone-vp9.webm")
    videos = make_rows(*good, torn, vanishing)
    index = build_index(videos)
    for image in torn.iterdir():  # after the index has seen them
        image.write_bytes(b"\xff\xd8\xff\xe0 not a JPEG any more")
    vanishing.unlink()
    augment = actrec.Augment(geometry="center", flip=False, **options)
    loader = actrec.train_loader(
        videos,
        actrec.Clip(frames=4),
        INPUT,
        augment=augment,
        batch_size=5,
        keep_last=True,
        index=index,
        decoder=decoder,
    )
    for epoch in range(2):
        clips = loaded(loader)
        assert set(clips) == {"a", "b", "vp9.webm"}
        for row in range(3):
            expected = loader.plan(epoch, row).frames
            assert numbers.read(clips[videos[row].id][0])[0].tolist() == expected.tolist()
    assert set(loader.skipped) == {"torn", "gone-vp9.webm"}
    assert "cut off" in loader.skipped["torn"]
    assert "vp9.webm" in loader.skipped["gone-vp9.webm"]

    scored = loaded(actrec.eval_loader(videos, actrec.Clip(frames=4), INPUT, index=index, decoder=decoder))
    assert set(scored) == {"a", "b", "vp9.webm"}


@pytest.mark.parametrize("decoder", CPU_DECODERS)
def test_damaged_images_are_named_and_enter_no_batch(tmp_path, numbers, make_rows, loaded, capfd, decoder):
    folders = [numbers.folder(tmp_path / name) for name in ("a", "b", "short", "damaged")]
    videos = make_rows(*folders)
    index = build_index(videos)
    for folder in folders[2:]:  # after the index has seen them
        for image in folder.iterdir():
            data = image.read_bytes()
            half = (data.rindex(b"\xff\xda") + len(data)) // 2
            image.write_bytes(data[:half] if folder.name == "short" else data[:half] + b"\x55" * 60 + data[-2:])
    loader = actrec.eval_loader(videos, actrec.Clip(frames=4), INPUT, batch_size=4, index=index, decoder=decoder)
    assert set(loaded(loader)) == {"a", "b"}
    assert set(loader.skipped) == {"short", "damaged"}
    assert ".jpg: the image is " in loader.skipped["short"]
    assert "the image is damaged (Corrupt JPEG data: " in loader.skipped["damaged"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a-h264.mp4", "a-mpeg4.avi", "folder"])
def test_segments_of_one_file_in_a_batch_are_decoded_once(tmp_path, numbers, name, monkeypatch, loaded):
    path = numbers.folder(tmp_path / name) if name == "folder" else numbers.video(tmp_path / name)
    spans = [(0, 20), (10, 30), (35, 40), (0.2, 0.6), (38, 90)]
    if name == "folder":
        (path / "fps").write_text("25")
        spans.pop()
    videos = [Video(str(i), str(path), *span, (i,)) for i, span in enumerate(spans)]
    clip, index = actrec.Clip(frames=5), build_index(videos)
    reads = []
    for module, read in ((index_module, "read_frames"), (images, "read_encoded")):
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


def test_a_segment_that_is_none_takes_no_other_with_it(tmp_path, numbers, loaded):
    path = numbers.video(tmp_path / "a-h264.mp4")
    videos = [Video("good", str(path), 0, 20, (0,)), Video("past", str(path), 50, 60, (0,))]
    index = build_index(videos)
    loader = actrec.eval_loader(videos, actrec.Clip(frames=4), INPUT, batch_size=2, index=index)
    assert set(loaded(loader)) == {"good"}
    assert loader.skipped == {"past": f"{path}: the list says frames 51 to 60, but there are 1 to 40"}


def test_an_image_that_one_segment_lacks_takes_no_other_with_it(tmp_path, numbers, loaded):
    path = numbers.folder(tmp_path / "folder")
    videos = [Video("whole", str(path), 0, 20, (0,)), Video("torn", str(path), 10, 30, (0,))]
    index = build_index(videos)
    (path / "00026.jpg").write_bytes(b"no image")
    loader = actrec.eval_loader(videos, actrec.Clip(frames=20), INPUT, batch_size=2, index=index)
    clips = loaded(loader)
    assert set(clips) == {"whole"}
    assert numbers.read(clips["whole"][0])[0].tolist() == list(range(20))
    assert loader.skipped["torn"].endswith("00026.jpg: not an image that OpenCV can decode")


def test_a_missing_frame_file_is_named(tmp_path, numbers, make_rows, loaded):
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
            assert shown.tolist() == loader.plan(epoch, 0).frames.tolist()
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
    def examine(path):
        probe, finding = examine_video(path)
        return replace(probe, frames=probe.frames + 3), finding

    monkeypatch.setattr("actrec.data.index.probe.examine_video", examine)
    videos = make_rows(numbers.video(tmp_path / "h264.mp4", frames=10))
    loader = actrec.eval_loader(videos, actrec.Clip(frames=13), INPUT, views=actrec.Views(crop_ratio=1))
    assert numbers.read(next(iter(loader)).clips)[0].tolist() == [*range(10), 9, 9, 9]
    assert loader.clamped == 3
