"""A net of the user's own, from training to evaluation."""

from __future__ import annotations

import sys

import pytest

SOURCE = """
from torch import nn

def tiny(num_classes, in_channels=3, width=4):
    return nn.Sequential(
        nn.Conv3d(in_channels, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(width, num_classes),
    )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module of nets."""
    (tmp_path / "cli_nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("cli_nets", None)


def test_train_and_evaluate(run, folder, dataset):
    flags = ["--frames", "4", "--size", "16", "--batch-size", "4", "--epochs", "1", "--head-lr", "2"]
    train = ["train", "--data", dataset, "--run", folder / "run", "--backbone", "cli_nets:tiny", *flags]
    assert run(*train, "--freeze-until", "4")[0] == 0
    sys.modules.pop("cli_nets")
    code, out, _ = run("evaluate", "--data", dataset, "--checkpoint", folder / "run/best.pt")
    assert code == 0
    assert out[-1].startswith("top-1 ")

    code, _, err = run("weights", "inspect", folder / "run/best.pt")
    assert code == 1
    assert err[-1].endswith(
        "fits no net here; nearest: cli_nets:tiny, which is not part of actrec: pass --backbone cli_nets:tiny"
    )
    code, out, _ = run("weights", "inspect", folder / "run/best.pt", "--backbone", "cli_nets:tiny")
    assert code == 0
    assert out[0].endswith(": 4 tensors, 338 values, float32")
    assert out[1:] == [
        "fits cli_nets:tiny (read as actrec): 2 classes, 3 channels",
        "frames: 4 of 16x16 pixels, according to the checkpoint",
        f"actrec train --backbone cli_nets:tiny --frames 4 --size 16 --weights {folder / 'run/best.pt'}",
        "for other classes, add --new-head",
    ]
    convert = ["weights", "convert", folder / "run/best.pt", folder / "tiny.pt", "--backbone", "cli_nets:tiny"]
    assert run(*convert)[0] == 0
    train[4] = folder / "other"
    assert run(*train, "--weights", folder / "tiny.pt", "--new-head")[0] == 0


def test_a_net_that_is_no_longer_there(run, folder, dataset):
    train = ["train", "--data", dataset, "--run", folder / "run", "--backbone", "cli_nets:tiny"]
    assert run(*train, "--frames", "4", "--size", "16", "--epochs", "1", "--batch-size", "4")[0] == 0
    sys.modules.pop("cli_nets")
    (folder / "cli_nets.py").unlink()
    code, _, err = run("evaluate", "--data", dataset, "--checkpoint", folder / "run/best.pt")
    assert code == 1
    assert "best.pt: net 'cli_nets:tiny': there is no module 'cli_nets' in the current folder (" in err[-1]


def test_show(run, folder):
    code, out, _ = run("nets", "cli_nets:tiny")
    assert code == 0
    assert "  width=4 (no flag: only in Python)" in out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--backbone", "cli_nets:tine"], "has no function 'tine': did you mean tiny?"),
        (
            ["--backbone", "cli_nets:tiny", "--dropout", "0.5"],
            "--dropout 0.5 with --backbone cli_nets:tiny: this net",
        ),
    ],
)
def test_mistakes(run, folder, dataset, flags, expected):
    code, _, err = run("train", "--data", dataset, "--run", folder / "run", *flags)
    assert code == (2 if "--dropout" in flags else 1)
    assert expected in err[-1]
    assert not (folder / "run").exists()
