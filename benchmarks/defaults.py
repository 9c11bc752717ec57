"""Compare options of `actrec train` on four small datasets, one factor at a time, and draw their learning curves.

    OMP_NUM_THREADS=1 python benchmarks/defaults.py UT_FRAMES VIDEOS... [--out DIR]

UT_FRAMES is the dataset folder of UT-Interaction with frames (`actrec extract-frames`). VIDEOS are at least six real
videos; the datasets `pan` and `watch` are made from them, and `toy` is rendered. If the benchmark is interrupted, the
same command continues. `--only-tables` makes the tables and the picture of the runs that are finished.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from trainings import Run, command, extracted, made_with, table

import actrec
from actrec.engine import bench, runlog

EPOCHS = {"ut": 32, "pan": 10, "watch": 14, "toy": 14}
CLASSES = {"ut": 6, "pan": 8, "watch": 2, "toy": 8}
COMMON = "--backbone tiny3d --frames 8 --size 56 --batch-size 16 --no-tensorboard --workers 1"
SGD = "--optimizer sgd --norm-decay --warmup 0"
ADAMW = "--optimizer adamw --lr 0.002 --weight-decay 0.05 --norm-decay"
FACTORS = {  # name: options
    "SGD, 0.01, no warm-up": f"{SGD} --lr 0.01 --weight-decay 0.0005",
    "AdamW, 0.002, no warm-up": f"{ADAMW} --warmup 0",
    "+ EMA 0.98 ": f"{ADAMW} --warmup 0 --ema 0.98",
    "+ label smoothing 0.1 ": f"{ADAMW} --warmup 0 --label-smoothing 0.1",
    "AdamW, 0.002, warm-up of 1 epoch": f"{ADAMW} --warmup 1",
    "+ learning rate 0.001": f"{ADAMW} --warmup 1 --lr 0.001",
    "+ learning rate 0.004": f"{ADAMW} --warmup 1 --lr 0.004",
    "+ no weight decay of norms and biases": f"{ADAMW} --warmup 1 --no-norm-decay",
    "+ label smoothing 0.1": f"{ADAMW} --warmup 1 --label-smoothing 0.1",
    "+ gradient norm at most 1": f"{ADAMW} --warmup 1 --clip-gradient 1",
    "+ EMA 0.98": f"{ADAMW} --warmup 1 --ema 0.98",
    "+ EMA 0.95": f"{ADAMW} --warmup 1 --ema 0.95",
    "+ batch norm momentum 0.02": f"{ADAMW} --warmup 1 --backbone defaults:slow_norms",
    "+ color jitter 0.2": f"{ADAMW} --warmup 1 --color-jitter 0.2,0.2,0.2,0.02",
    "+ float32": f"{ADAMW} --warmup 1 --precision float32",
    "+ batch size 8": f"{ADAMW} --warmup 1 --batch-size 8",
    "+ dropout 0.3": f"{ADAMW} --warmup 1 --dropout 0.3",
    "+ learning rate changes after each step": f"{ADAMW} --warmup 1 --lr-per-step",
    "today's defaults": "",
}
LONG = {"learning rate 0.002": "--lr 0.002", "learning rate 0.001": "--lr 0.001"}  # name: options; 50 epochs
DRAWN = {"learning rate 0.002": "tab:blue", "learning rate 0.001": "tab:orange"}
CLIPS = (1, 3, 10)  # per video, after 50 epochs
BATCH_SIZES = (4, 8, 16)
WIDTH, HEIGHT = 96, 72  # pixels
PAN = {  # class: what moves the window, and how fast
    "pan_left": ("x", -40),
    "pan_right": ("x", 40),
    "tilt_up": ("y", -40),
    "tilt_down": ("y", 40),
    "zoom_in": ("zoom", -1.4),
    "zoom_out": ("zoom", 1.4),
    "turn_clockwise": ("angle", 40),
    "turn_counterclockwise": ("angle", -40),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ut", metavar="UT_FRAMES", type=Path)
    parser.add_argument("videos", metavar="VIDEOS", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("defaults"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only-tables", action="store_true", help="of the runs that are finished")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.only_tables:
        os.environ["PYTHONPATH"] = str(Path(__file__).parent.resolve())  # of `slow_norms`
        make_datasets(args.ut, args.videos, args.out)
        for seed, (factor, options), (name, epochs) in itertools.product(
            range(args.seeds), enumerate(FACTORS.values()), EPOCHS.items()
        ):
            run = Run(args.out / name, f"{factor}_{seed}")
            run.train(f"{COMMON} --epochs {epochs} --val-every {epochs // 2} --seed {seed} {options}")
        for seed, (number, options), name in itertools.product(range(args.seeds), enumerate(LONG.values()), EPOCHS):
            run = Run(args.out / name, f"long{number}_{seed}")
            run.train(f"{COMMON} --epochs 50 --val-every 5 --seed {seed} {options}")
    numbers = {label: str(number) for number, label in enumerate(FACTORS)}
    numbers |= {label: f"long{number}" for number, label in enumerate(LONG)}
    found = {
        (label, name): finished(args.out / name, number, args.seeds)
        for (label, number), name in itertools.product(numbers.items(), EPOCHS)
    }
    print(made_with([run for runs in found.values() for run in runs]))
    for title, labels in (("options", FACTORS), ("options, 50 epochs", LONG)):
        rows = [[label, *(cell(map(last_top1, found[label, name])) for name in EPOCHS)] for label in labels]
        print(f"\n{table([title, *EPOCHS], rows)}")
    if not args.only_tables:
        rows = [
            [f"{clips} clips", *(cell(accuracies(found["learning rate 0.002", name], clips)) for name in EPOCHS)]
            for clips in CLIPS
        ]
        print(f"\n{table(['validation', *EPOCHS], rows)}")
        rows = [
            [str(size), *(f"{1000 * seconds:.0f}" for seconds in step_seconds(size, ("float32", "bfloat16")))]
            for size in BATCH_SIZES
        ]
        print(f"\n{table(['batch size', 'float32, ms', 'bfloat16, ms'], rows)}")
    draw(found, args.out / "curves.png")


def slow_norms(num_classes: int, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """tiny3d with a batch norm momentum of 0.02 instead of 0.1."""
    net = actrec.net("tiny3d", num_classes=num_classes, in_channels=in_channels, dropout=dropout)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.02
    return net


def finished(folder: Path, number: str, seeds: int) -> list[Run]:
    """The runs of all seeds that have been validated after their last epoch."""
    runs = [Run(folder, f"{number}_{seed}") for seed in range(seeds)]
    return [run for run in runs if run.path.exists() and last_top1(run) is not None]


def accuracies(runs: Sequence[Run], clips: int) -> list[float]:
    """The top-1 of each run with several clips per video, in percent."""
    return [run.evaluate(clips=clips).top1 for run in runs]


def last_top1(run: Run) -> float | None:
    """The validation accuracy after the last epoch, in percent."""
    return runlog.read(run.path)[-1].get("val_top1")


def cell(values: Iterable[float]) -> str:
    """`54.1 ± 9.7`: the mean and the standard deviation; `(n = 2)` if it is not of three values."""
    values = list(values)
    if not values:
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {spread:.1f}" + (f" (n = {len(values)})" if len(values) != 3 else "")


def step_seconds(batch_size: int, precisions: Sequence[str], *, turns: int = 15) -> list[float]:
    """The CPU time of a training step of tiny3d in each precision: the median over the turns."""
    forms = [bench.Form(precision, channels_last=True) for precision in precisions]
    cases = [bench.Case("tiny3d", form, {}, 8, 56, batch_size, torch.device("cpu")) for form in forms]
    found: list[list[float]] = [[] for _ in cases]
    for _ in range(turns + 1):  # the first one does not count
        for case, seconds in zip(cases, found):
            start = time.process_time()
            case.step()
            seconds.append(time.process_time() - start)
    return [statistics.median(seconds[1:]) for seconds in found]


def draw(found: dict[tuple[str, str], list[Run]], path: Path) -> None:
    """Draws the mean accuracy and the range of the seeds over the epochs: lines for training, points for validation."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator
    from PIL import Image  # comes with matplotlib

    figure, axes = plt.subplots(2, 2, figsize=(4.4, 4.8), sharey=True, layout="constrained")
    for axis, (name, classes) in zip(axes.flat, CLASSES.items()):
        for label, color in DRAWN.items():
            logs = [runlog.read(run.path) for run in found[label, name]]
            epochs, values = series(logs, "train_top1")
            if not values.size:
                continue
            axis.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
            axis.plot(epochs, values.mean(0), color=color, label=f"{label}: training")
            epochs, values = series(logs, "val_top1")
            mean = values.mean(0)
            ends = (mean - values.min(0), values.max(0) - mean)
            axis.errorbar(epochs, mean, ends, color=color, fmt="o", markersize=4, capsize=3, label="validation")
        axis.axhline(100 / classes, color="gray", linestyle=":")
        axis.set(title=f"{name} ({classes} classes)", ylim=(0, 100))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    for axis in axes[:, 0]:
        axis.set_ylabel("top-1, percent")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    figure.savefig(path, dpi=150)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the bytes
    plt.close(figure)


def series(logs: Sequence[list[dict]], name: str) -> tuple[list[int], np.ndarray]:
    """The epochs, from 1, that have a value, and the values (runs, epochs)."""
    epochs = [row["epoch"] + 1 for row in logs[0] if row.get(name) is not None] if logs else []
    return epochs, np.array([[row[name] for row in log if row.get(name) is not None] for log in logs])


# ---- datasets ----


def make_datasets(ut: Path, videos: Sequence[Path], out: Path) -> None:
    """Makes those datasets that are missing."""
    if not extracted(out / "ut"):
        shrink(ut, out / "ut", every=2)
    if not extracted(out / "toy"):
        command(f"toy {out / 'rendered'} --train-per-class 40 --val-per-class 20", Path())
        command("extract-frames --short-side 72", out / "rendered")
        shrink(out / "rendered", out / "toy", every=1)
    if extracted(out / "pan") and extracted(out / "watch"):
        return
    sources = [frames for path in videos if len(frames := read(path)) >= 24]
    parts = {"val": sources[2::3], "train": [frames for i, frames in enumerate(sources) if i % 3 != 2]}
    write_dataset(out / "pan", parts, pan, dict.fromkeys(PAN, (40, 20)), seed=0)
    (out / "pan/flips.txt").write_text("pan_left pan_right\nturn_clockwise turn_counterclockwise\n")
    write_dataset(out / "watch", parts, watch, {"walk": (150, 50), "run": (100, 50)}, seed=1)


def shrink(source: Path, target: Path, *, every: int) -> None:
    """Copies a dataset of frame folders with every so many frames, 72 pixels high or wide."""
    for part in ("train", "val"):
        lines = []
        for line in (source / f"{part}.txt").read_text().splitlines():
            folder, _, _, label = line.split()
            images = [cv2.imread(str(path)) for path in sorted((source / folder).iterdir())[::every]]
            lines.append(write_frames(target, folder, [shrunk(image, HEIGHT) for image in images], int(label)))
        (target / f"{part}.txt").write_text("".join(lines))
    for name in ("labels.txt", "flips.txt"):
        if (source / name).exists():
            (target / name).write_text((source / name).read_text())


def read(path: Path) -> list[np.ndarray]:
    """Up to 300 frames of a video, 144 pixels high or wide."""
    video, frames = cv2.VideoCapture(str(path)), []
    while len(frames) < 300:
        more, frame = video.read()
        if not more:
            break
        frames.append(shrunk(frame, 2 * HEIGHT))
    video.release()
    return frames


def shrunk(image: np.ndarray, short_side: int) -> np.ndarray:
    scale = short_side / min(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def write_dataset(
    root: Path,
    parts: dict[str, list[list[np.ndarray]]],
    clip: Callable[[np.random.Generator, list[np.ndarray], str], list[np.ndarray]],
    classes: dict[str, tuple[int, int]],
    *,
    seed: int,
) -> None:
    """Writes a dataset whose validation clips come from other videos than its training clips.

    Args:
        clip: makes a clip of a class from a video.
        classes: the number of training and of validation clips of each class.
    """
    rng = np.random.default_rng(seed)
    for number, part in enumerate(("train", "val")):
        lines = []
        for label, (name, counts) in enumerate(classes.items()):
            for i in range(counts[number]):
                frames = clip(rng, parts[part][rng.integers(len(parts[part]))], name)
                lines.append(write_frames(root, f"frames/{name}/{part}_{i:03d}", frames, label))
        (root / f"{part}.txt").write_text("".join(lines))
    (root / "labels.txt").write_text("".join(f"{name}\n" for name in classes))


def write_frames(root: Path, folder: str, frames: Sequence[np.ndarray], label: int) -> str:
    """Writes a frame folder. Returns its line of the list."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames, 1):
        cv2.imwrite(str(root / folder / f"{i:05d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return f"{folder} 1 {len(frames)} {label}\n"


def pan(rng: np.random.Generator, video: list[np.ndarray], name: str) -> list[np.ndarray]:
    """24 frames of real footage, seen through a window that moves as the class says, and shakes a little."""
    start, (h, w) = rng.integers(len(video) - 23), video[0].shape[:2]
    speed, shake = rng.uniform(0.35, 1.0), rng.normal(0, 0.25, (24, 2)).cumsum(0)
    size, center = rng.uniform(0.45, 0.62) * h / HEIGHT, np.array([w / 2, h / 2]) + rng.uniform((-6, -4), (6, 4))
    angle, (kind, change), frames = rng.uniform(-8, 8), PAN[name], []
    for t in range(24):
        moved = (t / 23 - 0.5) * speed * change
        offset = np.array([moved * (kind == "x"), moved * (kind == "y")])
        zoom = size * 1.5 ** (moved * (kind == "zoom"))
        turned = cv2.getRotationMatrix2D((0, 0), angle + moved * (kind == "angle"), 1)[:, :2] * zoom
        origin = center + offset + shake[t] - turned @ np.array([WIDTH / 2, HEIGHT / 2])
        frames.append(
            cv2.warpAffine(
                video[start + t],
                np.hstack([turned, origin[:, None]]),
                (WIDTH, HEIGHT),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,
            )
        )
    return frames


def watch(rng: np.random.Generator, video: list[np.ndarray], name: str) -> list[np.ndarray]:
    """32 frames of a fixed, noisy camera with one to three drawn figures. In the class `run`, two of them may run."""
    picture = video[rng.integers(len(video))]
    scale = 1.02 * max(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    background = cv2.resize(picture, None, fx=scale, fy=scale)[:HEIGHT, :WIDTH].astype(np.float32)
    figures = [
        {
            "x": rng.uniform(8, WIDTH - 8),
            "y": rng.uniform(25, HEIGHT - 8),
            "dx": rng.choice([-1, 1]) * rng.uniform(0.25, 0.6),
            "dy": rng.uniform(-0.25, 0.25),
            "height": rng.uniform(14, 24),
            "color": rng.uniform(0, 255, 3),
            "step": rng.uniform(0.25, 0.5),
        }
        for _ in range(rng.integers(1, 4))
    ]
    begin, length = rng.integers(0, 6), rng.integers(24, 32)
    light, noise, frames = rng.uniform(-15, 15, 32).cumsum() * 0.12, rng.uniform(1, 5), []
    for t in range(32):
        image = background.copy()
        for number, figure in enumerate(figures):
            runs = name == "run" and number <= 1 and begin <= t < begin + length
            draw_figure(image, figure, t, speed=4.0 if runs else 1.0)
        image += light[t] + rng.normal(0, noise, image.shape)
        frames.append(np.clip(image, 0, 255).astype(np.uint8))
    return frames


def draw_figure(image: np.ndarray, figure: dict, t: int, *, speed: float) -> None:
    """Moves a figure by one frame, and draws it."""
    figure["x"] += figure["dx"] * speed
    figure["y"] += figure["dy"] * speed
    if not 4 < figure["x"] < WIDTH - 4:
        figure["dx"] *= -1
        figure["x"] = np.clip(figure["x"], 4, WIDTH - 4)
    if not 20 < figure["y"] < HEIGHT - 4:
        figure["dy"] *= -1
    x, y, h = figure["x"], figure["y"], figure["height"]
    color, dark = tuple(map(float, figure["color"])), tuple(0.6 * float(value) for value in figure["color"])

    def at(dx: float, dy: float) -> tuple[int, int]:
        return int((x + dx) * 16), int((y + dy) * 16)  # in sixteenths of a pixel

    cv2.ellipse(image, at(0, -0.45 * h), (int(2.72 * h), int(4.8 * h)), 0, 0, 360, color, -1, cv2.LINE_AA, 4)
    cv2.circle(image, at(0, -0.9 * h), int(2.24 * h), dark, -1, cv2.LINE_AA, 4)
    for side in (1, -1):
        foot = at(side * np.sin(figure["step"] * speed * t) * h / 4, h / 4)
        cv2.line(image, at(0, -0.2 * h), foot, dark, max(1, int(h / 7)), cv2.LINE_AA, 4)


if __name__ == "__main__":
    main()
