"""`--frames` and `--size` of nets that are made for clips of a certain length and size."""

from __future__ import annotations

import pytest

import actrec
from tests import clip_nets

SHORT = ("--epochs", "1", "--batch-size", "4", "--frames", "4", "--size", "32", "--device", "cpu")


@pytest.fixture(autouse=True)
def registered():
    with clip_nets.registered():
        yield


def train(run, dataset, folder, name, *flags):
    code, _, err = run("train", "--data", dataset, "--run", folder, "--backbone", name, *SHORT, *flags)
    assert code == 0, err
    return folder


def test_train_resume_and_evaluate(run, dataset, tmp_path):
    folder = train(run, dataset, tmp_path / "run", "computed_grid", "--depth", "1", "--schedule", "step")
    model = actrec.load(folder, device="cpu")
    assert (model.net.grid, model.input.size, model.net.options["depth"]) == ((4, 2, 2), 32, 1)
    code, _, err = run("train", "--run", folder, "--resume", "--epochs", "2")
    assert code == 0, err
    assert actrec.load(folder / "last.pt", device="cpu").net.grid == (4, 2, 2)

    larger = actrec.load(folder, frame=actrec.config.Frame(size=64), clip={"frames": 2}, device="cpu")
    assert (larger.net.grid, larger.input.size, larger.clip.frames) == ((2, 4, 4), 64, 2)
    code, out, err = run("evaluate", "--data", dataset, "--run", folder, "--size", "64", "--device", "cpu")
    assert code == 0, err
    assert out[-1].startswith("top-1 ")


def test_the_window_of_a_trained_net_stays(run, dataset, tmp_path):
    folder = train(run, dataset, tmp_path / "run", "windowed")
    model = actrec.load(folder, frame=actrec.config.Frame(size=64), device="cpu")
    assert (model.net.window, model.input.size) == (2, 64)
    assert run("evaluate", "--data", dataset, "--run", folder, "--size", "64", "--device", "cpu")[0] == 0


def test_learned_positions_are_of_one_size(run, dataset, tmp_path):
    folder = train(run, dataset, tmp_path / "run", "learned_grid")
    code, _, err = run("evaluate", "--data", dataset, "--run", folder, "--size", "64", "--device", "cpu")
    assert code == 2
    assert err[-1].endswith(
        "--size 64: the weights of learned_grid have learned positions for --size 32: expected the same"
    )


def test_weights_are_read_for_the_clips(run, dataset, tmp_path):
    folder = train(run, dataset, tmp_path / "run", "learned_grid")
    weights = tmp_path / "weights.pt"
    assert run("weights", "convert", folder / "best.pt", weights, "--backbone", "learned_grid")[0] == 0
    start = ["--data", dataset, "--weights", weights, "--backbone", "learned_grid"]
    code, _, err = run("evaluate", *start, "--labels", dataset / "labels.txt", *SHORT[4:])
    assert code == 0, err
    # A checkpoint says itself for which clips its net is made
    model = actrec.load(folder / "best.pt", net="learned_grid", device="cpu")
    assert (model.net.grid, model.clip.frames, model.input.size) == ((4, 2, 2), 4, 32)
    assert run("train", *start, "--run", tmp_path / "other", *SHORT)[0] == 0


def test_bench(run):
    code, _, err = run("bench", "--net", "learned_grid", "--net", "tiny3d", "--frames", "2", "--size", "32",
                       "--only-default", "--turns", "1", "--steps", "1", "--batch-size", "1")  # fmt: skip
    assert code == 0, err


def test_nets_shows_their_flags(run):
    code, out, _ = run("nets", "learned_grid")
    assert code == 0
    assert "input: 8 frames of 64x64, mean 0.5,0.5,0.5, std 0.5,0.5,0.5" in out
    assert "  --frames 8          Frames in a clip." in out
    assert "  --size 64           Frame height and width." in out
