from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch

import actrec
from actrec.cli import weights
from actrec.data.video.encode import VideoWriter
from actrec.nets.recognize import Guess

NET = ["--backbone", "resnet3d_10", "--widen", "0.25"]
SMALL = [*NET, "--frames", "4", "--size", "32", "--batch-size", "2", "--epochs", "1"]


def test_from_frames_to_scores(run, inside):
    code, out, _ = run("extract-flow")
    assert code == 0
    assert out[-1] == (
        "16 videos -> optical flow beside frames, of video files in flow/ (128 pairs, 0 videos done before, 0 failed)"
    )
    assert (inside / "frames/train0/00008_y.jpg").exists()
    assert "16 videos done before" in run("extract-flow")[1][-1]

    view = ["view", "--modality", "flow", "--json", "v.json", *NET[:2], "--frames", "4", "--size", "32", "--no-flip"]
    code, out, _ = run(*view, "--videos", "2")
    assert (code, out[-1]) == (0, "2 clips of train.txt -> view.png")
    sheet = cv2.imread("view.png")
    top, bottom = sheet.shape[0] // 2 - 248, sheet.shape[0] // 2 - 8
    assert (sheet[top:bottom, ..., 0] == sheet[top:bottom, ..., 2]).all()  # x of the flow, in gray
    assert sheet[top:bottom].std() > 1

    code, out, _ = run("train", "--modality", "flow", *SMALL)
    assert code == 0
    (folder,) = (inside / "runs").iterdir()
    assert folder.name.endswith("_resnet3d_10_flow")
    assert json.loads((folder / "config.json").read_text())["clip"]["modality"] == "flow"
    code, out, _ = run("train", "--modality", "flow", *SMALL, "--resume")
    assert (code, out[0]) == (0, f"{folder.relative_to(inside)} is finished: 1 epoch is done")

    code, out, _ = run("evaluate", "--clips", "1", "--crops", "10")
    assert code == 0
    assert out[-1].endswith("(4 videos, 0 missing)")
    scores = np.load(folder / "scores/val_1x10.npz")
    assert scores["ids"].tolist() == [f"frames/val{i}" for i in range(4)]  # those of RGB, so that scores can be fused

    of_weights = ["evaluate", *NET, "--weights", folder / "best.pt", "--out", "w.npz", "--size", "32"]
    code, _, err = run(*of_weights, "--modality", "rgb")
    assert (code, len(err)) == (1, 1)
    assert run(*of_weights)[0] == 0  # the file is a checkpoint, which contains the modality
    code, _, err = run("evaluate", "--modality", "flow")
    assert code == 2
    assert "--modality without --weights: the checkpoint contains this option" in err[-1]


def test_flow_of_video_files(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    rng = np.random.default_rng(0)
    for name in "abcd":
        with VideoWriter(tmp_path / f"videos/{name}.mp4", width=48, height=32, rate=10) as video:
            for _ in range(8):
                video.write(rng.integers(0, 255, (32, 48, 3), np.uint8))
    rows = [f"videos/{name}.mp4 1 8 {i % 2}\n" for i, name in enumerate("abcd")]
    Path("videos_train.txt").write_text("".join(rows))
    Path("videos_val.txt").write_text(rows[-1])
    code, out, _ = run("extract-flow", "--short-side", "24")
    assert code == 0
    assert out[-1].startswith("4 videos -> optical flow beside frames, of video files in flow/ (28 pairs, ")
    assert cv2.imread("flow/videos/a.mp4/00007_x.jpg").shape == (24, 36, 3)
    code, _, _ = run("train", "--modality", "flow", *SMALL)
    assert code == 0
    shutil.rmtree("flow/videos/a.mp4")
    code, _, err = run("train", "--modality", "flow", *SMALL)
    assert code == 0
    assert err[0] == "videos_train.txt: 4 videos, 1 skipped:"
    assert "there is no such folder: `actrec extract-flow` computes it" in err[1]


def test_what_a_user_can_get_wrong(run, inside):
    code, _, err = run("train", "--modality", "flow", *SMALL)
    assert code == 1
    assert err[-1].endswith(
        "the folder contains no optical flow such as 00001_x.jpg: `actrec extract-flow` computes it"
    )
    for flags, told in (
        (["--bound", "0"], "--bound 0.0: expected a number above 0 and up to 16384"),
        (
            ["--device", "cuda", "--cluster", "tcp://127.0.0.1:1"],
            "--device cuda together with --cluster:",
        ),
    ):
        code, _, err = run("extract-flow", *flags)
        assert code == 2
        assert told in err[-1]
    code, _, err = run("extract-flow", "--data", "nowhere")
    assert code == 1
    assert "no such folder" in err[-1]
    for flags, told in (
        (["--mean", "0.5"], "--mean of 1 numbers: expected three, for red, green and blue"),
        (["--modality", "flow", "--std", "1,2,3"], "--std of 3 numbers: expected one, for flow"),
    ):
        code, _, err = run("train", *flags)
        assert code == 2
        assert told in err[-1]
    (inside / "frames/train0/00001.jpg").unlink()
    code, _, err = run("extract-flow")
    assert code == 0  # begins with frame 2, as the loader does


def test_color_weights_begin_a_flow_net(run, inside):
    torch.manual_seed(0)
    torch.save(actrec.net("resnet3d_10", num_classes=2, widen=0.25).state_dict(), "rgb.pt")
    run("extract-flow")
    code, out, _ = run("train", "--modality", "flow", "--weights", "rgb.pt", "--std", "0.25", *SMALL)
    assert code == 0
    assert out[0].startswith("rgb.pt: ")
    assert out[0].endswith("colors averaged for 10 channels")


def test_the_command_that_trains_from_weights_of_flow():
    guess = Guess("i3d", "actrec", {}, num_classes=5, in_channels=10)
    command = "actrec train --backbone i3d --modality flow --weights 'my flow.pt' --new-head"
    assert weights._use(Path("my flow.pt"), guess, None) == command
