"""A trained net as one object."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine.helpers import INPUT, TINY

import actrec
from actrec import config
from actrec.engine import checkpoint, metrics
from actrec.engine.evaluate import outputs_of, score
from actrec.pipelines.batch import Batch

VIEWS = {"clips": 3, "crops": 3}


@pytest.fixture(scope="module")
def model(trained) -> actrec.Model:
    return actrec.load(trained, views=VIEWS, device="cpu")


def test_a_model_is_fed_as_in_its_training(model, trained):
    assert model.input == INPUT
    assert model.clip == actrec.Clip(frames=5)
    assert model.views == actrec.Views(clips=3, crops=3, crop_ratio=config.Run.crop_ratio)
    assert (model.classes, model.num_classes, model.multi_label) == (["dark", "bright"], 2, False)
    assert not model.net.training
    assert repr(model).splitlines() == [
        f"resnet3d_10 from {trained}/best.pt",
        "  classes  2: dark, bright",
        "  clip     5 frames of 32x32, rgb, uniform sampling",
        "  views    3 clips x 3 crops of a video, average of logits",
        "  device   cpu, float32",
    ]
    assert "views    1 clip x 1 crop of a video" in repr(replace(model, views=actrec.Views()))


def test_predictions_are_the_scores_of_evaluate_bit_for_bit(model, dataset):
    result = model.evaluate(dataset / "train.txt")
    videos = actrec.read_list(dataset / "train.txt")
    assert result.num_videos == 12
    by_loader = score(model.net, model.make_loader(videos))
    assert np.array_equal(by_loader.scores, result.scores)
    for row in (0, 5, 11):
        alone = model.score([videos[row]])
        assert np.array_equal(alone.scores[0], result.scores[row])
        path = str(dataset / "frames" / f"train{row}")
        probabilities = metrics.probabilities(result.scores, multi_label=False)[row]
        assert dict(model.predict(path)) == dict(zip(["dark", "bright"], probabilities.tolist()))
    several = [dataset / "frames/train3", dataset / "frames/train0", dataset / "frames/train3"]
    assert model.predict(several) == [model.predict(path) for path in several]
    assert [len(found) for found in model.predict(several, topk=1)] == [1, 1, 1]


def test_files_that_cannot_be_used_are_named(model, dataset, tmp_path):
    good, bad, gone = dataset / "frames/train0", tmp_path / "bad.mp4", tmp_path / "gone.mp4"
    bad.write_bytes(b"not a video")
    for call in (model.predict, model.timeline, model.explain, lambda path: model.predict([good, path])):
        with pytest.raises(FileNotFoundError, match=f"{gone}: no such file or folder"):
            call(gone)
        with pytest.raises(ValueError, match=f"{bad}: not a video"):
            call(bad)
    with pytest.raises(ValueError, match=r"1 of 2 videos cannot be used: `model.score` scores the others"):
        model.predict([good, bad])
    with pytest.raises(ValueError, match="no numbered images such as 00001.jpg; it contains videos: pass these files"):
        model.predict(tmp_path)


def test_results_are_printed_in_a_few_lines(model, dataset, tmp_path):
    videos = actrec.read_list(dataset / "train.txt")
    assert repr(model.embed([*videos, tmp_path / "gone.mp4"])).splitlines() == [
        "12 rows of 64 features",
        "  videos   12: frames/train0, frames/train1, frames/train2, ...; 1 cannot be used",
        "  see      .features, .ids, .times, .frames, .labels, .missing",
    ]
    found = model.explain(videos[0].path, "bright")
    assert repr(found).splitlines() == [
        f"bright {found.probability:.1%} in {videos[0].path}",
        f"  layer    {found.layer}, map of {'x'.join(map(str, found.shape))}"
        + ", no evidence" * (not found.maps.any()),
        "  clips    3 clips of 5 frames of 32x32",
        "  see      .maps, .evidence, .frames, .pixels",
    ]
    shutil.copytree(videos[0].path, tmp_path / "v")
    (tmp_path / "v/fps").write_text("25")
    assert repr(model.timeline(tmp_path / "v", every=0.04, window=0.2)).splitlines() == [
        f"timeline of {tmp_path}/v",
        "  video    0.36 s, 9 frames at 25 per second",
        "  windows  5 of 0.20 s",
        "  classes  2: dark, bright",
        "  see      .segments(), .times, .probabilities",
    ]


def test_scores_depend_neither_on_the_batch_nor_on_the_workers(model, dataset):
    expected = model.evaluate(dataset / "train.txt").scores
    for batch_size, workers in ((1, 1), (5, 2), (12, 3)):
        other = replace(
            model, scoring=config.Scoring(batch_size=batch_size), loader=config.Loader(workers=workers, prefetch=1)
        )
        assert np.array_equal(other.evaluate(dataset / "train.txt").scores, expected)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "name", ["s3d", "tam_resnet18", "tsn_resnet18", "r2plus1d_18", "i3d", "resnet3d_18", "s3d_torchvision"]
)
def test_the_output_of_a_view_depends_on_the_view_alone(name, channels_last):
    torch.manual_seed(0)
    net = actrec.net(name, num_classes=3).eval()
    size, frames = max(net.min_size, 48), max(net.min_frames, 8)
    clips = torch.randn(7, 3, frames, size, size)
    if channels_last:
        clips = clips.contiguous(memory_format=torch.channels_last_3d)

    def batches(sizes):
        for part in clips.split(sizes):
            yield Batch(part, torch.zeros(len(part)), ["v"] * len(part))

    found = []
    with torch.inference_mode():
        for sizes in ([7], [1] * 7, [3, 4], [2, 5]):
            parts = list(outputs_of(net, batches(sizes), torch.device("cpu")))
            assert [len(batch) for batch, _ in parts] == sizes
            found.append(torch.cat([outputs for _, outputs in parts])[:, 0])
        assert torch.allclose(found[0], net(clips), atol=1e-4)
    for other in found[1:]:
        assert torch.equal(other, found[0])


def test_outputs_of_batches_with_several_views():
    seen = []

    def run(clips):
        seen.append(len(clips))
        return clips.flatten(1)

    clips = torch.arange(18.0).reshape(18, 1, 1, 1, 1)
    batches = [Batch(clips[:6], torch.zeros(2), ["a", "b"], 3), Batch(clips[:0], torch.zeros(0), [], 3)]
    batches += [Batch(clips[6:15], torch.zeros(3), ["c", "d", "e"], 3), Batch(clips[15:], torch.zeros(1), ["f"], 3)]
    found = list(outputs_of(run, batches, torch.device("cpu")))
    assert [batch.videos for batch, _ in found] == [["a", "b"], ["c", "d", "e"], ["f"]]
    assert torch.equal(torch.cat([outputs for _, outputs in found]), torch.arange(18.0).reshape(6, 3, 1))
    assert seen == [4] * 5


def test_what_can_be_loaded(trained, tmp_path):
    for path in (trained, trained.parents[1], trained / "last.pt"):  # a run, a dataset folder, a checkpoint
        assert actrec.load(path, device="cpu").clip.frames == 5
    changed = actrec.load(trained, clip={"frames": 8}, frame=config.Frame(size=40), views=actrec.Views(), device="cpu")
    assert (changed.clip.frames, changed.input.size, changed.views.num_views) == (8, 40, 1)


def test_weights_need_a_net_and_know_their_number_of_classes(trained, tmp_path):
    state = checkpoint.load(trained / "best.pt")["state_dict"]
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    model = actrec.load(tmp_path / "w.pt", net=TINY, device="cpu")
    assert (model.num_classes, model.classes, list(model.class_names)) == (2, None, ["0", "1"])
    (tmp_path / "labels.txt").write_text("a\nb\n")
    assert actrec.load(tmp_path / "w.pt", net=TINY, classes=tmp_path / "labels.txt").classes == ["a", "b"]
    with pytest.raises(ValueError, match=r"w\.pt: 3 class names, but the net has 2 classes"):
        actrec.load(tmp_path / "w.pt", net=TINY, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match="not a checkpoint of actrec"):
        actrec.load(tmp_path / "w.pt")
    with pytest.raises(ValueError, match="does not fit net 's3d'"):
        actrec.load(tmp_path / "w.pt", net="s3d")
    with pytest.raises(FileNotFoundError):
        actrec.load(tmp_path / "missing.pt", net="s3d")


def test_a_checkpoint_as_weights_keeps_what_it_says(trained, tmp_path):
    as_weights, own = (actrec.load(trained / "best.pt", net=net, device="cpu") for net in (TINY, None))
    for name in ("input", "clip", "views", "classes", "multi_label", "channels_last"):
        assert getattr(as_weights, name) == getattr(own, name), name
    changed = actrec.load(
        trained / "best.pt", net=TINY, classes=["a", "b"], clip={"frames": 8}, frame=config.Frame(size=40), device="cpu"
    )
    assert (changed.classes, changed.clip.frames, changed.input.size) == (["a", "b"], 8, 40)
    assert changed.input.mean == own.input.mean
    saved = torch.load(trained / "best.pt", weights_only=True)
    torch.save(saved | {"format": 1}, tmp_path / "old.pt")  # only its weights can be read
    assert actrec.load(tmp_path / "old.pt", net=TINY, device="cpu").classes is None


def test_the_epoch_of_a_checkpoint(trained):
    saved = checkpoint.load(trained / "last.pt")
    planned = saved["config"]["optim"]["epochs"]
    assert checkpoint.epochs_of(saved) == (planned, planned)
    skipping = saved | {"loader": saved["loader"] | {"unusable": [3]}}
    assert checkpoint.epochs_of(skipping) == (planned, planned)
    within = saved | {"progress": {"epoch": 0}, "loader": {"epoch": 0, "step": 3}}
    assert checkpoint.epochs_of(within) == (1, planned)
    validating = saved | {"progress": {"epoch": 0}, "loader": {"epoch": 1, "step": 0}}
    assert checkpoint.epochs_of(validating) == (1, planned)
    assert checkpoint.epochs_of({"progress": {}}) is None
    assert checkpoint.epochs_of(saved | {"config": {"optim": {"epochs": "x"}}}) is None


def test_what_cannot_be_loaded(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        actrec.load(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no run with a best\.pt"):
        actrec.load(tmp_path)
    saved = torch.load(trained / "best.pt", weights_only=True)
    del saved["classes"]
    torch.save(saved, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="contains no class names"):
        actrec.load(tmp_path / "c.pt")
    assert actrec.load(tmp_path / "c.pt", classes=["a", "b"]).classes == ["a", "b"]


def test_broken_videos_are_named(model, dataset, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"bad\.mp4: not a video"):
        model.predict(tmp_path / "bad.mp4")
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such file"):
        model.predict([dataset / "frames/train0", tmp_path / "gone.mp4"])


def test_a_list_of_other_classes_is_refused(model, dataset, tmp_path):
    shutil.copy(dataset / "train.txt", tmp_path)
    (tmp_path / "labels.txt").write_text("bright\ndark\n")
    with pytest.raises(ValueError, match="label 0 is 'bright', but the net was trained with 'dark'"):
        model.evaluate(tmp_path / "train.txt")


def test_a_net_that_gives_nan_names_the_videos(model, dataset):
    bad = replace(model, net=copy.deepcopy(model.net))
    for parameter in bad.net.parameters():
        parameter.data.fill_(float("nan"))
    videos = [dataset / "frames/train0", dataset / "frames/train1"]
    result = bad.score(actrec.read_list(dataset / "train.txt"))
    assert result.ids == []
    assert len(result.missing) == 12
    for use in (bad.predict, bad.embed):
        with pytest.raises(ValueError, match=r"frames/train0: the output of the net is NaN or infinite"):
            use(videos)
    with pytest.raises(ValueError, match=r"no video could be scored; .*NaN"):
        bad.evaluate(dataset / "train.txt")


WRONG = {
    ("net",): [None, 3, {}],
    ("state_dict",): [None, {"a": 1}, {5: torch.zeros(1)}],
    ("clip",): [None, {"frames": "x"}, {"unknown": 1}],
    ("classes",): ["ab", [1, 2], ["a\nb", "c"], ["\ud800", "c"]],
    ("channels_last",): [None, 2],
    ("multi_label",): ["yes"],
    ("crop_ratio",): ["1", 5.0],
    ("format",): [torch.zeros(2), "4", 99],
    ("net", "name"): [None, [], "no_such_net"],
    ("net", "options"): [None, {"num_classes": "2"}, {"num_classes": 2, "unknown": 1}, {5: 1}],
    ("net", "input"): [None, {}],
    ("net", "input", "mean"): [0.5, [0.5]],
    ("net", "input", "size"): [None, 0],
}


@pytest.mark.parametrize("place", WRONG)
def test_a_checkpoint_with_wrong_contents_is_named(trained, tmp_path, place):
    path = tmp_path / "c.pt"
    for value in WRONG[place]:
        saved = torch.load(trained / "best.pt", weights_only=True)
        part = saved
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        torch.save(saved, path)
        with pytest.raises(ValueError, match=f"^{path}: ") as error:
            actrec.load(path)
        assert not isinstance(error.value, config.OptionError)  # which would name a flag that nobody gave
