from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
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
    assert str(result) == "top-1 100.00  top-5 100.00  mean-class 100.00  (12 videos, 0 missing)"


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


@pytest.fixture
def result():
    scores = np.array([[1, 3, 2, 0, -1, -2], [5, 0, 1, 2, 3, 4]], np.float32)
    return engine.Result(["a/x y", "b/ü"], scores, np.array([1, 0]))


def test_scores_file(result, tmp_path):
    engine.save_scores(tmp_path / "s.npz", result)
    saved = np.load(tmp_path / "s.npz", allow_pickle=False)
    assert saved["ids"].tolist() == ["a/x y", "b/ü"]
    assert saved["ids"].dtype.kind == "U"
    assert saved["scores"].dtype == np.float32
    assert np.array_equal(saved["scores"], result.scores)
    assert saved["labels"].tolist() == [1, 0]


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
