"""Features of videos."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timed_videos import VARIABLE, write_timed
from torch import nn

import actrec
from actrec import config
from actrec.config import Input, Windows
from actrec.inference import embed, embeddings
from actrec.inference.embeddings import Embeddings, file_names, labels_of

VIEWS = {"clips": 2, "crops": 3}
WINDOWS = Windows(every=0.08, window=0.2)  # 2 and 5 frames at 25 frames per second


@pytest.fixture(scope="module")
def model(trained) -> actrec.Model:
    return actrec.load(trained, views=VIEWS, device="cpu")


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """A video of 15 frames."""
    from actrec.data.video.encode import VideoWriter

    path = tmp_path_factory.mktemp("long") / "long.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, width=48, height=32, rate=25) as video:
        for _ in range(15):
            video.write(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
    return path


def with_options(model, batch_size, workers):
    return replace(model, scoring=config.Scoring(batch_size=batch_size), loader=config.Loader(workers=workers))


def direct(model, videos, module, *, before):
    """Features of one forward for each video, by a hook of the caller."""
    found = []
    hook = (
        module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        if before
        else module.register_forward_hook(lambda _, inputs, output: found.append(output))
    )
    with hook, torch.inference_mode():
        for batch in replace(model, scoring=config.Scoring(batch_size=1)).make_loader(videos):
            model.net(batch.clips)
    views = [one.flatten(2).mean(2) if one.ndim > 2 else one for one in found]
    return torch.stack([one.unflatten(0, (-1, model.views.num_views)).mean((0, 1)) for one in views]).numpy()


@pytest.fixture(scope="module")
def listed(dataset):
    return actrec.read_list(dataset / "train.txt")


def test_features_are_the_input_of_the_last_layer(model, listed):
    found = model.embed(listed)
    assert found.features.shape == (12, model.net.fc.in_features)
    assert found.features.dtype == np.float32
    np.testing.assert_allclose(found.features, direct(model, listed, model.net.fc, before=True), rtol=1e-5, atol=1e-6)
    # The last layer makes the scores of `evaluate` from them.
    logits = model.net.fc(torch.from_numpy(found.features)).detach().numpy()
    np.testing.assert_allclose(logits, model.score(listed).scores, rtol=1e-4, atol=1e-5)
    assert found.ids == [video.id for video in listed]
    assert found.labels.tolist() == [video.label for video in listed]
    assert found.frames.tolist() == [[0, 9]] * 12
    assert np.isnan(found.times).all()  # the folders do not say how many frames a second has
    assert found.missing == {}


def test_features_are_bit_equal_for_any_batch_size_and_number_of_workers(model, listed):
    expected = model.embed(listed).features
    for batch_size, workers in ((1, 2), (3, 1), (8, 2)):
        assert np.array_equal(with_options(model, batch_size, workers).embed(listed).features, expected)
    alone = np.concatenate([model.embed([video]).features for video in listed[::5]])
    assert np.array_equal(alone, expected[::5])


@pytest.mark.parametrize(("name", "layer"), [("tsn_resnet18", "layer2"), ("s3d", "features.5"), ("i3d", "dropout")])
def test_any_layer_of_2d_and_3d_nets(model, listed, name, layer):
    torch.manual_seed(0)
    net = actrec.net(name, num_classes=2).eval()
    other = replace(model, net=net, clip=actrec.Clip(frames=8), input=replace(net.input, size=max(net.min_size, 32)),
                    views=actrec.Views(), channels_last=False)  # fmt: skip
    names = dict(net.named_modules())
    layer = layer if layer in names else next(key for key, one in names.items() if isinstance(one, nn.Conv3d))
    found = other.embed(listed[:3], layer=layer)
    expected = direct(other, listed[:3], names[layer], before=False)
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5 * expected.max())
    assert np.array_equal(with_options(other, 1, 1).embed(listed[:3], layer=layer).features, found.features)


class Frames(nn.Module):
    """A net that sees the frames of a clip as images, and has layers of several kinds."""

    input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=5, size=32)

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.tokens = nn.Linear(6, 4)
        self.pair = nn.LSTM(4, 4, batch_first=True)
        self.unused = nn.Linear(2, 2)
        self.scalar = nn.Flatten(0)
        self.last_layer = nn.Linear(4, num_classes)

    def forward(self, x):
        images = self.conv(x.transpose(1, 2).flatten(0, 1))
        tokens = self.tokens(images.flatten(2).transpose(1, 2))  # (N * T, H * W, channels)
        self.scalar(tokens)
        steps, _ = self.pair(tokens.mean(1).unflatten(0, (len(x), -1)))
        return self.last_layer(steps[:, -1])


def test_layers_of_a_net_from_outside(model, listed, monkeypatch, tmp_path):
    (tmp_path / "frames_net.py").write_text("from inference.test_embed import Frames\n")
    monkeypatch.setitem(sys.modules, "frames_net", sys.modules[__name__])
    net = actrec.net("frames_net:Frames", num_classes=2).eval()
    other = replace(model, net=net, input=net.input, views=actrec.Views(), channels_last=False)
    clips = torch.cat(
        [batch.clips for batch in replace(other, scoring=config.Scoring(batch_size=1)).make_loader(listed[:2])]
    )
    with torch.inference_mode():
        images = net.conv(clips.transpose(1, 2).flatten(0, 1))
        tokens = net.tokens(images.flatten(2).transpose(1, 2))
    assert other.embed(listed[:2]).features.shape == (2, 4)
    for layer, expected in (
        ("conv", images.mean((2, 3)).unflatten(0, (2, 5)).mean(1)),
        ("tokens", tokens.mean(1).unflatten(0, (2, 5)).mean(1)),
    ):
        found = other.embed(listed[:2], layer=layer).features
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
    for layer, message in (
        ("unused", "does not call it"),
        ("pair", "gives a tuple"),
        ("scalar", r"gives a tensor \(\d+,\) for 4 clips"),
        ("convs", "has no such layer: did you mean conv"),
    ):
        with pytest.raises(ValueError, match=message):
            other.embed(listed[:2], layer=layer)


def test_windows_equal_the_features_of_list_rows(model, long):
    found = model.embed([long], windows=WINDOWS)
    assert found.ids == [str(long)] * 6
    assert found.frames.tolist() == [[0, 5], [2, 7], [4, 9], [6, 11], [8, 13], [10, 15]]
    np.testing.assert_allclose(found.times, found.frames / 25)
    rows = [actrec.Video(str(n), str(long), start, stop, ()) for n, (start, stop) in enumerate(found.frames.tolist())]
    by_row = model.embed(rows)
    assert np.array_equal(by_row.features, found.features)
    assert np.array_equal(by_row.times, found.times)
    assert np.array_equal(with_options(model, 1, 1).embed([long], windows=WINDOWS).features, found.features)
    part = model.embed([actrec.Video("part", str(long), 5, 15, ())], windows=WINDOWS)
    assert part.frames.tolist() == [[5, 10], [7, 12], [9, 14], [10, 15]]  # in the file; the last one ends with it


def test_videos_that_cannot_be_used_are_named(model, listed, long, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video")
    found = model.embed([*listed[:2], bad, listed[2], "gone.mp4"])
    assert found.ids == [video.id for video in listed[:3]]
    assert list(found.missing) == [str(bad), "gone.mp4"]
    found = model.embed([bad, long, listed[0]], windows=WINDOWS)
    assert set(found.ids) == {str(long)}
    assert "need the number of frames per second" in found.missing[listed[0].id]
    with pytest.raises(ValueError, match="no video could be embedded; .*bad.mp4"):
        model.embed([bad])


def test_labels():
    one, none, two = (actrec.Video("", "", None, None, labels) for labels in ((3,), (), (0, 2)))
    assert labels_of([one, none]).tolist() == [3, -1]
    assert labels_of([none, two]).tolist() == [[False] * 3, [True, False, True]]
    assert labels_of([one], 5).tolist() == [[False, False, False, True, False]]


# ---- unfinished work ----


@pytest.mark.parametrize("windows", [None, WINDOWS])
def test_resumed_work_is_bit_equal(model, listed, long, tmp_path, monkeypatch, windows):
    model = with_options(model, 2, 1)
    videos = [actrec.Video(str(n), str(long), 0, 15 - n, ()) for n in range(4)] if windows else listed
    task = embed.Task(videos, windows=windows)
    expected = embed.embed(model, task)
    monkeypatch.setattr(embed, "_SAVE_EVERY", 0)  # after every batch
    calls = 0

    def stop(done, total, failed):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt

    folder = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        embed.embed(model, task, folder=folder, progress=stop)
    before = embed.Store(folder).read()
    assert 0 < sum(map(len, before)) < len(expected)
    told = []
    found = embed.embed(model, task, folder=folder, progress=lambda *now: told.append(now))
    assert told[-1] == (len(expected), len(expected), 0)
    assert found.ids == expected.ids
    for name in ("features", "frames", "labels"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    computed = sum(map(len, embed.Store(folder).read()))
    assert computed <= len(expected) + model.batch_size  # what was done was not done again
    monkeypatch.setattr(embed, "compute", None)
    again = embed.embed(model, task, folder=folder, work=lambda task, before, missing, receive: None)
    assert np.array_equal(again.features, expected.features)


def test_other_options_do_not_continue_unfinished_work(model, listed, tmp_path):
    task = embed.Task(listed[:2])
    embed.embed(model, task, folder=tmp_path / "work")
    for other, of_model, what in (
        (replace(task, layer="layer1"), model, "layer"),
        (replace(task, videos=listed[:3]), model, "list"),
        (task, replace(model, views=actrec.Views()), "views"),
        (task, replace(model, scoring=config.Scoring(precision="bfloat16")), "precision"),
    ):
        with pytest.raises(ValueError, match=f"unfinished work with another {what}: run that command again"):
            embed.embed(of_model, other, folder=tmp_path / "work")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.txt").write_bytes(b"mine")
    with pytest.raises(ValueError, match="not a folder of unfinished work"):
        embed.embed(model, task, folder=tmp_path / "other")
    next((tmp_path / "work").glob("*.npz")).write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="damaged"):
        embed.embed(model, task, folder=tmp_path / "work")


# ---- files ----


def some(num=5, labels=None) -> Embeddings:
    rng = np.random.default_rng(0)
    frames = np.stack([np.arange(num), np.arange(num) + 8], axis=1)
    return Embeddings(
        [f"ä/{n}.mp4" for n in range(num)], np.where(frames == 9, np.nan, frames / 25), frames,
        rng.standard_normal((num, 3)).astype(np.float32),
        np.arange(num) % 2 if labels is None else labels,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", embeddings.SUFFIXES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("labels", [None, np.eye(5, 3, dtype=bool)], ids=["one label", "several labels"])
def test_files_are_read_back(tmp_path, suffix, dtype, labels):
    made = some(labels=labels)
    path = tmp_path / f"f{suffix}"
    written = embeddings.save(path, made, dtype=dtype)
    assert sorted(written) == sorted(tmp_path.iterdir())
    found = embeddings.read(path)
    assert found.ids == made.ids
    assert np.array_equal(found.features, made.features.astype(dtype).astype(np.float32))
    np.testing.assert_array_equal(found.times, made.times)
    np.testing.assert_array_equal(found.frames, made.frames)
    np.testing.assert_array_equal(found.labels, made.labels)


def test_the_arrays_of_an_npz_file(tmp_path):
    embeddings.save(tmp_path / "f.npz", some())
    with np.load(tmp_path / "f.npz") as found:
        assert {name: (found[name].shape, found[name].dtype.kind) for name in found} == {
            "ids": ((5,), "U"), "times": ((5, 2), "f"), "frames": ((5, 2), "i"), "features": ((5, 3), "f"),
            "labels": ((5,), "i"), "made_from": ((), "U"),
        }  # fmt: skip


def test_features_that_do_not_fit_float16(tmp_path):
    large = replace(some(), features=np.full((5, 3), 7e4, np.float32))
    with pytest.raises(
        ValueError, match="a feature is 7e.04, but the largest float16 is 65504: expected dtype float32"
    ):
        embeddings.save(tmp_path / "f.npz", large, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_refused(tmp_path):
    for name, content in (("a.npz", b"text"), ("b.npy", b"text"), ("c.safetensors", b"text"), ("d.txt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: "):
            embeddings.read(tmp_path / name)
        with pytest.raises((OSError, ValueError), match=f"gone{name}"):
            embeddings.read(tmp_path / f"gone{name}")
    np.savez(tmp_path / "e.npz", ids=["a"], features=np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"e.npz: not a file of `actrec embed`, or damaged \(.*times"):
        embeddings.read(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", **{**vars(some()), "ids": ["a"], "classes": ["jump"]})
    with pytest.raises(ValueError, match="have the shapes ids"):
        embeddings.read(tmp_path / "f.npz")


def test_names_of_files():
    assert file_names(["a/x.mp4", "b/y.3gp 1-50"]) == ["x", "y_1-50"]
    assert file_names(["a/x.mp4", "b/x.mp4", "b/y.mp4"]) == ["a_x", "b_x", "y"]
    assert file_names(["/d/a/x.mp4", "/d/b/X.avi"]) == ["a_x", "b_X"]
    assert file_names(["a/x.mp4", "a_x.mp4", "A/X.avi", "..", "ü ß/v 1"]) == ["a_x", "a_x_2", "A_X_3", "video", "v_1"]
    assert file_names(["/d/x.mp4", "x.mp4"]) == ["d_x", "x"]
    assert file_names(["v1.0 take", "v1.5 take"]) == ["v1.0_take", "v1.5_take"]


@pytest.mark.parametrize("layout", ["opentad", "actionformer"])
def test_layouts(model, long, tmp_path, layout):
    windows = Windows(every=0.08, window=0.24)  # 2 and 6 frames; the last window of 15 frames is not on the grid
    other = actrec.Video("b/long.mp4", str(long), 0, 4, ())  # shorter than a window
    found = model.embed([actrec.Video("a/long.mp4", str(long), None, None, ()), other], windows=windows)
    assert found.frames[:, 0].tolist() == [0, 2, 4, 6, 8, 9, 0]
    said = embeddings.save_layout(tmp_path / "out", found, layout, windows, model.clip)
    assert json.loads((tmp_path / "out/features.json").read_text()) == said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_long.npy", "b_long.npy", "features.json"]
    features = np.load(tmp_path / "out/a_long.npy")
    assert features.dtype == np.float32
    assert np.array_equal(features, found.features[:5])
    assert np.array_equal(np.load(tmp_path / "out/b_long.npy"), found.features[6:])
    assert (said["feature_stride"], said["num_frames"], said["fps"], said["num_channels"]) == (
        2,
        6,
        25,
        features.shape[1],
    )
    assert (said["stride_seconds"], said["window_seconds"], said["same_fps"]) == (0.08, 0.24, True)
    video = said["videos"]["a_long"]
    assert (video["frame"], video["duration"], video["num_features"], video["fps"]) == (15, 0.6, 5, 25)
    if layout == "opentad":
        assert said["options"] == {"feature_stride": 2, "sample_stride": 1, "offset_frames": 3, "fps": 25}
    else:
        assert said["options"]["feat_stride"] == 2
        assert said["options"]["num_frames"] == 6
    with pytest.raises(OSError, match="out"):
        embeddings.save_layout(tmp_path / "out", found, layout, windows, model.clip)


def test_a_missing_window_ends_the_features_of_its_video(model, long, tmp_path):
    found = model.embed([long], windows=WINDOWS)
    keep = [0, 1, 3, 4, 5]
    broken = replace(found, ids=found.ids[:5], **{
        name: getattr(found, name)[keep] for name in ("times", "frames", "features", "labels")
    })  # fmt: skip
    embeddings.save_layout(tmp_path / "out", broken, "opentad", WINDOWS, model.clip)
    assert np.array_equal(np.load(tmp_path / "out/long.npy"), found.features[:2])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ids", np.array("x")),
        ("labels", np.array("x")),
        ("labels", np.array([0.5, np.nan])),
        ("frames", np.array(["a", "b"])),
        ("features", np.array([["a"], ["b"]])),
        ("times", np.zeros(2)),
    ],
)
def test_arrays_of_another_type_or_shape_are_named(tmp_path, name, value):
    arrays = {
        "ids": np.array(["a", "b"]),
        "times": np.zeros((2, 2)),
        "frames": np.zeros((2, 2), np.int64),
        "features": np.zeros((2, 3), np.float32),
        "labels": np.zeros(2, np.int64),
    }
    path = tmp_path / "e.npz"
    np.savez(path, **arrays)
    assert len(embeddings.read(path)) == 2
    np.savez(path, **arrays | {name: value})
    with pytest.raises(ValueError, match=f"^{path}: "):
        embeddings.read(path)


def test_the_times_of_a_variable_rate(model, tmp_path):
    path = write_timed(tmp_path / "v.mp4", VARIABLE)
    videos = [actrec.Video("a", str(path), None, None, ()), actrec.Video("b", str(path), 1.0, 3.0, ())]
    found = model.embed(videos, windows=Windows(every=1, window=1))
    assert found.ids == ["a"] * 4 + ["b"] * 2
    assert found.frames.tolist() == [[0, 5], [5, 10], [10, 40], [40, 70], [5, 10], [10, 40]]
    expected = [[0, 1], [1, 2], [2, 3], [3, 4], [1, 2], [2, 3]]  # in the file, also of a row
    assert found.times == pytest.approx(np.array(expected), abs=1e-3)
    assert model.embed(videos).times == pytest.approx(np.array([[0, 4], [1, 3]]), abs=1e-3)


def test_an_encoder_without_its_head(long, tmp_path):
    """Features come from the encoder. Scores would be random, and are refused."""
    net = config.Net("vjepa2_s", depth=1, probe_depth=1)
    whole = actrec.net("vjepa2_s", num_classes=3, frames=2, size=32, depth=1, probe_depth=1)
    tensors = whole.state_dict()
    encoder = {k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")}
    theirs = {"probe": "pooler", "fc": "linear"}
    rest = [(*k.split(".", 1), v) for k, v in tensors.items() if not k.startswith("encoder.")]
    probe = {f"module.{theirs[part]}.{name}": v for part, name, v in rest}
    paths = {"encoder": tmp_path / "encoder.pt", "probe": tmp_path / "probe.pt"}
    torch.save({"target_encoder": encoder}, paths["encoder"])
    torch.save({"classifiers": [probe]}, paths["probe"])

    def load(part):
        frame = config.Frame(size=32)
        return actrec.load(paths[part], net=net, clip={"frames": 2}, frame=frame, device="cpu")

    model = load("encoder")
    assert model.untrained == ("probe", "fc")
    features = model.embed(long).features
    np.testing.assert_array_equal(features, model.embed(long, layer="encoder").features)
    for refused in (model.predict, model.timeline, model.explain):
        with pytest.raises(ValueError, match="no weights for probe, fc, so the scores would be random"):
            refused(long)
    with pytest.raises(ValueError, match="no weights for probe, fc"):
        model.export(tmp_path / "exported")
    with pytest.raises(ValueError, match="no weights for encoder, so the features would be random"):
        load("probe").embed(long)
