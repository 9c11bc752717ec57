"""Two streams: one net sees the pictures, another one the optical flow, and their probabilities are averaged.

    python docs/examples/two_streams.py FOLDER [EPOCHS]

FOLDER contains train.txt, val.txt and labels.txt, as `actrec extract-frames` writes them. The program prints the
commands and their output, and then the accuracies of the nets and of their fusion. (Simonyan and Zisserman, "Two-Stream
Convolutional Networks for Action Recognition in Videos", NIPS 2014)
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import actrec


def main(folder: Path, *, epochs: int = 20) -> dict[str, float]:
    """Returns the top-1 accuracies of the nets and of their fusion, in percent."""
    command("extract-flow train.txt val.txt --preset fast", folder)  # the flow images are next to the frames
    results = {}
    for modality in ("rgb", "flow"):
        run = f"runs/two_streams_{modality}"
        command(f"train --modality {modality} --frames 8 --epochs {epochs} --run {run}", folder)
        # Both nets take the same list. The net for optical flow finds the flow images itself.
        model = actrec.load(folder / run)
        results[modality] = model.evaluate(folder / "val.txt")

    rgb, flow = results["rgb"], results["flow"]
    assert rgb.ids == flow.ids  # otherwise a video is missing in one of them: see `missing`
    mean = (model.probabilities(rgb) + model.probabilities(flow)) / 2
    results["fusion"] = replace(rgb, scores=np.log(mean).astype(np.float32))  # scores are logits
    for name, result in results.items():
        print(f"{name:<8} {result}")
    return {name: result.top1 for name, result in results.items()}


def command(arguments: str, folder: Path) -> None:
    """Runs a command of actrec in a folder, as you would type it there."""
    print(f"$ actrec {arguments}", flush=True)
    subprocess.run([sys.executable, "-m", "actrec", *arguments.split()], cwd=folder, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 20)
