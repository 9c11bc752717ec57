"""Three nets from scratch on a small real dataset, RGB and optical flow, three seeds each.

    python benchmarks/ut_table.py DATASET [DIR]

DATASET holds `videos/<class>/<video>`, train.txt and val.txt, and is only read; frames, flow, lists and runs go to DIR.
The quickest nets come first; a table can be made at any time of the runs that are done (--only-table). The same command
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

from trainings import Run, command, extracted, made_with, table

NETS = ("s3d", "tam_resnet18", "r2plus1d_18")  # the last takes two thirds of the time
MODALITIES = ("rgb", "flow")
VIEWS = (1, 5)  # clips
OPTIONS = (
    "--frames 8 --size 64 --dropout 0 --geometry random-resized --area 0.5,1 --aspect 0.75,2 --batch-size 8 "
    "--optimizer adamw --lr 0.001 --weight-decay 0.05"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", type=Path)
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path("ut_table"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--only-table", action="store_true", help="of the runs that are finished")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not args.only_table:
        _prepare(args.dataset.resolve(), folder)
        for net, modality, run, seed in _runs(folder, args.seeds):
            if run.epochs < args.epochs:
                run.train(f"--backbone {net} --modality {modality} {OPTIONS} --epochs {args.epochs} --seed {seed}")
            for checkpoint in ("last.pt", "best.pt"):
                for clips in VIEWS:
                    run.evaluate(checkpoint, clips=clips)
    text = _document(folder, args.seeds, args.epochs)
    (folder / "ut_table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\n-> {folder / 'ut_table.md'}")


def _prepare(dataset: Path, folder: Path) -> None:
    if not extracted(folder):
        command(f"extract-frames {dataset / 'videos'} .", folder)
    if not (folder / "flow_done").exists():
        command("extract-flow", folder)
        (folder / "flow_done").touch()


def _runs(folder: Path, seeds: int) -> Iterator[tuple[str, str, Run, int]]:
    """(net, modality, run, seed)."""
    for net in NETS:
        for seed in range(seeds):
            for modality in MODALITIES:
                yield net, modality, Run(folder, f"{net}_{modality}_{seed}"), seed


def _document(folder: Path, seeds: int, epochs: int) -> str:
    finished = [(*key, run) for *key, run, _ in _runs(folder, seeds) if run.epochs >= epochs]
    if not finished:
        raise SystemExit("no run is finished")
    head = ["net", "modality", "runs"]
    head += [f"{name}, {clips} x 1" for name in ("last epoch", "best epoch") for clips in VIEWS]
    rows = []
    for net in NETS:
        for modality in MODALITIES:
            if runs := [run for *key, run in finished if key == [net, modality]]:
                cells = [_spread([run.evaluate(checkpoint, clips=clips).top1 for run in runs])
                         for checkpoint in ("last.pt", "best.pt") for clips in VIEWS]  # fmt: skip
                speed, minutes = (
                    f"{statistics.mean(values):.1f}"
                    for values in ([run.clips_per_second for run in runs], [run.minutes for run in runs])
                )
                rows.append([net, modality, str(len(runs)), *cells, speed, minutes])
    videos = len(finished[0][-1].evaluate().labels)
    return "\n".join(
        [
            made_with([run for *_, run in finished]),
            "",
            f"Top-1 on {videos} validation videos (one is {100 / videos:.1f} points): mean (lowest to highest) of the "
            f"seeds; views are clips x crops. All: `{OPTIONS} --epochs {epochs}`. The best epoch was chosen on these "
            "videos.",
            "",
            table([*head, "clips/s", "minutes a run"], rows),
            "",
        ]
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
