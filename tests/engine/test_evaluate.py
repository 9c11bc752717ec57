from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
from actrec.data.index import build_index
from actrec.engine import evaluate as engine

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=3, size=16)


class Brightness(torch.nn.Module):
    """Logits (-mean, mean): knows dark from bright. Counts the clips that it saw."""

    clips = 0

    def forward(self, clips):
        self.clips += len(clips)
        mean = clips.mean((1, 2, 3, 4))
        return torch.stack([-mean, mean], 1)


def test_one_score_per_video_out_of_all_views(videos):
    views = actrec.Views(clips=3, crops=3)
    net = Brightness()
    result = actrec.evaluate(net, actrec.eval_loader(videos, actrec.Clip(), INPUT, views=views, batch_size=5))
    assert net.clips == 12 * 9
    assert result.ids == [video.id for video in videos]
    assert result.scores.dtype == np.float32
    assert result.scores.shape == (12, 2)
    assert (result.top1, result.top5, result.mean_class) == (100, 100, 100)
    assert str(result) == "top-1 100.00  mean-class 100.00  (12 videos, 0 missing)"


def test_logits_and_probabilities_are_averaged_over_the_views(videos):
    views = actrec.Views(clips=2, crops=3)
    loader = actrec.eval_loader(videos[:2], actrec.Clip(), INPUT, views=views, batch_size=1)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 3 * 16 * 16, 4))
    with torch.inference_mode():
        logits = [net(batch.clips) for batch in loader]
    mean = actrec.evaluate(net, loader).scores
    assert np.allclose(mean, torch.stack([each.mean(0) for each in logits]).numpy(), atol=1e-5)
    probable = actrec.evaluate(net, loader, average="probabilities").scores
    assert np.allclose(np.exp(probable), torch.stack([each.softmax(1).mean(0) for each in logits]).numpy(), atol=1e-5)


def test_the_net_keeps_its_mode(videos):
    loader = actrec.eval_loader(videos[:1], actrec.Clip(), INPUT)
    net = Brightness().train()
    actrec.evaluate(net, loader)
    assert net.training


def test_missing_videos_are_said_and_count_nowhere(videos, tmp_path):
    broken = actrec.Video("gone", str(tmp_path / "gone.mp4"), None, None, (0,))
    loader = actrec.eval_loader([*videos, broken], actrec.Clip(), INPUT)
    result = actrec.evaluate(Brightness(), loader)
    assert result.num_videos == 12
    assert list(result.missing) == ["gone"]
    assert "no such file" in result.missing["gone"]
    assert str(result).endswith("(12 videos, 1 missing)")


def test_without_labels(videos):
    loader = actrec.eval_loader([v._replace(labels=()) for v in videos], actrec.Clip(), INPUT)
    result = actrec.evaluate(Brightness(), loader)
    assert str(result) == "no labels to compare with (12 videos, 0 missing)"
    assert np.isnan(result.top1)


def test_a_label_that_the_net_has_no_class_for(videos):
    loader = actrec.eval_loader([videos[0]._replace(labels=(7,))], actrec.Clip(), INPUT)
    with pytest.raises(ValueError, match="has label 7: expected at most 1 for 2 classes"):
        actrec.evaluate(Brightness(), loader)
    loader = actrec.eval_loader([videos[0]._replace(labels=(0, 1))], actrec.Clip(), INPUT)
    with pytest.raises(ValueError, match="has 2 labels: expected one"):
        actrec.evaluate(Brightness(), loader)


def test_nothing_to_score(tmp_path, videos):
    loader = actrec.eval_loader(videos[:1], actrec.Clip(), INPUT)
    loader.index.broken[0] = "made so"
    with pytest.raises(ValueError, match="no video could be scored; .*made so"):
        actrec.evaluate(Brightness(), loader)


SEVERAL = [(0,), (0, 1), (), (1,), (0,), (1,)]


@pytest.fixture
def several(videos):
    """Six videos, dark and bright by turns, labeled 0, 01, -, 1, 0, 1."""
    return [video._replace(labels=labels) for video, labels in zip(videos, SEVERAL)]


def test_several_labels(several):
    loader = actrec.eval_loader(several, actrec.Clip(), INPUT, batch_size=4, multi_label=2)
    result = actrec.evaluate(Brightness(), loader)
    assert result.multi_label
    assert result.labels.dtype == bool
    assert result.labels.astype(int).tolist() == [[1, 0], [1, 1], [0, 0], [0, 1], [1, 0], [0, 1]]
    order = np.argsort(-result.scores[:, 0])  # darkest first: rows 0, 2, 4 in some order, then 1, 3, 5
    assert set(order[:3].tolist()) == {0, 2, 4}
    by_hand = []
    for c, ranked in ((0, order), (1, order[::-1])):
        hits = result.labels[ranked, c]
        by_hand.append(np.mean([hits[: i + 1].mean() for i in np.flatnonzero(hits)]))
    assert result.map == result.score == pytest.approx(100 * np.mean(by_hand))
    assert result.map < 100  # the video of no class is as dark as the others
    assert result.top1 == 100  # over the five that have a label
    assert np.isnan(result.mean_class)
    assert str(result) == f"mAP {result.map:.2f}  top-1 100.00  (6 videos, 0 missing)"
    p = 1 / (1 + np.exp(-result.scores.astype(np.float64)))
    assert result.loss == pytest.approx(-np.log(np.where(result.labels, p, 1 - p)).mean(), rel=1e-5)


def test_of_one_label_the_score_is_top1(videos):
    result = actrec.evaluate(Brightness(), actrec.eval_loader(videos, actrec.Clip(), INPUT))
    assert not result.multi_label
    assert result.score == result.top1 == 100
    assert np.isnan(result.map)


def test_probabilities_of_several_labels_are_averaged(several):
    views = actrec.Views(clips=2, crops=3)
    loader = actrec.eval_loader(several, actrec.Clip(), INPUT, views=views, batch_size=1, multi_label=4)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 3 * 16 * 16, 4))
    with torch.inference_mode():
        logits = [net(batch.clips) for batch in loader]
    probable = actrec.evaluate(net, loader, average="probabilities").scores
    expected = torch.stack([each.sigmoid().mean(0) for each in logits]).numpy()
    assert np.allclose(1 / (1 + np.exp(-probable)), expected, atol=1e-6)
    assert np.abs(probable - torch.stack([each.mean(0) for each in logits]).numpy()).max() > 1e-4


def test_a_list_without_any_label(videos):
    loader = actrec.eval_loader([v._replace(labels=()) for v in videos], actrec.Clip(), INPUT, multi_label=2)
    result = actrec.evaluate(Brightness(), loader)
    assert str(result) == "no labels to compare with (12 videos, 0 missing)"
    assert np.isnan(result.score)


def test_a_net_of_other_classes(several):
    loader = actrec.eval_loader(several, actrec.Clip(), INPUT, multi_label=3)
    with pytest.raises(ValueError, match="multi_label 3 with a net of 2 classes: expected as many"):
        actrec.evaluate(Brightness(), loader)


def test_several_labels_in_files(several, tmp_path):
    loader = actrec.eval_loader(several, actrec.Clip(), INPUT, multi_label=2)
    result = actrec.evaluate(Brightness(), loader)
    engine.save_topk_json(tmp_path / "val.json", result, ["dark", "bright"], 2)
    best = json.loads((tmp_path / "val.json").read_text())["results"][result.ids[0]]
    assert best[0]["label"] == "dark"
    assert best[0]["score"] == pytest.approx(1 / (1 + np.exp(-result.scores[0, 0])), rel=1e-5)


# several processes


def parts(net, videos, world, **options):
    loaders = [
        actrec.eval_loader(videos, actrec.Clip(), INPUT, rank=rank, world=world, batch_size=2, **options)
        for rank in range(world)
    ]
    return [engine.score(net, loader) for loader in loaders]


@pytest.mark.parametrize("world", [1, 2, 5, 14])
@pytest.mark.parametrize("multi_label", [None, 2])
def test_the_parts_of_all_ranks_are_one_result(videos, tmp_path, world, multi_label):
    gone = [actrec.Video(f"gone{i}", str(tmp_path / f"{i}.mp4"), None, None, (0,)) for i in range(2)]
    videos = [gone[0], *videos[:7], gone[1], *videos[7:]]
    whole = actrec.evaluate(Brightness(), actrec.eval_loader(videos, actrec.Clip(), INPUT, multi_label=multi_label))
    merged = engine.merge(parts(Brightness(), videos, world, multi_label=multi_label), videos)
    assert merged.ids == whole.ids == [video.id for video in videos if video not in gone]
    assert np.array_equal(merged.scores, whole.scores)
    assert np.array_equal(merged.labels, whole.labels)
    assert merged.labels.dtype == whole.labels.dtype
    assert list(merged.missing) == ["gone0", "gone1"]
    assert merged.missing == whole.missing
    assert str(merged) == str(whole)


def test_a_share_without_a_score_is_an_empty_result(tmp_path):
    videos = [actrec.Video(str(i), str(tmp_path / f"{i}.mp4"), None, None, (0,)) for i in range(3)]
    index = build_index(videos, lazy=True)
    net = actrec.net("tsn_resnet18", num_classes=7)
    for multi_label, shape in ((None, (0,)), (7, (0, 7))):
        options = {"index": index, "multi_label": multi_label}
        shares = parts(net, videos, 4, **options)
        for share in shares:
            assert share.ids == []
            assert share.scores.shape == (0, 7)
            assert share.scores.dtype == np.float32
            assert share.labels.shape == shape
            assert share.multi_label == (multi_label is not None)
            assert np.isnan(share.score)
        assert [len(share.missing) for share in shares] == [1, 1, 1, 0]
        merged = engine.merge(shares, videos)
        assert list(merged.missing) == ["0", "1", "2"]
        assert merged.labels.shape == shape
        with pytest.raises(ValueError, match=r"no video could be scored; 0: .*0\.mp4: no such file"):
            engine.check_scored(merged)


def test_each_video_counts_once(videos):
    def part(rows, clamped, missing):
        scores = np.array([[row, 1] for row in rows], np.float32)
        return engine.Result([videos[r].id for r in rows], scores, np.array(rows), missing, clamped)

    first = part([5, 0], 2, {videos[3].id: "late", videos[1].id: "torn"})
    second = part([0, 2, 3], 1, {})
    second.scores[0] = 99
    merged = engine.merge([first, second], videos)
    assert merged.ids == [videos[row].id for row in (0, 2, 3, 5)]
    assert merged.scores[:, 0].tolist() == merged.labels.tolist() == [0, 2, 3, 5]
    assert merged.missing == {videos[1].id: "torn"}
    assert merged.clamped == 3


@pytest.fixture
def result():
    scores = np.array([[1, 3, 2, 0, -1, -2], [5, 0, 1, 2, 3, 4]], np.float32)
    return engine.Result(["a/x y", "b/ü"], scores, np.array([1, 0]))


def test_the_references_files(result, tmp_path):
    engine.save_reference(tmp_path, "val_3crops_10clips_224", result)
    details = np.load(tmp_path / "val_3crops_10clips_224_details.npy")
    assert details.dtype == np.float64
    assert np.array_equal(details, result.scores)
    lines = list(csv.reader((tmp_path / "val_3crops_10clips_224.csv").read_text().splitlines(), delimiter=";"))
    assert lines == [["x y", "1", "2", "0", "3", "4"], ["ü", "0", "5", "4", "3", "2"]]


def test_haras_file(result, tmp_path):
    engine.save_topk_json(tmp_path / "val.json", result, ["c0", "c1", "c2", "c3", "c4", "c5"], 2)
    found = json.loads((tmp_path / "val.json").read_text())["results"]
    assert [entry["label"] for entry in found["a/x y"]] == ["c1", "c2"]
    expected = np.exp(3) / np.exp(result.scores[0]).sum()
    assert found["a/x y"][0]["score"] == pytest.approx(expected, rel=1e-5)
    engine.save_topk_json(tmp_path / "all.json", result, ["c"] * 6, 0)
    assert len(json.loads((tmp_path / "all.json").read_text())["results"]["b/ü"]) == 6
