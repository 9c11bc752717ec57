"""The view shows the boxes and clips of the loader itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine.data_of import data_of
from engine.helpers import INPUT, recipe
from PIL import Image

import actrec
from actrec import config
from actrec.data.index import build_index
from actrec.engine import loss as losses
from actrec.engine.build import make_loaders
from actrec.inference.drawing import PAPER, draw_box, font, pixels_of, shortened
from actrec.inference.view import evaluation_view, label_names, sheet, target_names, training_view

CLASSES = ["dark", "bright", "gray"]
RUN = config.Run(device="cpu", seed=3)


def test_names_of_one_label():
    assert label_names(torch.tensor([2, -1, 0]), CLASSES) == ["gray", "-", "dark"]


def test_names_of_several_labels():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert label_names(labels, CLASSES) == ["dark, gray", "-", "bright"]
    assert label_names(labels[:0], CLASSES) == []


def test_names_of_mixed_labels():
    targets = torch.tensor([[0.25, 0.75, 0], [0, 0, 1], [0, 0, 0]])
    assert target_names(targets, CLASSES) == ["bright 0.75 + dark 0.25", "gray", "-"]


def loader_of(data, augment, loader, run=RUN):
    made = recipe()
    batches, _ = make_loaders(data, made.clip, INPUT, augment, loader, made.loss, run, torch.device("cpu"))
    return batches


@pytest.mark.parametrize("epoch", [0, 2])
def test_training_shows_what_the_loader_of_this_epoch_feeds(dataset, epoch):
    data, made = data_of(dataset), recipe()
    augment, loader = actrec.Augment(geometry="random-resized"), config.Loader(batch_size=4, repeats=2)
    view = training_view(data, made.clip, INPUT, augment, loader, made.loss, RUN, num_videos=3, epoch=epoch)
    batches = loader_of(data, augment, loader)
    batches.load_state_dict({"epoch": epoch, "step": 0})
    order, clips = [], []
    for batch in batches:
        order += batch.videos
        clips += list(pixels_of(batch.clips, INPUT))
    assert [shown.video for shown in view.clips] == order[:6]
    seen = {}
    for shown, clip in zip(view.clips, clips):
        repeat = seen.setdefault(shown.video, -1) + 1
        seen[shown.video] = repeat
        plan = batches.plan(epoch, [video.id for video in data.train].index(shown.video), repeat)
        (crop,) = shown.crops
        assert (crop.box, crop.flip) == (plan.box, plan.flip)
        assert np.array_equal(shown.frames, plan.frames)
        assert np.array_equal(crop.pixels, clip)
        assert shown.sources.shape == (5, shown.size[1], shown.size[0], 3)
        x, y, w, h = crop.box
        inside = shown.sources[:, y : y + h, x : x + w].mean((1, 2))
        assert np.abs(inside - crop.pixels.mean((1, 2))).max() < 4  # the box is where the clip comes from
    assert {shown.crops[0].flip for shown in view.clips} == {False, True}
    assert not view.skipped


def test_clips_are_mixed_as_in_training(dataset):
    data, made = data_of(dataset), recipe()
    augment, loader = actrec.Augment(mixup=0.8), config.Loader(batch_size=4)
    view = training_view(data, made.clip, INPUT, augment, loader, made.loss, RUN, num_videos=6, epoch=1)
    batches = loader_of(data, augment, loader)
    batches.load_state_dict({"epoch": 1, "step": 0})
    shown = iter(view.clips)
    for step, batch in zip(range(2), batches):
        mix = losses.plan_mix(augment, seed=3, epoch=1, step=step, size=32)
        losses.mix(batch.clips, losses.targets(batch.labels, 2), mix)
        for i, (clip, one) in enumerate(zip(pixels_of(batch.clips, INPUT), shown)):
            assert np.array_equal(one.crops[0].pixels, clip)
            assert one.note == f"mixed with {batch.videos[i ^ 1]}"
    assert any(" + " in one.classes for one in view.clips)
    with pytest.raises(ValueError, match="mixup with batches of 3 clips"):
        training_view(data, made.clip, INPUT, augment, config.Loader(batch_size=3), made.loss, RUN, num_videos=1)


def test_evaluation_shows_the_views_of_the_loader(dataset):
    videos, views = actrec.read_list(dataset / "val.txt"), config.Views(clips=2, crops=10, crop_ratio=0.75)
    index = build_index(videos)
    view = evaluation_view(
        videos, index, config.Clip(frames=5), INPUT, views, classes=["dark", "bright"], num_videos=3, seed=1
    )
    assert [shown.note for shown in view.clips] == ["clip 1 of 2", "clip 2 of 2"] * 3
    batch = next(iter(actrec.eval_loader(videos, config.Clip(frames=5), INPUT, views=views, index=index)))
    clips = pixels_of(batch.clips, INPUT).reshape(4, 10, 2, 5, 32, 32, 3)
    assert len({shown.video for shown in view.clips}) == 3
    for i, shown in enumerate(view.clips):
        row = batch.videos.index(shown.video)
        assert np.array_equal(shown.frames, batch.plans[row].frames[i % 2])
        for number, crop in enumerate(shown.crops):
            assert np.array_equal(crop.pixels, clips[row, number, i % 2])
            assert crop.flip == (number % 2 == 1)
        x, y, w, h = (round(value) for value in shown.crops[8].box)  # the center
        inside = shown.sources[:, y : y + h, x : x + w].mean((1, 2))
        assert np.abs(inside - shown.crops[8].pixels.mean((1, 2))).max() < 4


def test_a_broken_video_is_skipped_and_the_next_one_is_shown(dataset, tmp_path):
    videos = [actrec.Video("gone", str(tmp_path / "gone"), None, None, (0,)), *actrec.read_list(dataset / "val.txt")]
    view = evaluation_view(
        videos, build_index(videos), config.Clip(frames=5), INPUT, config.Views(), classes=["dark", "bright"],
        num_videos=9,
    )  # fmt: skip
    assert {shown.video for shown in view.clips} == {f"frames/val{i}" for i in range(4)}
    assert list(view.skipped) == ["gone"]


@pytest.mark.parametrize("frames", [1, 16, 40, 100])
def test_a_sheet_of_any_length_is_at_most_2000_pixels_wide(dataset, frames):
    data, made = data_of(dataset), recipe()
    view = training_view(
        data, config.Clip(frames=frames), INPUT, actrec.Augment(), made.loader, made.loss, RUN, num_videos=2
    )
    page = sheet(view.clips)
    assert 640 <= page.width <= 2000
    assert np.asarray(page)[:, -1].tolist().count(list(PAPER)) > page.height - 5  # nothing touches the right border
    assert page.height < 4000


def test_the_box_is_drawn_where_it_is_planned(dataset):
    data, made = data_of(dataset), recipe()
    augment = actrec.Augment(geometry="center", flip=False)
    view = training_view(data, made.clip, INPUT, augment, made.loader, made.loss, RUN, num_videos=1)
    page = np.asarray(sheet(view.clips)).astype(int)
    yellow = np.abs(page - (255, 209, 0)).sum(2) < 8
    columns = np.flatnonzero(yellow.any(0))
    (x, _, w, _), (width, _) = view.clips[0].crops[0].box, view.clips[0].size
    thumb = 240 if width >= view.clips[0].size[1] else 240 * width / view.clips[0].size[1]
    first = columns[columns < 8 + 240]
    left = 8 + (240 - thumb) / 2
    assert abs(first[0] - (left + x * thumb / width)) <= 3
    assert abs(first[-1] - (left + (x + w) * thumb / width)) <= 3


@pytest.mark.parametrize("size", [(1, 1), (240, 1), (2, 160)])
def test_a_box_is_seen_in_the_smallest_picture(size):
    picture = Image.new("RGB", (250, 250))  # the page around it
    draw_box(picture, (0, 0, *size), (255, 209, 0))
    assert (255, 209, 0) in {color for _, color in picture.getcolors()}


def test_a_long_text_keeps_its_end():
    assert shortened("short", 100, font(13)) == "short"
    cut = shortened("a/very/long/name/of/a/video.mp4", 100, font(13))
    assert cut.startswith("…")
    assert cut.endswith("video.mp4")
    assert font(13).getlength(cut) <= 100


def test_flow_is_gray():
    fed = INPUT.with_channels(10)
    clips = torch.zeros(1, 10, 2, 3, 3)
    clips[:, 0] = 1.0
    assert (pixels_of(clips, fed) == 255).all()
    clips[:, 0] = 0.0
    assert (pixels_of(clips, fed) == 128).all()
    assert isinstance(Image.fromarray(pixels_of(clips, fed)[0, 0]), Image.Image)
