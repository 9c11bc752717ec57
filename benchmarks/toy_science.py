"""Which nets see the order of frames? Train six nets on the toy dataset, in which classes are time-reversed pairs.

    python benchmarks/toy_science.py [DIR]

The benchmark makes the dataset, extracts frames, trains each net from scratch, evaluates it, and writes
DIR/toy_science.md. If it is interrupted, the same command continues, and finished nets are not trained again. Each net
trains for at most MINUTES; then its current weights are evaluated, and the table shows the number of epochs.

The column "within pairs" tells how often the true class scores higher than its partner, whichever class has the highest
score; chance is 50 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from trainings import Run, Scores, command, extracted, interval, made_with, table

import actrec
from actrec.tools.make.toy_scenes import CLASSES, MOTIONS

FRAMES, SIZE = 8, 40
OPTIONS = (
    f"--list train.txt --frames {FRAMES} --size {SIZE} --scales 1,0.875 --dropout 0 --optimizer adamw "
    "--weight-decay 0.05 --batch-size 16"
)
EPOCHS = {  # some learn slowly from scratch
    "tsn_resnet18": 8, "tsm_resnet18": 16, "tam_resnet18": 8, "r2plus1d_18": 16, "s3d": 24, "i3d": 24,
}  # fmt: skip
LR = dict.fromkeys(EPOCHS, 0.001) | {"i3d": 0.0003}  # at 0.001 it learns little before the schedule has halved the rate
NO_STRIDE = ("tsn_resnet18", "tsm_resnet18", "tam_resnet18")  # pooling over frames would show TSN some of their order
PARTNER = np.empty(len(CLASSES), dtype=int)
for _motion in MOTIONS:
    _pair = [CLASSES.index(_motion.forwards), CLASSES.index(_motion.backwards)]
    PARTNER[_pair] = _pair[::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path("toy_science"))
    parser.add_argument("--minutes", type=float, default=20, help="for the training of one net")
    parser.add_argument("--train-per-class", type=int, default=80)
    parser.add_argument("--val-per-class", type=int, default=40)
    parser.add_argument("--only-table", action="store_true", help="of the nets that are trained")
    args = parser.parse_args()
    folder = args.folder.resolve()
    runs = {net: Run(folder, net) for net in EPOCHS}
    if not args.only_table:
        _make_dataset(folder, args.train_per_class, args.val_per_class)
        for net, run in runs.items():
            if run.epochs < EPOCHS[net]:
                stride = " --no-temporal-stride" if net in NO_STRIDE else ""
                chosen = f"--backbone {net}{stride} --epochs {EPOCHS[net]} --lr {LR[net]}"
                run.train(f"{chosen} {OPTIONS}", minutes=args.minutes)
            run.evaluate()
    trained = {net: run for net, run in runs.items() if run.epochs}
    text = _document(trained, {net: run.evaluate() for net, run in trained.items()})
    (folder / "toy_science.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\n-> {folder / 'toy_science.md'}")


def _make_dataset(folder: Path, train_per_class: int, val_per_class: int) -> None:
    if not (folder / "videos_train.txt").exists():  # written last
        command(f"toy {folder} --train-per-class {train_per_class} --val-per-class {val_per_class}", Path())
    if not extracted(folder):
        command("extract-frames", folder)


def in_pair(found: Scores) -> np.ndarray:
    """(videos,) bool: the highest score belongs to the true pair."""
    best = found.scores.argmax(1)
    return (best == found.labels) | (best == PARTNER[found.labels])


def within(found: Scores) -> np.ndarray:
    """(videos,) bool: the true class scores higher than its partner."""
    rows = np.arange(len(found.labels))
    return found.scores[rows, found.labels] > found.scores[rows, PARTNER[found.labels]]


def _document(runs: dict[str, Run], results: dict[str, Scores]) -> str:
    head = [
        "net", "top-1 of 8 classes, percent", "pair, percent", "**within pairs, percent**", "95 % interval, percent",
        "parameters, millions", "GFLOPs", "epochs", "learning rate", "training speed, clips/s",
        "training time, minutes",
    ]  # fmt: skip
    parts = ["net", *(f"{motion.forwards} / {motion.backwards}" for motion in MOTIONS)]
    rows = [_row(net, runs[net], found) for net, found in results.items()]
    pairs = [[net, *_by_pair(found)] for net, found in results.items()]
    videos = len(next(iter(results.values())).labels)
    return "\n".join(
        [
            made_with(list(runs.values())),
            "",
            f"The last checkpoint is evaluated on {videos} validation videos with one view. All nets use `{OPTIONS}`; "
            f"{', '.join(NO_STRIDE)} also use `--no-temporal-stride`.",
            "",
            table(head, rows),
            "",
            f"Within each pair ({videos // len(MOTIONS)} videos), in percent:",
            "",
            table(parts, pairs),
            "",
        ]
    )


def _row(net: str, run: Run, found: Scores) -> list[str]:
    order = within(found)
    low, high = interval(int(order.sum()), len(order))
    options = {"temporal_stride": False} if net in NO_STRIDE else {}
    cost = actrec.profile(actrec.net(net, num_classes=len(CLASSES), **options), frames=FRAMES, size=SIZE)
    return [
        net, f"{found.top1:.1f}", f"{100 * in_pair(found).mean():.1f}", f"**{100 * order.mean():.1f}**",
        f"{low:.1f} to {high:.1f}", f"{cost.params / 1e6:.1f}", f"{cost.flops / 1e9:.2f}",
        str(run.epochs) if run.epochs == EPOCHS[net] else f"{run.epochs} of {EPOCHS[net]}",
        str(LR[net]), f"{run.clips_per_second:.1f}", f"{run.minutes:.1f}",
    ]  # fmt: skip


def _by_pair(found: Scores) -> list[str]:
    order = within(found)
    ours = [np.isin(found.labels, [CLASSES.index(m.forwards), CLASSES.index(m.backwards)]) for m in MOTIONS]
    return [f"{100 * order[chosen].mean():.1f}" for chosen in ours]


if __name__ == "__main__":
    main()
