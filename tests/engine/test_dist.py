"""Several processes do what one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.group import TIMEOUT, Groups
from engine.helpers import break_images
from torch import nn

from actrec.engine import checkpoint, dist, runlog

SMALL = [
    *("--backbone", "resnet3d_10", "--widen", "0.125", "--dropout", "0", "--frames", "5", "--size", "32"),
    *("--batch-size", "4", "--no-tensorboard", "--log-every", "1"),
]  # fmt: skip
# Larger clips, so that batch norms do not amplify the last bits: the smallest map has more than one value per clip.
EXACT = [
    *("--lr", "0.001", "--precision", "float64", "--sync-bn"),
    *("--size", "48", "--frames", "8", "--widen", "0.0625", "--stem-stride-t", "2"),
]  # fmt: skip


def train(groups: Groups, processes: int, dataset: Path, run: Path, *options: object, **stop: int) -> str:
    """The output of the first process."""
    ended = groups.run(processes, "train", "--data", dataset, "--run", run, *SMALL, *options, **stop)
    assert [process.returncode for process in ended] == [130 if stop else 0] * processes, ended
    return ended[0].stdout


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in runlog.read(run, runlog.STEPS)]


def test_two_processes_have_the_losses_of_one(tmp_path, dataset, groups):
    """30 steps in float64: only the order of sums differs."""
    runs = {n: tmp_path / str(n) for n in (1, 2)}
    options = ("--epochs", "10", *EXACT)
    outputs = [train(groups, n, dataset, run, *options) for n, run in runs.items()]
    assert [output.count("epoch 3/10") for output in outputs] == [1, 1]  # only the first process prints
    assert losses(runs[2]) == pytest.approx(losses(runs[1]), abs=1e-9, rel=0)
    assert len(losses(runs[1])) == len(set(losses(runs[1]))) == 30
    rows = [runlog.read(run) for run in runs.values()]
    for name in ("train_loss", "val_loss", "val_top1", "val_videos", "skipped"):
        assert [row[name] for row in rows[1]] == pytest.approx([row[name] for row in rows[0]], abs=1e-9), name
    weights = [checkpoint.load(run / "last.pt")["state_dict"] for run in runs.values()]
    assert all(torch.allclose(weights[0][k].double(), weights[1][k].double(), atol=1e-8) for k in weights[0])


def test_the_first_step_in_float32(tmp_path, dataset, groups):
    for n in (1, 2):
        ended = groups.run(n, Path(__file__).with_name("one_step.py"), dataset, tmp_path / f"{n}.pt", "float32")
        assert [process.returncode for process in ended] == [0] * n, ended
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    for name, gradient in one["gradients"].items():
        assert (two["gradients"][name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_a_process_without_any_clip(tmp_path, dataset, groups):
    """The only video of a process's step is broken: the step has the clips of the other process, and both continue."""
    rows = (dataset / "train.txt").read_text().splitlines()[:4]
    break_images(shutil.copytree(dataset / "frames/train0", tmp_path / "broken"))
    lines = [f"{dataset}/{row}" for row in rows[:3]] + ["broken 1 9 0"]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.txt").write_text("dark\nbright\n")
    for n in (1, 2):
        options = ("--list", tmp_path / "list.txt", "--batch-size", "2", "--epochs", "2", *EXACT)
        train(groups, n, dataset, tmp_path / str(n), *options)
    assert len(losses(tmp_path / "1")) == 3  # the second epoch does not draw it: a batch of two videos, and one video
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "1"), abs=1e-9)
    assert [row["skipped"] for row in runlog.read(tmp_path / "2")] == [1, 0]
    saved = [checkpoint.load(tmp_path / f"{n}/last.pt") for n in (1, 2)]
    assert [each["loader"] for each in saved] == [{"epoch": 2, "step": 0, "left_out": [3]}] * 2


def test_lists_are_described_once(tmp_path, dataset, groups):
    lines = (dataset / "train.txt").read_text().splitlines()[:4]
    (tmp_path / "list.txt").write_text("".join(f"{dataset}/{line}\n" for line in lines) + "none 1 9 0\n")
    (tmp_path / "labels.txt").write_text("dark\nbright\n")
    options = ("--list", tmp_path / "list.txt", "--data", dataset, "--run", tmp_path / "run")
    ended = groups.run(2, "train", *options, *SMALL, "--epochs", "1")
    assert [process.stderr.count("list.txt: 5 videos, 1 skipped") for process in ended] == [1, 0], ended
    ended = groups.run(2, "evaluate", *options, "--out", tmp_path / "out.npz")
    assert [process.stderr.count("list.txt: 5 videos, 1 skipped") for process in ended] == [1, 0], ended


def test_two_processes_continue_what_one_began(tmp_path, dataset, groups):
    """With the same global batches and synchronized norms in float64, the losses are nearly the same."""
    train(groups, 1, dataset, tmp_path / "whole", "--epochs", "2", *EXACT)
    run = tmp_path / "run"
    out = train(groups, 1, dataset, run, "--epochs", "2", *EXACT, stop_after=3)
    assert f"stopped in epoch 1: pass --run {run} --resume" in out
    assert 0 < len(losses(run)) < 6
    out = train(groups, 2, dataset, run, "--epochs", "2", *EXACT, "--resume")
    assert "started with 1 processes and continues with 2" in out
    assert [row["step"] for row in runlog.read(run, runlog.STEPS)] == [1, 2, 3, 4, 5, 6]
    assert losses(run) == pytest.approx(losses(tmp_path / "whole"), abs=1e-9, rel=0)


def test_three_processes_stopped_and_continued_are_bit_for_bit_the_same_run(tmp_path, dataset, groups):
    """gloo adds in an order that depends on the place in the buffer: each gradient has the same place in every step."""
    options = ("--batch-size", "6", "--epochs", "2", "--precision", "float32")
    train(groups, 3, dataset, tmp_path / "whole", *options)
    train(groups, 3, dataset, tmp_path / "run", *options, stop_after=2)
    train(groups, 3, dataset, tmp_path / "run", *options, "--resume")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    whole, resumed = (checkpoint.load(tmp_path / name / "last.pt")["state_dict"] for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_evaluation_counts_every_video_once(tmp_path, dataset, groups):
    """Three processes score four videos."""
    train(groups, 1, dataset, tmp_path / "run", "--epochs", "1")
    scores, top1 = [], []
    for n in (1, 3):
        out, summary = tmp_path / f"{n}.npz", tmp_path / f"{n}.json"
        options = ("--data", dataset, "--run", tmp_path / "run", "--clips", "2", "--crops", "3")
        ended = groups.run(n, "evaluate", *options, "--out", out, "--json", summary)
        assert [process.returncode for process in ended] == [0] * n, ended
        assert [process.stdout.count("top-1") for process in ended] == [1] + [0] * (n - 1)
        with np.load(out) as file:
            scores.append((file["ids"].tolist(), file["scores"], file["labels"].tolist()))
        top1.append(json.loads(summary.read_text())["top1"])
    (ids, values, labels), (other_ids, other_values, other_labels) = scores
    assert ids == other_ids
    assert len(ids) == 4
    assert labels == other_labels
    assert other_values == pytest.approx(values, abs=1e-4)
    assert top1[0] == top1[1]


def test_a_batch_that_the_processes_cannot_share(tmp_path, dataset, groups):
    ended = groups.run(2, "train", "--data", dataset, "--run", tmp_path / "run", *SMALL, "--batch-size", "5")
    assert [process.returncode for process in ended] == [2, 2]
    assert "Error: --batch-size 5 over 2 processes: expected a multiple of their number" in ended[0].stderr
    assert not (tmp_path / "run").exists()


def test_a_process_that_ends_is_one_clear_line_of_the_others(tmp_path, dataset, groups):
    """The second process cannot read the list, and ends while the first waits for it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nfrom actrec.cli import main\nfrom actrec.engine import dist\n"
        "if os.environ['RANK'] == '1':\n    dist.share = lambda value: os._exit(1)\n"
        f"main.main(['train', '--data', {str(dataset)!r}, '--run', {str(tmp_path / 'run')!r}, *{SMALL!r}])\n"
    )
    first, second = groups.run(2, script)
    assert (first.returncode, second.returncode) == (1, 1)
    assert "Error: another process has ended: its own error message says why" in first.stderr
    assert "Traceback" not in first.stderr


def test_torchrun_continues_by_itself(tmp_path, dataset):
    """A process dies: torchrun starts all of them again, and they continue the run that they had started."""
    for name in ("train.txt", "val.txt"):
        rows = (dataset / name).read_text().splitlines()
        (tmp_path / name).write_text("".join(f"{dataset}/{row}\n" for row in rows))
    shutil.copy(dataset / "labels.txt", tmp_path)
    other = tmp_path / "runs/2020-01-01_resnet3d_10"
    other.mkdir(parents=True)
    for name in ("config.json", "last.pt"):
        (other / name).write_text("another run")
        os.utime(other / name, (time.time() + 9999,) * 2)  # the newest
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    options = ("--epochs", "40", "--checkpoint-every", "1")
    process = subprocess.Popen(
        [sys.executable, *torchrun, "-m", "--", "actrec", "train", "--data", str(tmp_path), *SMALL, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def run() -> Path:
        return next((path for path in (tmp_path / "runs").iterdir() if path != other), tmp_path)

    try:
        deadline = time.monotonic() + TIMEOUT
        while len(losses(run())) < 4:
            time.sleep(0.02)
            assert process.poll() is None
            assert time.monotonic() < deadline
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        os.kill(int(found.stdout.split()[-1]), signal.SIGKILL)
        out, errors = process.communicate(timeout=TIMEOUT)
    finally:
        process.terminate()  # torchrun then ends its processes
        process.wait(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    assert "continuing" in out
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert [row["step"] for row in runlog.read(run(), runlog.STEPS)] == list(range(1, 121))
    assert [row["epoch"] for row in runlog.read(run())] == list(range(40))


def test_alone_nothing_is_sent():
    parameter = nn.Parameter(torch.ones(2))
    dist.sum_gradients([parameter])
    assert parameter.grad is None
    assert (dist.rank(), dist.world(), dist.total([1, 2.5]), dist.gather("a"), dist.share("b")) == (
        0, 1, [1, 2.5], ["a"], "b",
    )  # fmt: skip
    with pytest.raises(ValueError, match="mine"):
        dist.by_first(lambda: (_ for _ in ()).throw(ValueError("mine")))
