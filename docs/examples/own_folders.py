"""Your own videos, from class folders to predictions: two commands make frames and train, the rest is Python.

    python docs/examples/own_folders.py FOLDER [EPOCHS]

FOLDER contains `videos` with one folder of videos for each class, such as `videos/walk/a.mp4`. `actrec toy FOLDER`
renders such videos. The program prints the commands and their output, a description of the trained net, the accuracy on
the validation videos, the videos that the net got wrong, and the most likely classes of one video.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import actrec


def main(folder: Path, *, epochs: int = 50) -> float:
    """Returns the top-1 accuracy on the validation videos, in percent."""
    command("extract-frames --short-side 144", folder)  # -> frames/, labels.txt, train.txt, val.txt
    command(f"train --epochs {epochs}", folder)  # -> runs/<date>_tiny3d/

    model = actrec.load(folder)  # the best checkpoint of the newest run
    print(model)

    # Several views of a video are more accurate than one.
    model = dataclasses.replace(model, views=actrec.Views(clips=5, crops=3))
    result = model.evaluate(folder / "val.txt")
    print(result)
    for video, label, best in zip(result.ids, result.labels, model.best_classes(result, topk=1)):
        (predicted, probability), expected = best[0], model.class_names[label]
        if predicted != expected:
            print(f"wrong: {video} is {expected}, but the net says {predicted} ({probability:.0%})")

    # `predict` takes files that are in no list. The scores are those of `evaluate`.
    video = min(folder.glob("videos/*/*"))
    print(video, *(f"{name} {probability:.1%}" for name, probability in model.predict(video, topk=3)), sep="  ")
    return result.top1


def command(arguments: str, folder: Path) -> None:
    """Runs a command of actrec in a folder, as you would type it there."""
    print(f"$ actrec {arguments}", flush=True)
    subprocess.run([sys.executable, "-m", "actrec", *arguments.split()], cwd=folder, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 50)
