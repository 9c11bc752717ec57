"""Run every command of actrec once, on a tiny dataset.

    python .ci/every_command.py FOLDER [--without-torch]

FOLDER is created, or replaced. All commands run in this process, so that libraries are loaded once. A command that
fails, that ends in a traceback, or that is missing below ends the program with exit code 1. With --without-torch, the
commands that need torch are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import time
from pathlib import Path

import click

from actrec.cli.main import COMMANDS, actrec, main

# The net sees 4 frames of 32x32 pixels. Each command is written as it is typed, and uses what earlier ones have made.
NEED_NO_TORCH = """
toy .  --train-per-class 2 --val-per-class 1
extract-frames
prepare videos prepared --short-side 48
prepare videos sharded --shards 2 --short-side 48
lists folders videos --out of_folders
lists ucf101 annotations --videos ucf --out of_ucf
lists convert of_folders/val.txt of_folders/val.json
lists shards sharded/shards/train-00000{0..0}.tar --out of_shards.txt
lists flips --dry-run
index videos_train.txt videos_val.txt --verify
index train.txt val.txt
nets
nets s3d
nets --benchmark
protocols
protocols ibm_k400
"""
NEED_TORCH = """
extract-flow val.txt
train --backbone tsn_resnet18 --no-temporal-stride --frames 4 --size 32 --epochs 1 --batch-size 4 --run runs/a
train --backbone tsn_resnet18 --no-temporal-stride --frames 4 --size 32 --epochs 1 --batch-size 4 --run runs/b \
--list videos_train.txt --val-list videos_val.txt
evaluate --run runs/a --clips 2 --out a.npz
evaluate --run runs/b --clips 2 --out b.npz --list videos_val.txt
evaluate --run runs/b --clips 1 --out c.npz --list videos_val.txt
fuse b.npz c.npz --out fused.npz
predict VIDEO --run runs/a
predict VIDEO --run runs/a --timeline --every 0.5 --plot timeline.png --render timeline.mp4
explain VIDEO --run runs/a --out explained.png
view --backbone tsn_resnet18 --frames 4 --size 32 --out view.png
export --run runs/a --out exported
embed train.txt --run runs/a --out train.npz
embed val.txt --run runs/a --out val.npz
linear-probe train.npz val.npz
report --run runs/a
runs
runs compare runs/a runs/b
weights inspect runs/a/best.pt
weights convert runs/a/best.pt weights.safetensors
bench --net tsn_resnet18 --no-temporal-stride --frames 4 --size 32 --batch-size 2 --steps 1 --turns 1 --only-default
bench --net tsn_resnet18 --no-temporal-stride --list videos_train.txt --frames 4 --size 32 --batch-size 4 --seconds 1
doctor
"""


def run(folder: Path, lines: list[str]) -> None:
    """Run commands in a folder and show the time of each. Exits at the first that fails."""
    os.chdir(folder)
    for line in lines:
        start, printed = time.monotonic(), io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = call(line.split())
        print(f"{time.monotonic() - start:6.1f} s  actrec {line}", flush=True)
        if code:
            sys.exit(f"{printed.getvalue()}actrec {line}: exit code {code}")
        if line.startswith("toy"):
            (video, *_) = sorted(Path("videos").glob("*/*.mp4"))
            lines[:] = [each.replace("VIDEO", str(video)) for each in lines]


def call(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def missing(lines: list[str]) -> list[str]:
    """The commands that no line calls. One public dataset stands for all of them."""
    wanted = []
    for name in COMMANDS:
        command = actrec.get_command(click.Context(actrec), name)
        below = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else [""]
        wanted += [f"{name} {each}".strip() for each in below]
    from actrec.tools.datasets.table import DATASETS

    others = {f"lists {name}" for name in DATASETS}
    return [
        name for name in wanted if name not in others and not any(f"{line} ".startswith(f"{name} ") for line in lines)
    ]


def make_annotations(folder: Path) -> None:
    """A tiny UCF101."""
    (folder / "annotations").mkdir()
    (folder / "annotations/classInd.txt").write_text("1 Left\n2 Right\n")
    (folder / "annotations/trainlist01.txt").write_text("Left/v_Left_g02_c01.avi 1\nRight/v_Right_g02_c01.avi 2\n")
    (folder / "annotations/testlist01.txt").write_text("Left/v_Left_g01_c01.avi\nRight/v_Right_g01_c01.avi\n")
    for name in ("Left_g01", "Left_g02", "Right_g01", "Right_g02"):
        video = folder / "ucf" / name.partition("_")[0] / f"v_{name}_c01.avi"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.write_bytes(b"RIFF")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run every command of actrec once, on a tiny dataset.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without-torch", action="store_true")
    options = parser.parse_args()
    all_lines = [line for line in (NEED_NO_TORCH + NEED_TORCH).splitlines() if line]
    if names := missing(all_lines):
        sys.exit(f"no line of this program calls {', '.join(names)}")
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    make_annotations(options.folder)
    run(options.folder, [line for line in NEED_NO_TORCH.splitlines() if line] if options.without_torch else all_lines)
