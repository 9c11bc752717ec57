"""What a user can get wrong ends in one clear line."""

from __future__ import annotations

import shutil

import pytest
import torch

NET = ["--backbone", "s3d"]
SMALL = ["--frames", "5", "--size", "32", "--batch-size", "4", "--epochs", "2"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "--data", "nowhere"], 1, "Error: nowhere: no such folder"),
        (["train", "--list", "s3://b/l.txt"], 2, "Error: Invalid value for '--list': s3://b/l.txt is a URL: expected"),
        (["train", "--data", "https://x/d"], 2, "Error: Invalid value for '--data': https://x/d is a URL: expected"),
        (["predict", "a", "--json", "gs://b/r"], 2, "Error: Invalid value for '--json': gs://b/r is a URL: expected"),
        (["predict", "https://u:pw@h/a"], 2, "Error: Invalid value for '[INPUT...]': https://h/a: a user or a passw"),
        (["train", "--cache-size", "lots"], 2, "Error: --cache-size 'lots': expected a size such as 500M or 50G"),
        (
            ["train", "--cache", ""],
            2,
            "Error: Invalid value for '--cache': the name is empty: expected the name of a fo",
        ),
        (["train", "--cache", "labels.txt"], 2, "Error: Invalid value for '--cache': labels.txt is a file: expected"),
        (["train", "--list", "nowhere.txt"], 1, "Error: nowhere.txt: no such file"),
        (["train", "--backbone", "s4d"], 2, "Error: --backbone 's4d': there is no such net: did you mean s3d"),
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
            ["view", "--out", "p.unknown"],
            2,
            "Error: Invalid value for '--out': p.unknown: expected",
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
            ["train", "--mixup", "0.2", "--repeats", "2", "--batch-size", "6"],
            2,
            "Error: --mixup with --repeats 2 and batches of 6 clips: expected a",
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
        (["train", *SMALL, "--freeze-until", "conv9"], 2, "Error: --freeze-until 'conv9': "),
        (
            ["train", "--backbone", "s3d", "--last-pool", "valid"],
            2,
            "Error: --last-pool valid with --backbone s3d: this net has the options depthwise_temporal, dropout",
        ),
        (
            ["train", "--backbone", "resnet3d_10", "--depthwise-temporal"],
            2,
            "Error: --depthwise-temporal with --backbone resnet3d_10: this net has the options ",
        ),
        (["train", "--dropout", "2"], 2, "Error: --dropout 2.0: expected from 0 to 1"),
        (["train", "--stem-kernel-t", "0"], 2, "Error: --stem-kernel-t 0: expected from 1 to 1000000"),
        (["train", "--widen", "0"], 2, "Error: --widen 0.0: expected a positive number"),
        (["train", "--frames", "9" * 20], 2, f"Error: --frames {'9' * 20}: expected from 1 to 1000000"),
        (["train", "--seed", "9" * 5000], 2, "Error: Invalid value for '--seed': "),
        (["train", "--run", ""], 2, "Error: Invalid value for '--run': the name is empty: expected the name of a f"),
        (["train", "--run", "labels.txt"], 2, "Error: Invalid value for '--run': labels.txt is a file: expected the"),
        (["train", "--json", ""], 2, "Error: Invalid value for '--json': the name is empty: expected the name of a f"),
        (["train", "--json", "./train.txt"], 2, "Error: --json train.txt: the training list is the same file; expect"),
        (
            ["train", *SMALL, "--run", "r", "--json", "r/config.json"],
            2,
            "Error: Invalid value for '--json': r/config.json: there is no folder r",
        ),
        (
            ["evaluate", "--weights", "w", *NET, "--json", "val.txt"],
            2,
            "Error: --json val.txt: the list is the same file; expected another name",
        ),
        (
            ["evaluate", "--out", "s.npz", "--weights", "w", *NET, "--reference-files", "--json", "s.csv"],
            2,
            "Error: s.csv s.csv: --json is the same file",
        ),
        (["evaluate", "--out", "s.npz", "--json", "s.npz"], 2, "Error: --json s.npz: --out is the same file; expected"),
        (
            ["evaluate", "--data", "frames"],
            1,
            "Error: frames: contains no val.txt; `actrec extract-frames` creates it "
            "from videos/<class>/, or pass a list with --list",
        ),
        (["train", "--data", "frames", "--list", "train.txt", "--val-list", "a"], 1, "Error: a: no such file"),
        (["index", "val.txt", "--json", "val.txt"], 2, "Error: --json val.txt: LIST is the same file; expected anoth"),
        (
            ["index", "val.txt", "--json", "val.txt.index.npy"],
            2,
            "Error: --json val.txt.index.npy: the index of val.txt is the same file",
        ),
        (["prepare", "frames", "out", "--gop", "9" * 14], 2, f"Error: --gop {'9' * 14}: expected from 1 to 100000"),
        (["runs", "--data", "nowhere"], 1, "Error: nowhere: no such folder"),
        (["index", "/nowhere-at-all"], 1, "Error: /nowhere-at-all: no such file"),
        (
            ["train", "--backbone", "s3d", "--frames", "3", "--size", "32", "--batch-size", "4"],
            1,
            "Error: clips of 3 frames are too short",
        ),
        (["train", "--batch-size", "99"], 2, "Error: --batch-size 99 with 12 videos: expected at most 12"),
        (
            ["train", "--frames", "1000000", "--size", "224", "--batch-size", "4"],
            2,
            "Error: 3 batches of 4 clips of 1,000,000 frames of 224x224 need 6,729 GiB of memory, and there are ",
        ),
        (["evaluate", "--run", "best.pt"], 1, "Error: no run 'best.pt'"),
        (["fuse", "labels.txt", "val.txt"], 1, "val.txt: the file is damaged, or not a score file"),
        (["train", "--weights", "nowhere.pth"], 1, "Error: no weights file nowhere.pth"),
        (["train", "--weights", "labels.txt"], 1, "Error: labels.txt is a text file, not a weights file"),
        (["train", *SMALL, "--run", "labels.txt/r"], 1, "Error: labels.txt/r"),
        (["train", "--fraems", "8"], 2, "Error: No such option '--fraems'"),
        (["evaluate", "val.txt"], 2, "Error: unexpected argument val.txt: pass a list with --list"),
        (["evaluate", "frames"], 2, "Error: unexpected argument frames: pass a dataset folder with --data"),
        (["evaluate", "x.pt"], 2, "Error: unexpected argument x.pt: pass a checkpoint with --checkpoint"),
        (["runs", "compare", "a", "b", "c"], 2, "Error: unexpected argument c"),
        (["evaluate"], 1, "Error: runs: no run with a best.pt; `actrec train` creates one"),
        (["evaluate", "--checkpoint", "nowhere.pt"], 1, "Error: nowhere.pt: no such checkpoint"),
        (["evaluate", "--checkpoint", "labels.txt"], 1, "Error: labels.txt: the file is damaged, or not a checkpoint"),
        (["evaluate", "--crops", "4"], 2, "Error: Invalid value for '--crops': '4': expected one of 1, 3, 5, 10"),
        (["evaluate", "--weights", "a", "--run", "b"], 2, "Error: --weights together with --run or --checkpoint"),
        (
            ["evaluate", "--backbone", "i3d"],
            2,
            "Error: --backbone without --weights: the checkpoint contains this option",
        ),
        (["train", "--new-head"], 2, "Error: --new-head without --weights: a net that starts without"),
        (["train", "--seed", "-1"], 2, "Error: --seed -1: expected from 0 to 4294967295"),
        (
            ["train", *SMALL, "--json", "nowhere/x.json"],
            2,
            "Error: Invalid value for '--json': nowhere/x.json: there is",
        ),
        (
            ["train", *SMALL, "--batch-size", "3", "--cutmix", "1"],
            2,
            "Error: --cutmix with batches of 3 clips: expected an even",
        ),
        (
            ["evaluate", "--multi-label"],
            2,
            "Error: --multi-label without --weights: the checkpoint contains this option",
        ),
        (["index", "labels.txt/x"], 1, "Error: labels.txt/x: "),
        (["toy", "labels.txt"], 2, "Error: Invalid value for 'DIR': labels.txt is a file: expected the name of a fol"),
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


def test_a_library_that_does_not_fit_into_memory(run, inside, monkeypatch):
    def full(*_, **__):
        raise ImportError("libx.so: failed to map segment from shared object")

    monkeypatch.setattr("actrec.engine.train.train", full)
    code, _, err = run("train", *SMALL)
    assert (code, err[-1]) == (1, "Error: the memory is full: a library cannot be loaded")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("frames/train0 1 9 5\n", "train.txt:1: "),
        ("frames/train0 1 9 drak\n", "did you mean dark"),
        ("frames/nowhere 1 9 0\n", "the only video cannot be used: "),
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
    assert any(line.endswith("train.txt: 12 videos, 1 skipped:") for line in err)
    shutil.rmtree("frames/val2")
    code, out, err = run("evaluate")
    assert code == 1  # one of the inputs could not be used
    assert out[-1].endswith("(3 videos, 1 missing)")
    assert sum("frames/val2" in line for line in err) == 1
    assert any("missing: frames/val2: " in line for line in err)


def test_messages_show_names_with_control_characters_escaped(run, tmp_path):
    for name in ("a\x1b[31m.mp4", "b\u202e4pm.mp4", "c\r.mp4"):
        (tmp_path / "list.txt").write_text(f"{name} 0\nnone.mp4 1\n")
        code, _, err = run("index", tmp_path / "list.txt")
        assert code == 1
        assert f"{tmp_path}/{ascii(name)[1:-1]}: no such file" in err[0]
        code, _, err = run("train", "--list", tmp_path / name)
        assert code == 1
        assert err == [f"Error: {tmp_path}/{ascii(name)[1:-1]}: no such file"]
