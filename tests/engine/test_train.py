"""A training run from start to end."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine.helpers import INPUT, recipe, run, same, weights

import actrec
from actrec import config
from actrec.data.index import build_index
from actrec.engine import checkpoint, devices, runlog


def test_a_run_and_its_folder(tmp_path, data):
    trained, reporter = run(tmp_path / "run", data)
    assert (trained.epochs, trained.interrupted, trained.skipped) == (3, False, {})
    assert reporter.steps == 9
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json", "environment.json", "data.json", "log.jsonl", "steps.jsonl", "tensorboard", "last.pt",
        "previous.pt", "best.pt",
    }  # fmt: skip
    rows = runlog.read(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert trained.best == max(row["val_top1"] for row in rows)
    assert json.loads((tmp_path / "run/config.json").read_text())["net"]["backbone"] == "resnet3d_10"
    assert json.loads((tmp_path / "run/data.json").read_text())["train"]["videos"] == 12
    saved = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert saved["classes"] == ["dark", "bright"]
    assert saved["loader"] == {"epoch": 3, "step": 0}


def test_it_learns_and_the_checkpoint_scores_alike(tmp_path, data):
    made = replace(recipe(epochs=12, optimizer="adamw", lr=0.001), run=config.Run(device="cpu", precision="float32"))
    trained, _ = run(tmp_path / "run", data, made)
    assert trained.best == 100
    net = checkpoint.build_net(checkpoint.load(tmp_path / "run/best.pt"))
    assert net.input == INPUT
    result = actrec.evaluate(net, actrec.eval_loader(data.val, actrec.Clip(), net.input, index=data.val_index))
    assert result.top1 == 100


def test_the_same_seed_gives_the_same_weights(tmp_path, data):
    for name in ("a", "b"):
        run(tmp_path / name, data)
    assert same(weights(tmp_path / "a/last.pt"), weights(tmp_path / "b/last.pt"))
    made = replace(recipe(), run=config.Run(device="cpu", seed=1))
    run(tmp_path / "c", data, made)
    assert not same(weights(tmp_path / "a/last.pt"), weights(tmp_path / "c/last.pt"))


def test_without_validation_the_last_is_the_best(tmp_path, data):
    trained, _ = run(tmp_path / "run", replace(data, val=None, val_index=None), recipe(epochs=2))
    assert np.isnan(trained.best)
    assert same(weights(tmp_path / "run/best.pt"), weights(tmp_path / "run/last.pt"))


def test_starting_from_weights(tmp_path, data):
    run(tmp_path / "first", data, recipe(epochs=1))
    first = tmp_path / "first/best.pt"
    run(tmp_path / "second", data, recipe(epochs=1, lr=1e-9), weights=str(first))
    parts = [weights(path)["conv1.weight"] for path in (first, tmp_path / "second/last.pt")]
    assert torch.allclose(*parts, atol=1e-5)
    three = replace(data, classes=["dark", "bright", "other"])
    with pytest.raises(ValueError, match="new-head"):
        run(tmp_path / "third", three, recipe(epochs=1), weights=str(first))
    run(tmp_path / "third", three, recipe(epochs=1), weights=str(first), new_head=True)
    assert weights(tmp_path / "third/last.pt")["fc.weight"].shape == (3, 64)


def test_an_undecodable_video_is_skipped_and_counted(tmp_path, data, dataset):
    missing = actrec.Video("gone", str(tmp_path / "gone"), None, None, (0,))
    train = [*data.train, missing]
    made = replace(recipe(epochs=1), loader=config.Loader(batch_size=12))
    trained, _ = run(tmp_path / "run", replace(data, train=train, train_index=build_index(train)), made)
    assert trained.skipped == {"gone": f"{tmp_path / 'gone'}: no such file or folder"}
    assert (trained.num_videos, trained.num_skipped) == (13, 1)
    assert runlog.read(tmp_path / "run")[0]["skipped"] == 0  # it is not drawn


def test_bad_labels(tmp_path, data):
    unlabeled = [data.train[0]._replace(labels=()), *data.train[1:]]
    with pytest.raises(ValueError, match="frames/train0 has no label: training needs one per video"):
        run(tmp_path / "run", replace(data, train=unlabeled))
    high = [data.train[0]._replace(labels=(2,)), *data.train[1:]]
    with pytest.raises(ValueError, match="has label 2: expected at most 1 for 2 classes"):
        run(tmp_path / "run", replace(data, train=high))
    with pytest.raises(ValueError, match="no validation video has a label: expected labels to compare"):
        run(tmp_path / "run", replace(data, val=[video._replace(labels=()) for video in data.val]))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_explodes_stops_the_run(tmp_path, data):
    with pytest.raises(ValueError, match="the loss became (nan|inf) in step .*a lower --lr"):
        run(tmp_path / "run", data, recipe(lr=1e30))
    told = json.loads((tmp_path / "run/nan.json").read_text())
    assert len(told["videos"]) == 4
    assert set(told["videos"]) <= {video.id for video in data.train}


def test_precision_and_device():
    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_bf16") or able.get("amx_bf16")
    assert devices.choose_precision("auto", torch.device("cpu")) == ("bfloat16" if fast else "float32")
    assert devices.choose_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    if not torch.cuda.is_available():
        assert devices.choose_device("auto") == "cpu"
        with pytest.raises(ValueError, match="device cuda: torch finds no GPU"):
            devices.choose_device("cuda")


@pytest.mark.gpu
def test_a_run_on_a_gpu(tmp_path, data):
    made = replace(recipe(epochs=2), run=config.Run(device="cuda"))
    trained, _ = run(tmp_path / "run", data, made)
    assert trained.epochs == 2
