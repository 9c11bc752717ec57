"""The tiny dataset of the stored run, and how that run was made.

`write_dataset` uses integer arithmetic and lossless PNG files of the size that the net takes, so every machine decodes
the same pixels.

Running this file made everything else in this folder, with actrec at commit 23e24aa (before American spelling):

    OMP_NUM_THREADS=1 python tests/engine/data/make.py
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
SIZE, FRAMES = 32, 7
# Spelled as the current version spells them. The old version said "centre" (twice).
OPTIONS = [
    *("--backbone", "resnet3d_10", "--widen", "0.03125", "--dropout", "0.2", "--frames", "5", "--size", str(SIZE)),
    *("--geometry", "center", "--clip-position", "center", "--batch-size", "2", "--lr", "0.01", "--epochs", "2"),
    *("--crop-ratio", "1", "--precision", "float64", "--device", "cpu", "--log-every", "1", "--no-tensorboard"),
]  # fmt: skip


def write_dataset(root: Path) -> None:
    """Six training and four validation videos as folders of frames: stripes that move right, or up."""
    rows, columns = np.indices((SIZE, SIZE))
    for split, num_videos in (("train", 6), ("val", 4)):
        lines = []
        for i in range(num_videos):
            folder = root / "frames" / f"{split}{i}"
            folder.mkdir(parents=True)
            for frame in range(FRAMES):
                position = (columns - 3 * frame if i % 2 else rows + 3 * frame) * (i + 5)
                picture = np.stack([position % 256, (rows * columns + 40 * i) % 256, (position // 2) % 256], -1)
                cv2.imwrite(str(folder / f"{frame + 1:05d}.png"), picture.astype(np.uint8))
            lines.append(f"frames/{folder.name} 1 {FRAMES} {i % 2}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    (root / "labels.txt").write_text("up\nright\n")


def main() -> None:
    from torch import load

    options = [option.replace("center", "centre") for option in OPTIONS]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_dataset(root)
        stored, resumed, started = (root / name for name in ("stored", "resumed", "started"))
        _actrec("train", "--data", root, "--run", stored, *options, interrupt=True)
        (stored / "previous.pt").unlink()
        shutil.copytree(stored, resumed)
        _actrec("train", "--data", root, "--run", resumed, "--resume", *options)
        _actrec("train", "--data", root, "--run", started, "--weights", stored / "last.pt", *options)
        _actrec("evaluate", "--data", root, "--checkpoint", stored / "last.pt", "--out", root / "scores.npz")
        with np.load(root / "scores.npz") as scores:
            expected = {"ids": scores["ids"].tolist(), "scores": scores["scores"].tolist()}
        for name, run in (("resumed", resumed), ("started", started)):
            weights = load(run / "last.pt", weights_only=True)["state_dict"]
            expected[name] = {
                "losses": [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()],
                "val_losses": [json.loads(line)["val_loss"] for line in (run / "log.jsonl").read_text().splitlines()],
                "norms": {key: float(value.double().norm()) for key, value in weights.items()},
            }
        (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
        for name in ("config.json", "data.json", "environment.json", "last.pt", "log.jsonl", "steps.jsonl"):
            target = HERE / "stored_run" / name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(stored / name, target)


def _actrec(*arguments: object, interrupt: bool = False) -> None:
    """Runs a command; interrupted, it stops after its fourth step, in the second epoch."""
    code = "from actrec.cli.main import main; main()"
    if interrupt:
        code = (
            "import os, signal\nfrom actrec.cli.main import main\nfrom actrec.cli.progress import TrainReporter\n"
            "shown = []\ndef step(self, **_):\n    shown.append(1)\n"
            "    if len(shown) == 3 + 1: os.kill(os.getpid(), signal.SIGINT)\n"
            "TrainReporter.step = step\nmain()"
        )
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert done.returncode == (130 if interrupt else 0)


if __name__ == "__main__":
    main()
