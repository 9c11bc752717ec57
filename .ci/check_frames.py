"""Compare what `extract-frames` wrote into a toy dataset with a plain decode of its videos.

    python .ci/check_frames.py FOLDER

Every row of train.txt and val.txt must have as many JPEGs as its video has frames.
"""

import sys
from pathlib import Path

import av

root = Path(sys.argv[1])
rows = [line.split() for split in ("train", "val") for line in (root / f"{split}.txt").read_text().splitlines()]
for folder, first, last, _ in rows:
    with av.open(root / "videos" / Path(folder).relative_to("frames").with_suffix(".mp4")) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    written = len(list((root / folder).glob("*.jpg")))
    if (int(first), int(last), written) != (1, decoded, decoded):
        sys.exit(f"{folder}: the list says {first} to {last}, {written} JPEGs were written, {decoded} frames decode")
videos = len(list(root.glob("videos/*/*.mp4")))
if not rows or len(rows) != videos:
    sys.exit(f"{len(rows)} of {videos} videos were extracted")
print(f"{len(rows)} videos: every frame was extracted")
