"""A function that takes a list takes its path, too, and does with it what the commands do."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.config import FLOW_CHANNELS
from actrec.data.index import cache_path
from actrec.data.index import index as index_module
from actrec.data.lists.mirror import flips_of
from actrec.data.video.encode import VideoWriter

CLIP, NET_INPUT = actrec.Clip(frames=4), actrec.Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=16)


@pytest.fixture
def root(dataset, tmp_path) -> Path:
    shutil.copytree(dataset, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool3d(2), torch.nn.Flatten(), torch.nn.Linear(24, 2))
    net.input = NET_INPUT
    return net


@pytest.fixture(scope="module")
def model(trained) -> actrec.Model:
    return actrec.load(trained, device="cpu")


def same(one: actrec.pipelines.batch.Batch, other: actrec.pipelines.batch.Batch) -> bool:
    return one.videos == other.videos and torch.equal(one.clips, other.clips) and torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("make", [actrec.train_loader, actrec.eval_loader])
def test_batches_are_those_of_the_rows(root, make):
    of_path = make(str(root / "train.txt"), CLIP, NET_INPUT, batch_size=4)
    of_rows = make(actrec.read_list(root / "train.txt"), CLIP, NET_INPUT, batch_size=4)
    for _ in range(2):
        assert [same(*pair) for pair in zip(of_path, of_rows, strict=True)] == [True] * 3


def test_scores_are_those_of_the_rows(root, net, model):
    path, rows = root / "val.txt", actrec.read_list(root / "val.txt")
    assert np.array_equal(actrec.evaluate(net, path, clip=CLIP).scores, actrec.evaluate(net, rows, clip=CLIP).scores)
    scores = model.score(rows).scores
    assert np.array_equal(model.score(path).scores, scores)
    assert np.array_equal(model.evaluate(path).scores, scores)


USES = {
    "build_index": lambda path, net, model: actrec.build_index(path),
    "train_loader": lambda path, net, model: actrec.train_loader(path, CLIP, NET_INPUT, batch_size=2),
    "eval_loader": lambda path, net, model: actrec.eval_loader(path, CLIP, NET_INPUT),
    "evaluate": lambda path, net, model: actrec.evaluate(net, path, clip=CLIP),
    "Model.score": lambda path, net, model: model.score(path),
    "Model.evaluate": lambda path, net, model: model.evaluate(path),
}
NAMES = {"evaluate": "loader", "Model.evaluate": "path"}  # of the argument; "videos" otherwise


@pytest.mark.parametrize("use", USES)
def test_the_index_is_that_of_the_commands(root, net, model, use, monkeypatch):
    list_path = root / "val.txt"
    USES[use](list_path, net, model)
    assert cache_path(list_path).is_file()
    probed = []
    monkeypatch.setattr(index_module, "probe_path", lambda path, *_, **__: probed.append(path))
    USES[use](list_path, net, model)
    assert not probed


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("none.txt", FileNotFoundError, "{root}/none.txt: no such file"),
        ("empty.txt", ValueError, "{root}/empty.txt:1: the list is empty: expected one video"),
        ("", ValueError, "{root}: this is a folder: expected a list with a video on each line, such as {root}/train"),
        ("a.mp4", ValueError, "{root}/a.mp4: this is an? .*, not a list: expected a text file"),
        ("labels.txt", ValueError, "{root}/labels.txt: this is a file of class names: expected a list"),
        ("bad.txt", ValueError, "{root}/bad.txt:1: "),
    ],
)
def test_paths_that_are_no_list(root, net, model, use, name, kind, expected):
    (root / "empty.txt").write_text("\n")
    (root / "bad.txt").write_text("frames/val0 5 2 0\n")
    with VideoWriter(root / "a.mp4", width=32, height=32, rate=10) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(kind, match=f"^{NAMES.get(use, 'videos')}: {expected.format(root=root)}"):
        USES[use](root / name, net, model)


def test_flips_next_to_the_list(root):
    path, always = root / "train.txt", actrec.Augment()
    (root / "flips.txt").write_text("dark\tbright\n")
    rows = actrec.read_list(path)
    options = {"augment": always, "batch_size": 12}
    (found,) = actrec.train_loader(path, CLIP, NET_INPUT, **options)
    (expected,) = actrec.train_loader(rows, CLIP, NET_INPUT, flip_map=flips_of(path, ["dark", "bright"]), **options)
    (plain,) = actrec.train_loader(rows, CLIP, NET_INPUT, **options)
    assert same(found, expected)
    assert not torch.equal(found.labels, plain.labels)  # mirrored videos have the other class
    (given,) = actrec.train_loader(path, CLIP, NET_INPUT, flip_map=[0, 1], **options)
    assert same(given, plain)


def test_classes_with_a_direction_are_not_mirrored(root):
    (root / "labels.txt").write_text("swipe_left\nswipe_right\n")
    options = {"augment": actrec.Augment(geometry="center", clip_position="center"), "batch_size": 12}
    (found,) = actrec.train_loader(root / "train.txt", CLIP, NET_INPUT, **options)
    never = actrec.Augment(geometry="center", clip_position="center", flip=False)
    (expected,) = actrec.train_loader(root / "train.txt", CLIP, NET_INPUT, augment=never, batch_size=12)
    assert same(found, expected)


def test_a_list_of_videos_stands_for_their_flow(tmp_path, net):
    rng = np.random.default_rng(0)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "flow" / name).mkdir(parents=True)
        for i in range(12):
            for axis in "xy":
                image = rng.integers(0, 255, (24, 32), np.uint8)
                cv2.imwrite(str(tmp_path / "flow" / name / f"{i + 1:05d}_{axis}.jpg"), image)
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4 1\n")
    clip, flow = actrec.Clip(frames=2, modality="flow"), NET_INPUT.with_channels(FLOW_CHANNELS)
    (batch,) = actrec.eval_loader(tmp_path / "train.txt", clip, flow)
    assert batch.clips.shape == (2, FLOW_CHANNELS, 2, 16, 16)
    assert batch.videos == ["a.mp4", "b.mp4"]
    assert cache_path(tmp_path / "train.txt", flow=True).is_file()
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), torch.nn.Linear(FLOW_CHANNELS, 2))
    net.input = flow
    assert actrec.evaluate(net, tmp_path / "train.txt", clip=clip).num_videos == 2
