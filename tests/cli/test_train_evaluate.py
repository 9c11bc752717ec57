"""`train` and `evaluate` from the command line, on small frame folders."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil

import numpy as np
import pytest

import actrec

SMALL = ["--frames", "5", "--size", "32", "--batch-size", "4", "--epochs", "2"]
TINY = ["--backbone", "resnet3d_10", "--widen", "0.125"]


def test_train_and_evaluate_inside_a_dataset_folder(run, inside):
    code, out, _ = run("train", "--backbone", "s3d", *SMALL)
    assert code == 0
    assert re.match(r"epoch 1/2  lr 0\.0\d+  train loss ", out[0])
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
    assert out[-1].startswith(f"top-1 {said['top1']:.2f}  mean-class {said['mean_class']:.2f}")
    code, out, _ = run("evaluate", "--weights", "r/best.pt", "--backbone", "tiny3d", "--size", "32", "--frames", "5")
    assert code == 0
    assert (inside / "scores/val_1x1_frames-5_size-32.npz").exists()


def test_the_result_is_shown_even_if_the_disk_is_full(run, inside, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run("train", *SMALL, "--run", "r")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("numpy.savez", full)
        code, out, err = run("evaluate", "--run", "r", "--out", "s.npz")
    assert (code, err[-1]) == (1, "Error: s.npz: No space left on device")
    assert "top-1" in out[-1]
    with monkeypatch.context() as patch:
        patch.setattr("actrec.cli.ending.write_json", full)
        code, out, err = run("evaluate", "--run", "r", "--out", "s.npz", "--json", "s.json")
    assert (code, err[-1]) == (1, "Error: s.json: cannot be written (No space left on device)")
    assert "top-1" in out[-1]
    assert "scores -> s.npz" in out
    code, _, err = run("train", *SMALL, "--run", "r", "--resume", "--json", "r/config.json")
    assert (code, err[-1]) == (
        2,
        "Error: --json r/config.json: config.json of the run is the same file; expected another name",
    )


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
    assert (code, err[-1][:55]) == (1, "Error: frames/val0 has 2 labels: expected one, or a net")
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
    assert run("train", *SMALL, *TINY, "--run", "r")[0] == 0
    code, _, err = run("train", *SMALL, *TINY, "--run", "r")
    assert (code, err[-1:]) == (
        1,
        ["Error: r contains a run already: pass --resume to continue it, or another --run to begin a new one"],
    )
    code, out, _ = run("train", *SMALL, *TINY, "--run", "r", "--resume")
    assert code == 0
    assert out[-1].startswith("2 epochs")


def test_resume_and_evaluate_take_the_newest_run_of_that_very_net(tmp_path):
    from actrec.engine.datafolder import newest_run, run_to_resume

    runs = [  # by age: name, net, modality, checkpoint
        ("a_s3d", "s3d", "rgb", "last.pt"),
        ("named", "s3d", "rgb", "previous.pt"),
        ("c_s3d_flow", "s3d", "flow", "last.pt"),
        ("d_s3d", "s3d", "rgb", None),
        ("e_s3d_resnet18", "s3d_resnet18", "rgb", "best.pt"),
    ]
    for age, (name, net, modality, checkpoint) in enumerate(runs):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"net": {"backbone": net}, "clip": {"modality": modality}}))
        if checkpoint is not None:
            (folder / checkpoint).touch()
            os.utime(folder / checkpoint, (age, age))
    (tmp_path / "runs/damaged").mkdir()
    (tmp_path / "runs/damaged/last.pt").touch()
    (tmp_path / "runs/damaged/config.json").write_text("[")
    assert run_to_resume(tmp_path, "s3d", "rgb").name == "named"
    assert run_to_resume(tmp_path, "s3d", "flow").name == "c_s3d_flow"
    assert newest_run(tmp_path, ("best.pt",)).name == "e_s3d_resnet18"
    assert newest_run(tmp_path, ("epoch_001.pt",)) is None
    with pytest.raises(ValueError, match=r"contains no run of i3d with a checkpoint to continue from: omit --resume"):
        run_to_resume(tmp_path, "i3d", "rgb")


def test_resume_finds_a_named_run_and_refuses_an_unknown_one(run, inside):
    begun = ["train", *SMALL, "--epochs", "1", *TINY]
    assert run(*begun, "--run", "runs/named")[0] == 0
    for flags in ([], ["--run", "named"], ["--run", "runs/named"]):
        code, out, _ = run(*begun, "--resume", *flags)
        assert (code, out[0]) == (0, "runs/named is finished: 1 epoch is done")
    assert run("evaluate", "--run", "named")[0] == 0
    assert (inside / "runs/named/scores/val_1x1.npz").exists()
    for command in (["train", "--resume"], ["evaluate"]):
        code, _, err = run(*command, "--run", "runs/namd")
        assert (code, err) == (1, ["Error: no run 'runs/namd': did you mean named?"])
    (inside / "runs/begun").mkdir()
    (inside / "runs/begun/config.json").write_text("{}")
    code, _, err = run(*begun, "--resume", "--run", "begun")
    assert (code, err) == (
        1, ["Error: runs/begun has no checkpoint to continue from: omit --resume to begin the run"]
    )  # fmt: skip
    assert {path.name for path in (inside / "runs").iterdir()} == {"named", "begun"}


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--backbone", "s3d", "--size", "10"], 1, "frames of 10x10 pixels are too small"),
        (["--backbone", "c3d", "--batch-size", "1"], 2, "takes exactly 16 of 112x112, or any with --global-pooling"),
        (["--backbone", "s3d", "--batch-size", "16"], 2, "at most 12; set --batch-size to 8, or set --keep-last"),
    ],
)  # fmt: skip
def test_a_failed_set_up_leaves_no_run(run, inside, flags, code, words):
    found, _, err = run("train", *SMALL, *flags)
    assert found == code
    assert words in err[-1]
    assert not (inside / "runs").exists()


def test_resume_names_each_changed_option_as_it_was_typed(run, inside):
    begun = ["train", *SMALL, "--epochs", "1", *TINY]
    assert run(*begun, "--run", "r", "--lr-batch", "8", "--no-flip")[0] == 0
    (inside / "other.pt").write_bytes(b"weights")
    code, _, err = run(
        "train", *TINY, "--size", "40", "--batch-size", "4", "--resume", "--run", "r", "--balanced", "--flip",
        "--lr-batch", "4", "--gamma", "0.5", "--weights", "other.pt", "--frames", "5", "--workers", "1",
    )  # fmt: skip
    assert code == 2
    assert err[-1:] == [
        "Error: r was started with no --weights (now --weights other.pt), --size 32 (now --size 40), "
        "--no-flip (now --flip), --no-balanced (now --balanced), --lr-batch 8 (now --lr-batch 4), "
        "--gamma 0.1 (now --gamma 0.5): omit these flags to continue it, or choose another --run to begin a new run"
    ]
    assert run("train", "--resume", "--run", "r", "--workers", "1", "--frames", "5", "--lr-batch", "8")[0] == 0


def stopped(run, *arguments, at="stopped in epoch 1"):
    """Trains until the first step of the first epoch."""
    import os
    import signal

    from actrec.cli.progress import TrainReporter

    step = TrainReporter.step
    TrainReporter.step = lambda self, **shown: os.kill(os.getpid(), signal.SIGINT)
    try:
        code, out, _ = run("train", *arguments)
    finally:
        TrainReporter.step = step
    assert (code, out[-1].partition(":")[0]) == (130, at)


OTHERS = ["--schedule", "step", "--gamma", "0.5", "--lr-steps", "1", "--geometry", "random-resized", "--no-tensorboard"]


def test_resume_needs_no_other_flag(run, inside, tmp_path, monkeypatch):
    """All options, the lists and the run are found, also from another folder and after a move."""
    import torch

    shutil.copy("train.txt", "own.txt")
    begun = [*SMALL, *TINY, *OTHERS, "--list", "own.txt", "--val-list", "val.txt"]
    assert run("train", *begun, "--run", "runs/whole")[0] == 0
    for name in ("a", "b", "c"):
        stopped(run, *begun, "--run", f"runs/{name}")
    expected = torch.load("runs/whole/last.pt", weights_only=True)

    def check(path):
        found = torch.load(path / "last.pt", weights_only=True)
        assert all(torch.equal(found["state_dict"][name], value) for name, value in expected["state_dict"].items())
        assert found["config"] == expected["config"]

    code, out, _ = run("train", "--resume")  # the newest
    assert (code, out[0]) == (0, "continuing runs/c at epoch 1, step 3")
    check(inside / "runs/c")
    monkeypatch.chdir(tmp_path)
    assert run("train", "--resume", "--run", "data/runs/a")[0] == 0
    check(inside / "runs/a")
    inside.rename(tmp_path / "moved")
    assert run("train", "--resume", "--run", "moved/runs/b")[0] == 0
    check(tmp_path / "moved/runs/b")
    config = json.loads((tmp_path / "moved/runs/b/config.json").read_text())
    assert config["data"] == {"folder": "../..", "list": "own.txt", "val_list": "val.txt"}


def test_resume_where_the_data_has_moved_away_from_the_run(run, inside, tmp_path):
    stopped(run, *SMALL, *TINY, "--run", tmp_path / "run")
    inside.rename(tmp_path / "moved")
    os.chdir(tmp_path)
    code, _, err = run("train", "--resume", "--run", "run")
    missing = f"Error: {inside}: the dataset folder of run is missing: pass its new place with --data"
    assert (code, err[-1]) == (2, missing)
    code, out, _ = run("train", "--resume", "--run", "run", "--data", "moved")
    assert (code, out[0]) == (0, "continuing run at epoch 1, step 3")


def test_resume_without_a_readable_config(run, inside):
    stopped(run, *SMALL, *TINY, "--run", "runs/r")
    config = (inside / "runs/r/config.json").read_text()
    for text in (None, "[" * 100):
        (inside / "runs/r/config.json").unlink()
        if text is not None:
            (inside / "runs/r/config.json").write_text(text)
        code, out, err = run("train", "--resume", "--run", "r", "--epochs", "2")
        assert code == 0
        assert err[0] == "runs/r/config.json cannot be read: the options are those in runs/r/last.pt"
        assert (inside / "runs/r/config.json").read_text() == config
    data = (inside / "runs/r/data.json").read_text()
    for text in (None, data[:100], "{}", json.dumps(json.loads(data) | {"train": 5})):
        (inside / "runs/r/data.json").unlink()
        if text is not None:
            (inside / "runs/r/data.json").write_text(text)
        code, out, err = run("train", "--resume", "--run", "r")
        assert code == 0
        assert sum(line.startswith("WARNING: runs/r/data.json:") and "written again" in line for line in out + err) == 1
        assert (inside / "runs/r/data.json").read_text() == data
    stored = json.loads(config)
    del stored["data"], stored["optim"]["gamma"]  # of an earlier version
    (inside / "runs/r/config.json").write_text(json.dumps(stored))
    assert run("train", "--resume", "--run", "r")[0] == 0
    (inside / "runs/r/config.json").write_text(json.dumps(stored | {"optim": {"epochs": "many"}}))
    code, _, err = run("train", "--resume", "--run", "r")
    assert (code, err[-1][:61]) == (1, "Error: runs/r/config.json: optim: epochs 'many': expected a w")


def test_more_epochs(run, inside):
    """Allowed where the schedule does not depend on their number: the run is then the one with as many epochs."""
    import torch

    begun = [*SMALL, *TINY, *OTHERS]
    assert run("train", *begun, "--epochs", "4", "--run", "whole")[0] == 0
    assert run("train", *begun, "--epochs", "2", "--run", "r")[0] == 0
    code, out, _ = run("train", "--resume", "--run", "r", "--epochs", "4")
    assert (code, out[:2]) == (0, [
        "r continues to epoch 4 instead of 2: the learning rate of each epoch follows --schedule step as before",
        "continuing r at epoch 3, step 1",
    ])  # fmt: skip
    one, other = (torch.load(f"{name}/last.pt", weights_only=True) for name in ("whole", "r"))
    assert all(torch.equal(other["state_dict"][name], value) for name, value in one["state_dict"].items())
    assert json.loads((inside / "r/config.json").read_text())["optim"]["epochs"] == 4
    assert run("train", "--resume", "--run", "r")[1][0] == "r is finished: 4 epochs are done"
    code, _, err = run("train", "--resume", "--run", "r", "--epochs", "3")
    assert (code, err[-1]) == (2, "Error: --epochs 3, but r has begun epoch 4: expected at least 4")
    assert run("train", *SMALL, *TINY, "--epochs", "1", "--run", "c")[0] == 0
    code, _, err = run("train", "--resume", "--run", "c", "--epochs", "2")
    assert (code, err[-1]) == (
        2,
        "Error: --epochs 2, but c was started with 1: with --schedule cosine, the learning rate of every epoch depends "
        "on the number of epochs. To train longer, begin a new run with --weights c/last.pt",
    )
    assert run("train", *SMALL, *TINY, "--epochs", "2", "--run", "e")[0] == 0
    code, _, err = run("train", "--resume", "--run", "e", "--epochs", "1")
    assert (code, err[-1]) == (
        2,
        "Error: --epochs 1, but e was started with 2, of which 2 are done: with --schedule cosine, a run cannot be "
        "shortened; omit --epochs to continue to epoch 2",
    )
    assert run("train", *SMALL, *TINY, "--epochs", "1", "--run", "d", "--weights", "c/last.pt")[0] == 0
    assert run("train", "--resume", "--run", "d", "--weights", "c/last.pt")[0] == 0


def test_without_a_validation_list(run, inside):
    (inside / "val.txt").unlink()
    begun = ["train", *SMALL, "--epochs", "1", *TINY]
    code, _, err = run(*begun)
    assert code == 1
    assert err[-1].endswith("--val-list; to train without validation, pass only --list train.txt")
    code, _, err = run(*begun, "--val-list", "")
    assert code == 2
    assert "Invalid value for '--val-list': '' is not a list; to train without validation, pass the" in err[-1]
    code, out, _ = run(*begun, "--list", "train.txt", "--run", "r")
    assert (code, out[-1]) == (0, "1 epoch -> r/best.pt, r/last.pt")
    code, _, err = run("evaluate")
    assert err[-1].endswith("or pass a list with --list")


def test_a_broken_video_is_named_once(run, inside):
    (inside / "zero.avi").touch()
    with open(inside / "train.txt", "a") as file:
        file.write("zero.avi 1 9 0\n")
    code, _, err = run("train", *SMALL, "--epochs", "1", *TINY, "--run", "r")
    assert code == 0
    (line,) = [line for line in err if "zero.avi" in line]
    assert line.count("zero.avi") == 1
    assert err[err.index(line) - 1] == "train.txt: 13 videos, 1 skipped:"
    assert "training list: 13 videos, 1 skipped: r/skipped.csv lists them all" in err
    assert [line.split(",")[0] for line in (inside / "r/skipped.csv").read_text().splitlines()] == ["video", "zero.avi"]


def test_evaluate_scores_the_validation_list_of_the_run(run, inside, tmp_path, monkeypatch):
    """The commands that `train` prints at its end work as they are, whatever lists it was given."""
    (inside / "train.txt").rename(inside / "kin.txt")
    (inside / "val.txt").rename(inside / "kin val.txt")
    lists = ["--list", "kin.txt", "--val-list", "kin val.txt"]
    code, _, err = run("train", *SMALL, *TINY, *lists, "--run", "runs/my run")
    assert (code, err[-3:]) == (0, [
        "next: actrec evaluate --run 'runs/my run'",
        "      actrec report 'runs/my run'",
        "      actrec predict VIDEO --run 'runs/my run'",
    ])  # fmt: skip
    for command in err[-3].removeprefix("next: "), err[-2]:
        code, out, err = run(*shlex.split(command)[1:])
        assert code == 0, err
        if "evaluate" in command:
            assert "list: kin val.txt" in err
    assert (inside / "runs/my run/scores/kin val_1x1.npz").is_file()
    assert run("evaluate", "--force")[0] == 0  # the newest run
    code, _, err = run("evaluate", "--data", ".")
    assert (code, err[-1][:33]) == (1, "Error: .: contains no val.txt; `a")
    assert err[-1].endswith("or pass a list with --list")
    assert run("train", *SMALL, *TINY, "--list", "kin.txt", "--run", "runs/without")[0] == 0
    code, _, err = run("evaluate", "--run", "runs/without")
    assert (code, err[-1].split(", or ")[-1]) == (
        1, "pass a list with --list (runs/without has no validation list)"
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, err = run("evaluate", "--run", "data/runs/my run")
    assert code == 0
    assert "list: data/kin val.txt" in err


def test_evaluate_of_a_run_without_a_known_validation_list(run, inside):
    shutil.copy("val.txt", "other.txt")
    assert run("train", *SMALL, *TINY, "--list", "train.txt", "--val-list", "other.txt", "--run", "runs/r")[0] == 0
    (inside / "other.txt").unlink()
    code, _, err = run("evaluate")
    assert code == 0
    assert {"other.txt, the validation list of the run, is missing", "list: val.txt"} <= set(err)
    config = json.loads((inside / "runs/r/config.json").read_text())
    del config["data"]  # a run of an earlier version
    (inside / "runs/r/config.json").write_text(json.dumps(config))
    code, _, err = run("evaluate")
    assert (code, [line for line in err if "list" in line]) == (0, ["list: val.txt"])
    code, _, err = run("train", *SMALL, *TINY, "--list", "train.txt", "--run", "runs/s")
    assert (code, err[-3:-1]) == (0, ["next: actrec evaluate --run runs/s --list LIST", "      actrec report runs/s"])
