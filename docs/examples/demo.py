"""The whole job on a toy dataset: render videos, extract frames, train a small net, and score it on 10 clips x 3 crops.

    python docs/examples/demo.py FOLDER [--quick]

You can type every line that starts with $ yourself. With one thread, the result does not depend on the number of cores,
and the threads of torch cannot wait for each other if other programs use the cores. The exit code is 1 if the net did
not learn. With --quick, three videos per class are rendered and the net trains for one epoch, which only shows that the
commands run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

TRAIN = "--backbone tiny3d --frames 8 --scales 1,0.875"
EVALUATE = "--clips 10 --crops 3"
EXPECTED_TOP1 = 90  # percent


class Outcome(NamedTuple):
    """What the commands `train` and `evaluate` reported for one kind of input."""

    trained: dict[str, Any]
    scored: dict[str, Any]
    last_line: str


def main(folder: Path, *, quick: bool = False) -> int:
    """Run the demo in a folder, which is replaced, and return the exit code."""
    start = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    videos, size, epochs, evaluate = (2, 32, 1, "--clips 2") if quick else (80, 56, 24, EVALUATE)
    actrec(f"toy {folder} --train-per-class {videos}" + (" --val-per-class 1" if quick else ""), Path())
    actrec("extract-frames --short-side 80", folder)
    outcomes = {
        "frames": train_and_evaluate("frames", folder, f"--size {size} --epochs {epochs}", evaluate),
        "videos": train_and_evaluate(
            "videos",
            folder,
            f"--size {size} --epochs 1 --lr 0.0002 --weights runs/frames/best.pt "
            "--list videos_train.txt --val-list videos_val.txt",
            f"{evaluate} --list videos_val.txt",
        ),
    }
    print(f"\n{'input':<8} {'epochs':>6} {'clips/s':>8} {'waiting':>8} {'top-1':>7} {'top-5':>7} {'mean-class':>10}")
    for name, (trained, scored, _) in outcomes.items():
        print(
            f"{name:<8} {trained['epochs']:>6} {trained['clips_per_second']:>8.1f} {trained['waiting']:>8.1%} "
            f"{scored['top1']:>7.2f} {scored['top5']:>7.2f} {scored['mean_class']:>10.2f}"
        )
    minutes = (time.monotonic() - start) / 60
    print(f"chance is 12.50; everything took {minutes:.1f} minutes and is in {folder}/\n")
    print(outcomes["frames"].last_line)
    return 0 if quick or outcomes["frames"].scored["top1"] >= EXPECTED_TOP1 else 1


def train_and_evaluate(name: str, folder: Path, train: str, evaluate: str) -> Outcome:
    """Train a net in runs/<name> and score it; `train` and `evaluate` are arguments of these commands."""
    actrec(f"train {TRAIN} {train} --run runs/{name} --json {name}_train.json", folder)
    printed = actrec(f"evaluate {evaluate} --run runs/{name} --json {name}_val.json", folder)
    trained, scored = (json.loads((folder / f"{name}_{part}.json").read_text()) for part in ("train", "val"))
    return Outcome(trained, scored, printed[-1])


def actrec(arguments: str, folder: Path) -> list[str]:
    """Run a command in a folder, show what it prints, and return its lines."""
    words = arguments.split()
    print(f"\n$ OMP_NUM_THREADS=1 actrec {' '.join(words)}", flush=True)
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", "actrec", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n"))
    if process.returncode:
        raise SystemExit(f"actrec {words[0]} ended with exit code {process.returncode}")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run actrec's commands on a toy dataset.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("demo"))
    parser.add_argument("--quick", action="store_true", help="only show that the commands run")
    options = parser.parse_args()
    sys.exit(main(options.folder, quick=options.quick))
