"""The main job on a toy dataset: videos -> frames and lists -> S3D trained -> evaluated with 10 clips x 3 crops.

    python docs/examples/demo.py FOLDER

Every line that starts with $ can be typed as it stands. Ends with exit code 1 if the net did not learn.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

TRAIN = (
    "--backbone s3d --frames 8 --size 56 --scales 1,0.875 --dropout 0 --optimizer adamw --weight-decay 0.05 "
    "--batch-size 16"
)
EVALUATE = "--clips 10 --crops 3"
EXPECTED_TOP1 = 90  # percent


def main(folder: Path) -> int:
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    actrec(f"toy {folder} --train-per-class 80", Path())
    actrec("extract-frames", folder)
    rows = [
        train_and_evaluate("frames", folder, "--epochs 20 --lr 0.001", ""),
        train_and_evaluate(
            "videos",
            folder,
            "--epochs 1 --lr 0.0001 --weights runs/frames/best.pt --list videos_train.txt --val-list videos_val.txt",
            "--list videos_val.txt",
        ),
    ]
    print(f"\n{'input':<8} {'epochs':>6} {'clips/s':>8} {'waiting':>8} {'top-1':>7} {'top-5':>7} {'mean-class':>10}")
    for name, trained, scored, _ in rows:
        print(
            f"{name:<8} {trained['epochs']:>6} {trained['clips_per_second']:>8.1f} {trained['waiting']:>8.1%} "
            f"{scored['top1']:>7.2f} {scored['top5']:>7.2f} {scored['mean_class']:>10.2f}"
        )
    print(f"chance is 12.50; everything took {(time.monotonic() - began) / 60:.1f} minutes and lies in {folder}/\n")
    print(rows[0][3])
    return 0 if rows[0][2]["top1"] >= EXPECTED_TOP1 else 1


def train_and_evaluate(name: str, folder: Path, train: str, evaluate: str) -> tuple[str, dict, dict, str]:
    """(name, what train said, what evaluate said, evaluate's last line)."""
    actrec(f"train {TRAIN} {train} --run runs/{name} --json {name}_train.json", folder)
    said = actrec(f"evaluate {EVALUATE} {evaluate} --run runs/{name} --json {name}_val.json".replace("  ", " "), folder)
    trained, scored = (json.loads((folder / f"{name}_{part}.json").read_text()) for part in ("train", "val"))
    return name, trained, scored, said[-1]


def actrec(arguments: str, folder: Path) -> list[str]:
    """Runs a command, shows what it prints, and returns its lines."""
    print(f"\n$ actrec {arguments}", flush=True)
    command = [sys.executable, "-m", "actrec", *arguments.split()]
    lines = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n"))
    if process.returncode:
        raise SystemExit(f"actrec {arguments.split()[0]} ended with exit code {process.returncode}")
    return lines


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
