"""Shared by the accuracy benchmarks: actrec's commands, resumable training runs, and statistics."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

import actrec
from actrec.engine import metrics, runlog


@dataclass(frozen=True)
class Scores:
    """The scores of a validation list: (videos, classes) float32 logits, (videos,) int64 labels."""

    scores: np.ndarray
    labels: np.ndarray

    @property
    def top1(self) -> float:
        """In percent."""
        return metrics.accuracy(self.scores, self.labels, k=1)


@dataclass(frozen=True)
class Run:
    """A training run in the folder of its dataset.

    Args:
        folder: the folder of the dataset.
        name: the name of the run, under `runs/`.
    """

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        return self.folder / "runs" / self.name

    def train(self, arguments: str, *, minutes: float | None = None) -> None:
        """Start or resume the run; after so many minutes it is saved and stopped."""
        command(f"train {arguments} --run runs/{self.name} --resume", self.folder, minutes)

    def evaluate(self, checkpoint: str = "last.pt", *, clips: int = 1) -> Scores:
        """The scores of `val.txt`, with one crop per clip; they are cached until the checkpoint changes."""
        saved = self.path / checkpoint
        out = self.path / "scores" / f"val_{clips}x1_{saved.stem}.npz"
        if not out.exists() or out.stat().st_mtime < saved.stat().st_mtime:
            files = f"--checkpoint runs/{self.name}/{checkpoint} --out {out.relative_to(self.folder)} --force"
            command(f"evaluate {files} --clips {clips}", self.folder)
        with np.load(out) as file:
            return Scores(file["scores"], file["labels"])

    @property
    def epochs(self) -> int:
        """The finished epochs."""
        return len(runlog.read(self.path))

    @property
    def clips_per_second(self) -> float:
        """The training speed, as the median over the epochs."""
        return statistics.median(row["clips_per_second"] for row in runlog.read(self.path))

    @property
    def minutes(self) -> float:
        """The minutes of training, without validation."""
        config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        videos, batch = len((self.folder / "train.txt").read_text().splitlines()), config["loader"]["batch_size"]
        clips = videos // batch * batch
        return sum(clips / row["clips_per_second"] for row in runlog.read(self.path)) / 60

    @property
    def environment(self) -> dict:
        return json.loads((self.path / "environment.json").read_text(encoding="utf-8"))


def command(arguments: str, folder: Path, minutes: float | None = None) -> None:
    """Run a command of actrec in a folder, and interrupt it after so many minutes, as Ctrl-C does.

    Raises:
        SystemExit: the command failed.
    """
    print(f"\n$ actrec {arguments}", flush=True)
    stopped = False
    with subprocess.Popen([sys.executable, "-m", "actrec", *arguments.split()], cwd=folder) as process:
        try:
            process.wait(60 * minutes if minutes is not None else None)
        except subprocess.TimeoutExpired:
            print(f"stopped after {minutes:g} minutes", flush=True)
            stopped = True
            process.send_signal(signal.SIGINT)
    if process.returncode and not (stopped and process.returncode == 130):
        raise SystemExit(f"actrec {arguments.split()[0]} ended with exit code {process.returncode}")


def extracted(folder: Path) -> bool:
    """Whether `extract-frames` has written its lists."""
    return all((folder / f"{part}.txt").exists() for part in ("train", "val"))


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a fraction, in percent."""
    z = statistics.NormalDist().inv_cdf(0.975)
    center = (hits + z * z / 2) / (trials + z * z)
    half = z / (trials + z * z) * math.sqrt(hits * (trials - hits) / trials + z * z / 4)
    return 100 * (center - half), 100 * (center + half)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def made_with(runs: list[Run]) -> str:
    """One line: date, threads, versions, commits."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "av", "opencv-python-headless", "numpy"))
    found = [run.environment for run in runs]
    threads, precision, commits = (
        " or ".join(dict.fromkeys(str(made[key])[:8] for made in found)) for key in ("threads", "precision", "git")
    )
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores, {threads} thread(s), {precision}; "
        f"actrec {actrec.__version__}, Python {platform.python_version()}, {packages}; commit {commits}."
    )
