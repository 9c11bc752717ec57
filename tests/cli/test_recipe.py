"""`actrec train --recipe`."""

from __future__ import annotations

import json

import pytest

OPTIONS = ("--backbone", "resnet3d_10", "--widen", "0.125", "--frames", "5", "--size", "32", "--batch-size", "4")


def test_a_recipe_sets_what_the_user_does_not(run, inside):
    code, out, _ = run("train", "--recipe", "hara", *OPTIONS, "--epochs", "1", "--run", "r", "--gamma", "0.5")
    assert code == 0
    assert out[0].startswith("epoch 1/1  lr 0.003125  ")  # 0.1 for 128 clips
    stored = json.loads((inside / "r/config.json").read_text())
    assert stored["run"]["recipe"] == "hara"
    assert stored["clip"]["sampling"] == "dense"
    assert (stored["net"]["backbone"], stored["loader"]["batch_size"]) == ("resnet3d_10", 4)
    optim = stored["optim"]
    assert [optim[name] for name in ("epochs", "optimizer", "lr", "lr_steps", "gamma", "weight_decay", "warmup")] == [
        1, "sgd", 0.1, [50.0, 100.0, 150.0], 0.5, 0.001, 0.0,
    ]  # fmt: skip

    assert run("train", "--resume", "--run", "r")[0] == 0
    code, _, err = run("train", "--resume", "--run", "r", "--recipe", "ibm")
    assert code == 2
    assert "r was started with --recipe hara (now --recipe ibm)" in err[-1]


@pytest.mark.parametrize(("recipe", "net"), [("ibm", "s3d"), ("hara", "resnet3d_18"), ("tsn", "tsn_inception_v1")])
def test_a_recipe_chooses_the_net(recipe, net, run, inside, monkeypatch):
    """It is refused because the list is short, after all options were accepted."""
    code, _, err = run("train", "--recipe", recipe, "--no-keep-last", "--run", "r")
    assert (code, err[-1].split(":")[0]) == (2, "Error")
    assert "--batch-size" in err[-1]


def test_unknown_names(run, inside):
    assert (
        "'ibn': expected one of ibm, hara, tsn, videomae (did you mean ibm?)" in run("train", "--recipe", "ibn")[2][-1]
    )
    code, _, err = run("train", "--recipe", "tsn", "--backbone", "tsm_resnet8")
    assert code != 0
    assert "tsm_resnet18" in err[-1]
