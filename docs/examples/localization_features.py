"""Features of windows that slide over videos, for programs that find actions in time, such as ActionFormer.

    python docs/examples/localization_features.py FOLDER VIDEO...

FOLDER contains a trained net: it is a run, or a dataset folder with runs. For each VIDEO, the program writes
`<name>.npy` with features (T, C) and `<name>_times.npy` with the start and end of each window in seconds (T, 2) to
FOLDER/features. `features.json` in this folder contains the values that such programs ask for. The program prints one
line for each video. The command `actrec embed --layout actionformer` writes similar files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import actrec
from actrec.config import Windows

WINDOWS = Windows(every=0.2, window=0.8)  # seconds


def main(folder: Path, videos: Sequence[Path], *, windows: Windows = WINDOWS) -> Path:
    """Returns the folder with the features."""
    model = actrec.load(folder)
    found = model.embed(videos, windows=windows)  # each frame is decoded once for all windows that contain it
    for video, reason in found.missing.items():
        print(f"left out: {video}: {reason}")

    out = folder / "features"
    out.mkdir(exist_ok=True)
    ids, described = np.array(found.ids), {}
    for id_ in dict.fromkeys(found.ids):
        rows = ids == id_
        features, times, frames = found.features[rows], found.times[rows], found.frames[rows]
        name, length, seconds = Path(id_).stem, frames[-1, 1] - frames[0, 0], times[-1, 1] - times[0, 0]
        np.save(out / f"{name}.npy", features)
        np.save(out / f"{name}_times.npy", times)
        described[name] = {"fps": length / seconds, "duration": seconds, "num_features": len(features)}
        print(f"{id_}: features {features.shape}, {times[0, 0]:.2f} to {times[-1, 1]:.2f} s")
    settings = {"stride_seconds": windows.every, "window_seconds": windows.window, "input_dim": features.shape[1]}
    (out / "features.json").write_text(json.dumps({**settings, "videos": described}, indent=1))
    return out


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
