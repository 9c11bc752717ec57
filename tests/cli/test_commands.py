from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.cli.main import COMMANDS

SMALL = ["--frames", "5", "--size", "32", "--batch-size", "4", "--epochs", "2"]


@pytest.fixture
def inside(dataset, tmp_path, monkeypatch) -> Path:
    """A copy of the dataset folder, as the current folder."""
    shutil.copytree(dataset, tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    return tmp_path / "data"


def test_train_and_evaluate_inside_a_dataset_folder(run, inside):
    code, out, _ = run("train", "--backbone", "s3d", *SMALL)
    assert code == 0
    assert out[0].startswith("epoch 1/2  lr 0.01  train loss ")
    runs = list((inside / "runs").iterdir())
    assert len(runs) == 1
    assert runs[0].name.endswith("_s3d")
    assert out[-1].startswith("2 epochs, best top-1 ")

    code, out, _ = run("evaluate", "--clips", "10", "--crops", "3")
    assert code == 0
    assert out[-1].startswith("top-1 ")
    assert out[-1].endswith("(4 videos, 0 missing)")
    scores = np.load(runs[0] / "scores/val_10x3.npz")
    assert scores["scores"].shape == (4, 2)
    assert scores["ids"].tolist() == [f"frames/val{i}" for i in range(4)]

    code, out, _ = run("train", "--backbone", "s3d", *SMALL)
    assert code == 0
    assert len(list((inside / "runs").iterdir())) == 2


def test_the_three_commands_on_raw_videos(run, tmp_path, monkeypatch):
    assert run("toy", tmp_path / "toy", "--train-per-class", "2", "--val-per-class", "1")[0] == 0
    monkeypatch.chdir(tmp_path / "toy")
    code, out, _ = run("extract-frames")
    assert code == 0
    assert out[-1].endswith("train.txt 16, val.txt 8")
    assert len(actrec.read_list("train.txt")) == 16
    code, out, _ = run("train", "--backbone", "s3d", *SMALL)
    assert code == 0
    code, out, _ = run("evaluate", "--clips", "10", "--crops", "3")
    assert code == 0
    assert out[-1].endswith("(8 videos, 0 missing)")
    code, out, _ = run(
        "train", *SMALL, "--list", "videos_train.txt", "--val-list", "videos_val.txt", "--run", "runs/videos"
    )
    assert code == 0
    code, out, _ = run("evaluate", "--list", "videos_val.txt", "--run", "runs/videos")
    assert out[-1].endswith("(8 videos, 0 missing)")


def test_every_output_of_evaluate(run, inside):
    assert run("train", *SMALL, "--run", "r", "--json", "train.json")[0] == 0
    assert json.loads((inside / "train.json").read_text())["epochs"] == 2
    code, out, _ = run(
        "evaluate", "--run", "r", "--out", "here/s.npz", "--reference-files", "--topk-json", "hara.json",
        "--topk", "1", "--json", "said.json", "--average", "probabilities",
    )  # fmt: skip
    assert code == 0
    assert {path.name for path in (inside / "here").iterdir()} == {"s.npz", "s_details.npy", "s.csv"}
    result = json.loads((inside / "hara.json").read_text())["results"]
    assert {entry[0]["label"] for entry in result.values()} <= {"dark", "bright"}
    said = json.loads((inside / "said.json").read_text())
    assert out[-1].startswith(f"top-1 {said['top1']:.2f}  top-5 100.00  mean-class {said['mean_class']:.2f}")
    code, out, _ = run("evaluate", "--weights", "r/best.pt", "--size", "32", "--frames", "5")
    assert code == 0
    assert (inside / "scores/val_1x1.npz").exists()


def test_evaluate_crops_as_validation_did(run, inside):
    """And a list without labels, whose accuracies JSON cannot hold as numbers."""
    (inside / "unlabeled.txt").write_text("frames/val0\nframes/val1\n")
    assert run("train", *SMALL, "--crop-ratio", "0.5", "--epochs", "1", "--run", "r")[0] == 0
    scores, arguments = {}, ["evaluate", "--run", "r", "--list", "unlabeled.txt", "--json", "s.json"]
    for name, options in {"own": [], "half": ["--crop-ratio", "0.5"], "most": ["--crop-ratio", "0.875"]}.items():
        assert run(*arguments, "--out", f"{name}.npz", *options)[0] == 0
        scores[name] = np.load(f"{name}.npz")["scores"]
    assert np.array_equal(scores["own"], scores["half"])
    assert not np.allclose(scores["own"], scores["most"], rtol=1e-3)
    said = json.loads((inside / "s.json").read_text(), parse_constant=pytest.fail)
    assert (said["top1"], said["videos"]) == (None, 2)


def test_evaluate_knows_of_several_labels_from_the_checkpoint(run, inside):
    from actrec.engine import checkpoint

    net = actrec.net("tsn_resnet18", num_classes=2)
    saved = {
        "net": checkpoint.describe_net(net, net.input),
        "state_dict": net.state_dict(),
        "clip": {"frames": 8},
        "classes": ["dark", "bright"],
        "channels_last": False,
    }
    rows = "frames/val0 1 9 0 1\nframes/val1 1 9 1\nframes/val2 1 9 -\nframes/val3 1 9 0\n"
    (inside / "several.txt").write_text(rows)
    arguments = ["evaluate", "--list", "several.txt", "--size", "32"]
    checkpoint.save("one.pt", saved)
    code, _, err = run(*arguments, "--checkpoint", "one.pt")
    assert (code, err[-1][:55]) == (1, "Error: frames/val0 has 2 labels: expected one; --multi-")
    checkpoint.save("several.pt", saved | {"multi_label": True})
    code, out, _ = run(*arguments, "--checkpoint", "several.pt", "--out", "s.npz", "--json", "said.json")
    assert code == 0
    said = json.loads((inside / "said.json").read_text())
    assert out[-1] == f"mAP {said['map']:.2f}  top-1 {said['top1']:.2f}  (4 videos, 0 missing)"
    assert np.load("s.npz")["labels"].tolist() == [[True, True], [False, True], [False, False], [True, False]]
    options = ["--backbone", "tsn_resnet18", "--multi-label"]
    code, again, _ = run(*arguments, "--weights", "several.pt", *options)
    assert (code, again[-1]) == (0, out[-1])


def test_resume_from_the_command_line(run, inside):
    assert run("train", *SMALL, "--run", "r")[0] == 0
    code, _, err = run("train", *SMALL, "--run", "r")
    assert (code, err) == (
        1,
        ["Error: r contains a run already: pass --resume to continue it, or another --run to begin a new one"],
    )
    code, out, _ = run("train", *SMALL, "--run", "r", "--resume")
    assert code == 0
    assert out[-1].startswith("2 epochs")


def test_preview(run, inside):
    code, out, _ = run("train", *SMALL, "--preview", "p.png")
    assert code == 0
    assert out[-1] == "4 clips -> p.png, one per row, top to bottom as listed"
    assert cv2.imread("p.png").shape == (4 * 32, 5 * 32, 3)
    assert not (inside / "runs").exists()


def test_index(run, inside):
    code, out, _ = run("index", "train.txt", "val.txt")
    assert code == 0
    assert out[:3] == [
        "train.txt: 12 videos, 0 broken, 108 frames",
        "  size      32x24; short side 24",
        "  length    9 frames",
    ]
    shutil.rmtree("frames/val1")
    code, out, err = run("index", "val.txt")
    assert code == 1
    assert err[-1].endswith("frames/val1: no such file or folder")


def test_toy(run, tmp_path):
    code, out, _ = run("toy", tmp_path / "toy", "--train-per-class", "1", "--val-per-class", "1")
    assert code == 0
    assert out == [f"8 training and 8 validation videos of 8 classes -> {tmp_path / 'toy'}"]
    assert len(actrec.read_list(tmp_path / "toy/videos_train.txt")) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "--data", "nowhere"], 1, "Error: nowhere: no such folder"),
        (["train", "--list", "nowhere.txt"], 1, "Error: nowhere.txt: no such file"),
        (["train", "--backbone", "s4d"], 1, "Error: unknown net 's4d': did you mean s3d"),
        (["train", "--epochs", "0"], 2, "Error: --epochs 0: expected at least 1"),
        (["train", "--lr", "-1"], 2, "Error: --lr -1.0: expected a positive number"),
        (["evaluate", "--out", "."], 2, "Error: Invalid value for '--out': . is a folder: expected the name of a file"),
        (
            ["evaluate", "--topk-json", "none/hara.json"],
            2,
            "Error: Invalid value for '--topk-json': none/hara.json: there is no f",
        ),
        (["evaluate", "--crop-ratio", "2"], 2, "Error: --crop-ratio 2.0: expected a number above 0 and up to 1"),
        (["train", "--lr-steps", "a,b"], 2, "Error: Invalid value for '--lr-steps': 'a,b': expected numbers"),
        (["train", "--schedule", "step", "--lr-steps", "0"], 2, "Error: --lr-steps 0: expected positive numbers"),
        (
            ["train", *SMALL, "--preview", "p.unknown"],
            2,
            "Error: Invalid value for '--preview': p.unknown: expected",
        ),
        (["train", "--area", "0.5"], 2, "Error: Invalid value for '--area': '0.5': expected 2 numbers"),
        (["train", "--mean", "1,2"], 2, "Error: --mean of 2 numbers: expected three, for red, green and blue"),
        (
            ["train", "--stride", "2"],
            2,
            "Error: --stride 2 with uniform sampling: expected 1; other strides need --sampling dense",
        ),
        (
            ["train", *SMALL, "--stride-range", "1,4"],
            2,
            "Error: --stride-range 1 4 with --sampling uniform: expected --sampling dense",
        ),
        (["train", "--repeats", "3"], 2, "Error: --repeats 3 with --batch-size 16: expected a divisor of it"),
        (["train", "--nesterov", "--optimizer", "adamw"], 2, "Error: --nesterov with --optimizer adamw"),
        (
            ["train", "--patience", "3"],
            2,
            "Error: --patience 3 with --schedule cosine: it belongs to --schedule plateau",
        ),
        (
            ["train", "--scales", "0.5", "--geometry", "center"],
            2,
            "Error: --scales 0.5 with --geometry center: it belongs",
        ),
        (
            ["train", "--rand-ops", "3"],
            2,
            "Error: --rand-ops 3 with --auto-augment none: it belongs to --auto-augment rand",
        ),
        (
            ["train", "--mixup", "0.2", "--repeats", "2"],
            2,
            "Error: --mixup with --repeats 2: it would mix clips of the same",
        ),
        (["train", "--warmup", "60"], 2, "Error: --warmup 60.0 with --epochs 50: expected at most as many"),
        (
            ["train", "--checkpoint-every", "often"],
            2,
            "Error: --checkpoint-every 'often': expected minutes such as 10m, or",
        ),
        (
            ["train", "--color-jitter", "2,0,0,0"],
            2,
            "Error: --color-jitter 2,0,0,0: expected three numbers from 0",
        ),
        (["train", "--ema", "2"], 2, "Error: --ema 2.0: expected from 0 to 1"),
        (["train", "--std", "0,1,1"], 2, "Error: --std 0,1,1: expected positive numbers"),
        (["train", "--mean", "nan,0,0"], 2, "Error: --mean nan,0,0: expected one or more numbers"),
        (["train", *SMALL, "--freeze-until", "conv9"], 1, "Error: freeze_until 'conv9': "),
        (["train", "--last-pool", "valid"], 1, "Error: net 's3d' takes no option 'last_pool'"),
        (["train", "--frames", "3", "--size", "32", "--batch-size", "4"], 1, "Error: clips of 3 frames are too short"),
        (["train", "--batch-size", "99"], 2, "Error: --batch-size 99 with 12 videos: expected at most 12"),
        (["train", "--weights", "nowhere.pth"], 1, "Error: no weights file nowhere.pth"),
        (["train", "--weights", "labels.txt"], 1, "Error: labels.txt is not a weights file"),
        (["train", *SMALL, "--run", "labels.txt/r"], 1, "Error: labels.txt/r"),
        (["train", "--fraems", "8"], 2, "Error: No such option '--fraems'"),
        (["evaluate"], 1, "Error: runs: no run with a best.pt; `actrec train` creates one"),
        (["evaluate", "--checkpoint", "nowhere.pt"], 1, "Error: nowhere.pt: no such checkpoint"),
        (["evaluate", "--checkpoint", "labels.txt"], 1, "Error: labels.txt: the file is damaged, or not a checkpoint"),
        (["evaluate", "--crops", "4"], 2, "Error: Invalid value for '--crops': '4' is not one of '1', '3', '5', '10'"),
        (["evaluate", "--weights", "a", "--run", "b"], 2, "Error: --weights together with --run or --checkpoint"),
        (["evaluate", "--backbone", "i3d"], 2, "Error: --backbone without --weights: a checkpoint contains this"),
        (["train", "--new-head"], 2, "Error: --new-head without --weights: a net that starts without"),
        (["train", "--seed", "-1"], 2, "Error: --seed -1: expected from 0 to 4294967295"),
        (
            ["train", *SMALL, "--json", "nowhere/x.json"],
            2,
            "Error: Invalid value for '--json': nowhere/x.json: there is",
        ),
        (["train", *SMALL, "--batch-size", "3", "--cutmix", "1"], 2, "Error: --cutmix with batches of 3 clips in each"),
        (["evaluate", "--multi-label"], 2, "Error: --multi-label without --weights: a checkpoint contains this"),
        (["index", "labels.txt/x"], 1, "Error: labels.txt/x: "),
        (["toy", "labels.txt"], 1, "Error: labels.txt is a file: expected a folder, or a name that is free"),
        (["trian"], 2, "Error: no command 'trian': did you mean train?"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_mistakes_end_in_one_clear_line(run, inside, arguments, code, said):
    found, _, err = run(*arguments)
    assert found == code
    assert err[-1].startswith(said), err
    assert not list(inside.glob("runs/*/last.pt"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"),
            "the memory is full: a",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU's memory is full: a"),
        (
            MemoryError("Unable to allocate 3 TiB"),
            "the memory is full: a smaller --batch-size (with --accumulate), --size",
        ),
    ],
)
def test_too_little_memory_says_what_to_lower(run, inside, monkeypatch, error, said):
    def full(*_):
        raise error

    monkeypatch.setattr("actrec.engine.step.Stepper.add", full)
    code, _, err = run("train", *SMALL)
    assert code == 1
    assert err[-1].startswith(f"Error: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("frames/train0 1 9 5\n", "train.txt:1: "),
        ("frames/train0 1 9 drak\n", "did you mean dark"),
        ("frames/nowhere 1 9 0\n", "none of the 1 videos can be used; the first: "),
    ],
)
def test_bad_lists(run, inside, text, said):
    (inside / "train.txt").write_text(text)
    code, _, err = run("train", *SMALL)
    assert code == 1
    assert said in err[-1], err


def test_labels_keep_their_names(run, inside):
    assert run("train", *SMALL, "--run", "r")[0] == 0
    (inside / "labels.txt").write_text("bright\ndark\n")
    code, _, err = run("evaluate", "--run", "r")
    assert (code, err[-1]) == (1, "Error: labels.txt: label 0 is 'bright', but the net was trained with 'dark'")


def test_unusable_videos_are_said_and_left_out(run, inside):
    shutil.rmtree("frames/train3")
    code, _, err = run("train", *SMALL[:-2], "--epochs", "1")
    assert code == 0
    assert any("train.txt: 1 of 12 videos cannot be used and are left out; the first: " in line for line in err)
    shutil.rmtree("frames/val2")
    code, out, err = run("evaluate")
    assert out[-1].endswith("(3 videos, 1 missing)")
    assert any("missing: frames/val2: " in line for line in err)


def test_every_command_has_help_and_stands_in_the_docs(run):
    docs = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    for name in COMMANDS:
        code, out, _ = run(name, "--help")
        assert code == 0
        assert len(out) > 3
        assert f"## actrec {name}" in docs


def test_python_dash_m(tmp_path):
    shown = subprocess.run([sys.executable, "-m", "actrec", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"actrec, version {actrec.__version__}\n"


def test_resume_and_evaluate_take_the_newest_run_of_that_very_net(tmp_path):
    from actrec.engine.datafolder import default_run, newest_run

    for age, name in enumerate(["a_s3d", "b_s3d-2", "c_s3d_resnet18", "d_s3d-resnet", "e_tsn"]):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").touch()
        os.utime(tmp_path / "runs" / name / "config.json", (age, age))
    assert newest_run(tmp_path, "config.json", net="s3d").name == "b_s3d-2"
    assert newest_run(tmp_path, "config.json").name == "e_tsn"
    assert newest_run(tmp_path, "best.pt") is None
    assert default_run(tmp_path, "s3d", resume=True).name == "b_s3d-2"
    assert default_run(tmp_path, "i3d", resume=True).name.endswith("_i3d")
