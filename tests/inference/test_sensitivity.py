"""How far top-1 moves with details of an evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import actrec
from actrec.config import OptionError, Scoring, Views
from actrec.data.index import build_index
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.data.video.color import color_change, wrong_matrix
from actrec.inference import sensitivity as module
from actrec.inference.sensitivity import Row, passes, sensitivity

VIEWS = Views(clips=2, crops=3)
INSIDE = "last crop up to 3 px inside (IBM)"


@pytest.fixture(scope="module")
def model(trained) -> actrec.Model:
    """It is wrong about some videos."""
    model = actrec.load(trained, views=VIEWS, device="cpu")
    with torch.no_grad():
        model.net.fc.bias.add_(torch.tensor([0.3, -0.3]))
    return model


@pytest.fixture(scope="module")
def videos(dataset):
    return actrec.read_list(dataset / "train.txt")


def measured(model, videos):
    return sensitivity(model, videos, index=build_index(videos))


@pytest.fixture(scope="module")
def found(model, videos):
    return measured(model, videos)


def test_the_evaluation_itself_is_that_of_evaluate(model, videos, found):
    expected = model.score(videos)
    assert found.result.ids == expected.ids
    assert np.array_equal(found.result.scores, expected.scores)
    low, high = found.interval
    assert low <= found.result.top1 <= high


def test_each_variation_is_an_evaluation_with_one_detail_changed(model, videos, found):
    rows = {row.name: row for row in found.rows}
    assert list(rows) == [
        "no antialiasing", "wrong color matrix", INSIDE, "crops of the whole short side",
        "average of probabilities", "only the central crop", "precision bfloat16", "1 random video missing (5%)",
    ]  # fmt: skip
    same = {
        INSIDE: replace(model, views=replace(VIEWS, rule="ibm")),
        "crops of the whole short side": replace(model, views=replace(VIEWS, crop_ratio=1.0)),
        "average of probabilities": replace(model, scoring=Scoring(average="probabilities")),
        "only the central crop": replace(model, views=replace(VIEWS, crops=1)),
        "precision bfloat16": replace(model, scoring=Scoring(precision="bfloat16")),
    }
    for name, other in same.items():
        result = other.score(videos)
        assert rows[name].top1 == pytest.approx(result.top1), name
        changed = (result.scores.argmax(1) != found.result.scores.argmax(1)).sum()
        assert rows[name].changed == changed, name
        assert np.allclose(found.results[name].scores, result.scores, atol=1e-6), name
        assert name == "precision bfloat16" or not np.array_equal(result.scores, found.result.scores), name
        assert rows[name].change == pytest.approx(result.top1 - found.result.top1)


def test_a_table_and_json(found):
    head, base, *rows = found.table()
    assert head.split("  ")[0] == "variation"
    assert base.startswith("as evaluated")
    assert len(rows) == len(found.rows)
    assert len({len(line) for line in (head, base, *rows)}) == 1
    said = found.summary()
    assert said["top1"] == found.result.top1
    assert [row["name"] for row in said["variations"]] == [row.name for row in found.rows]


def test_the_largest_change_in_words(found):
    assert found.summary()["conclusion"] == found.conclusion()

    def said(*rows, changed=1):
        made = [Row(name, 50.0, change, interval, changed) for name, change, interval in rows]
        text, step = replace(found, rows=made).conclusion().split(". ", 1)
        assert step == "The smallest visible change is 1 of 12 videos, which is 8.33 points"
        return text

    small, large = ("a", 1.0, (0.5, 2.0)), ("b", -3.0, (-6.0, 0.0))
    assert said(small, large) == (
        "top-1 changes most with `b`, by -3.00 points; its interval contains 0: the change can be chance"
    )
    assert said(small) == "top-1 changes most with `a`, by +1.00 points; this is more than chance"
    assert said(small, changed=None) == "top-1 changes most with `a`, by +1.00 points"  # missing videos
    possible = "no variation changes top-1 on this list, but changes of up to {} points are possible"
    assert said() == possible.format("25.00")  # 3 of 12 videos
    assert said(("a", 0.0, (-20.0, 18.0))) == possible.format("20.00")
    assert found.summary()["smallest_change"] == 100 / 12


def test_each_frame_is_read_once_in_a_pass(model, videos, monkeypatch):
    from actrec.pipelines.workers import decode

    read, of_clip = [], decode.read_images
    monkeypatch.setattr(decode, "read_images", lambda paths, **options: read.extend(paths) or of_clip(paths, **options))
    measured(model, videos[:3])
    assert len(read) == len(set(read)) > 0


def test_several_passes_give_the_same(model, videos, found, monkeypatch):
    assert len(passes(model)) == 1
    monkeypatch.setattr(module, "usable_memory", lambda: 1)
    assert [len(names) for names in passes(model)] == [1] * 5
    assert measured(model, videos).table() == found.table()


def test_a_list_without_labels_is_refused(model, videos):
    with pytest.raises(OptionError, match="no video of the list has a label"):
        measured(model, [video._replace(labels=()) for video in videos])


def test_missing_videos_count_as_wrong(model, videos):
    gone = videos[0]._replace(id="gone", path=videos[0].path + "-gone")
    rows = {row.name: row for row in measured(model, [*videos[:5], gone]).rows}
    row = rows["1 missing video counted as wrong"]
    result = model.score(videos[:5])
    assert row.top1 == pytest.approx(result.top1 * 5 / 6)
    assert row.interval == (row.change, row.change)


def test_a_protocol_is_varied_too(trained, dataset):
    videos = actrec.read_list(dataset / "val.txt")
    model = actrec.load(trained, scoring=Scoring(protocol="torchvision_r3d_18", fps=300), device="cpu")
    assert passes(model) == [["as evaluated", "antialiasing", "wrong color matrix", "aspect ratio kept"]]
    for name, expected in {
        "pyslowfast_ssv2_mvit_16": ["antialiasing", "wrong color matrix", INSIDE],
        "ibm_ssv2": ["no antialiasing", "wrong color matrix", "crops exactly at the borders"],
        "tsm_ssv2_8_2x3_256": ["no antialiasing", "wrong color matrix", "crops along the longer side"],
        "hara_k_nocrop": ["no antialiasing", "wrong color matrix"],
    }.items():
        of = replace(model, protocol=PROTOCOLS[name])
        names = [name for group in passes(of) for name in group][1:]
        assert names[: len(expected)] == expected
    model = actrec.load(trained, scoring=Scoring(protocol="hara_k_nocrop"), device="cpu")
    found = measured(model, videos)
    assert np.array_equal(found.result.scores, model.score(videos).scores)
    assert [row.name for row in found.rows][-2:] == ["precision bfloat16", "1 random video missing (5%)"]


def test_intervals_are_those_of_the_bootstrap():
    rng = np.random.default_rng(1)
    before = rng.random(60) < 0.6
    after = before ^ (rng.random(60) < 0.1)
    rows = rng.integers(0, 60, (4000, 60))
    naive = np.percentile(100 * (after[rows].mean(1) - before[rows].mean(1)), (2.5, 97.5))
    assert np.allclose(module._interval(after, before), naive, atol=1.7)  # a step is 100 / 60
    assert module._interval(before, before) == (-5.0, 5.0)  # 3 of 60 videos
    assert module._interval(before[:2], before[:2]) == (-100.0, 100.0)
    assert module._interval_of_accuracy(np.ones(60, bool)) == (95.0, 100.0)
    assert module._interval_of_accuracy(np.zeros(60, bool)) == (0.0, 5.0)


@pytest.mark.parametrize("color", ["bt709", "bt2020", "bt709-full", "smpte240m"])
def test_a_wrong_color_matrix_is_corrected_by_the_right_one(color):
    change, offset = wrong_matrix(color)
    right, shift = color_change(color.removesuffix("-full"))
    assert np.allclose(right @ change, np.eye(3), atol=1e-5)
    assert np.allclose(right @ offset + shift, 0, atol=1e-3)
    assert wrong_matrix("rgb") is None
    assert np.array_equal(wrong_matrix("bt601")[0], color_change("bt709")[0])
    gray = change @ np.full(3, 100.0) + offset
    assert np.allclose(gray, 100, atol=0.1)


def test_colors_change_only_in_their_look(model, videos):
    from actrec.inference.sensitivity import _loader
    from actrec.pipelines.varied import Look

    loader = _loader(model, videos[:1], build_index(videos[:1]), [Look(), Look(wrong_matrix=True), Look()])
    (batch,) = loader
    base, wrong, again = batch.clips.unflatten(0, (3, -1))
    assert torch.equal(base, again)
    assert base.shape == wrong.shape
