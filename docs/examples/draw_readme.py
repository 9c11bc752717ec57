"""The picture of README.md: what `actrec view` shows of a toy dataset.

python docs/examples/draw_readme.py docs/view.png
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

VIEW = "--backbone s3d --frames 6 --size 128 --geometry random-resized --videos 2"


def main(picture: Path) -> None:
    """Renders a toy dataset, draws two clips of it, and stores the picture with 256 colors, which keeps it small."""
    with tempfile.TemporaryDirectory() as folder:
        actrec(f"toy {folder}/toy --train-per-class 2 --val-per-class 1")
        actrec(f"view {folder}/toy/videos_train.txt {VIEW} --out {folder}/view.png")
        with Image.open(f"{folder}/view.png") as drawn:
            drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)


def actrec(arguments: str) -> None:
    """Runs a command, and ends this program if it fails."""
    subprocess.run([sys.executable, "-m", "actrec", *arguments.split()], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the picture of README.md.")
    parser.add_argument("picture", type=Path, nargs="?", default=Path("docs/view.png"))
    main(parser.parse_args().picture)
