"""Join videos of a list to one long video, and say where each of them is in it.

    python benchmarks/stitched.py LIST OUT.mp4 TRUTH.csv [--videos 10] [--seed 0] [--size 240]

Takes videos at random and shows the largest centered square of each, since the videos of a list can have any size.
TRUTH.csv has the columns start, end (in seconds) and class: it is what `actrec predict --timeline --truth` reads.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

import actrec
from actrec.data.lists import find_labels, read_labels
from actrec.data.video.encode import VideoWriter
from actrec.data.video.read import iter_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", metavar="LIST", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("truth", metavar="TRUTH", type=Path)
    parser.add_argument("--videos", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--rate", type=int, default=30, help="frames per second of the videos")
    args = parser.parse_args()
    videos = actrec.read_list(args.list)
    found = find_labels(args.list.parent)
    names = read_labels(found) if found else [str(label) for label in range(1000)]
    chosen = np.random.default_rng(args.seed).choice(len(videos), min(args.videos, len(videos)), replace=False)
    rows, count = [], 0
    with VideoWriter(args.out, width=args.size, height=args.size, rate=args.rate) as out:
        for row in chosen.tolist():
            begin = count
            for picture, _ in iter_frames(videos[row].path):
                out.write(_square(picture, args.size))
                count += 1
            rows.append((f"{begin / args.rate:.3f}", f"{count / args.rate:.3f}", names[videos[row].label]))
    with args.truth.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("start", "end", "class"), *rows])
    print(f"{len(rows)} videos, {count} frames -> {args.out}, {args.truth}")


def _square(picture: np.ndarray, size: int) -> np.ndarray:
    height, width = picture.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    return cv2.resize(picture[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
