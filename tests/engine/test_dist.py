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

import pytest
import torch
from torch import nn

from actrec.engine import checkpoint, dist, runlog

HERE = Path(__file__).parent
SMALL = ["--backbone", "tam_resnet18", "--dropout", "0", "--frames", "8", "--size", "64", "--batch-size", "4"]


def torchrun(processes: int, *command: str, restarts: int = 0) -> list[str]:
    """Of one process too, so that the environment is the same."""
    options = [f"--nproc-per-node={processes}", f"--max-restarts={restarts}", "--master-port=0"]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", *options, *command]


def call(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def train(processes: int, dataset: Path, run: Path, *options: str) -> str:
    done = call(
        *torchrun(processes, "-m", "--", "actrec", "train", "--data", str(dataset), "--run", str(run), *SMALL, *options)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_lose_what_one_loses(tmp_path, dataset):
    """30 steps in float64: what differs is the order of sums."""
    options = ("--epochs", "10", "--lr", "0.001", "--precision", "float64", "--sync-bn", "--log-every", "1")
    outputs = [train(n, dataset, tmp_path / str(n), *options, "--no-tensorboard") for n in (1, 2)]
    one, two = (runlog.read(tmp_path / str(n), runlog.STEPS) for n in (1, 2))
    assert len(one) == len(two) == 30
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], abs=1e-9, rel=0)
    assert len({row["loss"] for row in one}) == 30
    rows = [runlog.read(tmp_path / str(n)) for n in (1, 2)]
    for name in ("train_loss", "val_loss", "val_top1", "val_videos", "skipped"):
        assert [row[name] for row in rows[1]] == pytest.approx([row[name] for row in rows[0]], abs=1e-9)
    assert [output.count("epoch 3/10") for output in outputs] == [1, 1]  # one process speaks
    weights = [checkpoint.load(tmp_path / str(n) / "last.pt")["state_dict"] for n in (1, 2)]
    assert all(torch.allclose(weights[0][k].double(), weights[1][k].double(), atol=1e-8) for k in weights[0])


def test_the_first_step_in_float32(tmp_path, dataset):
    for n in (1, 2):
        done = call(*torchrun(n, str(HERE / "one_step.py"), str(dataset), str(tmp_path / f"{n}.pt"), "float32"))
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    for name, gradient in one["gradients"].items():
        assert (two["gradients"][name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_a_process_without_any_clip(tmp_path, dataset):
    """Its only video of a step is gone: the step is the other's, and both go on."""
    rows = (dataset / "train.txt").read_text().splitlines()[:4]
    lines = [f"{dataset}/{row}" for row in rows[:3]] + [f"{dataset}/frames/gone 1 9 0"]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.txt").write_text("dark\nbright\n")
    options = ("--list", str(tmp_path / "list.txt"), "--batch-size", "2", "--epochs", "2", "--lr", "0.001", "--sync-bn")
    options += ("--precision", "float64", "--log-every", "1", "--no-tensorboard")
    for n in (1, 2):
        train(n, dataset, tmp_path / str(n), *options)
    one, two = (runlog.read(tmp_path / str(n), runlog.STEPS) for n in (1, 2))
    assert len(one) == 4
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], abs=1e-9)
    assert [row["skipped"] for row in runlog.read(tmp_path / "2")] == [1, 1]


def test_two_processes_continue_what_one_began(tmp_path, dataset):
    """The same global batches: with synchronized norms in float64, nearly the same weights."""
    options = (
        "--epochs",
        "2",
        "--lr",
        "0.001",
        "--precision",
        "float64",
        "--sync-bn",
        "--log-every",
        "1",
        "--no-tensorboard",
    )
    train(1, dataset, tmp_path / "whole", *options)
    run = tmp_path / "run"
    stopped = subprocess.Popen(
        [sys.executable, "-m", "actrec", "train", "--data", str(dataset), "--run", str(run), *SMALL, *options],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not runlog.read(run, runlog.STEPS):
        time.sleep(0.02)
        assert stopped.poll() is None
    stopped.send_signal(signal.SIGTERM)
    out, _ = stopped.communicate()
    assert stopped.returncode == 130
    assert f"--run {run} --resume continues" in out
    begun = len(runlog.read(run, runlog.STEPS))
    assert 0 < begun < 6
    said = train(2, dataset, run, *options, "--resume")
    assert "begun with 1 processes and continues with 2" in said
    whole, continued = (runlog.read(path, runlog.STEPS) for path in (tmp_path / "whole", run))
    assert [row["step"] for row in continued] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in continued] == pytest.approx([row["loss"] for row in whole], abs=1e-9, rel=0)


def test_torchrun_continues_by_itself(tmp_path, dataset):
    """A process dies: all are started again, find the run that they had begun, and go on from its last checkpoint."""
    for name in ("train.txt", "val.txt"):
        rows = (dataset / name).read_text().splitlines()
        (tmp_path / name).write_text("".join(f"{dataset}/{row}\n" for row in rows))
    shutil.copy(dataset / "labels.txt", tmp_path)
    other = tmp_path / "runs/2020-01-01_tam_resnet18"
    other.mkdir(parents=True)
    for name in ("config.json", "last.pt"):
        (other / name).write_text("another run")
        os.utime(other / name, (time.time() + 9999,) * 2)  # the newest
    options = ("--epochs", "6", "--checkpoint-every", "1", "--log-every", "1", "--no-tensorboard")
    command = torchrun(2, "-m", "--", "actrec", "train", "--data", str(tmp_path), *SMALL, *options, restarts=1)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run() -> Path:
        return next((path for path in (tmp_path / "runs").iterdir() if path != other), tmp_path)

    while len(runlog.read(run(), runlog.STEPS)) < 4:
        time.sleep(0.02)
        assert process.poll() is None
    found = subprocess.run(["pgrep", "-f", f"actrec train --data {tmp_path}"], capture_output=True, text=True)
    workers = [int(pid) for pid in found.stdout.split() if int(pid) != process.pid]
    os.kill(workers[-1], signal.SIGKILL)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "continuing" in out
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert [row["step"] for row in runlog.read(run(), runlog.STEPS)] == list(range(1, 19))
    assert [row["epoch"] for row in runlog.read(run())] == list(range(6))


def test_evaluation_counts_every_video_once(tmp_path, dataset):
    """Four videos by three processes."""
    run = tmp_path / "run"
    train(1, dataset, run, "--epochs", "1", "--no-tensorboard")
    command = [
        "-m",
        "--",
        "actrec",
        "evaluate",
        "--data",
        str(dataset),
        "--run",
        str(run),
        "--clips",
        "2",
        "--crops",
        "3",
    ]
    scores = []
    for n in (1, 3):
        out = tmp_path / f"{n}.npz"
        done = call(*torchrun(n, *command, "--out", str(out), "--json", str(tmp_path / f"{n}.json")))
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("top-1") == 1
        scores.append(_npz(out))
    (ids, values, labels), (other_ids, other_values, other_labels) = scores
    assert ids == other_ids
    assert len(ids) == 4
    assert labels == other_labels
    assert other_values == pytest.approx(values, abs=1e-4)
    written = [json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 3)]
    assert written[0]["top1"] == written[1]["top1"]


def _npz(path: Path):
    import numpy as np

    with np.load(path) as file:
        return file["ids"].tolist(), file["scores"], file["labels"].tolist()


def test_a_batch_that_the_processes_cannot_share(tmp_path, dataset):
    command = ["-m", "--", "actrec", "train", "--data", str(dataset), "--run", str(tmp_path / "run"), *SMALL]
    done = call(*torchrun(2, *command, "--batch-size", "5"))
    assert done.returncode == 1
    assert "Error: batch_size 5 over 2 processes: expected a multiple of their number" in done.stderr
    assert not (tmp_path / "run").exists()


def test_alone_nothing_is_sent():
    parameter = nn.Parameter(torch.ones(2))
    dist.sum_gradients([parameter])
    assert parameter.grad is None
    assert (dist.rank(), dist.world(), dist.total([1, 2.5]), dist.gather("a"), dist.share("b")) == (
        0, 1, [1, 2.5], ["a"], "b",
    )  # fmt: skip
    with pytest.raises(ValueError, match="mine"):
        dist.by_first(lambda: (_ for _ in ()).throw(ValueError("mine")))
